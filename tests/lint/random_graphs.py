"""Random small graphs, made to lie on both sides of every bound: tiny weights, edge constants, few operators."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.lint.analyse import Range

ROWS = 48
TYPES = {
    np.dtype(name): getattr(TensorProto, onnx_name)
    for name, onnx_name in (
        ("uint8", "UINT8"), ("int8", "INT8"), ("uint16", "UINT16"), ("int32", "INT32"), ("uint32", "UINT32"),
        ("int64", "INT64"), ("float32", "FLOAT"),
    )
}  # fmt: skip
Step = Callable[["Maker"], None]
STEPS: dict[str, list[Step]] = {str(dtype): [] for dtype in TYPES}


def step(*dtypes: str, weight: int = 1) -> Callable[[Step], Step]:
    """Register what may come next after a tensor of one of these types."""

    def register(function: Step) -> Step:
        for dtype in dtypes:
            STEPS[dtype] += [function] * weight
        return function

    return register


@dataclass
class Maker:
    """A graph in the making; `now` is the tensor that the next operator reads, [ROWS, width] of `dtype`."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    now: str = "x"
    dtype: np.dtype = field(default_factory=lambda: np.dtype("uint8"))
    width: int = 4
    earlier: dict[tuple[str, int], str] = field(default_factory=dict)

    def pick(self, *options: object) -> object:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def constant(self, values: object, dtype: object = None) -> str:
        name = f"c{len(self.initializers)}"
        array = np.asarray(values, dtype or self.dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add(
        self,
        operator: str,
        *inputs: str,
        dtype: object = None,
        width: int | None = None,
        **attributes: object,
    ) -> None:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        self.earlier[str(self.dtype), self.width] = self.now
        self.now, self.dtype = output, np.dtype(dtype or self.dtype)
        self.width = width or self.width

    def apply(self, operator: object, *inputs: str, **attributes: object) -> None:
        """An operator on the tensor of now and others."""
        self.add(str(operator), self.now, *inputs, **attributes)

    def cast(self, dtype: object) -> None:
        to = np.dtype(dtype)
        self.apply("Cast", dtype=to, to=TYPES[to])

    def integer(self, most: int | None = None) -> int:
        """Small, a power of two, or next to one."""
        power = 2 ** int(self.rng.integers(0, 12))
        value = int(self.pick(0, 1, 2, 3, power, power - 1, power + 1, 255, 127, 64, 4096, 2**16))
        return value if most is None else min(value, most)

    def vector(self, values: list[float]) -> object:
        """One number, or one a column."""
        if self.chance(0.5):
            return values[0]
        return [values[i % len(values)] for i in range(self.width)]

    def power(self) -> float:
        return 2.0 ** int(self.rng.integers(-12, 3))


@step("uint8", "int8", weight=3)
def products(m: Maker) -> None:
    width = int(m.rng.integers(1, 4))
    other = np.dtype(m.pick("uint8", "int8"))
    reach = int(m.pick(1, 3, 63, 64, 65, 127))
    weight = m.rng.integers(0 if other == np.uint8 else -reach, reach + 1, (m.width, width))
    if other == np.uint8 and m.chance(0.6):
        weight = weight + 128 - reach // 2
    zeros = []
    if m.chance(0.6):
        middle = 128 if other == np.uint8 else -1
        zeros = [m.constant(m.pick(0, 1, 100)), m.constant(m.pick(0, middle), other)]
    m.apply("MatMulInteger", m.constant(weight, other), *zeros, dtype=np.int32, width=width)


@step("uint8", "int8", "uint16")
def widen(m: Maker) -> None:
    m.cast(np.int32)


@step("uint8", "int8", "uint32")
@step("int32", weight=2)
def to_float(m: Maker) -> None:
    m.cast(np.float32)


@step("uint8", "int8")
def dequantize(m: Maker) -> None:
    scale = m.constant(m.pick(1.0, 0.25, 2.0, 0.1, 3.0), np.float32)
    m.apply("DequantizeLinear", scale, m.constant(m.pick(0, 1, 100)), dtype=np.float32)


@step("uint8", "int8")
def bytewise(m: Maker) -> None:
    some = m.constant(m.vector([m.integer(100), m.integer(3)]))
    m.apply(m.pick("Add", "Sub", "Mul", "Max", "Min"), some)


@step("int32", weight=2)
def offset(m: Maker) -> None:
    some = [m.integer() * int(m.pick(1, 1, -1)), m.integer()]
    m.apply(m.pick("Add", "Sub", "Max", "Min"), m.constant(m.vector(some)))


@step("int32")
def multiple(m: Maker) -> None:
    m.apply("Mul", m.constant(m.vector([m.integer(300), 3])))


@step("int32", weight=2)
def divide(m: Maker) -> None:
    divisor = m.vector([max(1, m.integer()), 2 ** int(m.rng.integers(0, 10))])
    if m.chance(0.1):
        divisor = m.integer() * int(m.pick(1, -1))
    if m.chance(0.5):
        m.apply("Div", m.constant(divisor))
    else:
        m.apply("Mod", m.constant(divisor), fmod=int(m.rng.integers(2)))


@step("int32")
def clamp(m: Maker) -> None:
    m.apply("Max", m.constant(int(m.pick(0, -128, -1, -5000))))
    m.apply("Min", m.constant(int(m.pick(255, 127, 63, 1000, 2**20))))


@step("int32", weight=3)
def narrow(m: Maker) -> None:
    m.cast(m.pick("uint8", "int8", "uint32", "int64"))


@step("int32", "float32")
def sign_off(m: Maker) -> None:
    m.apply(m.pick("Neg", "Abs"))


@step("int32", "float32")
def square(m: Maker) -> None:
    m.apply("Mul", m.now)


@step("int32")
def table(m: Maker) -> None:
    length = int(m.pick(16, 256))
    if m.width != 1:
        add_up(m)
    entries = m.constant(m.rng.integers(-5, 300, (length, 1)), np.int32)
    if m.chance(0.7):
        m.apply("Mod", m.constant(length))
    m.add("GatherElements", entries, m.now, axis=0)


@step("int32")
def integer_matrix(m: Maker) -> None:
    width = int(m.rng.integers(1, 3))
    m.apply("MatMul", m.constant(m.rng.integers(-3, 4, (m.width, width))), width=width)


@step("int32", "float32")
def add_up(m: Maker) -> None:
    m.apply("ReduceSum", m.constant([1], np.int64), width=1, keepdims=1)


@step("int32")
def where(m: Maker) -> None:
    tested = m.now
    m.add("Greater", tested, m.constant(m.integer()))
    m.apply("Where", tested, m.constant(7))


@step("int32", "float32")
def join(m: Maker) -> None:
    other = m.earlier.get((str(m.dtype), m.width))
    if other is not None:
        m.apply(m.pick("Add", "Sub", "Mul", "Max", "Min"), other)


@step("uint32", weight=3)
def shift(m: Maker) -> None:
    by = m.constant(int(m.pick(0, 1, 4, 8, 31)))
    m.apply("BitShift", by, direction=str(m.pick("LEFT", "RIGHT", "RIGHT")))


@step("uint32")
def unsigned_low_bits(m: Maker) -> None:
    if m.chance(0.5):
        m.apply("BitwiseAnd", m.constant(int(m.pick(1, 63, 255, 2**20))))
    else:
        m.apply("Mod", m.constant(max(1, m.integer())))


@step("uint32")
def unsigned_arithmetic(m: Maker) -> None:
    m.apply(m.pick("Add", "Sub", "Mul"), m.constant(m.integer()))


@step("uint32", weight=2)
def unsigned_narrow(m: Maker) -> None:
    m.cast(m.pick("int32", "uint8"))


@step("int64", weight=2)
def long_arithmetic(m: Maker) -> None:
    big = int(m.pick(0, 1, -1, 2**31, 2**33, 1000))
    m.apply(m.pick("Max", "Min", "Add", "Sub"), m.constant(big))


@step("int64")
def long_multiple(m: Maker) -> None:
    m.apply("Mul", m.constant(int(m.pick(2, 256, 2**20))))


@step("int64")
def long_narrow(m: Maker) -> None:
    m.cast(np.int32)


@step("float32", weight=3)
def scale(m: Maker) -> None:
    odd = float(m.pick(0.1, 3.0, 5.0, 1 / 3, 41.0)) * float(m.pick(1.0, m.power()))
    if m.chance(0.2):
        m.apply("Div", m.constant(float(m.pick(2.0, 256.0, 3.0))))
    else:
        m.apply("Mul", m.constant(m.vector([m.power(), odd])))


@step("float32", weight=2)
def float_offset(m: Maker) -> None:
    half = m.power() * (m.integer(50) + float(m.pick(0.0, 0.5)))
    some = m.constant(m.vector([half, float(m.pick(1.0, 0.1, 64.0))]))
    m.apply(m.pick("Add", "Sub"), some)


@step("float32", weight=2)
def whole(m: Maker) -> None:
    m.apply(m.pick("Floor", "Floor", "Ceil", "Round"))


@step("float32")
def clip(m: Maker) -> None:
    low = m.constant(float(m.pick(0.0, -0.0, -128.0, -1e6)))
    m.apply("Clip", low, m.constant(float(m.pick(255.0, 127.0, 0.0, 1e6))))


@step("float32")
def rectify(m: Maker) -> None:
    if m.chance(0.5):
        m.apply("Relu")
    else:
        m.apply("LeakyRelu", alpha=float(m.pick(0.25, 0.01, 0.5)))


@step("float32", weight=2)
def quantize(m: Maker) -> None:
    step_size = m.constant(float(m.pick(1.0, 1.0, 0.5, 4.0, 0.1)))
    zero = m.constant(m.pick(0, 1, 128), np.uint8)
    m.apply("QuantizeLinear", step_size, zero, dtype=np.uint8)


@step("float32", weight=2)
def to_integer(m: Maker) -> None:
    m.cast(np.int32)


@step("float32", weight=2)
def matrix(m: Maker) -> None:
    width = int(m.rng.integers(1, 4))
    weights = m.rng.integers(-4, 5, (m.width, width)).astype(np.float32)
    factor = np.float32(m.pick(1.0, 1.0, 0.25, 0.1, 100.0))
    m.apply("MatMul", m.constant(weights * factor), width=width)


@step("float32", weight=2)
def requantize(m: Maker) -> None:
    """As our lowerings do: half a step besides, and perhaps a leaky rectifier."""
    places, bias = int(m.rng.integers(1, 10)), int(m.rng.integers(-500, 500))
    m.apply("Mul", m.constant(2.0**-places))
    m.apply("Add", m.constant((bias + 0.5) * 2.0**-places))
    if m.chance(0.3):
        m.apply("Floor")
        root = m.now
        m.apply("Mul", m.constant(41 / 4096))
        m.apply("Add", m.constant(2.0**-13))
        m.add("Max", root, m.now)
    to = np.dtype(str(m.pick("uint8", "uint8", "uint16")))
    m.apply("QuantizeLinear", m.constant(1.0), m.constant(m.pick(0, 128), to), dtype=to)


@dataclass(frozen=True)
class Specimen:
    model: onnx.ModelProto
    ranges: dict[str, Range]
    feeds: np.ndarray


def specimen(seed: int) -> Specimen:
    rng = np.random.default_rng(seed)
    maker = Maker(rng)
    maker.width = int(rng.integers(1, 6))
    maker.dtype = np.dtype(str(maker.pick("uint8", "uint8", "int8", "int32", "float32")))
    ranges, feeds = _inputs(maker)
    inputs = [helper.make_tensor_value_info("x", TYPES[maker.dtype], ["rows", maker.width])]
    for _ in range(int(rng.integers(1, 8))):
        options = STEPS[str(maker.dtype)]
        options[int(rng.integers(len(options)))](maker)
    if not maker.nodes:
        maker.apply("Abs")
    outputs = [helper.make_tensor_value_info(maker.now, TYPES[maker.dtype], None)]
    graph = helper.make_graph(maker.nodes, "g", inputs, outputs, maker.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return Specimen(model, ranges, feeds)


def _inputs(maker: Maker) -> tuple[dict[str, Range], np.ndarray]:
    """Rows at the edges of the range, then random ones."""
    rng, dtype = maker.rng, maker.dtype
    unit, ranges = 1.0, {}
    if dtype == np.float32:
        unit = float(maker.pick(1.0, 0.25, 0.0))
        low, high = (-255.0, 255.0) if maker.chance(0.6) else (0.0, 4095.0)
        ranges["x"] = Range(low=low, high=high, step=unit or None)
    elif dtype == np.int32:
        reach = int(maker.pick(127, 2**12, 2**20, 2**31 - 1))
        low, high = -reach if maker.chance(0.7) else 0, reach
        ranges["x"] = Range(low=low, high=high)
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if maker.chance(0.4):
            low, high = max(low, 0), int(maker.pick(63, 127))
            ranges["x"] = Range(low=low, high=high)
    width = maker.width
    random = rng.uniform(low, high, (ROWS, width))
    random = np.floor(random / unit) * unit if unit else random
    edges = [np.full(width, low), np.full(width, high), np.zeros(width)]
    odd = np.arange(width) % 2
    edges += [np.where(odd, low, high), np.where(odd, high, low)]
    near = np.clip(rng.integers(-3, 4, (12, width)), low, high)
    rows = np.concatenate([np.clip(edges, low, high), near, random])[:ROWS]
    if dtype == np.float32:
        rows = np.clip(rows, low, high)
        rows[5] = -0.0 if low < 0 else 0.0
    return ranges, rows.astype(dtype)
