"""The abstract value of a tensor: type, shape, bounds, grid, and the number itself where it is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.lint import grids as g
from harness.lint.intervals import F64, Interval
from harness.lint.kinds import INT64, OTHER, Kind, kind_of_array
from harness.lint.links import Line, Link

Array = NDArray[np.generic]
Dims = tuple[int | None, ...]
# Bounds are kept element by element up to this many; larger tensors have one pair, or one a channel.
MOST_BOUNDS = 2**16
# Constants larger than this are not rearranged or converted: their bounds must do.
MOST_FOLDED = 2**26
# The assumption on every tensor of every graph: no runtime addresses more.
MOST_ELEMENTS = 2**31 - 1
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """All that is known of a tensor, whatever is fed.

    The arrays of `range` and `grids` broadcast to `shape` (unknown lengths are None, an unknown rank is None). `extent`
    marks sizes and positions that were computed from shapes. `minus_zero`: it may hold -0. `open_zero`: whether a zero
    in it is -0 or +0 is up to the runtime. `dequantized` is the integer tensor that a DequantizeLinear read.

    Where `trust` is given, floats were rounded beyond it: a value that ought to lie in [trust.low, trust.high] is exact,
    and any other lies beyond the same end. A clamp within makes all of it exact again. `doubt` says what was rounded.
    `link` ties the parts of a number to it, `line` what rises with a number.
    """

    kind: Kind
    shape: Dims | None
    range: Interval
    grids: g.Grids = ()
    constant: Array | None = field(default=None, repr=False)
    extent: bool = False
    minus_zero: bool = False
    open_zero: bool = False
    dequantized: "Value | None" = field(default=None, repr=False)
    trust: Interval | None = None
    doubt: str = ""
    link: Link | None = field(default=None, repr=False)
    line: Line | None = field(default=None, repr=False)

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def size(self) -> int | None:
        """How many elements, if that is known."""
        if self.shape is None or None in self.shape:
            return None
        return int(np.prod([n or 0 for n in self.shape], dtype=object))

    @property
    def layout(self) -> tuple[int, ...]:
        """The common shape of the arrays, as long as the tensor's own where its rank is known."""
        arrays = [self.range.low, self.range.high]
        arrays += [self.trust.low, self.trust.high] if self.trust else []
        shapes = [a.shape for a in arrays]
        shapes += [a.shape for grid in self.grids for a in (grid.step, grid.residue)]
        common = np.broadcast_shapes(*shapes)
        return (1,) * max(0, (self.rank or 0) - len(common)) + common

    def number(self) -> Array | None:
        """The tensor itself: a constant, or one that follows from constants."""
        if self.constant is not None:
            return self.constant
        size = self.size
        if size is None or size > MOST_BOUNDS or not self.range.is_point or self.kind is OTHER:
            return None
        if np.abs(self.range.low).max(initial=0.0) > 2.0**53 and not self.kind.is_float:
            return None
        if (self.minus_zero or self.open_zero) and self.range.may_be(0):
            return None
        known = [n or 0 for n in self.shape or ()]
        return np.broadcast_to(self.range.low, known).astype(self.kind.dtype)

    def integers(self) -> list[int] | None:
        """The numbers of a vector of sizes or axes, if all are known."""
        number = self.number()
        return None if number is None else [int(v) for v in number.ravel().tolist()]

    def collapsed(self, axes: Sequence[int] | None = None) -> "Value":
        """With one pair of bounds for all positions along `axes` (all axes by default)."""
        layout = self.layout
        if 0 in layout:
            empty = Interval.of(0.0, 0.0)
            return replace(self, range=empty, grids=g.INTEGERS, trust=None, link=None, line=None)
        where = range(len(layout)) if axes is None else axes
        gone = tuple(sorted({axis % len(layout) for axis in where} if layout else ()))
        if not layout or all(layout[axis] == 1 for axis in gone):
            merged = self
        else:
            low, high = (np.broadcast_to(a, layout) for a in (self.range.low, self.range.high))
            span = Interval(low.min(gone, keepdims=True), high.max(gone, keepdims=True))
            grids = tuple(grid.moved(np.asarray, layout) for grid in self.grids)
            trust = self.trust and Interval(
                np.broadcast_to(self.trust.low, layout).max(gone, keepdims=True),
                np.broadcast_to(self.trust.high, layout).min(gone, keepdims=True),
            )
            merged = replace(self, range=span, grids=g.collapse(grids, gone), trust=trust)
        merged = replace(merged, constant=None, link=None, line=None)
        return merged._scalars() if axes is None else merged

    def _scalars(self) -> "Value":
        def flat(array: F64) -> F64:
            return array.reshape(())

        return self.moved(flat, self.shape)

    def moved(self, function: Callable[[F64], F64], shape: Dims | None) -> "Value":
        """The elements rearranged or repeated: `function` acts on arrays as long as the tensor's rank."""
        layout = self.layout

        def spread(interval: Interval) -> Interval:
            return Interval(
                *(function(np.broadcast_to(a, layout)) for a in (interval.low, interval.high))
            )

        return replace(
            self,
            shape=shape,
            range=spread(self.range),
            grids=tuple(grid.moved(function, layout) for grid in self.grids),
            trust=self.trust and spread(self.trust),
            constant=None,
            link=None,
            line=None,
        )

    def renewed(self, kind: Kind, span: Interval, grids: g.Grids) -> "Value":
        """A new value of the same shape."""
        return fit(Value(kind=kind, shape=self.shape, range=span, grids=grids))


