"""Convolutions, quantization and matrix products of ONNX in torch."""

from collections.abc import Mapping

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Unsupported
from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import conv_geometry, per_axis
from harness.torch_ops.dtypes import elements

FLOAT64_EXACT = 2**53


def _conv(node: Node[Tensor]) -> Kernel[Tensor]:
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    even = (top, left) == (bottom, right)
    padding = (top, left) if even else (0, 0)

    def kernel(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        x = x if even else functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, w, bias, geometry.strides, padding)

    return kernel


def _conv_transpose(node: Node[Tensor]) -> Kernel[Tensor]:
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    if (top, left) != (bottom, right):
        raise Unsupported(f"{node.label}: uneven pads are not implemented")
    return lambda x, w, bias=None: functional.conv_transpose2d(
        x, w, bias, geometry.strides, (top, left), geometry.output_padding
    )


def _quantize(node: Node[Tensor]) -> Kernel[Tensor]:
    axis = node.integer("axis", 1)
    chosen = node.integer("output_dtype", 0) or int(onnx.TensorProto.UINT8)

    def kernel(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        dtype = elements(chosen) if zero is None else zero.dtype
        shape = per_axis(scale.shape, x.ndim, axis)
        # A division, not a product with 1 / scale: they differ next to ties.
        y = torch.round(x.to(torch.float32) / scale.reshape(shape))
        if zero is not None:
            y = y + zero.to(torch.float32).reshape(shape)
        limits = torch.iinfo(dtype)
        return y.clamp(limits.min, limits.max).to(dtype)

    return kernel


def _qlinear_conv(node: Node[Tensor]) -> Kernel[Tensor]:
    """Exact sums in float64, rescaled in float32 as ONNX Runtime does."""
    convolve = _conv(node)

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
        weight = w.to(torch.float64) - w_zero.to(torch.float64).reshape(-1, 1, 1, 1)
        added = None if bias is None else bias.to(torch.float64)
        sums = convolve(x.to(torch.float64) - x_zero.to(torch.float64), weight, added)
        assert isinstance(sums, Tensor)
        scale = (x_scale * w_scale / y_scale).reshape(-1, 1, 1)
        rounded = torch.round(sums.to(torch.float32) * scale) + y_zero.to(torch.float32)
        limits = torch.iinfo(y_zero.dtype)
        return rounded.clamp(limits.min, limits.max).to(y_zero.dtype)

    return kernel


def _dequantize(node: Node[Tensor]) -> Kernel[Tensor]:
    axis = node.integer("axis", 1)

    def kernel(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        shape = per_axis(scale.shape, x.ndim, axis)
        x = x.to(torch.int32)
        if zero is not None:
            x = x - zero.to(torch.int32).reshape(shape)
        return x.to(scale.dtype) * scale.reshape(shape)

    return kernel


def _integer_carrier(value: Tensor) -> torch.dtype:
    """CUDA has no integer matmul in torch; float64 is exact where every sum stays below 2^53."""
    return torch.float64 if value.is_cuda else torch.int32


def _weight(b: Tensor, zero: Tensor | None) -> Tensor:
    w = b.to(torch.int32)
    return (w if zero is None else w - zero.to(torch.int32)).to(_integer_carrier(b))


def _matmul_integer(node: Node[Tensor]) -> Kernel[Tensor]:
    fixed = node.constants.get(1)
    if fixed is not None and (node.inputs <= 3 or 3 in node.constants):  # noqa: PLR2004 - b's zero
        fixed = _weight(fixed, node.constants.get(3))
    else:
        fixed = None

    def kernel(
        a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
    ) -> Tensor:
        weight = _weight(b, b_zero) if fixed is None else fixed
        x = a.to(weight.dtype)
        if a_zero is not None:
            x -= a_zero.to(x.dtype).unsqueeze(-1) if a_zero.ndim == 1 else a_zero.to(x.dtype)
        return torch.matmul(x, weight).to(torch.int32)

    return kernel


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point() or not a.is_cuda:
        return torch.matmul(a, b)
    left, right = a.to(torch.float64), b.to(torch.float64)
    if float(left.abs().amax() * right.abs().amax()) * a.shape[-1] >= FLOAT64_EXACT:
        raise Unsupported("integer MatMul in torch CUDA: sums may reach 2^53")
    return torch.matmul(left, right).to(torch.int64).to(a.dtype)


LAYERS: Mapping[str, Prepare[Tensor]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "MatMul": lambda _: _matmul,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QuantizeLinear": _quantize,
}
