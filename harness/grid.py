"""Where a layer's integers land: the weights' step, the multiplier and shift of its outputs, the proven bounds.

Only + - * /, comparisons, floor and powers of two act on floats (see quantize.py).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.calibration import F64
from harness.errors import UserError
from harness.network import Convolution
from harness.specification import I64

# |accumulator + bias| * multiplier stays below this, so that adding the clamp's offset cannot leave int32.
PRODUCT_LIMIT = 2**30
INT32_LIMIT = 2**31
# Narrow layers: (largest clamp + 1) * 2**(shift + 1) is at most 2^24. So float32 holds every requantized value with its
# fraction bits and half a unit more, once accumulators are limited to where the clamp saturates.
FLOAT_BITS = 24
# Accumulators of more than 8 bits a factor are split into limbs; their sum without the lowest limb stays in int32.
NARROW_BITS, MIDDLE_BITS = 8, 12
MIDDLE_LIMB, WIDE_LIMB = 6, 8
WIDE_LIMIT_BITS = 29
MULTIPLIER_BITS = 8
MAX_SHIFT = 40
LEAKY_SHIFT = 12
# The product of the low bytes may be left out where at least this many bits are rounded away anyway.
LEAST_DROPPED = 8
# Bits that hidden outputs may get coarser so that their accumulator can be split.
MOST_GROWN = 3
# Rescaling a channel that breaks its bound costs a fraction of a bit each time; 64 of them are 10 bits.
RESCALE, RESCALES = 1.125, 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """Where a layer's outputs land: real value of one step, float64 [out], and the clamp, int64 [out].

    `hidden` steps may be worth more where the requantization wants that (outputs may not: they land on a grid), and with
    `may_grow` up to twice as much anyway: wide activations bear that better than narrow weights.
    """

    scale: F64
    low: I64
    high: I64
    hidden: bool = False
    may_grow: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Folded:
    """A layer as integers see it: weights float64 [out, in, k, k] times the scale of their input, and its bias."""

    convolution: Convolution
    weight: F64
    bias: F64
    weight_bits: int
    input_low: int
    input_high: int
    slope: float
    may_drop: bool

    @property
    def levels(self) -> int:
        """Largest magnitude of an integer weight; of 16 bits the high byte of a balanced split must not be 128."""
        return int(min(2 ** (self.weight_bits - 1), 127 * 2**WIDE_LIMB + 2 ** (WIDE_LIMB - 1)) - 1)

    @property
    def input_bits(self) -> int:
        return (self.input_high - self.input_low).bit_length()

    @property
    def widest(self) -> int:
        return max(self.weight_bits, self.input_bits)

    @property
    def is_narrow(self) -> bool:
        return self.widest <= NARROW_BITS

    @property
    def may_drop_products(self) -> bool:
        """It is allowed, both factors have two limbs, and one of them is beyond 12 bits."""
        return (
            self.may_drop
            and self.widest > MIDDLE_BITS
            and min(self.weight_bits, self.input_bits) > NARROW_BITS
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Real value of an integer weight, per output channel, and the requantization that lands on the target.

    `scale`: real value of a step of the outputs. `high_products`: whether the product of the low bytes is left out. `limb`: bits of the lowest limb of a full
    accumulator, without which it is requantized; 0 where int32 holds it whole.
    """

    step: F64
    scale: F64
    multiplier: I64
    shift: I64
    high_products: bool
    limb: int

    @property
    def unit(self) -> F64:
        """Real value of a unit of the accumulator."""
        return self.step * 2**WIDE_LIMB if self.high_products else self.step

    @property
    def limit(self) -> int:
        """Proven bounds of |accumulator + bias| * multiplier stay below this."""
        return int(2 ** (WIDE_LIMIT_BITS + self.limb)) if self.limb else PRODUCT_LIMIT


def fold(
    convolution: Convolution,
    in_scale: F64,
    input_range: tuple[int, int],
    *,
    weight_bits: int,
    slope: float,
    may_drop: bool,
    correction: F64 | None = None,
) -> Folded:
    """Weights times the scale of each input channel; `slope` is of the rectifier behind (1: none, 0: ReLU)."""
    bias = convolution.bias.astype(np.float64)
    return Folded(
        convolution=convolution,
        weight=convolution.weight.astype(np.float64) * in_scale[None, :, None, None],
        bias=bias if correction is None else bias + correction,
        weight_bits=weight_bits,
        input_low=input_range[0],
        input_high=input_range[1],
        slope=slope,
        may_drop=may_drop,
    )


