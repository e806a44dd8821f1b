"""The smallest graphs that show the deviations of the linter's table, by its rules: what to run, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from harness.bisect.sides import Feeds
from harness.case import rng
from harness.taps import Graph

Array = NDArray[np.generic]
RIGHT = "ort-cpu"


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A graph that the first platform runs as ONNX defines it, and the second one does not."""

    graph: Graph
    feeds: Feeds
    platforms: tuple[str, str]


def _specimen(
    nodes: Sequence[NodeProto],
    x: Array,
    constants: Mapping[str, Array],
    wrong: str,
    right: str = RIGHT,
    *,
    result: int = 0,
) -> Specimen:
    """`x` is fed, `y` comes out: of the type of `x`, or of type `result`."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", result or kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    graph = Graph.of(model.SerializeToString(), "small")
    return Specimen(graph=graph, feeds={"x": x}, platforms=(right, wrong))


def _alone(
    operator: str, x: Array, c: Array, wrong: str = "openvino-f32", **attributes: str
) -> Specimen:
    """One operator with a constant."""
    node = helper.make_node(operator, ["x", "c"], ["y"], **attributes)
    return _specimen([node], x, {"c": c}, wrong)


def _wide(salt: str, dtype: type) -> Array:
    """Numbers up to the ends of the type, one of them just above 2^24."""
    limits = np.iinfo(dtype)
    drawn = rng(f"divergences/openvino-{salt}").integers(limits.min, limits.max, 24, dtype)
    return np.concatenate([np.array([5, 2**24 + 1, limits.min, limits.max], dtype), drawn])


def _int32_fused() -> Specimen:
    generator = rng("divergences/openvino-int32-fused")
    x = generator.integers(0, 256, (4, 40)).astype(np.uint8)
    constants = {
        "w": generator.integers(0, 256, (40, 3)).astype(np.uint8),
        "x_zero": np.array(0, np.uint8),
        "w_zero": np.array(128, np.uint8),
        "factor": generator.integers(1000, 3000, 3).astype(np.int32),
        "offset": generator.integers(0, 2**20, 3).astype(np.int32),
    }
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w", "x_zero", "w_zero"], ["sums"]),
        helper.make_node("Mul", ["sums", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["y"]),
    ]
    return _specimen(nodes, x, constants, "openvino-f32", result=TensorProto.INT32)


def _offset_inside() -> Specimen:
    generator = rng("divergences/openvino-offset-inside")
    x = generator.integers(0, 256, (4, 40)).astype(np.float32)
    constants = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "w": generator.integers(-127, 128, (40, 3)).astype(np.int8),
        "scale": generator.uniform(0.001, 1, 3).astype(np.float32),
        "offset": generator.uniform(-200, 200, 3).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("MatMulInteger", ["q", "w"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["y"]),
    ]
    return _specimen(nodes, x, constants, "openvino-f32")


def _int32_sums() -> Specimen:
    generator = rng("divergences/openvino-int32-sums")
    x = generator.integers(0, 2**12, (4, 24)).astype(np.int32)
    w = generator.integers(-(2**12), 2**12, (24, 3)).astype(np.int32)
    return _alone("MatMul", x, w)


def _quantize_tie() -> Specimen:
    """Quarters in steps of a half: every second one is a tie. An odd zero point turns ties around."""
    x = (np.arange(-20, 44, dtype=np.float32) / 4).astype(np.float32)
    constants = {"scale": np.array(0.5, np.float32), "zero": np.array(5, np.uint8)}
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    return _specimen([node], x, constants, "openvino-f32", result=TensorProto.UINT8)


def _reference_qlinear() -> Specimen:
    constants = {
        "half": np.array(0.5, np.float32),
        "one": np.array(1, np.float32),
        "x_zero": np.array(0, np.uint8),
        "w": np.array([[1, 2], [3, 4]], np.int8).reshape(2, 2, 1, 1),
        "w_zero": np.array(0, np.int8),
        "y_zero": np.array(5, np.uint8),
    }
    names = ["x", "half", "x_zero", "w", "one", "w_zero", "one", "y_zero"]
    x = np.arange(32, dtype=np.uint8).reshape(1, 2, 4, 4)
    node = helper.make_node("QLinearConv", names, ["y"])
    return _specimen([node], x, constants, "onnx-reference")


def _dequantize_axis() -> Specimen:
    x = rng("divergences/tract-dequantize-axis").integers(-128, 128, (1, 3, 2, 2)).astype(np.int8)
    constants = {
        "scale": np.array([0.5, 0.25, 3.0], np.float32),
        "zero": np.array([1, 2, 3], np.int8),
    }
    node = helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["y"], axis=1)
    return _specimen([node], x, constants, "tract", result=TensorProto.FLOAT)


def _int64_minmax() -> Specimen:
    """Beside the simulated machine, which has it right."""
    x = np.array([2**31, 2**31 + 5, 7, -3, 2**33 + 1, 2**32 - 1, 0, -(2**31)], np.int64)
    node = helper.make_node("Max", ["x", "c"], ["y"])
    return _specimen([node], x, {"c": np.array(0)}, "ort-cpu", "dsp-exact32")


def _neon_pair_wrap() -> Specimen:
    """Products of -128 and -128, once 128 is taken from the activations."""
    generator = rng("divergences/neon-pair-wrap")
    x = generator.choice([0, 1, 200], (4, 40)).astype(np.uint8)
    w = generator.choice([-128, -127, 100], (40, 3)).astype(np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    return _specimen([node], x, {"w": w}, "ort-a72", result=TensorProto.INT32)


SEVEN = np.array(7, np.int32)
SPECIMENS: Mapping[str, Specimen] = {
    "neon-pair-wrap": _neon_pair_wrap(),
    "onnx-reference-qlinear": _reference_qlinear(),
    "openvino-float64": _alone("Add", _wide("float64", np.int32).astype(np.float64), np.array(1.0)),
    "openvino-int32-div": _alone("Div", _wide("int32-div", np.int32), SEVEN),
    "openvino-int32-fused": _int32_fused(),
    "openvino-int32-mod": _alone("Mod", _wide("int32-mod", np.int32), SEVEN),
    "openvino-int32-sums": _int32_sums(),
    # The constant is one that 32 bits do not hold.
    "openvino-int64": _alone("Add", _wide("int64", np.int64), np.array(2**33 + 1)),
    "openvino-offset-inside": _offset_inside(),
    "openvino-quantize": _quantize_tie(),
    "openvino-uint32-shift": _alone(
        "BitShift", _wide("uint32-shift", np.uint32), np.array(3, np.uint32), direction="RIGHT"
    ),
    "ort-int64-minmax": _int64_minmax(),
    "tract-dequantize-axis": _dequantize_axis(),
}
