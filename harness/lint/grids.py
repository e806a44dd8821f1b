"""Which numbers a tensor can hold, apart from how large they are: residues modulo powers of two.

That a float operation is exact is proven by it: multiples of 2^e below 2^(24 + e) are float32 numbers, in whatever
order they are added. That a rounding never meets a tie is proven by it too: n + 1/2 is not among the values.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.lint.intervals import F64, I64, product_is_exact, sum_is_exact

# The step of a single number: everything divides it.
EXACT = 1 << 14
# More classes than these are merged: the tests have never needed more than three.
MOST_CLASSES = 4


@dataclass(frozen=True, eq=False)
class Grid:
    """The numbers residue + k * 2**step for whole k; with step EXACT, the residue alone."""

    step: I64
    residue: F64

    @classmethod
    def multiples(cls, exponent: ArrayLike) -> "Grid":
        step = np.asarray(exponent, np.int64)
        return cls(np.where(step > EXACT // 2, EXACT, step), np.zeros(()))

    @classmethod
    def points(cls, values: ArrayLike) -> "Grid":
        array = np.asarray(values, np.float64)
        return cls(np.full(array.shape, EXACT, np.int64), array)

    @property
    def unit(self) -> I64:
        """Exponent of the largest power of two that divides every value."""
        return np.minimum(self.step, two_adic(self.residue))

    def __add__(self, other: "Grid") -> "Grid":
        exact = sum_is_exact(self.residue, other.residue)
        coarse = np.minimum(self.unit, other.unit)
        total = self.residue + other.residue
        return _normal(np.minimum(self.step, other.step), total, exact, coarse)

    def __mul__(self, other: "Grid") -> "Grid":
        a, b = two_adic(self.residue), two_adic(other.residue)
        step = np.minimum(np.minimum(a + other.step, b + self.step), self.step + other.step)
        exact = product_is_exact(self.residue, other.residue)
        return _normal(step, self.residue * other.residue, exact, self.unit + other.unit)

    def may_tie(self) -> bool:
        """Whether a value may lie halfway between two integers."""
        fraction = np.abs(np.fmod(self.residue, 1.0))
        fine = two_adic(0.5 - self.residue) >= self.step
        return bool(np.where(self.step >= 0, fraction == 0.5, fine).any())  # noqa: PLR2004

    def may_be_zero(self) -> bool:
        return bool((two_adic(self.residue) >= self.step).any())

    def covers(self, other: "Grid") -> bool:
        """Whether every value of `other` is one of these."""
        inside = _apart(self.residue, other.residue) >= self.step
        return bool((inside & (other.step >= self.step)).all())

    def merged(self, other: "Grid") -> "Grid":
        """The finest grid that covers both."""
        apart = _apart(self.residue, other.residue)
        step = np.minimum(np.minimum(self.step, other.step), apart)
        return _normal(step, self.residue + 0.0 * step, np.asarray(True), self.unit)

    def collapsed(self, axes: tuple[int, ...]) -> "Grid":
        """One grid for all positions along `axes`, which keep length 1."""
        step, residue = np.broadcast_arrays(self.step, self.residue)
        if 0 in step.shape:
            return Grid.multiples(0)
        index = tuple(slice(0, 1) if i in axes else slice(None) for i in range(step.ndim))
        first = residue[index]
        apart = _apart(residue, first)
        together = np.minimum(step, apart).min(axis=axes, keepdims=True)
        return _normal(together, first + 0.0 * together, np.asarray(True), together)

    def moved(self, function: Callable[[F64], F64], shape: Sequence[int]) -> "Grid":
        """With both arrays, spread out to `shape`, rearranged by `function`."""
        step = np.broadcast_to(self.step, shape).astype(np.float64)
        return Grid(function(step).astype(np.int64), function(np.broadcast_to(self.residue, shape)))


Grids = tuple[Grid, ...]
"""The union of some grids; empty: any real number at all."""

INTEGERS: Grids = (Grid.multiples(0),)


def two_adic(x: F64) -> I64:
    """Exponent of the largest power of two that divides x; EXACT for 0, -EXACT for what is not finite.

    >>> two_adic(np.array([12.0, 0.375, 0.0])).tolist()
    [2, -3, 16384]
    """
    mantissa, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0))
    whole = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    found = np.where(whole == 0, EXACT, exponent.astype(np.int64) - 53 + lowest)
    return np.where(np.isfinite(x), found, -EXACT).astype(np.int64)


def _apart(a: F64, b: F64) -> I64:
    """Exponent of a power of two that divides a - b: the largest, where float64 holds the difference."""
    return np.where(sum_is_exact(a, -b), two_adic(a - b), np.minimum(two_adic(a), two_adic(b)))


def _normal(step: I64, residue: F64, exact: ArrayLike, coarse: I64) -> Grid:
    """With the residue reduced; where it could not be computed exactly, multiples of 2^coarse instead."""
    step = np.where(step > EXACT // 2, EXACT, step)
    known = np.asarray(exact) & np.isfinite(residue)
    step = np.where(known, step, np.minimum(step, coarse))
    modulus = np.ldexp(1.0, np.clip(step, -1074, 1023).astype(np.int32))
    # fmod is exact, with a dividend of either sign.
    reduced = np.where(step > 1023, residue, np.fmod(residue, modulus))  # noqa: PLR2004
    return Grid(step, np.where(known, reduced, 0.0))


def unite(grids: Iterable[Grids]) -> Grids:
    """The union, each class once; unknown if any part is."""
    parts = list(grids)
    if not all(parts):
        return ()
    return _few([grid for part in parts for grid in part])


def combine(left: Grids, right: Grids, function: Callable[[Grid, Grid], Grid]) -> Grids:
    """Of a binary operation, from the classes of its operands."""
    return _few([function(a, b) for a in left for b in right]) if left and right else ()


def collapse(grids: Grids, axes: tuple[int, ...]) -> Grids:
    return _few([grid.collapsed(axes) for grid in grids])


def unit(grids: Grids) -> I64:
    """Exponent of a power of two that divides every value; -EXACT if nothing is known."""
    if not grids:
        return np.asarray(-EXACT, np.int64)
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*(grid.unit for grid in grids))))


def all_integers(grids: Grids) -> bool:
    return bool((unit(grids) >= 0).all())


def may_tie(grids: Grids) -> bool:
    return not grids or any(grid.may_tie() for grid in grids)


def may_be_zero(grids: Grids) -> bool:
    return not grids or any(grid.may_be_zero() for grid in grids)


def _few(classes: Sequence[Grid]) -> Grids:
    """Without those that others cover, and the closest merged until few are left."""
    kept: list[Grid] = []
    for grid in classes:
        if not any(other.covers(grid) for other in kept):
            kept = [other for other in kept if not grid.covers(other)] + [grid]
    while len(kept) > MOST_CLASSES:
        pairs = [(i, j) for j in range(len(kept)) for i in range(j)]
        i, j = max(pairs, key=lambda p: int(kept[p[0]].merged(kept[p[1]]).step.min()))
        merged = kept[i].merged(kept[j])
        kept = [grid for k, grid in enumerate(kept) if k not in (i, j)] + [merged]
    return tuple(kept)
