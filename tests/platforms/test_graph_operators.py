"""Every operator of the graph walkers, bit for bit against ONNX Runtime, types included.

Float sums are over small integers, so that their order cannot matter.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from harness.errors import Unsupported
from harness.platforms.base import PLATFORMS

Array = NDArray[np.generic]
WALKERS = ["torch", "torch-nomkldnn", "dsp-exact32"]
RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """One node. The first `feeds` of its given inputs are fed, the others are initializers."""

    name: str
    op: str
    inputs: list[Array | None]
    feeds: int = 1
    outputs: int = 1
    attributes: dict[str, object] = field(default_factory=dict)

    def model(self) -> bytes:
        names = ["" if a is None else f"i{n}" for n, a in enumerate(self.inputs)]
        arrays = [(n, a) for n, a in zip(names, self.inputs, strict=True) if a is not None]
        fed = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays[: self.feeds]
        ]
        initializers = [numpy_helper.from_array(a, n) for n, a in arrays[self.feeds :]]
        outputs = [f"o{n}" for n in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, **self.attributes)
        blank = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([node], "g", fed, blank, initializers)
        opsets = [helper.make_opsetid("", 21)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return bytes(onnx.shape_inference.infer_shapes(model, strict_mode=True).SerializeToString())

    def given(self) -> dict[str, Array]:
        arrays = [a for a in self.inputs if a is not None]
        return {f"i{n}": a for n, a in enumerate(arrays[: self.feeds])}


def i32(*values: int) -> Array:
    return np.array(values, np.int32)


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def whole(*shape: int) -> NDArray[np.float32]:
    return RNG.integers(-8, 9, shape).astype(np.float32)


X32 = RNG.integers(-(2**20), 2**20, (4, 6)).astype(np.int32)
POSITIVE = RNG.integers(1, 4000, (6,)).astype(np.int32)
F = np.array([-2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 3.7, 254.5, 300, -300, 1e9], np.float32)
BYTES = np.arange(256, dtype=np.uint8).reshape(8, 32)
U16 = np.array([0, 1, 2**15 - 1, 2**15, 2**16 - 1], np.uint16)
U32 = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
IMAGE = whole(1, 3, 5, 7)
THIRDS = whole(12) + np.float32(0.3)
CONV = [
    Case("conv", "Conv", [IMAGE, whole(4, 3, 3, 3), whole(4)], attributes={"pads": [1, 1, 1, 1]}),
    Case(
        "conv-stride-no-bias",
        "Conv",
        [IMAGE, whole(4, 3, 5, 5)],
        attributes={"pads": [2, 2, 2, 2], "strides": [2, 2]},
    ),
    Case("conv-uneven-pads", "Conv", [IMAGE, whole(2, 3, 2, 2)], attributes={"pads": [0, 1, 1, 0]}),
    Case("conv-fed-weight", "Conv", [IMAGE, whole(4, 3, 1, 1), whole(4)], feeds=2),
    Case(
        "deconv",
        "ConvTranspose",
        [IMAGE, whole(3, 4, 5, 5), whole(4)],
        attributes={"pads": [2, 2, 2, 2], "strides": [2, 2], "output_padding": [1, 1]},
    ),
    Case("deconv-plain", "ConvTranspose", [IMAGE, whole(3, 2, 3, 3)]),
]
FLOAT = [
    Case("relu", "Relu", [F[F != 0]]),
    Case("relu-i32", "Relu", [X32]),
    Case("leaky", "LeakyRelu", [F], attributes={"alpha": 0.01}),
    Case("abs", "Abs", [F]),
    # Squares only: torch 2.13 on x86 is an ULP off for sqrt(300), which IEEE 754 would round.
    Case("sqrt", "Sqrt", [np.arange(20, dtype=np.float32) ** 2]),
    Case("floor", "Floor", [F]),
    Case("identity", "Identity", [F]),
    *(Case(f"{op}-f32", op, [F, THIRDS]) for op in ("Add", "Sub", "Mul", "Div")),
    Case("clip", "Clip", [F, np.array(-1, np.float32), np.array(2, np.float32)]),
    Case("clip-high-only", "Clip", [F, None, np.array(2, np.float32)]),
    Case("clip-i32", "Clip", [X32, np.array(-9, np.int32), np.array(9, np.int32)]),
    Case("max-f32-variadic", "Max", [F, -F, np.array([1], np.float32)]),
]
INTEGER = [
    *(Case(f"{op}-i32", op, [X32, POSITIVE]) for op in ("Add", "Sub", "Max", "Min", "Mod", "Less")),
    Case("mul-i32-wraps", "Mul", [X32, POSITIVE]),
    Case("add-u8-wraps", "Add", [BYTES, BYTES[:1]]),
    Case("div-truncates", "Div", [X32, POSITIVE]),
    Case("div-negative-divisor", "Div", [X32, -POSITIVE]),
    Case("div-exact-negative", "Div", [i32(-4, -3, -2, -1, 0, 1), i32(2)]),
    Case("max-variadic", "Max", [X32, i32(0), POSITIVE]),
    Case("min-single", "Min", [X32]),
    Case("mod-sign-of-divisor", "Mod", [i32(-7, 7, -7, 7), i32(3, 3, -3, -3)]),
    Case("fmod", "Mod", [i32(-7, 7, -7, 7), i32(3, 3, -3, -3)], attributes={"fmod": 1}),
    Case("where", "Where", [X32 > 0, X32, POSITIVE]),
    Case("where-u8", "Where", [BYTES > 9, BYTES, BYTES[:1]]),
    *(
        Case(
            f"shift-{way}-u32".lower(),
            "BitShift",
            [U32, np.array([7], np.uint32)],
            1,
            1,
            {"direction": way},
        )
        for way in ("LEFT", "RIGHT")
    ),
    Case("add-u32-wraps", "Add", [U32, U32[::-1].copy()]),
    Case("sub-u32-wraps", "Sub", [U32[::-1].copy(), U32]),
    Case("mul-u32-wraps", "Mul", [U32, U32]),
    Case("max-u32", "Max", [U32, U32[::-1].copy()]),
    Case("less-u32", "Less", [U32, U32[::-1].copy()]),
    Case("div-u32", "Div", [U32, np.array([3], np.uint32)]),
    Case("add-i64", "Add", [i64(2**40, -(2**40)), i64(2**33)]),
    *(Case(f"{op}-u8", op, [BYTES, BYTES[::-1].copy()], 2) for op in ("Sub", "Mul", "Min", "Max")),
    Case("mul-i32-scalar", "Mul", [X32, np.array(0, np.int32)]),
]
CASTS = [
    Case(f"cast-{a.dtype.name}-{to}", "Cast", [a], attributes={"to": getattr(TensorProto, onnx_to)})
    for a, to, onnx_to in (
        (F[:-1], "int32", "INT32"),
        (F[3:9], "uint8", "UINT8"),
        (np.abs(F), "uint32", "UINT32"),
        (np.abs(F[:-1]), "uint16", "UINT16"),
        (F, "float64", "DOUBLE"),
        (X32, "float64", "DOUBLE"),
        (BYTES, "int32", "INT32"),
        (BYTES, "float32", "FLOAT"),
        (np.array([0.0, 1.999, 2.0**31 - 1, -7.5]), "int32", "INT32"),
        (F, "int64", "INT64"),
        (F, "bool", "BOOL"),
        (X32, "uint8", "UINT8"),
        (X32, "uint16", "UINT16"),
        (X32, "uint32", "UINT32"),
        (X32, "int8", "INT8"),
        (i32(2**24 + 1, 2**31 - 1, -(2**24) - 3), "float32", "FLOAT"),
        (i64(2**53 + 1, 2**62 + 1), "float64", "DOUBLE"),
        (i64(2**40 + 5, -1), "int32", "INT32"),
        (U16, "float32", "FLOAT"),
        (U16, "int32", "INT32"),
        (U32, "float32", "FLOAT"),
        (U32, "int32", "INT32"),
        (U32, "int64", "INT64"),
        (X32 > 0, "int32", "INT32"),
    )
]
ROWS = RNG.integers(0, 256, (9, 4)).astype(np.uint8)
MOVES = [
    Case("gather-rows", "Gather", [ROWS, RNG.integers(0, 9, (5, 3)).astype(np.int32)]),
    Case("gather-negative", "Gather", [ROWS, i64(-1, 0, -9)]),
    Case("gather-scalar", "Gather", [ROWS, np.array(3, np.int64)]),
    Case("gather-axis", "Gather", [ROWS, i32(1, 1, 3)], attributes={"axis": -1}),
    Case("gather-fed-index", "Gather", [ROWS, i64(-2, 2)], feeds=2),
    Case("gather-u16", "Gather", [U16, i32(4, 0, 3)]),
    Case("gather-u32", "Gather", [U32, i32(4, 0, 3)]),
    Case("lookup", "GatherElements", [BYTES.reshape(-1), i32(0, 255, -1, 7)]),
    Case("gather-elements", "GatherElements", [X32, i64(0, -1, 2, 1, 1, 0).reshape(2, 3)]),
    Case(
        "gather-elements-axis",
        "GatherElements",
        [X32, i64(0, -1, 5, 1).reshape(2, 2)],
        2,
        1,
        {"axis": 1},
    ),
    Case("reshape", "Reshape", [X32, i64(0, -1, 2)]),
    Case("reshape-fed", "Reshape", [X32, i64(3, 8)], feeds=1),
    Case("transpose", "Transpose", [IMAGE], attributes={"perm": [0, 2, 3, 1]}),
    Case("transpose-default", "Transpose", [IMAGE]),
    Case("transpose-u16", "Transpose", [U16.reshape(1, 5)]),
    Case("concat", "Concat", [ROWS, ROWS[:2]], feeds=2, attributes={"axis": 0}),
    Case("concat-u16", "Concat", [U16, U16], attributes={"axis": -1}),
    Case("slice", "Slice", [X32, i64(1), i64(2**31 - 1), i64(1), i64(2)]),
    Case("slice-two-axes", "Slice", [X32, i64(0, -4), i64(3, -1)]),
    Case("slice-backwards", "Slice", [X32, i64(-1), i64(-(2**31)), i64(1), i64(-2)]),
    Case("slice-i32-bounds", "Slice", [X32, i32(1), i32(4), i32(0)]),
    Case("split", "Split", [X32], outputs=2, attributes={"axis": 1, "num_outputs": 2}),
    Case("split-uneven", "Split", [X32[1:]], outputs=2, attributes={"num_outputs": 2}),
    Case("split-sizes", "Split", [X32, i64(1, 5)], outputs=2, attributes={"axis": 1}),
    Case("squeeze", "Squeeze", [IMAGE[:, :1], i64(0, -3)]),
    Case("squeeze-all", "Squeeze", [IMAGE[:, :1]]),
    Case("unsqueeze", "Unsqueeze", [X32, i64(0, -1)]),
    Case("expand", "Expand", [X32[:, None], i64(2, 1, 3, 1)]),
    Case("pad", "Pad", [X32, i64(1, 2, 0, 3), np.array(9, np.int32)]),
    Case("pad-default", "Pad", [X32, i64(1, 0, 0, 1)]),
    Case("pad-axes", "Pad", [X32, i64(2, 1), None, i64(-1)]),
    Case("pad-crops", "Pad", [X32, i64(-1, 0, 1, -2), np.array(5, np.int32)]),
    Case("shape", "Shape", [IMAGE]),
    Case("shape-part", "Shape", [IMAGE], attributes={"start": -2}),
    Case("cum-sum", "CumSum", [X32, np.array(0, np.int32)]),
    Case("cum-sum-last-axis", "CumSum", [X32, np.array(-1, np.int64)]),
    Case("range", "Range", [np.array(n, np.int32) for n in (3, 17, 4)], 3),
    Case("range-down", "Range", [np.array(n, np.int64) for n in (9, 0, -2)], 3),
    Case(
        "constant-of-shape",
        "ConstantOfShape",
        [i64(2, 3)],
        attributes={"value": numpy_helper.from_array(np.array([7], np.int32))},
    ),
    Case("constant-of-shape-default", "ConstantOfShape", [i64(2, 3)]),
]
A8 = np.vstack([np.zeros(16), np.full(16, 255), RNG.integers(0, 256, (6, 16))]).astype(np.uint8)
B8 = RNG.integers(0, 256, (16, 5)).astype(np.uint8)
PRODUCTS = [
    Case("mmi-u8u8", "MatMulInteger", [A8, B8, np.array(3, np.uint8), np.array(128, np.uint8)]),
    Case("mmi-u8s8", "MatMulInteger", [A8, B8.astype(np.int8) // 2]),
    Case("mmi-s8s8", "MatMulInteger", [A8.view(np.int8), B8.view(np.int8)]),
    Case("mmi-b-zero-only", "MatMulInteger", [A8, B8, None, np.array(128, np.uint8)]),
    Case(
        "mmi-zero-a-column",
        "MatMulInteger",
        [A8, B8, np.array(0, np.uint8), RNG.integers(0, 256, 5).astype(np.uint8)],
    ),
    Case("mmi-batched", "MatMulInteger", [A8.reshape(2, 4, 16), B8, np.array(9, np.uint8)]),
    Case("mmi-fed", "MatMulInteger", [A8, B8, np.array(7, np.uint8), np.array(1, np.uint8)], 4),
    Case("matmul-i32", "MatMul", [A8.astype(np.int32) - 100, B8.astype(np.int32) - 128]),
    Case("matmul-i32-wraps", "MatMul", [A8.astype(np.int32) << 16, B8.astype(np.int32)]),
    Case("matmul-i32-fed", "MatMul", [A8.astype(np.int32), B8.astype(np.int32)], 2),
    Case("matmul-f32", "MatMul", [A8.astype(np.float32), B8.astype(np.float32)]),
    Case("matmul-f64", "MatMul", [A8.astype(np.float64) * 2**20, B8.astype(np.float64) * 2**16]),
]
F64 = np.array([-2.5, -0.0, 0.5, 2.0**40 + 0.75, -(2.0**52)])
PRODUCTS += [
    *(Case(f"{op}-f64", op, [F64, F64[::-1].copy()]) for op in ("Add", "Mul", "Max", "Min")),
    Case("floor-f64", "Floor", [F64]),
]
TIES = np.concatenate([np.arange(-600, 600) / 2, [1e9, -1e9, 70000.5]]).astype(np.float32)
NCHW = (RNG.integers(-900, 900, (1, 3, 4, 4)) / 8).astype(np.float32)


def quantize(name: str, x: Array, scale: object, zero: object, dtype: str, **more: int) -> Case:
    inputs = [x, np.array(scale, np.float32), np.array(zero, dtype)]
    return Case(f"q-{name}", "QuantizeLinear", inputs, attributes=dict(more))


QUANTIZATION = [
    *(quantize(d, TIES, 1, 0, d) for d in ("uint8", "int8", "uint16", "int16")),
    *(quantize(f"{d}-odd-zero", TIES, 1, 3, d) for d in ("uint8", "int8", "uint16", "int16")),
    quantize("thirds", TIES, 0.3, 11, "uint8"),
    quantize("per-axis", NCHW, [0.25, 1, 3], [1, 2, 255], "uint8", axis=1),
    quantize("per-axis-s16", NCHW, [0.25, 1, 3], [0, 0, 0], "int16", axis=1),
    quantize("one-channel-list", TIES, 0.5, 7, "uint8", axis=0),
    Case("q-default-u8", "QuantizeLinear", [TIES, np.array(0.5, np.float32)]),
    *(
        Case(
            f"dq-{a.dtype.name}",
            "DequantizeLinear",
            [a, np.array(0.1, np.float32), np.array(3, a.dtype)],
        )
        for a in (BYTES, BYTES.view(np.int8), U16, U16.view(np.int16))
    ),
    Case("dq-int32", "DequantizeLinear", [X32, np.array(0.1, np.float32)]),
    Case(
        "dq-int32-per-axis",
        "DequantizeLinear",
        [X32, (np.arange(6) / 7 + 0.1).astype(np.float32)],
        1,
        1,
        {"axis": 1},
    ),
    Case(
        "dq-weights",
        "DequantizeLinear",
        [B8.view(np.int8), np.full(16, 0.3, np.float32), np.zeros(16, np.int8)],
        attributes={"axis": 0},
    ),
]
Q8 = RNG.integers(0, 256, (1, 3, 5, 7)).astype(np.uint8)
W8 = RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
PER_CHANNEL = np.array([0.01, 0.003, 0.02, 0.005], np.float32)
QUANTIZATION += [
    Case(
        f"qlinear-conv-{name}",
        "QLinearConv",
        [
            Q8, np.array(0.03, np.float32), np.array(zero, np.uint8), W8, PER_CHANNEL, np.zeros(4, np.int8),
            np.array(0.7, np.float32), np.array(out_zero, np.uint8),
            *([np.array([100, -2000, 0, 7], np.int32)] if biased else []),
        ],
        attributes={"pads": [1, 1, 1, 1]},
    )
    for name, zero, out_zero, biased in (("plain", 0, 0, False), ("biased", 131, 117, True))
]  # fmt: skip
CASES = [*CONV, *FLOAT, *INTEGER, *CASTS, *MOVES, *PRODUCTS, *QUANTIZATION]

# Sides of powers of two, and positions in quarters of a pixel: float32 is exact. Simulated DSPs resample no floats.
SQUARE = whole(1, 3, 4, 8)
VOLUME = whole(1, 3, 2, 4, 8)


def grid(*sides: int) -> NDArray[np.float32]:
    """Positions in and around a picture or volume of these sides, the last one's first."""
    quarters = RNG.integers(-6, 4 * np.array(sides[::-1]) + 6, (1, *(3,) * len(sides), len(sides)))
    return ((quarters / 4 + 0.5) * 2 / np.array(sides[::-1]) - 1).astype(np.float32)


