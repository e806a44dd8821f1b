"""Elementwise ONNX operators in torch."""

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare
from harness.torch_ops.dtypes import elements, wide


def _plain(function: Callable[..., Tensor]) -> Prepare[Tensor]:
    return lambda _: wide(function)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Prepare[Tensor]:
    return _plain(lambda *values: reduce(function, values))


def _clip(node: Node[Tensor]) -> Kernel[Tensor]:
    low = node.number("min", -np.inf) if "min" in node.attributes else None
    high = node.number("max", np.inf) if "max" in node.attributes else None

    def kernel(x: Tensor, least: Tensor | None = None, most: Tensor | None = None) -> Tensor:
        if low is not None or high is not None:
            return x.clamp(low, high)
        return x if least is None and most is None else x.clamp(least, most)

    return kernel


def _mod(node: Node[Tensor]) -> Kernel[Tensor]:
    return wide(torch.fmod if node.integer("fmod", 0) else torch.remainder)


def _bit_shift(node: Node[Tensor]) -> Kernel[Tensor]:
    left = node.text("direction", "") == "LEFT"
    return wide(torch.bitwise_left_shift if left else torch.bitwise_right_shift)


def _leaky_relu(node: Node[Tensor]) -> Kernel[Tensor]:
    alpha = node.number("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, alpha)


def _cast(node: Node[Tensor]) -> Kernel[Tensor]:
    dtype = elements(node.integer("to", 0))
    return lambda x: x.to(dtype)


ARITHMETIC: Mapping[str, Prepare[Tensor]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "BitShift": _bit_shift,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _plain(_divide),
    "Floor": _plain(torch.floor),
    "Identity": lambda _: lambda x: x,
    "LeakyRelu": _leaky_relu,
    "Less": _plain(torch.lt),
    "Max": _variadic(torch.maximum),
    "Min": _variadic(torch.minimum),
    "Mod": _mod,
    "Mul": _plain(torch.mul),
    "Relu": _plain(torch.relu),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Where": lambda _: torch.where,
}
