"""Operators that pick elements by position: slices, joins, gathers, scatters, tables."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.intervals import F64, Interval
from harness.lint.kinds import INT64
from harness.lint.rules import ACCUMULATOR, DUPLICATES, FLOAT_REDUCTION, INDEX_RANGE
from harness.lint.site import Site, operator, span
from harness.lint.transfer.movement import rearranged, union, zero_like
from harness.lint.values import MOST_BOUNDS, MOST_ELEMENTS, MOST_FOLDED, Dims, Value, fit, top
from harness.onnx_shapes import pad_widths, slices, split_sizes


def _with_length(shape: Dims | None, axis: int, length: int | None) -> Dims | None:
    if shape is None:
        return None
    return tuple(length if i == axis % len(shape) else n for i, n in enumerate(shape))


@operator("Slice", moves=True)
def slice_(site: Site) -> list[Value]:
    x = site.operand(0)
    bounds = [
        site.integers(i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    ]
    unsure = any(
        found is None and not site.absent(i, name)
        for i, (found, name) in enumerate(
            zip(bounds, ("starts", "ends", "axes", "steps"), strict=True), 1
        )
    )
    if x.rank is None or x.shape is None or unsure:
        unknown: Dims | None = None if x.rank is None else (None,) * x.rank
        return [replace(x.collapsed(), shape=unknown, dequantized=None)]
    index = slices(x.shape, bounds)
    shape: Dims = tuple(
        n if part == slice(None) or n is None else len(range(*part.indices(n)))
        for part, n in zip(index, x.shape, strict=True)
    )
    touched = [i for i, part in enumerate(index) if part != slice(None)]
    if not any(n is None for i, n in enumerate(x.shape) if i in touched):
        # Bounds along an axis of one entry stand for all of it.
        def cut(array: F64) -> F64:
            parts = [
                slice(None) if n == 1 else part for n, part in zip(array.shape, index, strict=True)
            ]
            return np.asarray(array[tuple(parts)])

        if x.constant is not None:
            return [rearranged(x, None, lambda a: a[tuple(index)], shape)]
        return [fit(replace(x.moved(cut, shape), dequantized=None))]
    return [rearranged(x, touched, lambda a: a[tuple(index)], shape)]


@operator("Split", moves=True)
def split(site: Site) -> list[Value]:
    x, axis = site.operand(0), site.node.integer("axis", 0)
    count = site.node.outputs
    sizes = site.integers(1, "split")
    if x.shape is None or not x.shape:
        return [replace(x.collapsed(), dequantized=None)] * count
    length = x.shape[axis]
    if sizes is None and site.absent(1, "split") and length is not None:
        sizes = split_sizes(length, count)
    if sizes is None or length is None:
        parts: Sequence[int | None] = sizes or [None] * count
        merged = x.collapsed([axis])
        return [
            replace(merged, shape=_with_length(x.shape, axis, n), dequantized=None) for n in parts
        ]
    ends = np.cumsum(sizes)
    return [
        _piece(x, axis % len(x.shape), int(end) - n, int(end))
        for n, end in zip(sizes, ends, strict=True)
    ]


def _piece(x: Value, axis: int, start: int, end: int) -> Value:
    index = (*[slice(None)] * axis, slice(start, end))
    shape = _with_length(x.shape, axis, end - start)
    if x.constant is not None:
        return rearranged(x, None, lambda a: a[index], shape)

    def cut(array: F64) -> F64:
        return array if array.shape[axis] == 1 else np.asarray(array[index])

    return replace(x.moved(cut, shape), dequantized=None)


@operator("Concat", moves=True)
def concat(site: Site) -> list[Value]:
    values = site.given()
    axis = site.node.integer("axis", 0)
    ranks = {v.rank for v in values}
    if len(ranks) > 1 or None in ranks or ranks == {0}:
        return [union(values, None)]
    shapes = [v.shape or () for v in values]
    at = axis % len(shapes[0])
    lengths = [shape[at] for shape in shapes]
    total = None if None in lengths else sum(n or 0 for n in lengths)
    shape = tuple(
        total if i == at else next((n for n in column if n is not None), None)
        for i, column in enumerate(zip(*shapes, strict=True))
    )
    known = [v.number() for v in values]
    if (
        total is not None
        and all(n is not None for n in known)
        and sum(n.size for n in known if n is not None) <= MOST_FOLDED
    ):
        joined = np.concatenate([n for n in known if n is not None], axis=at)
        return [rearranged(replace(values[0], constant=joined), None, lambda a: a, shape)]
    if total is not None and total <= MOST_BOUNDS and len(shape) == 1:
        return [_vector(values, shape)]
    return [fit(union(values, shape, [at]))]


def _vector(values: list[Value], shape: Dims) -> Value:
    """Vectors end to end, bounds element by element: this is how shapes are computed."""
    low, high = (
        np.concatenate([np.broadcast_to(getattr(v.range, end), v.shape or ()) for v in values])  # type: ignore[arg-type]
        for end in ("low", "high")
    )
    return replace(union(values, shape), range=Interval(low, high))


@operator("Pad", moves=True)
def pad(site: Site) -> list[Value]:
    x, pads = site.operand(0), site.integers(1, "pads")
    shape: Dims | None
    if x.rank is None or x.shape is None:
        merged, shape = x.collapsed(), None
    elif pads is None:
        merged, shape = x.collapsed(), (None,) * x.rank
    else:
        axes = site.integers(3, "axes")
        widths = pad_widths(
            x.rank, pads, range(x.rank) if axes is None else [a % x.rank for a in axes]
        )
        shape = tuple(
            n if (before, after) == (0, 0) or n is None else n + before + after
            for n, (before, after) in zip(x.shape, widths, strict=True)
        )
        merged = x.collapsed([i for i, width in enumerate(widths) if width != (0, 0)])
    merged = replace(merged, shape=shape, dequantized=None, constant=None)
    if site.node.text("mode", "constant") != "constant":
        return [merged]
    fill = site.optional(2) or zero_like(x)
    if site.node.attributes.get("value"):
        return [top(x.kind, shape)]
    both = merged.range.join(fill.collapsed().range)
    grids = g.unite([merged.grids, fill.grids])
    return [fit(replace(merged, range=both, grids=grids))]


def _check(site: Site, data: Value, indices: Value, axis: int) -> None:
    """Indices that may leave a table whose length is known; positions computed from shapes are let pass."""
    length = data.shape[axis] if data.shape is not None else None
    if length is None or indices.extent or indices.range.within(-length, length - 1):
        return
    site.flag(
        INDEX_RANGE,
        f"indices in {span(indices)}, the axis has {length:,} entries",
        bound=indices.range.highest,
        limit=float(length - 1),
    )


@operator("Gather", moves=True)
def gather(site: Site) -> list[Value]:
    data, indices = site.operand(0), site.operand(1)
    if data.shape is None or indices.shape is None or not data.shape:
        return [replace(data.collapsed(), shape=None, dequantized=None)]
    axis = site.node.integer("axis", 0) % len(data.shape)
    _check(site, data, indices, axis)
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    where = indices.number()
    length = data.shape[axis]
    inside = length is not None and indices.range.within(-length, length - 1)
    if where is not None and inside and (data.constant is not None or data.layout[axis] > 1):
        positions = where.astype(np.int64)
        gathered = (data.size or 0) // max(length or 1, 1) * positions.size
        if data.constant is not None and gathered <= MOST_FOLDED:
            return [rearranged(data, None, lambda a: np.take(a, positions, axis), shape)]
        if data.range.low.size * positions.size <= MOST_FOLDED:
            moved = data.moved(lambda a: np.take(a, positions, axis), shape)
            return [fit(replace(moved, dequantized=None))]
    extra = len(indices.shape)
    merged = _reachable(data, indices, axis).collapsed([axis])
    moved = merged.moved(
        lambda a: a.reshape((*a.shape[:axis], *(1,) * extra, *a.shape[axis + 1 :])), shape
    )
    return [replace(fit(moved), dequantized=None)]


def _reachable(data: Value, indices: Value, axis: int) -> Value:
    """The part of a table that indices of these bounds can reach."""
    known = data.constant
    low, high = indices.range.lowest, indices.range.highest
    if known is None or low < 0 or high >= known.shape[axis] or known.size > MOST_BOUNDS:
        return data
    index = (*[slice(None)] * axis, slice(int(low), int(high) + 1))
    return rearranged(data, None, lambda a: a[index], None)


@operator("GatherElements", "GatherND", "Compress", "MaxUnpool", moves=True)
@operator("Unique")
def gather_elements(site: Site) -> list[Value]:
    data, indices = site.operand(0), site.optional(1)
    axis = site.node.integer("axis", 0)
    shape: Dims | None = None
    if site.operator == "GatherElements" and indices is not None and data.shape:
        _check(site, data, indices, axis % len(data.shape))
        data = _reachable(data, indices, axis % len(data.shape))
        shape = indices.shape
    elif site.operator == "Compress":
        shape = _with_length(data.shape, axis, None) if "axis" in site.node.attributes else (None,)
    picked = replace(data.collapsed(), shape=shape, dequantized=None)
    if site.operator == "MaxUnpool":
        picked = union([picked, zero_like(data)], None)
    counts = Value(
        kind=INT64,
        shape=(None,),
        range=Interval.of(0.0, MOST_ELEMENTS),
        grids=g.INTEGERS,
        extent=True,
    )
    return [picked, counts, counts, counts][: site.node.outputs]


@operator("ScatterElements", "Scatter", "ScatterND", "TensorScatter", moves=True)
def scatter(site: Site) -> list[Value]:
    data, indices, updates = (site.operand(i) for i in range(3))
    if site.operator == "TensorScatter":
        return [union([data, indices], data.shape)]
    reduction = site.node.text("reduction", "none")
    either = union([data, updates], data.shape)
    if reduction == "none":
        if not _distinct(site, indices):
            site.flag(DUPLICATES, f"indices in {span(indices)} are not known to be distinct")
        return [either]
    if reduction in {"max", "min"}:
        return [either]
    rule = FLOAT_REDUCTION if data.kind.is_float else ACCUMULATOR
    site.flag(rule, f"updates are combined by {reduction}, as many as the indices say")
    return [top(data.kind, data.shape)]


def _distinct(site: Site, indices: Value) -> bool:
    """Known indices that name each target once."""
    number = indices.number()
    if indices.size == 1:
        return True
    if number is None or (np.asarray(number, np.int64) < 0).any():
        return False
    if site.operator == "ScatterND":
        rows = number.reshape(-1, number.shape[-1]) if number.ndim else number.reshape(1, 1)
        return len(np.unique(rows, axis=0)) == len(rows)
    axis = site.node.integer("axis", 0)
    ordered = np.sort(number, axis=axis)
    return not bool((np.diff(ordered, axis=axis) == 0).any())


@operator("ArgMax", "ArgMin")
def arg_extreme(site: Site) -> list[Value]:
    x, axis = site.operand(0), site.node.integer("axis", 0)
    length = x.shape[axis] if x.shape else None
    shape = _with_length(x.shape, axis, 1) if site.node.integer("keepdims", 1) else None
    top_index = MOST_ELEMENTS if length is None else max(length - 1, 0)
    return [Value(kind=INT64, shape=shape, range=Interval.of(0.0, top_index), grids=g.INTEGERS)]


@operator("TopK")
def top_k(site: Site) -> list[Value]:
    x, axis = site.operand(0), site.node.integer("axis", -1)
    shape = _with_length(x.shape, axis, None) if x.shape else None
    length = x.shape[axis] if x.shape else None
    reach = MOST_ELEMENTS if length is None else max(length - 1, 0)
    indices = Value(kind=INT64, shape=shape, range=Interval.of(0.0, reach), grids=g.INTEGERS)
    return [replace(x.collapsed(), shape=shape, dequantized=None), indices]


@operator("OneHot", moves=True)
def one_hot(site: Site) -> list[Value]:
    return [union([site.operand(2)], None)]
