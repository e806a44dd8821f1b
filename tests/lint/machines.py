"""A tiny ONNX interpreter in numpy whose every freedom can be chosen: order of sums, FMA, overflow, casts, known deviations.

What ONNX leaves open is a field of `Machine`; so is what named runtimes do wrong. A graph that the linter calls exact
must give the same bits on all machines that keep to the conditions it states.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

Array = np.ndarray


@dataclass(frozen=True)
class Machine:
    """The defaults are one plain runtime."""

    name: str = "plain"
    order: str = (
        "forward"  # of a sum: forward, backward, pairs, strided, wide (float64), started (from +0)
    )
    fused: bool = False  # Mul and Add in one rounding
    upward: bool = False  # elementwise results are rounded up, not to nearest
    signed_saturates: bool = False
    unsigned_saturates: bool = False
    cast_saturates: bool = False
    cast_rounds: bool = False  # a fraction is rounded, not dropped
    overflow_cast: int = 0  # what a float beyond the type becomes: 0 lowest, 1 saturated, 2 wrapped
    zero_prefers_minus: bool = False  # Max and Min of -0 and +0
    product_digits: int = 24  # significand bits of the factors of a product (TF32: 11)
    result_digits: int = 24  # of every float32 result (bf16: 8)
    pairs_saturate: str = (
        ""  # 8-bit products in 16-bit pairs: "mixed" (u8 x s8) or "all" (shifted to that)
    )
    relaxed: bool = False  # the second factor of an 8-bit product wraps to 7 bits
    ties_away: bool = False  # QuantizeLinear
    div_by_float32: bool = False
    shift_by_float32: bool = False
    int64_is_int32: bool = False
    minmax_by_low_word: bool = False
    division_by_zero: int = 0
    index_clamps: bool = False


PLAIN = Machine()
# Freedoms that ONNX leaves to every runtime.
FREE = [
    Machine("backward", order="backward"),
    Machine("pairs", order="pairs"),
    Machine("strided", order="strided"),
    Machine("wide", order="wide"),
    Machine("started", order="started", fused=True),
    Machine("upward", upward=True),
    Machine("saturating", signed_saturates=True, overflow_cast=1),
    Machine("odd", overflow_cast=2, division_by_zero=7, order="pairs", fused=True),
]
# Freedoms that a condition takes away: the rule that must be stated where they matter.
BF16 = Machine("bf16", result_digits=8, product_digits=8)
CONDITIONED = {
    "float-carrier": BF16,
    "unsigned-wrap": Machine("unsigned saturates", unsigned_saturates=True),
    "cast-wraps": Machine("casts saturate", cast_saturates=True),
    "fractional-cast": Machine("casts round", cast_rounds=True),
    "signed-zero": Machine("minus zero", zero_prefers_minus=True, order="started"),
    "index-out-of-range": Machine("indices clamp", index_clamps=True),
}
DEVIANT = {
    "pair-saturation": Machine("AVX2", pairs_saturate="mixed"),
    "rten-8bit": Machine("rten", pairs_saturate="all"),
    "wasm-relaxed-simd": Machine("relaxed SIMD", relaxed=True),
    "openvino-quantize": Machine("ties away", ties_away=True),
    "openvino-int32-div": Machine("float32 Div", div_by_float32=True),
    "openvino-uint32-shift": Machine("float32 BitShift", shift_by_float32=True),
    "openvino-int64": Machine("int64 in int32", int64_is_int32=True),
    "openvino-bf16": BF16,
    "ort-int64-minmax": Machine("low words", minmax_by_low_word=True),
    "cuda-tf32": Machine("TF32", product_digits=11),
}


def run(model: onnx.ModelProto, feeds: Mapping[str, Array], machine: Machine) -> dict[str, Array]:
    """Every tensor of the graph by name."""
    values: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values |= feeds
    products = {}
    with np.errstate(all="ignore"):
        for node in model.graph.node:
            inputs = [values[name] if name else None for name in node.input]
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Mul" and inputs[0].dtype == np.float32:
                products[node.output[0]] = inputs[0].astype(np.float64) * inputs[1]
            if node.op_type == "Add" and machine.fused and node.input[0] in products:
                exact = products[node.input[0]] + inputs[1].astype(np.float64)
                result = narrowed(exact.astype(np.float32), machine)
            else:
                result = OPERATORS[node.op_type](machine, attributes, *inputs)
            values[node.output[0]] = result
    return values


def narrowed(x: Array, machine: Machine) -> Array:
    """float32 rounded to fewer significand bits, as bf16 does."""
    return to_digits(x, machine.result_digits)


def stored(exact: Array, dtype: np.dtype, machine: Machine) -> Array:
    """A float64 result as `dtype`, in the machine's rounding."""
    nearest = exact.astype(dtype)
    if machine.upward and dtype == np.float32:
        nearest = np.where(nearest < exact, np.nextafter(nearest, np.float32(np.inf)), nearest)
    return narrowed(nearest, machine)


