"""Interval arithmetic on arrays of bounds. Bounds are float64 and rounded outward wherever a result is not exact.

One pair of bounds may stand for a whole tensor, or for each of its channels: arrays broadcast as tensors do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Interval:
    """Every value v of a tensor obeys low <= v <= high, element by element."""

    low: F64
    high: F64

    @classmethod
    def of(cls, low: ArrayLike, high: ArrayLike) -> "Interval":
        """Bounds from anything numeric; what is not a number becomes unbounded."""
        bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
        return cls(
            np.where(np.isnan(bottom), -np.inf, bottom), np.where(np.isnan(top), np.inf, top)
        )

    @property
    def magnitude(self) -> F64:
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def lowest(self) -> float:
        return float(self.low.min()) if self.low.size else 0.0

    @property
    def highest(self) -> float:
        return float(self.high.max()) if self.high.size else 0.0

    @property
    def is_point(self) -> bool:
        return bool(np.isfinite(self.low).all() and (self.low == self.high).all())

    def may_be(self, value: float) -> bool:
        return bool(((self.low <= value) & (value <= self.high)).any())

    def within(self, low: float, high: float) -> bool:
        return self.lowest >= low and self.highest <= high

    def join(self, *others: "Interval") -> "Interval":
        """The smallest interval around all."""
        low, high = self.low, self.high
        for other in others:
            low, high = np.minimum(low, other.low), np.maximum(high, other.high)
        return Interval(low, high)

    def clamp(self, low: ArrayLike, high: ArrayLike) -> "Interval":
        """What is left once every value is brought into [low, high]."""
        return Interval.of(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def monotone(self, function: Callable[[F64], F64]) -> "Interval":
        """Under a function that never decreases and is computed exactly."""
        return Interval.of(function(self.low), function(self.high))

    def widened(self, relative: float, absolute: float) -> "Interval":
        """With room for an error of `relative` times the magnitude, and `absolute` besides."""
        slack = self.magnitude * relative + absolute
        return Interval.of(
            np.nextafter(self.low - slack, -np.inf), np.nextafter(self.high + slack, np.inf)
        )

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low)

    def __add__(self, other: "Interval") -> "Interval":
        return Interval.of(
            _sum(self.low, other.low, -np.inf, -np.inf), _sum(self.high, other.high, np.inf, np.inf)
        )

    def __sub__(self, other: "Interval") -> "Interval":
        return self + -other

    def __mul__(self, other: "Interval") -> "Interval":
        corners = [(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
        lows = [_product(a, b, -np.inf) for a, b in corners]
        highs = [_product(a, b, np.inf) for a, b in corners]
        return Interval.of(np.minimum.reduce(_even(lows)), np.maximum.reduce(_even(highs)))

    def squared(self) -> "Interval":
        """Of x * x, x the same on both sides."""
        ends = self.magnitude
        nearest = np.where(
            (self.low <= 0) & (self.high >= 0), 0.0, np.minimum(np.abs(self.low), np.abs(self.high))
        )
        return Interval.of(_product(nearest, nearest, -np.inf), _product(ends, ends, np.inf))

    def over(self, other: "Interval") -> "Interval":
        """Real quotients, rounded outward; unbounded where the divisor may be 0."""
        corners = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        low, high = np.minimum.reduce(_even(corners)), np.maximum.reduce(_even(corners))
        safe = (other.low > 0) | (other.high < 0)
        return Interval.of(
            np.where(safe, np.nextafter(low, -np.inf), -np.inf),
            np.where(safe, np.nextafter(high, np.inf), np.inf),
        )

    def truncated_over(self, other: "Interval") -> "Interval":
        """Integer quotients rounded towards zero; unbounded where the divisor may be 0."""
        corners = [_truncated(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
        # The quotient of the smallest divisors is among the corners only if they do not straddle 0.
        low, high = np.minimum.reduce(_even(corners)), np.maximum.reduce(_even(corners))
        safe = (other.low > 0) | (other.high < 0)
        return Interval.of(np.where(safe, low, -np.inf), np.where(safe, high, np.inf))


def _even(arrays: list[F64]) -> list[F64]:
    return list(np.broadcast_arrays(*arrays))


def _sum(a: F64, b: F64, towards: float, undefined: float) -> F64:
    """A + b, moved one step `towards` an infinity where float64 had to round."""
    total = a + b
    result = np.where(sum_is_exact(a, b), total, np.nextafter(total, towards))
    return np.where(np.isnan(total), undefined, np.where(np.isinf(total), total, result))


def _product(a: F64, b: F64, towards: float) -> F64:
    """A * b, moved one step `towards` an infinity where float64 had to round; 0 times anything is 0."""
    product = a * b
    result = np.where(product_is_exact(a, b), product, np.nextafter(product, towards))
    return np.where((a == 0) | (b == 0), 0.0, np.where(np.isinf(product), product, result))


def sum_is_exact(a: F64, b: F64) -> NDArray[np.bool_]:
    """Whether float64 holds a + b without rounding (Knuth's error term is zero)."""
    total = a + b
    shadow = total - a
    return np.asarray((a - (total - shadow)) + (b - shadow) == 0)


def product_is_exact(a: F64, b: F64) -> NDArray[np.bool_]:
    """Whether float64 holds a * b without rounding (Dekker's error term is zero)."""
    product = a * b
    a_high, b_high = _upper_half(a), _upper_half(b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    # Far down, the error term itself would underflow.
    return np.asarray((error == 0) & ((np.abs(product) > 2.0**-900) | (a == 0) | (b == 0)))


def _upper_half(x: F64) -> F64:
    scaled = x * 134217729.0  # 2^27 + 1, Veltkamp's splitter
    return scaled - (scaled - x)


def _truncated(a: F64, b: F64) -> F64:
    """trunc(a / b) of integers; a quotient too large to be sure of is left as it is, one off at the most."""
    quotient = np.trunc(a / b)
    sure = np.abs(a) <= 2.0**52
    return np.where(sure, quotient, np.where(quotient > 0, quotient + 1, quotient - 1))
