"""Convolutions, quantization and matrix products of ONNX in JAX."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import lax

from harness.errors import Unsupported
from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import conv_geometry, per_axis

LAYOUT = ("NCHW", "OIHW", "NCHW")


def _conv(node: Node[jax.Array]) -> Kernel[jax.Array]:
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads

    def kernel(x: jax.Array, w: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        y = lax.conv_general_dilated(
            x,
            jnp.asarray(w),
            geometry.strides,
            ((top, bottom), (left, right)),
            dimension_numbers=LAYOUT,
            precision=lax.Precision.HIGHEST,
        )
        return y if bias is None else y + bias.reshape(-1, 1, 1)

    return kernel


def _conv_transpose(node: Node[jax.Array]) -> Kernel[jax.Array]:
    """A convolution of the input with zeros between its pixels, by the mirrored kernel."""
    geometry = conv_geometry(node)
    top, left, bottom, right = geometry.pads
    extra = geometry.output_padding

    def kernel(x: jax.Array, w: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        rows, columns = w.shape[2:]
        y = lax.conv_general_dilated(
            x,
            jnp.asarray(w)[:, :, ::-1, ::-1].swapaxes(0, 1),
            (1, 1),
            (
                (rows - 1 - top, rows - 1 - bottom + extra[0]),
                (columns - 1 - left, columns - 1 - right + extra[1]),
            ),
            lhs_dilation=geometry.strides,
            dimension_numbers=LAYOUT,
            precision=lax.Precision.HIGHEST,
        )
        return y if bias is None else y + bias.reshape(-1, 1, 1)

    return kernel


def _quantize(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis = node.integer("axis", 1)
    chosen = node.integer("output_dtype", 0) or int(onnx.TensorProto.UINT8)
    default = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(chosen))

    def kernel(x: jax.Array, scale: jax.Array, zero: jax.Array | None = None) -> jax.Array:
        shape = per_axis(scale.shape, x.ndim, axis)
        y = jnp.round(x / scale.reshape(shape))
        if zero is not None:
            y = y + zero.astype(jnp.float32).reshape(shape)
        dtype = default if zero is None else zero.dtype
        limits = np.iinfo(dtype)
        return jnp.clip(y, float(limits.min), float(limits.max)).astype(dtype)

    return kernel


def _dequantize(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis = node.integer("axis", 1)

    def kernel(x: jax.Array, scale: jax.Array, zero: jax.Array | None = None) -> jax.Array:
        shape = per_axis(scale.shape, x.ndim, axis)
        wide = jnp.asarray(x, jnp.int32)
        if zero is not None:
            wide = wide - jnp.asarray(zero, jnp.int32).reshape(shape)
        return wide.astype(scale.dtype) * scale.reshape(shape)

    return kernel


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _matmul_integer(_: Node[jax.Array]) -> Kernel[jax.Array]:
    def kernel(
        a: jax.Array,
        b: jax.Array,
        a_zero: jax.Array | None = None,
        b_zero: jax.Array | None = None,
    ) -> jax.Array:
        if any(zero is not None and zero.size != 1 for zero in (a_zero, b_zero)):
            raise Unsupported("MatMulInteger with a zero point for each row or column")
        left, right = jnp.asarray(a, jnp.int32), jnp.asarray(b, jnp.int32)
        left = left if a_zero is None else left - jnp.asarray(a_zero, jnp.int32).reshape(())
        right = right if b_zero is None else right - jnp.asarray(b_zero, jnp.int32).reshape(())
        return jnp.matmul(left, right)

    return kernel


LAYERS: Mapping[str, Prepare[jax.Array]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "MatMul": lambda _: _matmul,
    "MatMulInteger": _matmul_integer,
    "QuantizeLinear": _quantize,
}
