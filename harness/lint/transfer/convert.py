"""Changes of type: casts, quantization and dequantization."""

from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grid
from harness.lint.intervals import Interval
from harness.lint.kinds import BOOL, FLOAT32, KINDS, OTHER, Kind, kind_of
from harness.lint.links import Link, Role, floored, link_of
from harness.lint.rules import (
    CAST_RANGE,
    CAST_WRAPS,
    FLOAT_RESCALE,
    FLOAT_ROUNDING,
    FRACTIONAL_CAST,
    SIGNED_ZERO,
)
from harness.lint.site import Site, number, operator, span
from harness.lint.transfer.arithmetic import power_of_two_inverse
from harness.lint.transfer.settle import (
    FLOAT_EXTENTS,
    carried,
    representable,
    rounded,
    settle,
    wrapped,
)
from harness.lint.values import MOST_BOUNDS, MOST_FOLDED, Dims, Value, broadcast, constant, fit, top


@operator("Cast", "CastLike")
def cast(site: Site) -> list[Value]:
    x = site.operand(0)
    if site.operator == "CastLike":
        kind = site.operand(1).kind
    else:
        kind = kind_of(site.node.integer("to", 0))
    if x.kind is kind:
        return [x]
    result = _cast(site, x, kind)
    result = replace(result, link=_cast_link(x, result))
    known = x.constant
    if known is not None and MOST_BOUNDS < known.size <= MOST_FOLDED and _is_same(x, result):
        return [constant(known.astype(kind.dtype))]
    return [result]


def _cast(site: Site, x: Value, kind: Kind) -> Value:
    if OTHER in (x.kind, kind):
        return top(kind, x.shape)
    if x.doubt and not kind.is_float:
        site.flag(FLOAT_ROUNDING, f"{x.doubt}; that is not clamped before this Cast")
        return top(kind, x.shape)
    if kind is BOOL:
        return Value(kind=BOOL, shape=x.shape, range=Interval.of(0.0, 1.0), grids=g.INTEGERS)
    if kind.is_float:
        return _to_float(site, x, kind)
    return _float_to_integer(site, x, kind) if x.kind.is_float else _narrow(site, x, kind)


def _is_same(x: Value, result: Value) -> bool:
    """Whether the cast changed no number."""
    if result.kind.is_float:
        return bool(result.grids) and result.trust is None
    return result.kind.is_integer and x.range.within(result.kind.low, result.kind.fits)


def _cast_link(x: Value, result: Value) -> Link | None:
    """The same number, or the same modulo 2^n, or what is left of it once its fraction is dropped."""
    link = link_of(x)
    if (
        link is None
        or not (result.kind.is_integer or result.kind.is_float)
        or result.trust is not None
    ):
        return None
    if result.kind.is_float:
        return link if result.grids else None
    inside = x.range.within(result.kind.low, result.kind.fits)
    if x.kind.is_float and link.role is Role.FRACTION:
        return floored(link) if inside else None
    if inside:
        return link if x.grids else None
    if link.role is Role.WHOLE and not link.modulus and result.kind.modulus:
        return replace(link, modulus=result.kind.modulus)
    return None


def _to_float(site: Site, x: Value, kind: Kind) -> Value:
    widening = x.kind.is_float and x.kind.digits <= kind.digits and x.kind.smallest >= kind.smallest
    if widening or representable(kind, x.range.magnitude, x.grids):
        if not x.kind.is_float and x.kind is not BOOL:
            carried(site, kind, x.range.magnitude, x.grids, "Cast")
        same = replace(x.renewed(kind, x.range, x.grids), trust=x.trust, doubt=x.doubt)
        return replace(same, minus_zero=x.minus_zero, open_zero=x.open_zero)
    if x.extent:
        site.assume(FLOAT_EXTENTS)
        x = x.renewed(x.kind, x.range.clamp(-(2.0**kind.digits), 2.0**kind.digits), x.grids)
    everything = Interval.of(-np.inf, np.inf)
    result = settle(site, kind, x.shape, x.range, x.grids, trust=x.trust or everything)
    return replace(result, minus_zero=x.minus_zero, open_zero=x.open_zero)


def _float_to_integer(site: Site, x: Value, kind: Kind) -> Value:
    real = x.range.monotone(np.trunc)
    if not real.within(kind.low, kind.fits):
        outside = real.highest if real.highest > kind.fits else real.lowest
        site.flag(
            CAST_RANGE,
            f"{span(x)} to {kind.name} [{number(kind.low)}, {number(kind.high)}]",
            bound=outside,
            limit=kind.high if outside > 0 else kind.low,
        )
        return top(kind, x.shape)
    if not g.all_integers(x.grids):
        site.flag(FRACTIONAL_CAST, f"{x.kind.name} in {span(x)} is cast to {kind.name}")
        return x.renewed(kind, real, g.INTEGERS)
    return x.renewed(kind, real, x.grids)


def _narrow(site: Site, x: Value, kind: Kind) -> Value:
    if x.range.within(kind.low, kind.fits):
        return replace(x.renewed(kind, x.range, x.grids), extent=x.extent)
    if x.extent:
        return replace(x.renewed(kind, x.range.clamp(kind.low, kind.fits), g.INTEGERS), extent=True)
    outside = x.range.highest if x.range.highest > kind.fits else x.range.lowest
    site.flag(
        CAST_WRAPS,
        f"{x.kind.name} in {span(x)} to {kind.name} [{number(kind.low)}, {number(kind.high)}]",
        bound=outside,
        limit=kind.high if outside > 0 else kind.low,
    )
    return wrapped(kind, x.shape, x.grids) if kind.modulus else top(kind, x.shape)


