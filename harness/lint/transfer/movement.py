"""Operators that move elements and touch none: exact in every type."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grid
from harness.lint.intervals import F64, Interval
from harness.lint.site import Site, operator
from harness.lint.values import (
    MOST_BOUNDS,
    MOST_FOLDED,
    Array,
    Dims,
    Value,
    broadcast,
    common_trust,
    constant,
    fit,
)


def rearranged(
    x: Value, axes: Sequence[int] | None, function: Callable[[Array], Array], shape: Dims | None
) -> Value:
    """`function` moves elements along `axes` only (all if None): bounds along those are merged, unless x is known."""
    known = x.constant
    if known is not None and known.size <= MOST_FOLDED:
        return constant(np.ascontiguousarray(function(known)))
    number = x.number()
    if number is not None:
        return constant(np.ascontiguousarray(function(number)))
    full = x.size is not None and x.layout == x.shape
    if full:
        return fit(replace(x.moved(_on_floats(function), shape), dequantized=None))
    merged = x.collapsed(axes) if x.rank else x.collapsed()
    return replace(merged, shape=shape, dequantized=None)


def _on_floats(function: Callable[[Array], Array]) -> Callable[[F64], F64]:
    def on_floats(array: F64) -> F64:
        return np.asarray(function(array), np.float64)

    return on_floats


def union(values: Sequence[Value], shape: Dims | None, axes: Sequence[int] | None = None) -> Value:
    """Every element is an element of one of the values, whatever its place (along `axes`, where they are given)."""
    merged = [value.collapsed(axes) for value in values]
    trust, doubt = common_trust(merged)
    return Value(
        kind=merged[0].kind,
        shape=shape,
        range=merged[0].range.join(*(value.range for value in merged[1:])),
        grids=g.unite(value.grids for value in merged),
        extent=any(value.extent for value in values)
        and all(value.extent or value.range.is_point for value in values),
        minus_zero=any(value.minus_zero for value in values),
        open_zero=any(value.open_zero for value in values),
        trust=trust,
        doubt=doubt,
    )


@operator("Identity", "OptionalGetElement", moves=True)
def identity(site: Site) -> list[Value]:
    return [site.operand(0)]


@operator("Transpose", moves=True)
def transpose(site: Site) -> list[Value]:
    x = site.operand(0)
    if x.rank is None:
        return [x]
    order = site.node.integers("perm", tuple(reversed(range(x.rank))))
    if sorted(order) != list(range(x.rank)):
        raise ValueError(f"perm {order} is no order of {x.rank} axes")
    shape = tuple(x.shape[i] for i in order) if x.shape is not None else None
    if x.constant is not None and x.constant.size <= MOST_FOLDED:
        return [constant(x.constant.transpose(order))]
    return [replace(x.moved(lambda a: a.transpose(order), shape), dequantized=x.dequantized)]


@operator("Unsqueeze", moves=True)
def unsqueeze(site: Site) -> list[Value]:
    x, axes = site.operand(0), site.integers(1, "axes")
    if x.shape is None or axes is None:
        return [replace(x.collapsed(), shape=None)]
    rank = len(x.shape) + len(axes)
    ones = {axis % rank for axis in axes}
    return [_relabelled(x, lambda dims: _inserted(dims, ones, rank))]


@operator("Squeeze", moves=True)
def squeeze(site: Site) -> list[Value]:
    x, axes = site.operand(0), site.integers(1, "axes")
    unknown = axes is None and not site.absent(1, "axes")
    if x.shape is None or unknown or (axes is None and None in x.shape):
        return [replace(x.collapsed(), shape=None)]
    rank = len(x.shape)
    gone = (
        {i for i, n in enumerate(x.shape) if n == 1} if axes is None else {a % rank for a in axes}
    )
    return [_relabelled(x, lambda dims: [n for i, n in enumerate(dims) if i not in gone])]


def _inserted(dims: Sequence[int | None], ones: set[int], rank: int) -> list[int | None]:
    rest = iter(dims)
    return [1 if i in ones else next(rest) for i in range(rank)]


def _relabelled(x: Value, change: Callable[[Sequence[int | None]], list[int | None]]) -> Value:
    """Axes of length 1 come or go."""
    shape = tuple(change(x.shape or ()))
    if x.constant is not None:
        return constant(x.constant.reshape([n or 0 for n in shape]))
    moved = x.moved(lambda a: a.reshape([n or 0 for n in change(a.shape)]), shape)
    return replace(moved, dequantized=None)


@operator("Reshape", "Flatten", moves=True)
def reshape(site: Site) -> list[Value]:
    x = site.operand(0)
    shape = _target(site, x)
    if shape is not None and None not in shape and x.size is not None:
        known = [n or 0 for n in shape]
        return [rearranged(x, None, lambda a: a.reshape(known), shape)]
    merged = _trailing(x, shape)
    return [replace(merged, shape=shape, constant=None, dequantized=None)]


def _target(site: Site, x: Value) -> Dims | None:
    """The shape asked for, -1 filled in where the rest is known."""
    if site.operator == "Flatten":
        if x.shape is None:
            return (None, None)
        axis = site.node.integer("axis", 1)
        axis = axis + len(x.shape) if axis < 0 else axis
        return _product(x.shape[:axis]), _product(x.shape[axis:])
    wanted = site.optional(1)
    if wanted is None:
        entries: list[int | None] | None = [*site.node.integers("shape", ())]
    else:
        entries = _entries(wanted)
    if entries is None:
        return None
    asked = entries
    if not site.node.integer("allowzero", 0):
        asked = [
            (x.shape[i] if x.shape is not None and i < len(x.shape) else None) if n == 0 else n
            for i, n in enumerate(asked)
        ]
    if -1 in asked:
        rest = [n for n in asked if n != -1]
        others, size = _product(rest), x.size
        fill = size // others if size is not None and others else None
        asked = [fill if n == -1 else n for n in asked]
    return tuple(asked)


def _entries(vector: Value) -> list[int | None] | None:
    """The numbers of a vector, None for those that only the feeds decide; None if even its length is not known."""
    known = vector.integers()
    if known is not None:
        return [*known]
    if vector.shape is None or len(vector.shape) != 1 or vector.shape[0] is None:
        return None
    low, high = (
        np.broadcast_to(a, (vector.shape[0],)) for a in (vector.range.low, vector.range.high)
    )
    return [int(a) if a == b else None for a, b in zip(low, high, strict=True)]


def _product(lengths: Sequence[int | None]) -> int | None:
    return None if None in lengths else int(np.prod([n or 0 for n in lengths], dtype=object))


def _trailing(x: Value, shape: Dims | None) -> Value:
    """Bounds a channel survive where the new last axis repeats the old one, or divides it."""
    layout = x.layout
    if x.shape is None or not layout or layout[-1] == 1 or shape is None or not shape:
        return x.collapsed()
    merged = x.collapsed(range(len(layout) - 1)) if len(layout) > 1 else replace(x, constant=None)
    old, new = layout[-1], shape[-1]
    if new is None or new < 1 or (new % old and old % new):
        return x.collapsed()
    if new % old == 0:
        return merged.moved(lambda a: np.tile(a.reshape(-1), new // old), shape)
    folded = merged.moved(lambda a: a.reshape(old // new, new), (old // new, new)).collapsed([0])
    return folded.moved(lambda a: a.reshape(-1), shape)


@operator("Expand", moves=True)
def expand(site: Site) -> list[Value]:
    x, entries = site.operand(0), _entries(site.operand(1))
    shape = None if entries is None else broadcast(x.shape, tuple(entries))
    return [fit(replace(x, shape=shape, constant=None, dequantized=None))]


@operator("Tile", moves=True)
def tile(site: Site) -> list[Value]:
    x, repeats = site.operand(0), site.integers(1, "repeats")
    if x.shape is None or repeats is None or len(repeats) != len(x.shape):
        unknown: Dims | None = None if x.shape is None else (None,) * len(x.shape)
        return [replace(x.collapsed(), shape=unknown, dequantized=None)]
    shape: Dims = tuple(None if n is None else n * r for n, r in zip(x.shape, repeats, strict=True))
    size = _product(shape)
    if x.size is not None and size is not None and size <= MOST_BOUNDS:
        return [rearranged(x, None, lambda a: np.tile(a, repeats), shape)]
    merged = x.collapsed([i for i, r in enumerate(repeats) if r != 1])
    return [replace(merged, shape=shape, dequantized=None)]


@operator("DepthToSpace", "SpaceToDepth", "ReverseSequence", "CenterCropPad", "Trilu", moves=True)
def scramble(site: Site) -> list[Value]:
    """Elements in other places; Trilu and CenterCropPad put zeros beside them."""
    x = site.operand(0)
    same = site.operator in {"ReverseSequence", "Trilu"}
    shape = x.shape if same or x.shape is None else (x.shape[0], *(None,) * (len(x.shape) - 1))
    merged = replace(x.collapsed(), shape=shape, dequantized=None)
    if site.operator in {"Trilu", "CenterCropPad"}:
        return [union([merged, zero_like(x)], x.shape if same else None)]
    return [merged]


def zero_like(x: Value) -> Value:
    return Value(kind=x.kind, shape=(), range=Interval.of(0.0, 0.0), grids=(Grid.points(0.0),))