RESAMPLING = [
    Case("pool", "AveragePool", [SQUARE], attributes={"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("pool-overlapping", "AveragePool", [SQUARE], attributes={"kernel_shape": [2, 4]}),
    *(
        Case(f"resize-{down}x{along}", "Resize", [SQUARE, None, np.array([1, 1, down, along], np.float32)],
             attributes={"mode": "linear"})
        for down, along in ((2, 2), (4, 1))
    ),
    *(
        Case(f"grid-sample-{len(sides)}d-{padding}-{corners}", "GridSample", [x, grid(*sides)], 2,
             attributes={"mode": "linear", "padding_mode": padding, "align_corners": corners})
        for x, sides in ((SQUARE, (4, 8)), (VOLUME, (2, 4, 8)))
        for padding, corners in (("border", 0), ("zeros", 0))
    ),
    Case("pad-edge", "Pad", [SQUARE, i64(0, 0, 2, 3, 0, 0, 1, 9)], attributes={"mode": "edge"}),
    Case("pad-edge-i32", "Pad", [X32, i64(5, 0), None, i64(-1)], attributes={"mode": "edge"}),
    Case("pad-edge-crops", "Pad", [X32, i64(-1, 2, 1, -2)], attributes={"mode": "edge"}),
]  # fmt: skip
REFUSED = [
    Case("pool-ceil", "AveragePool", [SQUARE], attributes={"kernel_shape": [3, 3], "ceil_mode": 1}),
    Case("pool-pads", "AveragePool", [SQUARE], attributes={"kernel_shape": [2, 2], "pads": [1] * 4}),
    Case("pool-line", "AveragePool", [SQUARE[0]], attributes={"kernel_shape": [2]}),
    Case("resize-nearest", "Resize", [SQUARE, None, np.array([1, 1, 2, 2], np.float32)]),
    Case("resize-part", "Resize", [SQUARE, None, np.array([1, 1, 1.5, 2], np.float32)],
         attributes={"mode": "linear"}),
    Case("resize-channels", "Resize", [SQUARE, None, np.array([1, 2, 2, 2], np.float32)],
         attributes={"mode": "linear"}),
    Case("grid-sample-nearest", "GridSample", [SQUARE, grid(4, 8)], attributes={"mode": "nearest"}),
    Case("pad-reflect", "Pad", [SQUARE, i64(0, 0, 1, 1, 0, 0, 1, 1)], attributes={"mode": "reflect"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("walker", WALKERS)
def test_operator_equals_onnx_runtime(walker: str, case: Case) -> None:
    assert_equals_onnx_runtime(walker, case)


@pytest.mark.parametrize("case", RESAMPLING, ids=lambda case: case.name)
@pytest.mark.parametrize("walker", ["torch", "torch-nomkldnn"])
def test_resampling_equals_onnx_runtime(walker: str, case: Case) -> None:
    assert_equals_onnx_runtime(walker, case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_torch_would_resample_otherwise_is_refused(case: Case) -> None:
    with pytest.raises(Unsupported, match="implemented"):
        PLATFORMS["torch"].open().load(case.model())


def assert_equals_onnx_runtime(walker: str, case: Case) -> None:
    model = case.model()
    expected = PLATFORMS["ort-cpu-noopt"].open().load(model).run(case.given())
    session = PLATFORMS[walker].open().load(model)
    feeds = {name: array.copy() for name, array in case.given().items()}
    for array in feeds.values():
        array.flags.writeable = False  # a trace's tensors are
    for _ in range(2):
        got = session.run(feeds)
        assert list(got) == list(expected)
        for name, want in expected.items():
            assert isinstance(got[name], np.ndarray)
            assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape)
            assert got[name].tobytes() == want.tobytes(), (got[name], want)


def test_case_names_are_distinct() -> None:
    names = [case.name for case in (*CASES, *RESAMPLING, *REFUSED)]
    assert len(set(names)) == len(names)
