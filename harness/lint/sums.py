"""Bounds of sums of products with known weights: the result, and every partial sum in any order."""

from dataclasses import dataclass

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import EXACT, two_adic
from harness.lint.intervals import F64, I64, Interval
from harness.lint.values import MOST_ELEMENTS, Array, Value

# Weights are turned into float64 in pieces of about this many.
_PIECE = 2**20
# Beyond this many weights, one power of two for all of them must do.
_MOST_UNITS = 2**22


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """`total` encloses the sum, `partial` (around 0) the sum of any of its terms; each term divides by 2^unit."""

    total: Interval
    partial: Interval
    unit: I64

    @property
    def magnitude(self) -> F64:
        return self.partial.magnitude

    def plus(self, value: Value) -> "Sum":
        """With one more term, such as a bias."""
        zero = Interval.of(0.0, 0.0)
        return Sum(
            total=self.total + value.range,
            partial=self.partial + value.range.join(zero),
            unit=np.minimum(self.unit, g.unit(value.grids)),
        )

    def reshaped(self, shape: tuple[int, ...]) -> "Sum":
        def lay(array: F64) -> F64:
            return np.broadcast_to(array, (int(np.prod(shape)),)).reshape(shape)

        return Sum(
            total=Interval(lay(self.total.low), lay(self.total.high)),
            partial=Interval(lay(self.partial.low), lay(self.partial.high)),
            unit=lay(self.unit.astype(np.float64)).astype(np.int64),
        )

    def hull(self) -> "Sum":
        """One for all outputs."""
        return Sum(
            total=Interval.of(self.total.lowest, self.total.highest),
            partial=Interval.of(self.partial.lowest, self.partial.highest),
            unit=np.asarray(self.unit.min()),
        )

    def joined(self, other: "Sum") -> "Sum":
        return Sum(
            total=self.total.join(other.total),
            partial=self.partial.join(other.partial),
            unit=np.minimum(self.unit, other.unit),
        )


def weighted(inputs: Interval, unit: I64, weights: Array, offset: Interval | None = None) -> Sum:
    """Sum over the first axis of inputs [K] or [] times (weights [K, N] less offset): arrays [N].

    Every bound is a sum of products of like sign, so the same four sums give the result and all partial sums.
    """
    depth, width = weights.shape
    low, high = (np.broadcast_to(a, (depth,)) for a in (inputs.low, inputs.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return unbounded(width)
    shift = np.zeros(1) if offset is None else np.broadcast_to(offset.low, (width,))
    columns = max(1, _PIECE // max(depth, 1))
    ends: list[list[F64]] = [[], [], [], []]
    for start in range(0, width, columns):
        piece = weights[:, start : start + columns].astype(np.float64)
        piece = piece - (shift if shift.size == 1 else shift[start : start + columns])
        if not np.isfinite(piece).all():
            return unbounded(width)
        up, down = np.maximum(piece, 0.0), np.minimum(piece, 0.0)
        for found, (of_up, of_down) in zip(
            ends,
            (
                (low, high),  # the least
                (high, low),  # the most
                (np.minimum(low, 0.0), np.maximum(high, 0.0)),  # negative terms alone
                (np.maximum(high, 0.0), np.minimum(low, 0.0)),  # positive terms alone
            ),
            strict=True,
        ):
            found.append(of_up @ up + of_down @ down)
    least, most, negative, positive = (np.concatenate(found) for found in ends)
    units = _weight_units(weights, shift) + unit
    result = Sum(
        total=Interval.of(least, most), partial=Interval.of(negative, positive), unit=units
    )
    return _outward(result, depth)


def _weight_units(weights: Array, shift: F64) -> I64:
    """Exponent of a power of two that divides every weight of a column."""
    if np.issubdtype(weights.dtype, np.integer) or weights.dtype == np.bool_:
        return np.zeros((), np.int64)
    if weights.size <= _MOST_UNITS:
        numbers = weights.astype(np.float64) - shift
        return np.asarray(two_adic(numbers).min(axis=0, initial=EXACT))
    least, flat = EXACT, weights.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        least = min(least, int(two_adic(flat[start : start + _PIECE].astype(np.float64)).min()))
    return np.asarray(least, np.int64)


def _outward(result: Sum, terms: int) -> Sum:
    """Room for what float64 rounded while the bounds were summed; none where they are exact."""
    reach = np.ldexp(1.0, np.clip(result.unit + 53, -1000, 1000).astype(np.int32))
    exact = result.magnitude <= reach
    slack = np.where(exact, 0.0, result.magnitude * (terms + 2) * 2.0**-52)
    return Sum(
        total=Interval.of(result.total.low - slack, result.total.high + slack),
        partial=Interval.of(result.partial.low - slack, result.partial.high + slack),
        unit=result.unit,
    )


def repeated(term: Interval, unit: I64, count: int | None) -> Sum:
    """`count` terms that all lie in `term`; as many as a tensor may hold if their number is not known."""
    count = MOST_ELEMENTS if count is None else count
    around = term.join(Interval.of(0.0, 0.0))
    times = Interval.of(count, count)
    return Sum(total=term * times, partial=around * times, unit=unit)


def unbounded(width: int) -> Sum:
    ends = Interval.of(np.full(width, -np.inf), np.full(width, np.inf))
    return Sum(total=ends, partial=ends, unit=np.asarray(-EXACT, np.int64))
