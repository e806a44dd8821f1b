"""ONNX operators that move elements or make shapes, in torch."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Unsupported
from harness.graph_node import Node, integers_at
from harness.interpreter import Kernel, Prepare
from harness.onnx_shapes import (
    pad_widths,
    reshape_target,
    slices,
    split_sizes,
    squeezed,
    unsqueezed,
)
from harness.torch_ops.dtypes import moved, wide

SLICE_INPUTS = 5


def _not_negative(index: Tensor, length: int) -> Tensor:
    index = index.to(torch.int64)
    return torch.where(index < 0, index + length, index)


def _gather(node: Node[Tensor]) -> Kernel[Tensor]:
    axis = node.integer("axis", 0)
    index = node.constants.get(1)
    # Indices that are constant and not negative are used as they are.
    ready = index is not None and bool((index >= 0).all())

    def kernel(x: Tensor, i: Tensor) -> Tensor:
        at = axis % x.ndim
        flat = (i if ready else _not_negative(i, x.shape[at])).reshape(-1)
        shape = (*x.shape[:at], *i.shape, *x.shape[at + 1 :])
        return moved(lambda v: v.index_select(at, flat).reshape(shape), x)

    return kernel


def _gather_elements(node: Node[Tensor]) -> Kernel[Tensor]:
    axis = node.integer("axis", 0)

    def kernel(x: Tensor, i: Tensor) -> Tensor:
        index = _not_negative(i, x.shape[axis])
        return moved(lambda v: v.gather(axis, index), x)

    return kernel


def _reshape(node: Node[Tensor]) -> Kernel[Tensor]:
    allow_zero, requested = node.integer("allowzero", 0), integers_at(node, 1)
    return lambda x, shape: x.reshape(reshape_target(x.shape, requested(shape), allow_zero))


def _transpose(node: Node[Tensor]) -> Kernel[Tensor]:
    order = node.integers("perm", ())
    return lambda x: x.permute(order or tuple(reversed(range(x.ndim))))


def _concat(node: Node[Tensor]) -> Kernel[Tensor]:
    axis = node.integer("axis", 0)
    return lambda *values: torch.cat(values, axis)


def _split(node: Node[Tensor]) -> Kernel[Tensor]:
    axis, sizes, parts = node.integer("axis", 0), integers_at(node, 1), node.outputs

    def kernel(x: Tensor, split: Tensor | None = None) -> tuple[Tensor, ...]:
        lengths = split_sizes(x.shape[axis], parts) if split is None else sizes(split)
        return torch.split(x, lengths, axis)

    return kernel


def _slice(node: Node[Tensor]) -> Kernel[Tensor]:
    readers = [integers_at(node, position) for position in range(1, SLICE_INPUTS)]

    def kernel(x: Tensor, *bounds: Tensor | None) -> Tensor:
        given = [None if v is None else read(v) for v, read in zip(bounds, readers, strict=False)]
        for axis, part in enumerate(slices(x.shape, given)):
            x = _cut(x, axis, part)
        return x

    return kernel


def _cut(x: Tensor, axis: int, part: slice) -> Tensor:
    if part.step is None or part.step > 0:
        return x[(slice(None),) * axis + (part,)]
    # torch has no negative steps.
    order = torch.tensor(range(x.shape[axis])[part], dtype=torch.int64, device=x.device)
    return moved(lambda v: v.index_select(axis, order), x)


def _shape(node: Node[Tensor]) -> Kernel[Tensor]:
    start, end = node.integer("start", 0), node.integer("end", 2**31)
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64, device=x.device)


def _cum_sum(node: Node[Tensor]) -> Kernel[Tensor]:
    if node.integer("exclusive", 0) or node.integer("reverse", 0):
        raise Unsupported(f"{node.label}: only plain cumulative sums are implemented")
    read = integers_at(node, 1)
    return lambda x, axis: torch.cumsum(x, read(axis)[0], dtype=x.dtype)


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = start.item(), limit.item(), delta.item()
    return torch.arange(first, last, step, dtype=start.dtype, device=start.device)


def _pad(node: Node[Tensor]) -> Kernel[Tensor]:
    mode = node.text("mode", "constant")
    if mode not in ("constant", "edge"):
        raise Unsupported(f"{node.label}: only constant and edge padding are implemented")
    pads, axes_of = integers_at(node, 1), integers_at(node, 3)

    def kernel(
        x: Tensor, ends: Tensor, value: Tensor | None = None, axes: Tensor | None = None
    ) -> Tensor:
        chosen = range(x.ndim) if axes is None else axes_of(axes)
        widths = pad_widths(x.ndim, pads(ends), chosen)
        if mode == "edge":
            return _edges(x, widths)
        flat = [n for pair in reversed(widths) for n in pair]
        fill = 0 if value is None else value.item()
        return wide(lambda v: functional.pad(v, flat, value=fill))(x)

    return kernel


def _edges(x: Tensor, widths: list[tuple[int, int]]) -> Tensor:
    """An axis at a time, for any rank and type."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            line = torch.arange(-before, x.shape[axis] + after, device=x.device)
            x = moved(partial(_taken, axis, line.clamp(0, x.shape[axis] - 1)), x)
    return x


def _taken(axis: int, index: Tensor, x: Tensor) -> Tensor:
    return x.index_select(axis, index)


def _squeeze(node: Node[Tensor]) -> Kernel[Tensor]:
    read = integers_at(node, 1)
    return lambda x, axes=None: x.reshape(squeezed(x.shape, None if axes is None else read(axes)))


def _unsqueeze(node: Node[Tensor]) -> Kernel[Tensor]:
    read = integers_at(node, 1)
    return lambda x, axes: x.reshape(unsqueezed(x.shape, read(axes)))


def _expand(node: Node[Tensor]) -> Kernel[Tensor]:
    read = integers_at(node, 1)
    return lambda x, shape: x.expand(np.broadcast_shapes(x.shape, tuple(read(shape))))


def _constant_of_shape(node: Node[Tensor]) -> Kernel[Tensor]:
    value = torch.tensor(node.array("value", np.zeros(1, np.float32)))
    read = integers_at(node, 0)
    return lambda shape: value.to(shape.device).expand(read(shape))


MOVEMENT: Mapping[str, Prepare[Tensor]] = {
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