def fit(value: Value) -> Value:
    """The invariant of a Value restored: few bounds, scalars where the rank is unknown."""
    if value.shape is None:
        return value.collapsed() if value.layout else value
    size = int(np.prod(value.layout, dtype=object))
    if size > MOST_BOUNDS or any(
        n not in (1, known) for n, known in zip(value.layout, value.shape, strict=True)
    ):
        return value.collapsed()
    return value


def settled(value: Value) -> Value:
    """Without the ends of `trust` that no value reaches."""
    if value.trust is None:
        return value
    low = np.where(value.range.low >= value.trust.low, -np.inf, value.trust.low)
    high = np.where(value.range.high <= value.trust.high, np.inf, value.trust.high)
    if np.isinf(low).all() and np.isinf(high).all():
        return replace(value, trust=None, doubt="")
    return replace(value, trust=Interval(low, high))


def common_trust(values: Sequence[Value]) -> tuple[Interval | None, str]:
    """Of a choice among values: what all of them are exact in."""
    doubted = [value for value in values if value.trust is not None]
    trusts = [value.trust for value in doubted if value.trust is not None]
    if not trusts:
        return None, ""
    low, high = trusts[0].low, trusts[0].high
    for trust in trusts[1:]:
        low, high = np.maximum(low, trust.low), np.minimum(high, trust.high)
    return Interval(low, high), doubted[0].doubt


def top(kind: Kind, shape: Dims | None) -> Value:
    """Anything that the type can hold."""
    low, high = (np.asarray(bound) for bound in (kind.low, kind.high))
    grids = () if kind.is_float or kind is OTHER else g.INTEGERS
    return Value(
        kind=kind, shape=shape, range=Interval(low, high), grids=grids, minus_zero=kind.is_float
    )


def extents(numbers: Sequence[int | None]) -> Value:
    """A vector of sizes, int64; those that are not known are at most what a tensor may hold."""
    low = np.array([0 if n is None else n for n in numbers], np.float64)
    high = np.array([MOST_ELEMENTS if n is None else n for n in numbers], np.float64)
    return Value(
        kind=INT64, shape=(len(numbers),), range=Interval(low, high), grids=g.INTEGERS, extent=True
    )


def constant(array: Array) -> Value:
    """A known tensor; bounds element by element where it is small."""
    kind = kind_of_array(array.dtype)
    if kind is OTHER or array.size == 0:
        return replace(top(kind, array.shape), constant=array)
    minus_zero = kind.is_float and _has_minus_zero(array)
    if array.size <= MOST_BOUNDS:
        span, grids = _points(array.astype(np.float64), kind)
    else:
        span, grids = _enclosure(array, kind)
    return Value(
        kind=kind,
        shape=array.shape,
        range=span,
        grids=grids,
        constant=array,
        minus_zero=minus_zero,
    )


def _points(values: F64, kind: Kind) -> tuple[Interval, g.Grids]:
    if not np.isfinite(values).all():
        return Interval.of(values, values), ()
    if kind.is_integer and np.abs(values).max() > 2.0**53:
        outside = np.abs(values) > 2.0**53
        low = np.where(outside, np.nextafter(values, -np.inf), values)
        return Interval(low, np.where(outside, np.nextafter(values, np.inf), values)), g.INTEGERS
    return Interval(values, values), (g.Grid.points(values),)


def _enclosure(array: Array, kind: Kind) -> tuple[Interval, g.Grids]:
    """One pair of bounds for a large tensor, read in pieces."""
    flat = array.reshape(-1)
    low, high, exponent = np.inf, -np.inf, g.EXACT
    for start in range(0, flat.size, _CHUNK):
        piece = flat[start : start + _CHUNK].astype(np.float64)
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        if kind.is_float and exponent > -g.EXACT:
            exponent = min(exponent, int(g.two_adic(piece).min()))
    if kind.is_integer and max(-low, high) > 2.0**53:
        low, high = float(np.nextafter(low, -np.inf)), float(np.nextafter(high, np.inf))
    if not kind.is_float:
        return Interval.of(low, high), g.INTEGERS
    return Interval.of(low, high), (g.Grid.multiples(exponent),) if exponent > -g.EXACT else ()


def _has_minus_zero(array: Array) -> bool:
    if array.size > MOST_BOUNDS:
        return True
    values = array.astype(np.float64)
    return bool((np.signbit(values) & (values == 0)).any())


def broadcast(*shapes: Dims | None) -> Dims | None:
    """The shape of an elementwise result; a length that only the feeds decide is None.

    >>> broadcast((None, 3), (1, 3)), broadcast((2, 1), None)
    ((None, 3), None)
    """
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    rank = max(map(len, known), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(_length(lengths) for lengths in zip(*padded, strict=True))


def _length(lengths: Sequence[int | None]) -> int | None:
    fixed = {n for n in lengths if n not in (1, None)}
    if len(fixed) > 1:
        raise ValueError(f"lengths {sorted(fixed)} do not broadcast")
    if fixed:
        return fixed.pop()
    return None if None in lengths else 1
