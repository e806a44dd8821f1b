"""How accumulators are made of products of narrow parts, and the proof that no step leaves its type.

An activation a is handed on as parts of u = a - base: whole, or high and low (u = high * 2**bits + low), and where it
saves a product their sum. Weights are split likewise, their low part balanced around 0. Numbers only: no graph here.
"""

from dataclasses import dataclass, replace

import numpy as np

from harness.errors import UserError
from harness.specification import I64, IntegerLayer, Requantization

WHOLE, HIGH, LOW, SUM = "whole", "high", "low", "sum"
# Largest magnitude of an int8 weight, and largest value of a part of an activation.
WEIGHT_MAX, PART_MAX = 127, 255
MIDDLE_BITS, WIDE_BITS = 6, 8
# Both factors fit two parts of 6 bits.
MIDDLE_WEIGHT, MIDDLE_SPAN = 2**11 - 1, 2**12 - 1
PRODUCT_LIMIT = 2**30
INT32_LIMIT = 2**31


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """factor * (sum of part * weight): weight int64 [out, in, k, k], factor int64 [out]."""

    part: str
    weight: I64
    factor: I64


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """What a layer is requantized from: v = sum of `terms` + floor((`low` + lift) / divisor), per output channel.

    Where the divisor is above 1, `low` + `lift` is never negative, so that a truncating division is a floor; there is
    no `low` where int32 holds the accumulator whole. `requantize(v)` is then what the specification requantizes the
    accumulator to; `bounds` int64 [out]: largest |v + bias|. Parts are of `bits`, or whole if that is 0.
    """

    bits: int
    base: int
    terms: tuple[Term, ...]
    low: Term | None
    lift: I64
    divisor: I64
    requantize: Requantization
    bounds: I64

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the input that the products read."""
        read = [term.part for term in self.terms] + ([self.low.part] if self.low else [])
        return tuple(part for part in (WHOLE, HIGH, LOW, SUM) if part in read)

    def zero(self, part: str) -> int:
        """The part of a real zero, which pads borders; the low part of it is 0."""
        return 0 if part == LOW else -self.base >> (0 if part == WHOLE else self.bits)

    def largest(self, part: str, high: int) -> int:
        """Largest value of a part of an input of at most `high`."""
        low_part, high_part = (1 << self.bits) - 1, high - self.base >> self.bits
        return {
            WHOLE: high - self.base,
            HIGH: high_part,
            LOW: low_part,
            SUM: high_part + low_part,
        }[part]


def byte_form(layer: IntegerLayer) -> Form:
    """Products of unsigned parts of at most 8 bits and weights in [-128, 127], as few as there can be.

    12 x 12 bits take three products of 6-bit parts (Karatsuba): h l' + l h' = (h + l)(h' + l') - h h' - l l'.
    """
    weight, one = layer.weight.astype(np.int64), np.ones(len(layer.weight), np.int64)
    largest, span = int(np.abs(weight).max()), layer.input_high - layer.input_low
    two_weights, two_parts = largest > WEIGHT_MAX, span > PART_MAX
    if layer.high_products:
        base = layer.input_low >> WIDE_BITS << WIDE_BITS
        return _checked(layer, _plain(layer, WIDE_BITS, base, _high_products(layer)))
    if not two_weights and not two_parts:
        whole = Term(part=WHOLE, weight=weight, factor=one)
        return _checked(layer, _plain(layer, 0, layer.input_low, (whole,)))
    middle = largest <= MIDDLE_WEIGHT and span <= MIDDLE_SPAN
    bits = MIDDLE_BITS if middle else WIDE_BITS
    high, low = balanced(weight, bits)
    radix, divisor = 1 << bits, _divisors(layer, bits)
    scale = radix // divisor
    terms: tuple[Term, ...]
    match two_weights, two_parts:
        case True, True if middle:
            terms = (
                Term(part=HIGH, weight=high, factor=(radix - 1) * scale),
                Term(part=SUM, weight=high + low, factor=scale),
            )
            lowest = Term(part=LOW, weight=low, factor=(1 - radix) * one)
        case True, True:
            terms = (
                Term(part=HIGH, weight=high, factor=radix * scale),
                Term(part=LOW, weight=high, factor=scale),
                Term(part=HIGH, weight=low, factor=scale),
            )
            lowest = Term(part=LOW, weight=low, factor=one)
        case True, False:
            terms = (Term(part=WHOLE, weight=high, factor=scale),)
            lowest = Term(part=WHOLE, weight=low, factor=one)
        case _:
            terms = (Term(part=HIGH, weight=weight, factor=scale),)
            lowest = Term(part=LOW, weight=weight, factor=one)
    base = layer.input_low >> bits << bits if two_parts else layer.input_low
    return _checked(layer, _divided(layer, bits if two_parts else 0, base, terms, lowest, divisor))


def float_form(layer: IntegerLayer, limit: int) -> Form:
    """Products of the activations themselves; sums of products, in whatever order, stay below `limit`."""
    weight, one = layer.weight.astype(np.int64), np.ones(len(layer.weight), np.int64)
    whole = Term(part=WHOLE, weight=weight, factor=one)
    middle = layer.bounds.max() < PRODUCT_LIMIT << (MIDDLE_BITS - 1)
    divisor = _divisors(layer, MIDDLE_BITS if middle else WIDE_BITS)
    if layer.high_products:
        high, low = balanced(weight, WIDE_BITS)
        terms = Term(part=WHOLE, weight=high, factor=one), Term(part=HIGH, weight=low, factor=one)
        form = _plain(layer, WIDE_BITS, 0, terms)
    elif (divisor == 1).all():
        form = _plain(layer, 0, 0, (whole,))
    else:
        form = _divided(layer, 0, 0, (), whole, divisor)
    sums = form.lift.copy()
    for term in (*form.terms, *([form.low] if form.low else [])):
        sums = np.maximum(sums, form.lift + _partial_sums(layer, form, term))
    channel = int(sums.argmax())
    if sums[channel] >= limit:
        raise UserError(
            f"layer {layer.name}, channel {channel}: partial sums may reach {int(sums[channel])}, "
            f"not below 2^{limit.bit_length() - 1}; take a lowering of integers or float64"
        )
    return form


def balanced(weight: I64, bits: int) -> tuple[I64, I64]:
    """High and low part, weight = high * 2**bits + low with low in [-2**(bits-1), 2**(bits-1) - 1].

    >>> balanced(np.array([100, -33, 31]), 6)
    (array([ 2, -1,  0]), array([-28,  31,  31]))
    """
    half = np.int64(1) << (bits - 1)
    low = ((weight + half) & (2 * half - 1)) - half
    return (weight - low) >> bits, low


def _high_products(layer: IntegerLayer) -> tuple[Term, ...]:
    """Of a = 256 h + l and weights 256 h' + l': a * h' + (a >> 8) * l', all but the product of the low bytes."""
    high, low = balanced(layer.weight.astype(np.int64), WIDE_BITS)
    one = np.ones(len(high), np.int64)
    return (
        Term(part=HIGH, weight=high, factor=one << WIDE_BITS),
        Term(part=LOW, weight=high, factor=one),
        Term(part=HIGH, weight=low, factor=one),
    )


def _plain(layer: IntegerLayer, bits: int, base: int, terms: tuple[Term, ...]) -> Form:
    """The accumulator itself."""
    nothing = np.zeros(len(layer.weight), np.int64)
    return Form(
        bits=bits,
        base=base,
        terms=terms,
        low=None,
        lift=nothing,
        divisor=nothing + 1,
        requantize=layer.requantize,
        bounds=layer.bounds,
    )


def _divisors(layer: IntegerLayer, bits: int) -> I64:
    """2**bits where the accumulator is divided by it before it is requantized, 1 where int32 holds it whole."""
    rule = layer.requantize
    small = layer.bounds * rule.multiplier < PRODUCT_LIMIT
    splittable = (rule.shift > bits) & (rule.multiplier == 1)
    if not (small | splittable).all():
        raise UserError(f"layer {layer.name}: its shift is shorter than the low part it leaves out")
    # One number for all channels, if there is one.
    whole = small if not splittable.all() else np.full_like(small, small.all())
    return np.where(whole, 1, 1 << bits).astype(np.int64)


def _divided(
    layer: IntegerLayer, bits: int, base: int, terms: tuple[Term, ...], low: Term, divisor: I64
) -> Form:
    """Exact: floor((x + 2^(s-1)) / 2^s) is the floor of a floor, since 2^(s-1) is a multiple of the divisor."""
    rule = layer.requantize
    form = replace(_plain(layer, bits, base, terms), low=low, divisor=divisor)
    # What is divided by 1 may be negative.
    lift = np.where(divisor == 1, 0, -(-_largest(layer, form, low) // divisor) * divisor)
    remainder = rule.bias % divisor
    return replace(
        form,
        lift=remainder + lift,
        requantize=replace(
            rule,
            bias=(rule.bias - remainder - lift) // divisor,
            shift=rule.shift - np.log2(divisor).astype(np.int64),
        ),
        bounds=layer.bounds // divisor + 1,
    )


def _largest(layer: IntegerLayer, form: Form, term: Term) -> I64:
    """Largest magnitude of a term."""
    return np.asarray(
        _reach(layer, form, term.part) * np.abs(term.factor) * _total(term.weight), np.int64
    )


def _total(weight: I64) -> I64:
    return np.asarray(np.abs(weight).reshape(len(weight), -1).sum(axis=1))


def _reach(layer: IntegerLayer, form: Form, part: str) -> int:
    """Largest magnitude of a part, its zero taken out."""
    zero = form.zero(part)
    low = 0 if part == LOW else layer.input_low - form.base >> (0 if part == WHOLE else form.bits)
    return max(zero - low, form.largest(part, layer.input_high) - zero)


def _partial_sums(layer: IntegerLayer, form: Form, term: Term) -> I64:
    """Largest magnitude of a sum of any of the products of a float term."""
    shift = form.bits if term.part == HIGH else 0
    ends = [term.weight * (end >> shift) for end in (layer.input_low, layer.input_high)]
    above = np.maximum(np.maximum(*ends), 0).reshape(len(term.weight), -1).sum(axis=1)
    below = np.minimum(np.minimum(*ends), 0).reshape(len(term.weight), -1).sum(axis=1)
    return np.asarray(np.maximum(above, -below))


def _checked(layer: IntegerLayer, form: Form) -> Form:
    """The form, if weights are int8 and no sum of it leaves int32 on the way, in whatever order it is added."""
    sums = np.zeros(len(layer.weight), np.int64)
    for term in form.terms:
        sums += _largest(layer, form, term)
    low = form.lift + form.divisor
    if form.low:
        low = low + _largest(layer, form, form.low)
    worst = np.maximum(sums + low // form.divisor, low) + np.abs(form.requantize.bias)
    channel = int(worst.argmax())
    if worst[channel] >= INT32_LIMIT:
        raise UserError(
            f"layer {layer.name}, channel {channel}: partial sums may reach {int(worst[channel])}, beyond int32; "
            "use fewer bits or another calibration"
        )
    for term in (*form.terms, *([form.low] if form.low else [])):
        if term.weight.min() < -WEIGHT_MAX - 1 or term.weight.max() > WEIGHT_MAX:
            raise UserError(f"layer {layer.name}: a part of its weights does not fit 8 bits")
    return form
