"""The float unit of the simulated DSP: numpy float32, for graphs that are not integer-only."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.graph_node import Array, Node, Numbers
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import conv_geometry, per_axis

F32 = NDArray[np.float32]


def _conv(node: Node[Array]) -> Kernel[Array]:
    """im2col and one matrix product an image; columns are ordered as the weights are."""
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    down, along = geometry.strides

    def kernel(x: F32, w: F32, bias: F32 | None = None) -> Array:
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = sliding_window_view(padded, (1, 1, *w.shape[2:]))[:, :, ::down, ::along, 0, 0]
        count, _, height, width = windows.shape[:4]
        columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(count, -1, height * width)
        out = np.matmul(w.reshape(w.shape[0], -1), columns)
        if bias is not None:
            out += bias[:, None]
        return np.reshape(out, (count, -1, height, width))

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


FLOAT_UNIT: Mapping[str, Prepare[Array]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
}
