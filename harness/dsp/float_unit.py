"""The float unit of the simulated DSP: numpy float32, for graphs that are not integer-only."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.graph_node import Array, Integers, Node, Numbers
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import ConvGeometry, conv_geometry, per_axis

F32 = NDArray[np.float32]


def _columns(
    x: Array, kernel: tuple[int, ...], geometry: ConvGeometry
) -> tuple[Array, tuple[int, ...]]:
    """im2col: [images, taps, pixels], ordered as weights are, and the shape of what they make."""
    top, left, bottom, right = geometry.pads
    down, along = geometry.strides
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, (1, 1, *kernel))[:, :, ::down, ::along, 0, 0]
    count, _, height, width = windows.shape[:4]
    patches = windows.transpose(0, 1, 4, 5, 2, 3).reshape(count, -1, height * width)
    return patches, (count, -1, height, width)


def _conv(node: Node[Array]) -> Kernel[Array]:
    """One matrix product an image."""
    geometry = conv_geometry(node)

    def kernel(x: F32, w: F32, bias: F32 | None = None) -> Array:
        patches, shape = _columns(x, w.shape[2:], geometry)
        out = np.matmul(w.reshape(w.shape[0], -1), patches)
        if bias is not None:
            out += bias[:, None]
        return np.reshape(out, shape)

    return kernel


def _conv_transpose(node: Node[Array]) -> Kernel[Array]:
    """One matrix product an image, then each tap is added at its offset, and the borders cut."""
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    down, along = geometry.strides

    def kernel(x: F32, w: F32, bias: F32 | None = None) -> Array:
        count, channels, height, width = x.shape
        _, features, rows, columns = w.shape
        product = np.matmul(w.reshape(channels, -1).T, x.reshape(count, channels, -1))
        taps = product.reshape(count, features, rows, columns, height, width)
        tall = (height - 1) * down + rows + geometry.output_padding[0]
        wide = (width - 1) * along + columns + geometry.output_padding[1]
        full = np.zeros((count, features, tall, wide), np.float32)
        for u in range(rows):
            for v in range(columns):
                at = np.s_[:, :, u : u + down * height : down, v : v + along * width : along]
                full[at] += taps[:, :, u, v]
        out = full[:, :, top : tall - bottom, left : wide - right]
        if bias is not None:
            out += bias[:, None, None]
        return out

    return kernel


def _quantize(node: Node[Array]) -> Kernel[Array]:
    """saturate(round-half-even(x / scale) + zero point), as ONNX defines it."""
    axis = node.integer("axis", 1)
    chosen = node.integer("output_dtype", 0) or int(onnx.TensorProto.UINT8)
    default = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(chosen))

    def kernel(x: Numbers, scale: F32, zero: Array | None = None) -> Array:
        dtype = default if zero is None else zero.dtype
        if dtype.kind not in "iu":
            raise Unsupported(f"{node.label}: quantization to {dtype} is not implemented")
        shape = per_axis(scale.shape, x.ndim, axis)
        y = np.rint(x.astype(np.float32) / scale.reshape(shape))
        if zero is not None:
            y += zero.astype(np.float32).reshape(shape)
        limits = np.iinfo(dtype.name)
        return np.asarray(np.clip(y, limits.min, limits.max)).astype(dtype)

    return kernel


def _dequantize(node: Node[Array]) -> Kernel[Array]:
    axis = node.integer("axis", 1)

    def kernel(x: Numbers, scale: F32, zero: Array | None = None) -> Array:
        shape = per_axis(scale.shape, x.ndim, axis)
        y = x.astype(np.int32)
        if zero is not None:
            y = y - zero.astype(np.int32).reshape(shape)
        return np.asarray(y.astype(scale.dtype) * scale.reshape(shape))

    return kernel


def _qlinear_conv(node: Node[Array]) -> Kernel[Array]:
    """saturate(round-half-even(sums * (x_scale * w_scale / y_scale)) + zero point), scales in float32."""
    geometry = conv_geometry(node)

    def kernel(
        x: Integers,
        x_scale: F32,
        x_zero: Integers,
        w: Integers,
        w_scale: F32,
        w_zero: Integers,
        y_scale: F32,
        y_zero: Integers,
        bias: Integers | None = None,
    ) -> Array:
        # float64 holds sums of 8-bit products exactly.
        patches, shape = _columns(x.astype(np.float64) - x_zero, w.shape[2:], geometry)
        weight = w.astype(np.float64) - w_zero.reshape(-1, 1, 1, 1)
        sums = np.matmul(weight.reshape(len(w), -1), patches)
        if bias is not None:
            sums += bias[:, None]
        scale = (x_scale * w_scale / y_scale).astype(np.float32).reshape(-1, 1)
        rounded = np.rint(sums.astype(np.float32) * scale) + y_zero.astype(np.float32)
        limits = np.iinfo(y_zero.dtype)
        clipped = np.asarray(np.clip(rounded, limits.min, limits.max))
        return clipped.astype(y_zero.dtype).reshape(shape)

    return kernel


FLOAT_UNIT: Mapping[str, Prepare[Array]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "QLinearConv": _qlinear_conv,
    "QuantizeLinear": _quantize,
}
