"""8-bit convolutions of a graph in oneDNN's own 8-bit kernel; every other operator as in torch eager."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import Unsupported
from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import conv_geometry
from harness.torch_ops import OPERATORS


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Where a float tensor comes from: integers, their scale and their zero point."""

    values: Tensor
    scale: Tensor
    zero: Tensor


def _dequantize(in_float: Prepare[Tensor]) -> Prepare[Tensor]:
    """The float values, which remember their integers."""

    def prepare(node: Node[Tensor]) -> Kernel[Tensor]:
        kernel = in_float(node)

        def remember(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
            y = kernel(x, scale, zero)
            y.origin = Quantized(values=x, scale=scale, zero=zero)  # type: ignore[union-attr]
            return y  # type: ignore[return-value]

        return remember

    return prepare


def _conv(in_float: Prepare[Tensor]) -> Prepare[Tensor]:
    """In 8 bits where both factors were; their float values are not looked at then."""

    def prepare(node: Node[Tensor]) -> Kernel[Tensor]:
        kernel, convolve = in_float(node), _native(node)

        def either(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            left, right = getattr(x, "origin", None), getattr(w, "origin", None)
            if left is None or right is None:
                return kernel(x, w, bias)  # type: ignore[return-value]
            return convolve(left, right, bias, 1.0, 0, torch.float32)

        return either

    return prepare


def _qlinear_conv(node: Node[Tensor]) -> Kernel[Tensor]:
    convolve = _native(node)

    def kernel(
        x: Tensor,
        x_scale: Tensor,
        x_zero: Tensor,
        w: Tensor,
        w_scale: Tensor,
        w_zero: Tensor,
        y_scale: Tensor,
        y_zero: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        left = Quantized(values=x, scale=x_scale, zero=x_zero)
        right = Quantized(values=w, scale=w_scale, zero=w_zero)
        added = None if bias is None else bias * (x_scale * w_scale)
        return convolve(left, right, added, float(y_scale), int(y_zero), y_zero.dtype)

    return kernel


def _native(node: Node[Tensor]) -> Callable[..., Tensor]:
    """One call of oneDNN's 8-bit convolution."""
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    if (top, left) != (bottom, right):
        raise Unsupported(f"{node.label}: uneven pads are not implemented")
    strides, padding, dilation = list(geometry.strides), [top, left], [1, 1]

    def convolve(
        x: Quantized,
        w: Quantized,
        bias: Tensor | None,
        scale: float,
        zero: int,
        dtype: torch.dtype,
    ) -> Tensor:
        if (x.values.dtype, w.values.dtype) != (torch.uint8, torch.int8) or bool(w.zero.any()):
            raise Unsupported(f"{node.label}: torch convolves uint8 by int8 with zero point 0 only")
        channels = len(w.values)
        w_scale = w.scale.reshape(-1).expand(channels).contiguous()
        w_zero = torch.zeros(channels, dtype=torch.int32)
        x_scale, x_zero = float(x.scale), int(x.zero)
        packed = torch.ops.onednn.qconv_prepack(
            w.values, w_scale, x_scale, x_zero, strides, padding, dilation, 1, list(x.values.shape)
        )
        made: Tensor = torch.ops.onednn.qconv_pointwise(
            x.values, x_scale, x_zero, packed, w_scale, w_zero, bias,
            strides, padding, dilation, 1, scale, zero, dtype, "none", [], "",
        )  # fmt: skip
        return made.contiguous()

    return convolve


QUANTIZED: Mapping[str, Prepare[Tensor]] = {
    **OPERATORS,
    "Conv": _conv(OPERATORS["Conv"]),
    "DequantizeLinear": _dequantize(OPERATORS["DequantizeLinear"]),
    "QLinearConv": _qlinear_conv,
}