@operator("BitCast")
def bitcast(site: Site) -> list[Value]:
    x = site.operand(0)
    if x.open_zero:
        site.flag(SIGNED_ZERO, f"the bits of {span(x)} are read")
    return [top(kind_of(site.node.integer("to", 0)), x.shape)]


def along(site: Site, parameter: Value, x: Value) -> Value:
    """A scale or zero point, its axis lined up with that of the tensor it belongs to."""
    if parameter.rank == 0 or parameter.size == 1:
        return parameter.collapsed()
    if parameter.rank != 1 or x.rank is None:
        return parameter.collapsed()
    after = x.rank - 1 - site.node.integer("axis", 1) % x.rank
    if parameter.shape is None or parameter.range.low.ndim != 1:
        return parameter.collapsed()
    return parameter.moved(
        lambda a: a.reshape(a.shape + (1,) * after), (*parameter.shape, *(1,) * after)
    )


@operator("DequantizeLinear")
def dequantize(site: Site) -> list[Value]:
    x, scale = site.operand(0), along(site, site.operand(1), site.operand(0))
    zero = site.optional(2)
    kind = site.operand(1).kind if site.operand(1).kind.is_float else FLOAT32
    offset = x.range if zero is None else x.range - along(site, zero, x).range
    grids = x.grids
    if zero is not None:
        minus = g.combine(along(site, zero, x).grids, (Grid.points(-1.0),), Grid.__mul__)
        grids = g.combine(x.grids, minus, Grid.__add__)
    real, exact = offset * scale.range, g.combine(grids, scale.grids, Grid.__mul__)
    if representable(kind, real.magnitude, exact):
        carried(site, kind, real.magnitude, exact, site.operator)
        result = fit(Value(kind=kind, shape=x.shape, range=real, grids=exact))
        return [replace(_weights(site, result), dequantized=x)]
    site.flag(FLOAT_RESCALE, f"{x.kind.name} in {span(x)} times a scale in {span(scale)}")
    result = rounded(kind, x.shape, real, 2.0 ** (1 - kind.digits))
    return [replace(result, dequantized=x)]


def _weights(site: Site, result: Value) -> Value:
    """Large constants dequantized by one power of two stay constants."""
    x, scale = site.operand(0).constant, site.operand(1).number()
    zero = site.optional(2)
    offset = np.zeros(1) if zero is None else zero.number()
    if x is None or not MOST_BOUNDS < x.size <= MOST_FOLDED or scale is None or offset is None:
        return result
    if scale.size != 1 or offset.size != 1:
        return result
    numbers = (x.astype(np.float64) - float(offset.item())) * float(scale.item())
    return constant(numbers.astype(result.kind.dtype))


@operator("QuantizeLinear")
def quantize(site: Site) -> list[Value]:
    """saturate(round to even(x / scale) + zero point); exact where the scale is a power of two."""
    x, scale = site.operand(0), along(site, site.operand(1), site.operand(0))
    zero = site.optional(2)
    if zero is not None:
        kind = zero.kind
    else:
        kind = kind_of(site.node.integer("output_dtype", 0))
        kind = KINDS["uint8"] if kind is OTHER else kind
    shape: Dims | None = broadcast(x.shape, scale.shape) if x.rank else x.shape
    inverse = power_of_two_inverse(scale)
    if inverse is None or kind.is_float or not (inverse > 0).all():
        site.flag(FLOAT_RESCALE, f"{x.kind.name} in {span(x)} over a scale in {span(scale)}")
        return [top(kind, shape)]
    offset = Interval.of(0.0, 0.0) if zero is None else along(site, zero, x).range
    quotient = (x.range * Interval.of(inverse, inverse)).monotone(np.rint)
    if x.trust is not None:
        ends = (x.trust * Interval.of(inverse, inverse)).monotone(np.rint) + offset
        saturated = (ends.high >= kind.high).all() and (ends.low <= kind.low).all()
        if not saturated:
            site.flag(FLOAT_ROUNDING, f"{x.doubt}; that is not clamped before this QuantizeLinear")
    return [
        fit(
            Value(
                kind=kind,
                shape=shape,
                range=(quotient + offset).clamp(kind.low, kind.high),
                grids=g.INTEGERS,
            )
        )
    ]


def may_tie(site: Site) -> bool:
    """Whether a QuantizeLinear by powers of two can meet a value halfway between two steps."""
    x, scale = site.operand(0), along(site, site.operand(1), site.operand(0))
    inverse = power_of_two_inverse(scale)
    if inverse is None:
        return False
    return g.may_tie(g.combine(x.grids, (Grid.points(inverse),), Grid.__mul__))


@operator("DynamicQuantizeLinear")
def dynamic(site: Site) -> list[Value]:
    x, uint8 = site.operand(0), KINDS["uint8"]
    site.flag(FLOAT_RESCALE, "scale and zero point are computed in float from the data")
    return [
        top(uint8, x.shape),
        rounded(FLOAT32, (), Interval.of(0.0, np.inf), 0.0),
        top(uint8, ()),
    ]
