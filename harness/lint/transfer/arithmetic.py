"""Elementwise arithmetic: sums, products, quotients, remainders and bits."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np

from harness.lint import grids as g
from harness.lint import links
from harness.lint.grids import Grid, Grids
from harness.lint.intervals import F64, Interval
from harness.lint.rules import FLOAT_REDUCTION, FLOAT_ROUNDING, UNDEFINED
from harness.lint.site import Site, operator, span
from harness.lint.transfer.settle import representable, rounded, settle
from harness.lint.values import MOST_BOUNDS, MOST_FOLDED, Array, Value, broadcast, constant, top

ZERO = Interval.of(0.0, 0.0)


def _folded(
    site: Site, result: Value, real: Interval, function: Callable[[Array, Array], Array]
) -> Value:
    """A large constant of constants, where the result is proven to be exact; small ones follow from their bounds."""
    a, b = (site.operand(i).constant for i in (0, 1))
    size = result.size
    if a is None or b is None or size is None or not MOST_BOUNDS < size <= MOST_FOLDED:
        return result
    exact = bool(result.grids) and result.trust is None
    fits = result.kind.is_float or real.within(result.kind.low, result.kind.fits)
    return constant(function(a, b)) if exact and fits and a.dtype == b.dtype else result


@operator("Add")
def add(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    grids = g.combine(a.grids, b.grids, Grid.__add__)
    trust = mapped(a, b, Interval.__add__)
    result = settle(
        site, a.kind, broadcast(a.shape, b.shape), a.range + b.range, grids, trust=trust
    )
    if result.kind.is_float and result.grids:
        # A sum is -0 only where both terms are.
        both = a.range.may_be(0) and b.range.may_be(0)
        result = replace(
            result,
            minus_zero=both and maybe_minus(a) and maybe_minus(b),
            open_zero=both and (a.open_zero or b.open_zero),
        )
    varying, fixed = (a, b) if b.range.is_point else (b, a)
    line = links.raised(varying, fixed.range.low) if fixed.range.is_point else None
    return [replace(_folded(site, result, a.range + b.range, np.add), line=line)]


def mapped(
    a: Value, b: Value, function: Callable[[Interval, Interval], Interval]
) -> Interval | None:
    """What is trusted of the result of a monotone operation with one constant; None if neither is one."""
    varying, fixed = (a, b) if b.range.is_point else (b, a)
    if not fixed.range.is_point:
        return None
    trust = varying.trust or Interval.of(-np.inf, np.inf)
    return function(trust, fixed.range) if varying is a else function(fixed.range, trust)


def maybe_minus(value: Value) -> bool:
    return value.minus_zero or value.open_zero


@operator("Sum", "Mean")
def total(site: Site) -> list[Value]:
    """Of any number of tensors, in any order."""
    values = site.given()
    kind, shape = values[0].kind, broadcast(*(value.shape for value in values))
    real = reduce(Interval.__add__, [value.range for value in values])
    grids = reduce(lambda a, b: g.combine(a, b, Grid.__add__), [value.grids for value in values])
    partial = reduce(Interval.__add__, [value.range.join(ZERO) for value in values])
    if site.operator == "Sum" and (
        not kind.is_float or representable(kind, partial.magnitude, unit_grid(values))
    ):
        return [settle(site, kind, shape, real, grids)]
    rule = FLOAT_ROUNDING if len(values) <= 2 else FLOAT_REDUCTION  # noqa: PLR2004
    site.flag(rule, f"{site.operator} of {len(values)} {kind.name} tensors")
    if site.operator == "Mean":
        real = real.over(Interval.of(len(values), len(values)))
    return [rounded(kind, shape, real, 2.0 ** (1 - kind.digits) * (len(values) + 1))]


def unit_grid(values: list[Value]) -> Grids:
    """One grid for every partial sum of these."""
    if not all(value.grids for value in values):
        return ()
    units = [g.unit(value.grids) for value in values]
    return (Grid.multiples(reduce(np.minimum, units)),)


@operator("Sub")
def subtract(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    minus_one = (Grid.points(-1.0),)
    grids = g.combine(a.grids, g.combine(b.grids, minus_one, Grid.__mul__), Grid.__add__)
    divisor = links.remainder(a, b, a.kind.modulus) if a.kind.is_integer else None
    if divisor is not None:
        rest = Interval.of(0.0, divisor - 1.0)
        return [settle(site, a.kind, broadcast(a.shape, b.shape), rest, g.INTEGERS)]
    trust = mapped(a, b, Interval.__sub__)
    result = settle(
        site, a.kind, broadcast(a.shape, b.shape), a.range - b.range, grids, trust=trust
    )
    line = links.raised(a, -b.range.low) if b.range.is_point else None
    return [replace(_folded(site, result, a.range - b.range, np.subtract), line=line)]


@operator("Mul")
def multiply(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    real = a.range.squared() if site.same else a.range * b.range
    grids = g.combine(a.grids, b.grids, Grid.__mul__)
    trust = mapped(a, b, Interval.__mul__)
    result = settle(site, a.kind, broadcast(a.shape, b.shape), real, grids, trust=trust)
    if result.kind.is_float and result.grids:
        minus = maybe_minus(a) or maybe_minus(b)
        zeros = [
            x for x, y in ((a, b), (b, a)) if x.range.may_be(0) and (y.range.lowest < 0 or minus)
        ]
        result = replace(result, minus_zero=bool(zeros) and not (site.same and not minus))
    varying, fixed = (a, b) if b.range.is_point else (b, a)
    link = links.scaled(varying.link or links.link_of(varying), single(fixed), result.kind.modulus)
    line = links.stretched(varying, fixed.range.low) if fixed.range.is_point else None
    return [replace(_folded(site, result, real, np.multiply), link=link, line=line)]


@operator("Div")
def divide(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    shape = broadcast(a.shape, b.shape)
    if a.kind.is_integer:
        if b.range.may_be(0):
            site.flag(UNDEFINED, f"the divisor lies in {span(b)}: it may be 0")
            return [top(a.kind, shape)]
        result = settle(site, a.kind, shape, a.range.truncated_over(b.range), g.INTEGERS)
        return [replace(result, link=links.floored(links.link_of(a), single(b)))]
    inverse = power_of_two_inverse(b)
    if inverse is not None:
        grids = g.combine(a.grids, (Grid.points(inverse),), Grid.__mul__)
        by = Interval.of(inverse, inverse)
        trust = (a.trust or Interval.of(-np.inf, np.inf)) * by
        result = settle(site, a.kind, shape, a.range * by, grids, trust=trust)
        factor = None if single(b) is None else 1.0 / (single(b) or 1.0)
        return [replace(result, link=links.scaled(links.link_of(a), factor, 0))]
    evidence = "division of floats"
    if b.range.may_be(0):
        evidence += f"; the divisor lies in {span(b)} and may be 0"
    site.flag(FLOAT_ROUNDING, evidence)
    return [rounded(a.kind, shape, a.range.over(b.range), 2.0 ** (1 - a.kind.digits))]


def single(value: Value) -> float | None:
    """The one number that a constant holds throughout."""
    known = value.range.is_point and value.range.lowest == value.range.highest
    return value.range.lowest if known else None


def power_of_two_inverse(value: Value) -> F64 | None:
    """1 / value where value is a known power of two throughout: multiplying by it is dividing."""
    points = value.range.low
    if not value.range.is_point or not (points != 0).all():
        return None
    mantissa, exponent = np.frexp(points)
    if not (np.abs(mantissa) == 0.5).all():  # noqa: PLR2004
        return None
    return np.asarray(np.ldexp(np.sign(points), 1 - exponent), np.float64)


@operator("Mod")
def remainder(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    shape = broadcast(a.shape, b.shape)
    if b.range.may_be(0):
        site.flag(UNDEFINED, f"the divisor lies in {span(b)}: it may be 0")
        return [top(a.kind, shape)]
    gap = 1.0 if a.kind.is_integer else 0.0
    reach = b.range.magnitude - gap
    if site.node.integer("fmod", 0):
        low, high = np.where(a.range.low < 0, -reach, 0), np.where(a.range.high > 0, reach, 0)
        low, high = (
            np.maximum(low, np.minimum(a.range.low, 0)),
            np.minimum(high, np.maximum(a.range.high, 0)),
        )
    else:
        low, high = np.where(b.range.low < 0, -reach, 0), np.where(b.range.high > 0, reach, 0)
        untouched = (a.range.low >= 0) & (a.range.high < b.range.low)
        low, high = np.where(untouched, a.range.low, low), np.where(untouched, a.range.high, high)
    unit = np.minimum(g.unit(a.grids), g.unit(b.grids))
    grids = (Grid.multiples(unit),) if a.grids and b.grids else ()
    # A float quotient of fewer bits than the type carries cannot be rounded up to the next whole one.
    if a.kind.is_float and not representable(a.kind, 4 * a.range.magnitude, grids):
        site.flag(FLOAT_ROUNDING, f"remainder of floats in {span(a)}")
        return [rounded(a.kind, shape, Interval.of(low, high), 2.0 ** (1 - a.kind.digits))]
    return [settle(site, a.kind, shape, Interval.of(low, high), grids)]


@operator("Neg")
def negate(site: Site) -> list[Value]:
    x = site.operand(0)
    grids = g.combine(x.grids, (Grid.points(-1.0),), Grid.__mul__)
    if x.kind.is_float:
        return [signed(x, -x.range, grids)]
    return [settle(site, x.kind, x.shape, -x.range, grids)]


@operator("Abs")
def absolute(site: Site) -> list[Value]:
    x = site.operand(0)
    nearest = np.where(
        (x.range.low <= 0) & (x.range.high >= 0),
        0.0,
        np.minimum(np.abs(x.range.low), np.abs(x.range.high)),
    )
    real = Interval.of(nearest, x.range.magnitude)
    grids = g.unite([x.grids, g.combine(x.grids, (Grid.points(-1.0),), Grid.__mul__)])
    if x.kind.is_float:
        result = x.renewed(x.kind, real, grids)
        return [replace(result, minus_zero=False, open_zero=False)]
    return [settle(site, x.kind, x.shape, real, grids)]


def signed(x: Value, real: Interval, grids: Grids) -> Value:
    """A float whose sign bit alone was touched."""
    return replace(x.renewed(x.kind, real, grids), minus_zero=True, open_zero=x.open_zero)


@operator("Sign")
def sign(site: Site) -> list[Value]:
    x = site.operand(0)
    result = x.renewed(x.kind, x.range.monotone(np.sign), g.INTEGERS)
    return [replace(result, minus_zero=x.minus_zero, open_zero=maybe_minus(x))]


@operator("Sqrt", "Reciprocal", "Softsign", "HardSwish")
def roundings(site: Site) -> list[Value]:
    """One IEEE operation, or a short chain of them; none is mandated to be correctly rounded."""
    x = site.operand(0)
    site.flag(FLOAT_ROUNDING, f"{site.operator} of values in {span(x)}")
    if site.operator == "Sqrt" and x.range.lowest >= 0:
        real = x.range.monotone(np.sqrt)
    elif site.operator == "Softsign":
        real = Interval.of(-1.0, 1.0)
    elif site.operator == "Reciprocal":
        real = Interval.of(1.0, 1.0).over(x.range)
    else:
        real = Interval.of(-np.inf, np.inf)
    return [rounded(x.kind, x.shape, real, 2.0 ** (2 - x.kind.digits))]
