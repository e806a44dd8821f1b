"""ONNX operators that move elements or make shapes, in numpy."""

from collections.abc import Mapping

import numpy as np

from harness.errors import Unsupported
from harness.graph_node import Array, Integers, Node, integers_at
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


def _gather(node: Node[Array]) -> Kernel[Array]:
    axis = node.integer("axis", 0)
    return lambda x, i: np.take(x, i, axis=axis)  # negative indices count from the end in both


def _gather_elements(node: Node[Array]) -> Kernel[Array]:
    axis = node.integer("axis", 0)

    def kernel(x: Array, i: Integers) -> Array:
        if x.ndim == 1:
            return np.take(x, i)
        at = axis % x.ndim
        inside = tuple(slice(None if d == at else n) for d, n in enumerate(i.shape))
        return np.take_along_axis(x[inside], i.astype(np.int64), at)

    return kernel


def _reshape(node: Node[Array]) -> Kernel[Array]:
    allow_zero, requested = node.integer("allowzero", 0), integers_at(node, 1)
    return lambda x, shape: x.reshape(reshape_target(x.shape, requested(shape), allow_zero))


def _transpose(node: Node[Array]) -> Kernel[Array]:
    order = node.integers("perm", ())
    return lambda x: np.transpose(x, order or None)


def _concat(node: Node[Array]) -> Kernel[Array]:
    axis = node.integer("axis", 0)
    return lambda *values: np.concatenate(values, axis)


def _split(node: Node[Array]) -> Kernel[Array]:
    axis, sizes, parts = node.integer("axis", 0), integers_at(node, 1), node.outputs

    def kernel(x: Array, split: Array | None = None) -> tuple[Array, ...]:
        lengths = split_sizes(x.shape[axis], parts) if split is None else sizes(split)
        return tuple(np.split(x, np.cumsum(lengths)[:-1], axis))

    return kernel


def _slice(node: Node[Array]) -> Kernel[Array]:
    readers = [integers_at(node, position) for position in range(1, SLICE_INPUTS)]

    def kernel(x: Array, *bounds: Array | None) -> Array:
        given = [None if v is None else read(v) for v, read in zip(bounds, readers, strict=False)]
        return x[slices(x.shape, given)]

    return kernel


def _shape(node: Node[Array]) -> Kernel[Array]:
    start, end = node.integer("start", 0), node.integer("end", 2**31)
    return lambda x: np.array(x.shape[start:end], np.int64)


def _cum_sum(node: Node[Array]) -> Kernel[Array]:
    if node.integer("exclusive", 0) or node.integer("reverse", 0):
        raise Unsupported(f"{node.label}: only plain cumulative sums are implemented")
    read = integers_at(node, 1)
    return lambda x, axis: np.cumsum(x, read(axis)[0], dtype=x.dtype)


def _range(start: Array, limit: Array, delta: Array) -> Array:
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _pad(node: Node[Array]) -> Kernel[Array]:
    if node.text("mode", "constant") != "constant":
        raise Unsupported(f"{node.label}: only constant padding is implemented")
    pads, axes_of = integers_at(node, 1), integers_at(node, 3)

    def kernel(
        x: Array, ends: Array, value: Array | None = None, axes: Array | None = None
    ) -> Array:
        chosen = range(x.ndim) if axes is None else axes_of(axes)
        fill = x.dtype.type(0) if value is None else value.reshape(()).item()
        widths = pad_widths(x.ndim, pads(ends), chosen)
        # A negative width cuts.
        inside = zip(widths, x.shape, strict=True)
        cut = tuple(slice(max(-a, 0), n + min(b, 0)) for (a, b), n in inside)
        grown = [(max(a, 0), max(b, 0)) for a, b in widths]
        return np.pad(x[cut], grown, constant_values=fill)

    return kernel


def _squeeze(node: Node[Array]) -> Kernel[Array]:
    read = integers_at(node, 1)
    return lambda x, axes=None: x.reshape(squeezed(x.shape, None if axes is None else read(axes)))


def _unsqueeze(node: Node[Array]) -> Kernel[Array]:
    read = integers_at(node, 1)
    return lambda x, axes: x.reshape(unsqueezed(x.shape, read(axes)))


def _expand(node: Node[Array]) -> Kernel[Array]:
    read = integers_at(node, 1)
    return lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(read(shape))))


def _constant_of_shape(node: Node[Array]) -> Kernel[Array]:
    value, read = node.array("value", np.zeros(1, np.float32)), integers_at(node, 0)
    return lambda shape: np.full(read(shape), value.reshape(()), value.dtype)


MOVEMENT: Mapping[str, Prepare[Array]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cum_sum,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Pad": _pad,
    "Range": lambda _: _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
