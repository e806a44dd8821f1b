"""Operators that choose or compare and never compute: exact in any type, apart from the sign of a zero."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grid, Grids
from harness.lint.intervals import F64, Interval
from harness.lint.kinds import BOOL
from harness.lint.links import Role, floored
from harness.lint.site import Site, operator
from harness.lint.transfer.arithmetic import maybe_minus
from harness.lint.transfer.settle import power, settle
from harness.lint.values import Value, broadcast, common_trust, fit, settled


def joined(values: list[Value], span: Interval, grids: Grids) -> Value:
    """Each element is one of the values' elements; of two zeros, either may be taken."""
    zeros = [v for v in values if v.range.may_be(0)]
    unlike = len(zeros) > 1 and any(maybe_minus(v) for v in zeros)
    trust, doubt = common_trust(values)
    return fit(
        settled(
            Value(
                kind=values[0].kind,
                shape=broadcast(*(v.shape for v in values)),
                range=span,
                grids=grids,
                trust=trust,
                doubt=doubt,
                extent=all(v.extent or v.range.is_point for v in values)
                and any(v.extent for v in values),
                minus_zero=any(v.minus_zero for v in values),
                open_zero=values[0].kind.is_float and (unlike or any(v.open_zero for v in values)),
            )
        )
    )


def _choice(values: list[Value], span: Interval) -> Value:
    """Of Max and Min: a value that lies outside the result altogether is never the one chosen."""
    chosen = [
        v for v in values if not ((v.range.high < span.low) | (v.range.low > span.high)).all()
    ]
    return joined(values, span, g.unite([v.grids for v in chosen]))


def _rising(values: list[Value], choose: Callable[[F64, F64], F64], result: Value) -> Value:
    """Of a number and a line through it: both rise together, so more is trusted than of any two."""
    if result.trust is None or len(values) != 2:  # noqa: PLR2004
        return result
    for root, other in (values, values[::-1]):
        if other.line is None or other.line.root is not root or not root.grids:
            continue
        everywhere = Interval.of(-np.inf, np.inf)
        unit = power(g.unit(root.grids))
        trust = other.line.trusted(other.trust or everywhere, unit, choose)
        if trust is not None:
            return settled(fit(replace(result, trust=trust)))
    return result


@operator("Max")
def maximum(site: Site) -> list[Value]:
    values = site.given()
    low = reduce(np.maximum, [v.range.low for v in values])
    high = reduce(np.maximum, [v.range.high for v in values])
    return [_rising(values, np.maximum, _choice(values, Interval(low, high)))]


@operator("Min")
def minimum(site: Site) -> list[Value]:
    values = site.given()
    low = reduce(np.minimum, [v.range.low for v in values])
    high = reduce(np.minimum, [v.range.high for v in values])
    return [_rising(values, np.minimum, _choice(values, Interval(low, high)))]


@operator("Clip")
def clip(site: Site) -> list[Value]:
    """Min(max, Max(input, min)): where the limits cross, the maximum wins."""
    x = site.operand(0)
    limits = [site.optional(1), site.optional(2)]
    for position, name in enumerate(("min", "max")):
        if limits[position] is None and name in site.node.attributes:
            limit = Interval.of(site.node.number(name, 0.0), site.node.number(name, 0.0))
            points = (Grid.points(limit.low),)
            limits[position] = Value(kind=x.kind, shape=(), range=limit, grids=points)
    low, high = limits
    result = x
    if low is not None:
        span = Interval(
            np.maximum(result.range.low, low.range.low),
            np.maximum(result.range.high, low.range.high),
        )
        result = _choice([result, low], span)
    if high is not None:
        span = Interval(
            np.minimum(result.range.low, high.range.low),
            np.minimum(result.range.high, high.range.high),
        )
        result = _choice([result, high], span)
    return [replace(result, shape=x.shape) if result is not x else x]


@operator("Relu")
def relu(site: Site) -> list[Value]:
    x = site.operand(0)
    zero = Value(kind=x.kind, shape=(), range=Interval.of(0.0, 0.0), grids=(Grid.points(0.0),))
    return [_choice([x, zero], x.range.monotone(lambda v: np.maximum(v, 0.0)))]


@operator("LeakyRelu", "PRelu", "ThresholdedRelu")
def leaky(site: Site) -> list[Value]:
    """The larger values as they are, the rest times a slope (0 for ThresholdedRelu)."""
    x = site.operand(0)
    if site.operator == "ThresholdedRelu":
        span, grids = x.range.join(Interval.of(0.0, 0.0)), g.unite([x.grids, (Grid.points(0.0),)])
        return [joined([x], span, grids)]
    if site.operator == "PRelu":
        slope = site.operand(1)
    else:
        alpha = float(np.float32(site.node.number("alpha", 0.01)))
        points = (Grid.points(alpha),)
        slope = Value(kind=x.kind, shape=(), range=Interval.of(alpha, alpha), grids=points)
    negative = x.range.monotone(lambda v: np.minimum(v, 0.0))
    grids = g.combine(x.grids, slope.grids, Grid.__mul__)
    shape = broadcast(x.shape, slope.shape)
    if x.range.lowest >= 0:
        return [x]
    scaled = settle(site, x.kind, shape, negative * slope.range, grids)
    positive = x.range.monotone(lambda v: np.maximum(v, 0.0))
    span = scaled.range.join(positive)
    return [joined([x, scaled], span, g.unite([x.grids, scaled.grids]))]


@operator("Where")
def where(site: Site) -> list[Value]:
    condition, x, y = (site.operand(i) for i in range(3))
    result = _condition_free([x, y])
    return [replace(result, shape=broadcast(condition.shape, x.shape, y.shape))]


def _condition_free(values: list[Value]) -> Value:
    """One of the values, whichever; which one is no matter of rounding."""
    span = reduce(lambda a, b: a.join(b), [v.range for v in values])
    result = joined(values, span, g.unite([v.grids for v in values]))
    return replace(result, open_zero=any(v.open_zero for v in values))


@operator(
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf",
)  # fmt: skip
def comparison(site: Site) -> list[Value]:
    shape = broadcast(*(value.shape for value in site.given()))
    return [Value(kind=BOOL, shape=shape, range=Interval.of(0.0, 1.0), grids=g.INTEGERS)]


@operator("Floor", "Ceil", "Round")
def rounding(site: Site) -> list[Value]:
    """Exact by definition: the result is an integer that the type holds, and ties of Round go to even."""
    x = site.operand(0)
    functions: dict[str, Callable[[F64], F64]] = {
        "Floor": np.floor,
        "Ceil": np.ceil,
        "Round": np.rint,
    }
    result = x.renewed(x.kind, x.range.monotone(functions[site.operator]), g.INTEGERS)
    if site.operator == "Floor" and x.link is not None and x.link.role is Role.FRACTION:
        result = replace(result, link=floored(x.link))
    minus = x.minus_zero or (site.operator != "Floor" and x.range.lowest < 0)
    result = replace(result, minus_zero=minus, open_zero=x.open_zero)
    if x.trust is None:
        return [result]
    # A value just outside may be rounded to the integer just inside.
    trust = Interval.of(np.ceil(x.trust.low) + 1, np.floor(x.trust.high) - 1)
    return [settled(replace(result, trust=trust, doubt=x.doubt))]