def grid(folded: Folded, target: Target, clip: F64 | None = None) -> Grid:
    """The finest steps that hold the clipped weights, land on the target and keep within the bounds.

    `clip` float64 [out]: share of the largest weight of each channel that integers reach (1: all of it).
    UserError names the layer, the channel and the number where no step does.
    """
    largest = np.abs(folded.weight).reshape(len(folded.weight), -1).max(axis=1)
    largest = largest if clip is None else largest * clip
    # A dead channel has tiny weights beside a real bias: keep its bias representable.
    bias_limit = 2.0 ** (20 if folded.is_narrow else WIDE_LIMIT_BITS - 3)
    step = np.maximum(
        np.maximum(largest / folded.levels, np.abs(folded.bias) / bias_limit), 2.0**-40
    )
    if folded.may_drop_products:
        found = _within_bounds(folded, target, step, high_products=True)
        if found and found.shift.min() >= LEAST_DROPPED and found.multiplier.max() == 1:
            return found
    found = _within_bounds(folded, target, step, high_products=False)
    if found is None:
        reach = _products(folded, _land(folded, target, step, high_products=False))
        worst = int(reach.argmax())
        raise UserError(
            f"layer {folded.convolution.name}, channel {worst}: (accumulator + bias) * multiplier may reach "
            f"{int(reach[worst])}, more than its requantization carries; use fewer bits or another calibration"
        )
    return found


def _products(folded: Folded, found: Grid) -> I64:
    """Largest |accumulator + bias| * multiplier with the nearest weights."""
    return bounds(folded, round_weights(folded, found), found) * found.multiplier


def _byte_sums(folded: Folded, found: Grid) -> I64:
    """Largest partial sum of an accumulator made of bytes, which may be three times as large as its weights' sum."""
    high, low = split(round_weights(folded, found))
    parts = (np.abs(high) * 2**WIDE_LIMB + np.abs(low)).reshape(len(high), -1).sum(axis=1)
    reach = max(-folded.input_low, folded.input_high) + 2**WIDE_LIMB
    return np.asarray(parts * reach + np.abs(bias_integers(folded, found)), np.int64)


def _within_bounds(
    folded: Folded, target: Target, step: F64, *, high_products: bool
) -> Grid | None:
    for _ in range(RESCALES):
        found = _land(folded, target, step, high_products=high_products)
        # Split accumulators are requantized without their lowest limb: the shift has to be longer than that.
        whole = (found.shift <= found.limb) | (found.multiplier > 1)
        over = _products(folded, found) >= np.where(whole, PRODUCT_LIMIT, found.limit)
        if found.limb == WIDE_LIMB:
            over |= whole & (_byte_sums(folded, found) >= INT32_LIMIT)
        if not over.any():
            return found
        step = np.where(over, step * RESCALE, step)
    return None


