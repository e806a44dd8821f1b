"""Elementwise ONNX operators in numpy."""

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import onnx

from harness.graph_node import Array, Node, Numbers
from harness.interpreter import Kernel, Prepare


def _plain(function: Callable[..., Array]) -> Prepare[Array]:
    return lambda _: function


def _divide(a: Numbers, b: Numbers) -> Array:
    """Of integers, the quotient truncated toward zero: numpy's own floor is another function."""
    if a.dtype.kind == "f":
        return np.asarray(np.true_divide(a, b))
    quotient = np.floor_divide(a, b)
    if a.dtype.kind == "i":
        inexact = np.multiply(quotient, b) != a
        quotient = quotient + (inexact & ((a < 0) != (b < 0)))
    return np.asarray(quotient, a.dtype)


def _bit_shift(node: Node[Array]) -> Kernel[Array]:
    return np.left_shift if node.text("direction", "") == "LEFT" else np.right_shift


def _cast(node: Node[Array]) -> Kernel[Array]:
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0)))
    return lambda x: x.astype(dtype, copy=False)


def _clip(node: Node[Array]) -> Kernel[Array]:
    low = node.number("min", -np.inf) if "min" in node.attributes else None
    high = node.number("max", np.inf) if "max" in node.attributes else None

    def kernel(x: Numbers, least: Array | None = None, most: Array | None = None) -> Array:
        least = least if low is None else np.asarray(low, x.dtype)
        most = most if high is None else np.asarray(high, x.dtype)
        return x if least is None and most is None else np.clip(x, least, most)

    return kernel


def _leaky_relu(node: Node[Array]) -> Kernel[Array]:
    alpha = node.number("alpha", 0.01)

    def kernel(x: Numbers) -> Array:
        return np.where(x < 0, x * x.dtype.type(alpha), x)

    return kernel


def _relu(x: Numbers) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def _variadic(function: Callable[[Array, Array], Array]) -> Prepare[Array]:
    return _plain(lambda *values: reduce(function, values))


ELEMENTWISE: Mapping[str, Prepare[Array]] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "BitShift": _bit_shift,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _plain(_divide),
    "Floor": _plain(np.floor),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Less": _plain(np.less),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Mod": lambda node: np.fmod if node.integer("fmod", 0) else np.mod,
    "Mul": _plain(np.multiply),
    "Relu": _plain(_relu),
    "Sqrt": _plain(np.sqrt),
    "Sub": _plain(np.subtract),
    "Where": _plain(np.where),
}
