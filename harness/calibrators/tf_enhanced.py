"""tf-enhanced: AIMET's search for the best signal to quantization noise (Qualcomm AIMET, `post_training_tf_enhanced`)."""

from dataclasses import dataclass

import numpy as np

from harness.calibration import F64, Calibration
from harness.calibrators.base import CALIBRATORS, Problem
from harness.calibrators.by_histogram import calibrate
from harness.calibrators.histogram import Histogram, half_away
from harness.grid import NARROW_BITS
from harness.roles import levels

# What a saturated value costs beside one that is only rounded.
SATURATION = 3.0
FRACTIONS = 16
OFFSETS = 20
PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class TfEnhanced:
    """The candidate of least cost = quantization MSE + 3 * saturation MSE at the middles of the bins; the first of equals.

    Symmetric grids are AIMET's strict ones, [-2^(bits-1) + 1, 2^(bits-1) - 1]: so are our integers.
    """

    name: str = "tf-enhanced"
    summary: str = "AIMET's tf_enhanced: 358 asymmetric or 101 symmetric ranges, rounding error + 3 x saturation error of a histogram"

    def calibrate(self, problem: Problem) -> Calibration:
        return calibrate(problem, self)

    def asymmetric(self, histogram: Histogram, channel: int, bits: int) -> tuple[float, float]:
        """Step and offset of a channel."""
        delta, offset = asymmetric_candidates(*histogram.span(channel), 2**bits - 1)
        best = int(np.argmin(cost(histogram, channel, delta, offset, bits)))
        return float(delta[best]), float(offset[best])

    def symmetric(self, histogram: Histogram, channel: int, bits: int) -> float:
        """Step of a channel: k/100, k = 1..101, of the one that reaches the largest magnitude."""
        largest = levels(bits)
        low, high = histogram.span(channel)
        delta = np.arange(1, PERCENT + 2) / PERCENT * (max(-low, high) / largest)
        offset = np.full(len(delta), -float(largest))
        return float(delta[np.argmin(cost(histogram, channel, delta, offset, bits))])


def asymmetric_candidates(low: float, high: float, steps: int) -> tuple[F64, F64]:
    """Steps and offsets of all candidates, in the order tried.

    17 steps f * observed, f = 1/16..17/16, by 21 offsets trunc(-n + n/20 * i), each clamped to the observed range; one
    that is wider on both sides is left out, and so is an empty one. Last the observed pair.
    """
    observed = (high - low) / steps
    nearest = float(half_away(np.asarray(low / observed)))
    low, high = observed * nearest, observed * (nearest + steps)
    fraction, i = np.meshgrid(np.arange(1, FRACTIONS + 2), np.arange(OFFSETS + 1), indexing="ij")
    delta = (fraction / FRACTIONS * observed).ravel()
    offset = np.trunc(-steps + steps / OFFSETS * i).ravel()
    start, end = delta * offset, delta * (offset + steps)
    wider = (start < low) & (end > high)
    start, end = np.maximum(start, low), np.minimum(end, high)
    kept = ~wider & (start != end)
    delta = (end - start)[kept] / steps
    offset = half_away(start[kept] / delta)
    return np.append(delta, observed), np.append(offset, nearest)


def cost(histogram: Histogram, channel: int, delta: F64, offset: F64, bits: int) -> F64:
    """Cost of each candidate, float64 [K]."""
    left, width = histogram.left[channel], histogram.width[channel]
    bins = histogram.shares.shape[1]
    used = np.flatnonzero(histogram.shares[channel])
    share = histogram.shares[channel, used]
    middle = left + used * width + width / 2
    ends = [
        np.clip(np.floor((end - left) / width), 0, bins - 1)
        for end in (delta * offset, delta * (offset + 2**bits - 1))
    ]
    first, last = (end[:, None] for end in ends)
    # A saturated value is taken to the middle of the outermost bin.
    outermost = left + np.where(used < first, first, last) * width + width / 2
    saturated = (used < first) | (used >= last)
    step = delta[:, None]
    if bits <= NARROW_BITS:
        rounded = step * (half_away(middle / step - offset[:, None]) + offset[:, None])
        squared = np.square(middle - rounded)
    else:
        squared = step * step / 12
    error = np.where(saturated, SATURATION * np.square(middle - outermost), squared)
    return np.asarray((share * error).sum(axis=1))


CALIBRATORS.register(TfEnhanced())