def _land(folded: Folded, target: Target, step: F64, *, high_products: bool) -> Grid:
    """Grow each step until `multiplier / 2**shift` times it is the target's, with the multiplier that grows it least."""
    unit = step * 2**WIDE_LIMB if high_products else step
    ratio = unit / target.scale
    exponent = floor_log2(ratio)
    scale = target.scale
    limb = MIDDLE_LIMB if folded.widest <= MIDDLE_BITS else WIDE_LIMB
    # Narrow requantization has to stay within float32, any other within int32: 8 bits of multiplier where they fit.
    most = (
        FLOAT_BITS
        - 1
        - _ceil_log2(
            np.maximum(np.abs(leaky_input_low(target.low, folded.slope)), np.abs(target.high)) + 1
        )
    )
    rough = (np.abs(folded.weight).reshape(len(step), -1) / step[:, None] + 1).sum(axis=1)
    rough = rough * max(-folded.input_low, folded.input_high) + np.abs(folded.bias) / unit + 1
    bits = np.minimum(floor_log2(PRODUCT_LIMIT / rough), MULTIPLIER_BITS)
    if folded.is_narrow:
        shift = np.clip(np.minimum(bits - 1 - exponent, most), 1, MAX_SHIFT)
        multiplier = np.ceil(ratio * np.ldexp(1.0, shift))
    else:
        many = (bits > 1) & (not high_products) & (not target.may_grow)
        exact = np.where(np.ldexp(1.0, exponent) == ratio, -exponent, -exponent - 1)
        exact = np.where(target.may_grow, -exponent, exact)
        if target.hidden and not high_products:
            # No finer than the accumulator itself (a shift by 0), and past its lowest limb where it is split. Much
            # coarser outputs would need larger weights behind them: such a channel rather gets smaller ones itself.
            past = (2 * rough >= PRODUCT_LIMIT) & (limb + 1 - exact <= MOST_GROWN)
            exact = np.maximum(exact, np.where(past, limb + 1, 0))
        shift = np.where(many, np.maximum(bits - 1 - exponent, 1), np.maximum(exact, 1))
        # Outputs finer than the accumulator are shifted to the left.
        multiplier = np.where(
            many, np.ceil(ratio * np.ldexp(1.0, shift)), np.ldexp(1.0, shift - exact)
        )
        if target.hidden:
            scale = np.maximum(unit * np.ldexp(1.0, shift) / multiplier, scale)
    landed = scale * multiplier / np.ldexp(1.0, shift)
    return Grid(
        step=landed / 2**WIDE_LIMB if high_products else landed,
        scale=scale,
        multiplier=multiplier.astype(np.int64),
        shift=shift.astype(np.int64),
        high_products=high_products,
        limb=0 if high_products or folded.is_narrow else limb,
    )


def round_weights(folded: Folded, found: Grid) -> I64:
    """Nearest integers, ties up, within the levels; of those split into bytes, none has a low byte of -128.

    Processors that add two products of bytes in 16 bits wrap at (-128)^2 twice, and nowhere else.
    """
    scaled = np.floor(folded.weight / found.step[:, None, None, None] + 0.5)
    rounded: I64 = np.clip(scaled, -folded.levels, folded.levels).astype(np.int64)
    if folded.widest > MIDDLE_BITS and folded.weight_bits > NARROW_BITS:
        _, low = split(rounded)
        rounded += low == -(2 ** (WIDE_LIMB - 1))
    return rounded


def split(weight: NDArray[np.signedinteger[Any]]) -> tuple[I64, I64]:
    """High and low byte, weight = 256 * high + low with low in [-128, 127]."""
    wide = weight.astype(np.int64)
    low = ((wide + 2 ** (WIDE_LIMB - 1)) & (2**WIDE_LIMB - 1)) - 2 ** (WIDE_LIMB - 1)
    return (wide - low) >> WIDE_LIMB, low


def bias_integers(folded: Folded, found: Grid) -> I64:
    """The bias in units of the accumulator."""
    rounded: I64 = np.floor(folded.bias / found.unit + 0.5).astype(np.int64)
    return rounded


def bounds(folded: Folded, weight: NDArray[np.signedinteger[Any]], found: Grid) -> I64:
    """Largest |accumulator + bias| that any input in range can make, int64 [out]."""
    reach = max(-folded.input_low, folded.input_high)

    def total(part: NDArray[np.signedinteger[Any]]) -> I64:
        sums: I64 = np.abs(part.astype(np.int64)).reshape(len(part), -1).sum(axis=1)
        return sums

    if found.high_products:
        high, low = split(weight)
        largest = total(high) * reach + total(low) * ((reach >> WIDE_LIMB) + 1)
    else:
        largest = total(weight) * reach
    return np.asarray(largest + np.abs(bias_integers(folded, found)), np.int64)


def leaky_numerator(slope: float) -> int:
    return math.floor(slope * (1 << LEAKY_SHIFT) + 0.5)


def leaky_input_low(low: I64, slope: float) -> I64:
    """Below this the leaky rectifier's output is below `low`; without one it is `low` itself."""
    if slope in {0.0, 1.0}:
        return low
    return np.asarray(-((-low + 1) * 2**LEAKY_SHIFT // leaky_numerator(slope) + 1), np.int64)


def _ceil_log2(n: I64) -> I64:
    """ceil(log2(n)) of integers n >= 1."""
    return floor_log2(2.0 * n - 1)


def floor_log2(x: F64) -> I64:
    """floor(log2(x)), exactly, for x > 0 (`log2` itself may round up across a power of two)."""
    return np.frexp(x)[1].astype(np.int64) - 1
