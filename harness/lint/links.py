"""Where a number meets what was made of it again, which bounds alone cannot see.

v - d * (v / d) is v mod d: this is how wide integers are split into narrow parts, often in types that only hold them
modulo 2^n. max(v, c * v + d) rises with v: this is a leaky rectifier.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from harness.lint.intervals import F64, Interval, product_is_exact, sum_is_exact

if TYPE_CHECKING:
    from harness.lint.values import Value


class Role(Enum):
    """What a tensor is to its source s, an integer tensor that is never negative, and a divisor d."""

    WHOLE = "s"
    FRACTION = "s / d"
    QUOTIENT = "floor(s / d)"
    MULTIPLE = "d * floor(s / d)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """Equal to its role, or congruent to it modulo `modulus` where that is not 0."""

    source: "Value"
    role: Role
    divisor: int = 1
    modulus: int = 0


def link_of(value: "Value") -> Link | None:
    """As what a tensor may be split: as itself, if nothing else is known."""
    if value.link is not None:
        return value.link
    if value.kind.is_integer and value.range.lowest >= 0:
        return Link(source=value, role=Role.WHOLE)
    return None


def scaled(link: Link | None, factor: float | None, modulus: int) -> Link | None:
    """After multiplying by one number."""
    if link is None or factor is None or factor <= 0:
        return None
    if link.role is Role.WHOLE and not link.modulus and factor < 1 and (1 / factor).is_integer():
        return Link(source=link.source, role=Role.FRACTION, divisor=int(1 / factor))
    if link.role is Role.QUOTIENT and not link.modulus and factor == link.divisor:
        return Link(source=link.source, role=Role.MULTIPLE, divisor=link.divisor, modulus=modulus)
    return None


def floored(link: Link | None, divisor: float | None = 1.0) -> Link | None:
    """After dividing and dropping the fraction."""
    if link is None or divisor is None or not float(divisor).is_integer() or divisor < 1:
        return None
    if link.role is Role.FRACTION and divisor == 1:
        return Link(source=link.source, role=Role.QUOTIENT, divisor=link.divisor)
    if link.role is Role.WHOLE and not link.modulus and divisor > 1:
        return Link(source=link.source, role=Role.QUOTIENT, divisor=int(divisor))
    return None


def remainder(left: "Value", right: "Value", modulus: int) -> int | None:
    """D where left - right is s mod d; `modulus` is 2^n of an unsigned type, 0 where nothing wraps."""
    whole, multiple = link_of(left), right.link
    if whole is None or multiple is None or whole.source is not multiple.source:
        return None
    if whole.role is not Role.WHOLE or multiple.role is not Role.MULTIPLE:
        return None
    # Congruences add up to a number only in the type that they are modulo of; 2^n is a multiple of a power of two.
    if {whole.modulus, multiple.modulus} - {0, modulus}:
        return None
    wraps = bool(whole.modulus or multiple.modulus)
    if wraps and (not modulus or modulus % multiple.divisor):
        return None
    return multiple.divisor


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """slope * root + offset, with positive slopes."""

    root: "Value"
    slope: F64
    offset: F64

    def trusted(
        self, trust: Interval, unit: F64, choose: Callable[[F64, F64], F64]
    ) -> Interval | None:
        """What is trusted of Max or Min (`choose`) of the root and this line, which is exact within `trust`.

        Both rise with the root, whose values are multiples of `unit`. So the choice is exact between the first and the
        last of those that both are exact at, and beyond these it lies beyond its values there.
        """
        own = self.root.trust or Interval.of(-np.inf, np.inf)
        low = np.maximum(own.low, _inward(trust.low, self, np.inf))
        high = np.minimum(own.high, _inward(trust.high, self, -np.inf))
        first, last = np.ceil(low / unit) * unit, np.floor(high / unit) * unit
        ends = Interval.of(
            choose(first, np.nextafter(self.slope * first + self.offset, np.inf)),
            choose(last, np.nextafter(self.slope * last + self.offset, -np.inf)),
        )
        return ends if (first <= last).all() else None


def _inward(end: F64, line: Line, towards: float) -> F64:
    """The root at an end of what is trusted of the line, a little inside of it."""
    at = (end - line.offset) / line.slope
    return np.where(np.isfinite(at), np.nextafter(np.nextafter(at, towards), towards), end)


def line_of(value: "Value") -> Line:
    return value.line or Line(root=value, slope=np.asarray(1.0), offset=np.asarray(0.0))


def stretched(value: "Value", factor: F64) -> Line | None:
    """After multiplying by constants."""
    line = line_of(value)
    exact = product_is_exact(line.slope, factor) & product_is_exact(line.offset, factor)
    if not value.kind.is_float or not (factor > 0).all() or not exact.all():
        return None
    return Line(root=line.root, slope=line.slope * factor, offset=line.offset * factor)


def raised(value: "Value", term: F64) -> Line | None:
    """After adding constants."""
    line = line_of(value)
    if not value.kind.is_float or not sum_is_exact(line.offset, term).all():
        return None
    return Line(root=line.root, slope=line.slope, offset=line.offset + term)