def to_digits(x: Array, digits: int) -> Array:
    if x.dtype != np.float32 or digits >= 24:
        return x
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, digits)), exponent - digits).astype(np.float32)


def fit(x: Array, dtype: np.dtype, machine: Machine) -> Array:
    """Python integers or float64 whole numbers as an integer type, overflow as the machine has it."""
    kind = np.iinfo(dtype)
    saturates = machine.unsigned_saturates if kind.min == 0 else machine.signed_saturates
    exact = np.asarray(x, object)
    if machine.int64_is_int32 and dtype == np.int64:
        kind, saturates = np.iinfo(np.int32), True
    if saturates:
        return np.vectorize(lambda v: min(max(int(v), kind.min), kind.max), otypes=[dtype])(exact)
    bits, low = np.iinfo(dtype).bits, np.iinfo(dtype).min
    return np.vectorize(lambda v: (int(v) - low) % 2**bits + low, otypes=[dtype])(exact)


def elementwise(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def apply(machine: Machine, _: dict, a: Array, b: Array) -> Array:
        if a.dtype.kind == "f":
            return stored(function(a.astype(np.float64), b.astype(np.float64)), a.dtype, machine)
        return fit(function(a.astype(object), b.astype(object)), a.dtype, machine)

    return apply


def divide(machine: Machine, _: dict, a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return stored(a.astype(np.float64) / b.astype(np.float64), a.dtype, machine)
    if machine.div_by_float32 and a.dtype == np.int32:
        return np.trunc(a.astype(np.float32) / b.astype(np.float32)).astype(np.int32)

    def one(x: int, y: int) -> int:
        if y == 0:
            return machine.division_by_zero
        return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)

    return fit(
        np.vectorize(one, otypes=[object])(a.astype(object), b.astype(object)), a.dtype, machine
    )


def modulo(machine: Machine, attributes: dict, a: Array, b: Array) -> Array:
    def one(x: int, y: int) -> int:
        if y == 0:
            return machine.division_by_zero
        return int(np.fmod(x, y)) if attributes.get("fmod") else x % y

    return fit(
        np.vectorize(one, otypes=[object])(a.astype(object), b.astype(object)), a.dtype, machine
    )


def total(products: Array, machine: Machine, dtype: np.dtype) -> Array:
    """The sum over axis 1 of [N, K, M], in the machine's order, rounded after every step."""
    if dtype.kind != "f":
        steps = products.astype(object)
        if machine.signed_saturates:
            result = np.zeros(steps[:, 0].shape, object)
            for k in range(steps.shape[1]):
                result = fit(result + steps[:, k], dtype, machine).astype(object)
            return fit(result, dtype, machine)
        return fit(steps.sum(axis=1), dtype, machine)
    terms = [products[:, k].astype(dtype) for k in range(products.shape[1])]
    if machine.order == "wide":
        return narrowed(products.astype(np.float64).sum(axis=1).astype(dtype), machine)
    if machine.order == "started":
        terms = [np.zeros_like(terms[0]), *terms]
    if machine.order == "backward":
        terms = terms[::-1]
    if machine.order == "strided":
        terms = terms[::2] + terms[1::2]
    if machine.order == "pairs":
        while len(terms) > 1:
            terms = [sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
        return narrowed(terms[0], machine)
    result = terms[0]
    for term in terms[1:]:
        result = (result + term).astype(dtype)
    return narrowed(result, machine)


def matmul(machine: Machine, _: dict, a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        a, b = to_digits(a, machine.product_digits), to_digits(b, machine.product_digits)
        exact = a.astype(np.float64)[:, :, None] * b.astype(np.float64)[None]
        rounds = a.dtype == np.float32 and machine.order not in {"wide", "started"}
        return total(exact.astype(np.float32) if rounds else exact, machine, a.dtype)
    return total(a.astype(object)[:, :, None] * b.astype(object)[None], machine, a.dtype)


def matmul_integer(
    machine: Machine,
    _: dict,
    a: Array,
    b: Array,
    a_zero: Array | None = None,
    b_zero: Array | None = None,
) -> Array:
    raw_a, raw_b = a.astype(np.int64), b.astype(np.int64)
    zero_a = 0 if a_zero is None else a_zero.astype(np.int64)
    zero_b = 0 if b_zero is None else b_zero.astype(np.int64)
    saturates = machine.pairs_saturate == "all" or (
        machine.pairs_saturate == "mixed" and a.dtype != b.dtype
    )
    if saturates or machine.relaxed:
        shifted = machine.relaxed or machine.pairs_saturate == "all"
        if b.dtype == np.uint8 and shifted:
            raw_b, zero_b = raw_b - 128, zero_b - 128
        if a.dtype == np.int8 and shifted:
            raw_a, zero_a = raw_a + 128, zero_a + 128
        raw_b_used = (raw_b + 64) % 128 - 64 if machine.relaxed else raw_b
        exact = raw_a[:, :, None] * raw_b_used[None]
        if saturates:
            exact = paired(exact)
        # Zero points are taken off by sums of rows and columns.
        correction = (
            -zero_a * raw_b.sum(axis=0)
            - (raw_a.sum(axis=1)[:, None] * zero_b)
            + len(b) * zero_a * zero_b
        )
        return fit(exact.sum(axis=1) + correction, np.dtype(np.int32), machine)
    return total((raw_a - zero_a)[:, :, None] * (raw_b - zero_b)[None], machine, np.dtype(np.int32))


def paired(products: Array) -> Array:
    """Neighbours added in 16 bits with saturation."""
    if products.shape[1] % 2:
        products = np.concatenate([products, np.zeros_like(products[:, :1])], axis=1)
    return np.clip(products[:, ::2] + products[:, 1::2], -(2**15), 2**15 - 1)


def choose(function: Callable[[Array, Array], Array], sign: int) -> Callable[..., Array]:
    def apply(machine: Machine, _: dict, *values: Array) -> Array:
        result = values[0]
        for other in values[1:]:
            if machine.minmax_by_low_word and result.dtype == np.int64:
                a, b = np.broadcast_arrays(result, other)
                high = a >> 32 == b >> 32
                greater = np.where(high, a.astype(np.int32) > b.astype(np.int32), a > b)
                result = np.where(greater if sign > 0 else ~greater, a, b)
                continue
            chosen = function(result, other)
            if machine.zero_prefers_minus and chosen.dtype.kind == "f":
                minus = (np.signbit(result) & (result == 0)) | (np.signbit(other) & (other == 0))
                chosen = np.where((chosen == 0) & minus, chosen.dtype.type(-0.0), chosen)
            result = chosen
        return result

    return apply


def clip(machine: Machine, _: dict, x: Array, low: Array, high: Array) -> Array:
    return OPERATORS["Min"](machine, {}, OPERATORS["Max"](machine, {}, x, low), high)


def relu(machine: Machine, _: dict, x: Array) -> Array:
    return OPERATORS["Max"](machine, {}, x, np.zeros((), x.dtype))


def leaky(machine: Machine, attributes: dict, x: Array) -> Array:
    alpha = np.float32(attributes["alpha"])
    return np.where(x < 0, stored(x.astype(np.float64) * alpha, x.dtype, machine), x)


def cast(machine: Machine, attributes: dict, x: Array) -> Array:
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"]))
    if dtype.kind == "f":
        return stored(x.astype(np.float64), dtype, machine)
    if x.dtype.kind != "f":
        return fit(
            x,
            dtype,
            Machine(
                unsigned_saturates=machine.cast_saturates, signed_saturates=machine.cast_saturates
            ),
        )
    whole = np.rint(x) if machine.cast_rounds else np.trunc(x)
    kind = np.iinfo(dtype)
    inside = (whole >= kind.min) & (whole <= float(kind.max))
    otherwise = [
        np.full(x.shape, kind.min),
        np.where(x > 0, kind.max, kind.min),
        np.zeros(x.shape),
    ][machine.overflow_cast]
    return np.where(inside, np.where(inside, whole, 0), otherwise.astype(np.float64)).astype(dtype)


def quantize(machine: Machine, _: dict, x: Array, scale: Array, zero: Array) -> Array:
    quotient = (x / scale).astype(np.float32)
    away = np.sign(quotient) * np.floor(np.abs(quotient) + 0.5)
    nearest = away if machine.ties_away else np.rint(quotient)
    kind = np.iinfo(zero.dtype)
    return np.clip(nearest.astype(np.float64) + zero, kind.min, kind.max).astype(zero.dtype)


def dequantize(machine: Machine, _: dict, x: Array, scale: Array, zero: Array) -> Array:
    return narrowed(
        ((x.astype(np.int64) - zero).astype(np.float32) * scale).astype(np.float32), machine
    )


def shift(machine: Machine, attributes: dict, x: Array, by: Array) -> Array:
    if machine.shift_by_float32 and x.dtype == np.uint32:
        x = x.astype(np.float32).astype(np.float64).clip(0, 2**32 - 1).astype(np.uint32)
    if attributes["direction"] == b"LEFT":
        return (x.astype(np.uint64) << by.astype(np.uint64)).astype(x.dtype)
    return (x >> by).astype(x.dtype)


def gather_elements(machine: Machine, _: dict, data: Array, index: Array) -> Array:
    if machine.index_clamps:
        outside = (index < -len(data)) | (index >= len(data))
        index = np.where(outside, np.clip(index, 0, len(data) - 1), index)
    return np.take_along_axis(data, np.mod(index, len(data)), axis=0)


def reduce_sum(machine: Machine, _: dict, x: Array, axes: Array) -> Array:
    assert axes.tolist() == [1]
    terms = x[:, :, None] if x.dtype.kind == "f" else x.astype(object)[:, :, None]
    return total(terms, machine, x.dtype)


OPERATORS: dict[str, Callable[..., Array]] = {
    "Add": elementwise(lambda a, b: a + b),
    "Sub": elementwise(lambda a, b: a - b),
    "Mul": elementwise(lambda a, b: a * b),
    "Div": divide,
    "Mod": modulo,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "Max": choose(np.maximum, 1),
    "Min": choose(np.minimum, -1),
    "Clip": clip,
    "Relu": relu,
    "LeakyRelu": leaky,
    "Neg": lambda m, _, x: -x if x.dtype.kind == "f" else fit(-x.astype(object), x.dtype, m),
    "Abs": lambda m, _, x: (
        abs(x) if x.dtype.kind == "f" else fit(abs(x.astype(object)), x.dtype, m)
    ),
    "Floor": lambda _, __, x: np.floor(x),
    "Ceil": lambda _, __, x: np.ceil(x),
    "Round": lambda _, __, x: np.rint(x),
    "Cast": cast,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "BitShift": shift,
    "GatherElements": gather_elements,
    "Greater": lambda _, __, a, b: a > b,
    "Where": lambda _, __, c, a, b: np.where(c, a, b),
    "ReduceSum": reduce_sum,
    "Concat": lambda _, a, *v: np.concatenate(v, axis=a["axis"]),
    "Transpose": lambda _, __, x: x.T,
    "BitwiseAnd": lambda _, __, a, b: a & b,
}
