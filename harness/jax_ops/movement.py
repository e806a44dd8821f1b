"""ONNX operators that move elements or make shapes, in JAX. What they take for shapes is numpy's by then."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from harness.errors import Unsupported
from harness.graph_node import Array, Node, integers_at
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import (
    pad_widths,
    reshape_target,
    slices,
    split_sizes,
    squeezed,
    unsqueezed,
)

SLICE_INPUTS = 5


def _gather(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis = node.integer("axis", 0)
    # Negative indices count from the end; what lies outside is an error in ONNX, and XLA would clamp it silently.
    return lambda x, i: jnp.take(x, i, axis=axis, mode="wrap")


def _gather_elements(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis = node.integer("axis", 0)

    def kernel(x: jax.Array, i: jax.Array) -> jax.Array:
        if x.ndim == 1:
            return jnp.take(x, i, mode="wrap")
        at = axis % x.ndim
        inside = tuple(slice(None if d == at else n) for d, n in enumerate(i.shape))
        return jnp.take_along_axis(x[inside], i, at, mode="wrap")

    return kernel


def _reshape(node: Node[jax.Array]) -> Kernel[jax.Array]:
    allow_zero, requested = node.integer("allowzero", 0), integers_at(node, 1)
    return lambda x, shape: x.reshape(reshape_target(x.shape, requested(shape), allow_zero))


def _transpose(node: Node[jax.Array]) -> Kernel[jax.Array]:
    order = node.integers("perm", ())
    return lambda x: jnp.transpose(x, order or None)


def _concat(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis = node.integer("axis", 0)
    return lambda *values: jnp.concatenate(values, axis)


def _split(node: Node[jax.Array]) -> Kernel[jax.Array]:
    axis, sizes, parts = node.integer("axis", 0), integers_at(node, 1), node.outputs

    def kernel(x: jax.Array, split: Array | None = None) -> tuple[jax.Array, ...]:
        lengths = split_sizes(x.shape[axis], parts) if split is None else sizes(split)
        return tuple(jnp.split(x, np.cumsum(lengths)[:-1], axis))

    return kernel


def _slice(node: Node[jax.Array]) -> Kernel[jax.Array]:
    readers = [integers_at(node, position) for position in range(1, SLICE_INPUTS)]

    def kernel(x: jax.Array, *bounds: Array | None) -> jax.Array:
        given = [None if v is None else read(v) for v, read in zip(bounds, readers, strict=False)]
        return x[slices(x.shape, given)]

    return kernel


def _shape(node: Node[jax.Array]) -> Kernel[Array]:
    start, end = node.integer("start", 0), node.integer("end", 2**31)
    return lambda x: np.array(x.shape[start:end], np.int64)


def _cum_sum(node: Node[jax.Array]) -> Kernel[jax.Array]:
    if node.integer("exclusive", 0) or node.integer("reverse", 0):
        raise Unsupported(f"{node.label}: only plain cumulative sums are implemented")
    read = integers_at(node, 1)
    return lambda x, axis: jnp.cumsum(x, read(axis)[0], dtype=x.dtype)


def _pad(node: Node[jax.Array]) -> Kernel[jax.Array]:
    if node.text("mode", "constant") != "constant":
        raise Unsupported(f"{node.label}: only constant padding is implemented")
    pads, axes_of = integers_at(node, 1), integers_at(node, 3)

    def kernel(
        x: jax.Array, ends: Array, value: Array | None = None, axes: Array | None = None
    ) -> jax.Array:
        chosen = range(x.ndim) if axes is None else axes_of(axes)
        fill = jnp.zeros((), x.dtype) if value is None else jnp.asarray(value, x.dtype).reshape(())
        # Negative widths cut, in XLA as in ONNX.
        widths = [(a, b, 0) for a, b in pad_widths(x.ndim, pads(ends), chosen)]
        return jax.lax.pad(x, fill, widths)

    return kernel


def _squeeze(node: Node[jax.Array]) -> Kernel[jax.Array]:
    read = integers_at(node, 1)
    return lambda x, axes=None: x.reshape(squeezed(x.shape, None if axes is None else read(axes)))


def _unsqueeze(node: Node[jax.Array]) -> Kernel[jax.Array]:
    read = integers_at(node, 1)
    return lambda x, axes: x.reshape(unsqueezed(x.shape, read(axes)))


def _expand(node: Node[jax.Array]) -> Kernel[jax.Array]:
    read = integers_at(node, 1)
    return lambda x, shape: jnp.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(read(shape))))


MOVEMENT: Mapping[str, Prepare[jax.Array]] = {
    "Concat": _concat,
    "CumSum": _cum_sum,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
