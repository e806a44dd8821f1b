"""Where activations lie: the integers [low, high] of the input, of hidden tensors and of outputs, and what a step is worth.

Only + - * /, comparisons, floor and powers of two act on floats (see quantize.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.calibration import F64, ChannelRange
from harness.grid import (
    MIDDLE_BITS,
    MIDDLE_LIMB,
    MULTIPLIER_BITS,
    NARROW_BITS,
    WIDE_LIMB,
    Target,
    floor_log2,
)
from harness.precision import WIDEST, Precision
from harness.specification import (
    GDN_X_MAX,
    I32,
    MEAN_MAX,
    MEDIAN_FRACTION_BITS,
    SIGMA_MAX,
    Requantization,
)

# Head-room of outputs and wide activations over what calibration saw: they have bits to spare, other pictures reach farther.
OUTPUT_MARGIN = 1.5
MARGINS = ((NARROW_BITS, 1.0), (MIDDLE_BITS, 1.5), (WIDEST, 2.0))
SIGMA_FRACTION_BITS, MEAN_FRACTION_BITS = 12, 12
# Candidates for where a wide signed activation's zero lies, at whole limbs, so that zero is a limb's zero.
ZERO_POINTS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Activation:
    """Integers [low, high], worth `scale` float64 [C] each."""

    scale: F64
    low: int
    high: int


def target_of(activation: Activation, *, may_grow: bool) -> Target:
    like = np.ones(len(activation.scale), np.int64)
    return Target(
        scale=activation.scale,
        low=activation.low * like,
        high=activation.high * like,
        hidden=True,
        may_grow=may_grow,
    )


def symbols_entry(z: ChannelRange, medians: I32, bits: int) -> tuple[Requantization, Activation]:
    """z_hat in `bits` bits, with as many fraction bits per channel (at most 7) as its range leaves."""
    high = 2 ** (bits - 1) - 1
    reach = np.maximum(np.maximum(np.abs(z.low), np.abs(z.high)), 2.0**-4)
    # What rounds to `high` still fits.
    fraction = np.clip(floor_log2((high + 0.25) / reach), -8, MEDIAN_FRACTION_BITS - 1)
    high = _useful(high, reach * np.ldexp(1.0, fraction))
    entry = Requantization(
        bias=medians.astype(np.int64),
        multiplier=np.ones(len(medians), np.int64),
        shift=MEDIAN_FRACTION_BITS - fraction,
        low=np.full(len(medians), -high - 1),
        high=np.full(len(medians), high),
    )
    return entry, Activation(scale=np.ldexp(1.0, -fraction), low=-high - 1, high=high)


def latent_entry(
    y: ChannelRange, bits: int, fraction_bits: int
) -> tuple[Requantization, Activation]:
    """y_hat of `fraction_bits` in `bits` bits, no finer than it is: one 8-bit multiplier per channel."""
    high = 2 ** (bits - 1) - 1
    reach = np.maximum(np.maximum(np.abs(y.low), np.abs(y.high)), 2.0**-fraction_bits)
    reach = reach * _margin(bits)
    ratio = np.minimum(high / (reach * 2.0**fraction_bits), 1.0)
    shift = MULTIPLIER_BITS - 1 - floor_log2(ratio)
    multiplier = np.floor(ratio * np.ldexp(1.0, shift)).astype(np.int64)
    scale = np.ldexp(1.0, shift - fraction_bits) / multiplier
    high = _useful(high, reach / scale / _margin(bits))
    entry = Requantization(
        bias=np.zeros(len(reach), np.int64),
        multiplier=multiplier,
        shift=shift,
        low=np.full(len(reach), -high - 1),
        high=np.full(len(reach), high),
    )
    return entry, Activation(scale=scale, low=-high - 1, high=high)


def _useful(high: int, seen: F64) -> int:
    """`high`, or about four times what calibration saw: bits beyond that would only widen accumulators."""
    useful: int = 2 ** (_whole_log2(4 * float(seen.max())) + 1) - 1
    return min(high, useful)


def hidden(r: ChannelRange, bits: int, slope: float) -> Activation:
    """The [low, high] of 2^bits values that wastes least over the channels; ReLU needs no negative side."""
    if slope == 0.0:
        high = 2**bits - 1
        positive = ChannelRange(low=np.maximum(r.low, 0.0), high=r.high)
        return Activation(scale=_hidden_scale(positive, 0, high), low=0, high=high)
    half = 2 ** (bits - 1)
    if bits <= NARROW_BITS:
        candidates = range(0, -half - 1, -1)
    else:
        unit = 2 ** (MIDDLE_LIMB if bits <= MIDDLE_BITS else WIDE_LIMB)
        candidates = range(0, -half - 1, -max(half // ZERO_POINTS * 2, unit))
    costs = [math.fsum(_hidden_scale(r, low, low + 2**bits - 1) ** 2) for low in candidates]
    low = candidates[costs.index(min(costs))]
    return Activation(
        scale=_hidden_scale(r, low, low + 2**bits - 1), low=low, high=low + 2**bits - 1
    )


def _hidden_scale(r: ChannelRange, low: int, high: int) -> F64:
    """Real value of one step, per channel, so that the calibrated range just fits [low, high]."""
    positive = np.maximum(r.high, 0.0) / high
    negative = np.maximum(-r.low, 0.0) / -low if low else np.where(r.low < 0, np.inf, 0.0)
    scale = np.maximum(positive, negative) * _margin((high - low).bit_length())
    # A channel that never was active has no range: give it a small one.
    return np.asarray(np.maximum(scale, max(float(scale.max()) * 2.0**-10, 1e-6)))


def _margin(bits: int) -> float:
    return next(margin for most, margin in MARGINS if bits <= most)


def output_fraction_bits(
    r: ChannelRange, outputs: tuple[str, ...], precision: Precision
) -> dict[str, int]:
    """Fraction bits of sigma (unsigned) and of the means (signed), with head-room where there are 16 bits; else 0."""
    bits = precision.output_bits
    margin = OUTPUT_MARGIN if bits == WIDEST else 1.0
    fraction = {"scales_hat": 0, "means_hat": 0}
    shares = zip(
        np.split(r.low, len(outputs)), np.split(r.high, len(outputs)), outputs, strict=True
    )
    for low, high, name in shares:
        if name == "scales_hat":
            sigma = max(float(high.max()), 0.25) * margin
            fraction[name] = min(SIGMA_FRACTION_BITS, _whole_log2((2**bits - 1) / sigma))
        else:
            mean = max(float(np.maximum(high, -low).max()), 0.25) * margin
            # y_hat is a symbol plus a mean in this fixed point: no coarser than a symbol.
            most = min(MEAN_FRACTION_BITS, _whole_log2((2 ** (bits - 1) - 1) / mean))
            fraction[name] = max(0, most)
    return fraction


def _whole_log2(x: float) -> int:
    return int(floor_log2(np.asarray(x)))


def output_target(
    channels: int, outputs: tuple[str, ...], fraction: Mapping[str, int], bits: int
) -> Target:
    share = channels // len(outputs)
    sigma, mean = SIGMA_MAX >> (WIDEST - bits), MEAN_MAX >> (WIDEST - bits)
    limits = {"scales_hat": (0, sigma), "means_hat": (-mean, mean)}
    return Target(
        scale=np.repeat([math.ldexp(1.0, -fraction[name]) for name in outputs], share),
        low=np.repeat([limits[name][0] for name in outputs], share).astype(np.int64),
        high=np.repeat([limits[name][1] for name in outputs], share).astype(np.int64),
    )


def gdn_input(r: ChannelRange) -> Target:
    """The x of an inverse GDN: signed 16 bits, whatever the activations have."""
    reach = np.maximum(np.maximum(np.abs(r.low), np.abs(r.high)), 1e-6) * _margin(WIDEST)
    like = np.ones(len(reach), np.int64)
    return Target(
        scale=reach / GDN_X_MAX,
        low=-GDN_X_MAX * like,
        high=GDN_X_MAX * like,
        hidden=True,
        may_grow=True,
    )
