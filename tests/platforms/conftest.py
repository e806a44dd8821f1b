"""A small integer network as an artifact: gathered rows, a product, `Requantize` functions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("crosscheck", 1)]
CHANNELS = 6
TAPS = 4
ROWS = 12
# Half the layers' channels have ties, the others a multiplier that is no power of two.
MULTIPLIERS = np.array([1, 1, 1, 3, 41, 97], np.int32)
SHIFTS = np.array([6, 7, 8, 9, 12, 14], np.int32)
BIASES = np.array([-40, 0, 32, 7, -1000, 999], np.int32)


def requantize_function() -> onnx.FunctionProto:
    """The body in plain int32: a division of numbers that an offset made non-negative."""
    two = numpy_helper.from_array(np.array(2, np.int32))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Add", ["acc", "bias"], ["sum"]),
        helper.make_node("Mul", ["sum", "multiplier"], ["product"]),
        helper.make_node("Div", ["divisor", "two"], ["half"]),
        helper.make_node("Add", ["product", "half"], ["risen"]),
        # max(risen, low * divisor) - low * divisor is not negative: Div truncates like floor.
        helper.make_node("Mul", ["low", "divisor"], ["floor"]),
        helper.make_node("Max", ["risen", "floor"], ["kept"]),
        helper.make_node("Sub", ["kept", "floor"], ["positive"]),
        helper.make_node("Div", ["positive", "divisor"], ["quotient"]),
        helper.make_node("Add", ["quotient", "low"], ["value"]),
        helper.make_node("Min", ["value", "high"], ["out"]),
    ]
    inputs = ["acc", "bias", "multiplier", "divisor", "low", "high"]
    return helper.make_function("crosscheck", "Requantize", inputs, ["out"], nodes, [OPSETS[0]])


@dataclass(frozen=True)
class SmallNet:
    """gather, MatMulInteger, Requantize, LeakyReLU, lookup; `reference` is plain int64."""

    weight: NDArray[np.int8]
    index: I32

    def reference(self, x: NDArray[np.uint8]) -> dict[str, NDArray[np.integer]]:
        rows = np.vstack([x, np.zeros((1, CHANNELS), np.uint8)]).astype(np.int64)
        columns = rows[self.index].reshape(ROWS, -1)
        accumulator = columns @ self.weight.astype(np.int64)
        hidden = half_up(accumulator + BIASES, MULTIPLIERS, SHIFTS, -128, 127)
        leaky = np.maximum(hidden, half_up(hidden, 41, 12, -128, 127))
        return {
            "accumulator": accumulator.astype(np.int32),
            "hidden": hidden.astype(np.int32),
            "leaky": leaky.astype(np.int32),
            "indexes": ((leaky + 128) // 4).astype(np.uint8),
        }

    def artifact(self) -> bytes:
        constants = {
            "pad": np.zeros((1, CHANNELS), np.uint8),
            "index": self.index,
            "shape": np.array([ROWS, -1], np.int64),
            # u8u8, the form that is exact on every machine.
            "weight": (self.weight.astype(np.int32) + 128).astype(np.uint8),
            "a_zero": np.array(0, np.uint8),
            "b_zero": np.array(128, np.uint8),
            "bias": BIASES,
            "multiplier": MULTIPLIERS,
            "divisor": (1 << SHIFTS).astype(np.int32),
            "low": np.full(CHANNELS, -128, np.int32),
            "high": np.full(CHANNELS, 127, np.int32),
            "zero": np.array(0, np.int32),
            "slope": np.array(41, np.int32),
            "slope_divisor": np.array(4096, np.int32),
            "offset": np.array(128, np.int32),
            "table": (np.arange(256) // 4).astype(np.uint8),
            "flat": np.array([-1], np.int64),
            "square": np.array([ROWS, CHANNELS], np.int64),
        }
        first = ["accumulator", "bias", "multiplier", "divisor", "low", "high"]
        leak = ["hidden", "zero", "slope", "slope_divisor", "low", "high"]
        nodes = [
            helper.make_node("Concat", ["x", "pad"], ["padded"], axis=0),
            helper.make_node("Gather", ["padded", "index"], ["taps"]),
            helper.make_node("Reshape", ["taps", "shape"], ["columns"]),
            helper.make_node(
                "MatMulInteger", ["columns", "weight", "a_zero", "b_zero"], ["accumulator"]
            ),
            helper.make_node("Requantize", first, ["hidden"], domain="crosscheck"),
            helper.make_node("Requantize", leak, ["leak"], domain="crosscheck"),
            helper.make_node("Max", ["hidden", "leak"], ["leaky"]),
            helper.make_node("Add", ["leaky", "offset"], ["entry"]),
            helper.make_node("Reshape", ["entry", "flat"], ["entries"]),
            helper.make_node("GatherElements", ["table", "entries"], ["found"]),
            helper.make_node("Reshape", ["found", "square"], ["indexes"]),
        ]
        types = {"indexes": TensorProto.UINT8}
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [ROWS, CHANNELS])],
            [
                helper.make_tensor_value_info(
                    name, types.get(name, TensorProto.INT32), [ROWS, CHANNELS]
                )
                for name in ("accumulator", "hidden", "leaky", "indexes")
            ],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=OPSETS, ir_version=10, functions=[requantize_function()]
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def half_up(x: I64, multiplier: object, shift: object, low: int, high: int) -> I64:
    m, s = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    return np.clip((x * m + (np.int64(1) << (s - 1))) >> s, low, high)


@pytest.fixture
def small_net() -> Callable[[int], SmallNet]:
    """A network with weights of at most the given magnitude."""

    def make(magnitude: int) -> SmallNet:
        rng = np.random.default_rng(3)
        weight = rng.integers(-magnitude, magnitude, (TAPS * CHANNELS, CHANNELS), endpoint=True)
        weight[:, 0] = magnitude
        weight[:, 1] = -magnitude
        index = rng.integers(0, ROWS + 1, (ROWS, TAPS)).astype(np.int32)
        return SmallNet(weight=weight.astype(np.int8), index=index)

    return make


@pytest.fixture
def activations() -> NDArray[np.uint8]:
    """Rows: all-min, all-max, alternating, one-hot, then random."""
    x = np.random.default_rng(5).integers(0, 256, (ROWS, CHANNELS)).astype(np.uint8)
    x[0], x[1], x[2], x[3] = 0, 255, np.resize([0, 255], CHANNELS), np.eye(1, CHANNELS)[0] * 255
    return x
