"""From the real result of an operation to the value of its output: overflow, rounding and zeros, judged in one place."""

from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grids
from harness.lint.intervals import F64, I64, Interval
from harness.lint.kinds import OTHER, Kind
from harness.lint.rules import CARRIER, FLOAT_ROUNDING, MONOTONE, OVERFLOW, UNSIGNED_WRAP, Rule
from harness.lint.site import Site, number
from harness.lint.values import MOST_ELEMENTS, Dims, Value, fit, settled, top

# Significand bits of bfloat16: what even that holds is no condition, where it does not depend on the feeds.
NARROWEST = 8
FLOAT_EXTENTS = (
    "sizes and positions that are computed in float stay within its whole numbers (2^24)"
)
EXTENTS = "sizes and positions computed from shapes stay below 2^31"


def settle(
    site: Site,
    kind: Kind,
    shape: Dims | None,
    real: Interval,
    grids: Grids,
    *,
    trust: Interval | None = None,
) -> Value:
    """The value of an elementwise result whose real bounds and grid are given; what does not fit is flagged.

    With `trust`, the operation is monotone in its one input that is no constant, and what is trusted of that input maps
    to `trust`: large results may then be rounded for now, since a clamp may follow.
    """
    if not kind.is_float:
        return whole(site, kind, shape, real, grids, OVERFLOW)
    inputs = site.given()
    zeros = any(value.open_zero for value in inputs) and real.may_be(0) and g.may_be_zero(grids)
    minus = any(value.minus_zero or value.range.lowest < 0 for value in inputs)
    doubt = next((value.doubt for value in inputs if value.doubt), "")
    fits = representable(kind, real.magnitude, grids)
    if trust is None and doubt:
        site.flag(FLOAT_ROUNDING, f"{doubt}; that is not clamped before this {site.operator}")
        return rounded(kind, shape, real, 2.0 ** (1 - kind.digits))
    if fits and not doubt:
        carried(site, kind, real.magnitude, grids, site.operator)
        return fit(
            Value(
                kind=kind, shape=shape, range=real, grids=grids, open_zero=zeros, minus_zero=minus
            )
        )
    evidence = rounding_evidence(kind, real.magnitude, grids, site.operator)
    unit = g.unit(grids)
    if (
        trust is None
        or not grids
        or (unit < kind.smallest).any()
        or (real.magnitude >= kind.fits).any()
    ):
        site.flag(FLOAT_ROUNDING, evidence)
        return rounded(kind, shape, real, 2.0 ** (1 - kind.digits), open_zero=zeros)
    site.flag(MONOTONE, evidence)
    site.carries.append(kind.digits)
    kept = _within(trust, kind, unit)
    wider = real.widened(2.0 ** (1 - kind.digits), 0.0) if not fits else real
    return settled(
        fit(
            Value(
                kind=kind,
                shape=shape,
                range=wider,
                grids=grids,
                open_zero=zeros,
                minus_zero=minus,
                trust=kept,
                doubt=doubt or f"{site.node.label}: {evidence}",
            )
        )
    )


def _reach(kind: Kind, unit: I64) -> F64:
    """Up to here `kind` holds every multiple of 2^unit."""
    return power(unit + kind.digits)


def power(exponent: I64) -> F64:
    """2^exponent, as far as float64 goes."""
    return np.asarray(np.ldexp(1.0, np.clip(exponent, -1074, 1023).astype(np.int32)), np.float64)


def _within(trust: Interval, kind: Kind, unit: I64) -> Interval:
    """The trusted part of a result that is rounded: ends that the type holds, as monotone rounding keeps those."""
    reach, step = _reach(kind, unit), power(unit)
    low, high = np.maximum(trust.low, -reach), np.minimum(trust.high, reach)
    return Interval.of(np.ceil(low / step) * step, np.floor(high / step) * step)


def whole(
    site: Site, kind: Kind, shape: Dims | None, real: Interval, grids: Grids, rule: Rule
) -> Value:
    """An integer result: its type must hold it, or anything may come out."""
    if kind is OTHER:
        return top(kind, shape)
    if any(value.extent for value in site.given()) and kind.is_integer:
        others = [v for v in site.given() if not v.extent and not v.range.is_point]
        if not others:
            return _extent(site, kind, shape, real, grids)
    if kind.is_integer and not real.within(kind.low, kind.fits):
        rule = UNSIGNED_WRAP if kind.modulus else rule
        outside = real.highest > kind.fits
        bound = real.highest if outside else real.lowest
        limit = kind.high if outside else kind.low
        site.flag(
            rule,
            f"{site.operator} in {kind.name} reaches {number(bound)}, {kind.name} ends at {number(limit)}",
            bound=bound,
            limit=limit,
        )
        return wrapped(kind, shape, grids) if kind.modulus else top(kind, shape)
    return fit(
        Value(kind=kind, shape=shape, range=real, grids=grids if kind.is_integer else g.INTEGERS)
    )


def wrapped(kind: Kind, shape: Dims | None, grids: Grids) -> Value:
    """Any value of an unsigned type; what divided it by a power of two still does."""
    everything = top(kind, shape)
    unit = np.minimum(g.unit(grids), kind.modulus.bit_length() - 1) if grids else np.asarray(0)
    return fit(replace(everything, grids=(g.Grid.multiples(np.maximum(unit, 0)),)))


def _extent(site: Site, kind: Kind, shape: Dims | None, real: Interval, grids: Grids) -> Value:
    """Arithmetic on sizes: what they come to is assumed to be a size again."""
    if not real.within(-MOST_ELEMENTS, MOST_ELEMENTS):
        site.assume(EXTENTS)
    kept = real.clamp(-MOST_ELEMENTS, MOST_ELEMENTS).clamp(kind.low, kind.high)
    return fit(Value(kind=kind, shape=shape, range=kept, grids=grids, extent=True))


def rounded(
    kind: Kind, shape: Dims | None, real: Interval, relative: float, *, open_zero: bool = True
) -> Value:
    """A float result with an error of `relative` at most, or flushed to zero."""
    wider = real.widened(relative, 2.0 ** max(kind.smallest, -1022))
    beyond = Interval(
        np.where(wider.low < -kind.fits, -np.inf, wider.low),
        np.where(wider.high > kind.fits, np.inf, wider.high),
    )
    return fit(
        Value(
            kind=kind,
            shape=shape,
            range=beyond,
            minus_zero=True,
            open_zero=open_zero,
        )
    )


def representable(kind: Kind, magnitude: F64, grids: Grids) -> bool:
    """Whether `kind` holds every multiple of the grid's unit up to `magnitude`."""
    if not grids or not np.isfinite(magnitude).all():
        return False
    unit = g.unit(grids)
    fine_enough = (unit >= kind.smallest) | (magnitude == 0)
    return bool((fine_enough & (magnitude <= np.minimum(_reach(kind, unit), kind.fits))).all())


def bits_needed(magnitude: F64, unit: I64) -> int:
    """Significand bits that the worst case takes."""
    exponent = np.frexp(magnitude)[1].astype(np.int64)
    # A power of two itself needs one bit, not one more.
    exponent = exponent - (np.ldexp(0.5, exponent.astype(np.int32)) == magnitude)
    return int(np.where(magnitude > 0, exponent - unit, 0).max(initial=0))


def carried(site: Site, kind: Kind, magnitude: F64, grids: Grids, what: str) -> None:
    """Say that floats carry this exactly, and how close it is; what no feed can change is not worth it."""
    bits = bits_needed(magnitude, g.unit(grids))
    site.carries.append(bits)
    if bits <= NARROWEST and all(value.range.is_point for value in site.given()):
        return
    largest = float(magnitude.max(initial=0.0))
    site.flag(
        CARRIER,
        f"{what} in {kind.name} is exact: up to {number(largest)}, {bits} of {kind.digits} bits",
        bound=float(bits),
        limit=float(kind.digits),
    )


def rounding_evidence(kind: Kind, magnitude: F64, grids: Grids, what: str) -> str:
    largest = float(magnitude.max(initial=0.0))
    if not grids or not np.isfinite(largest):
        return f"{what} of arbitrary {kind.name} values"
    return (
        f"{what} in {kind.name} up to {number(largest)} would need"
        f" {bits_needed(magnitude, g.unit(grids))} bits, {kind.name} carries {kind.digits}"
    )
