"""mse: AIMET's exhaustive search for the least squared error (Qualcomm AIMET, DlQuantization, `QUANTIZATION_MSE`).

It was in AIMET when the precision study was made; AIMET 2.42 no longer has it.
"""

from dataclasses import dataclass

import numpy as np

from harness.calibration import F64, Calibration
from harness.calibrators.base import CALIBRATORS, Problem
from harness.calibrators.by_histogram import calibrate
from harness.calibrators.histogram import Histogram, asymmetric, half_away, symmetric
from harness.grid import NARROW_BITS
from harness.roles import levels


@dataclass(frozen=True, kw_only=True)
class Mse:
    """Of all ranges (a bin edge below zero, or zero) x (one above, or zero), the one of least MSE; the first of equals.

    In the order of the lower ends, then the upper ends, zero last in both. A symmetric range is that of the larger end.
    """

    name: str = "mse"
    summary: str = "AIMET's mse: every pair of histogram edges on either side of zero, squared error at the middles of the bins"

    def calibrate(self, problem: Problem) -> Calibration:
        return calibrate(problem, self)

    def asymmetric(self, histogram: Histogram, channel: int, bits: int) -> tuple[float, float]:
        """Step and offset of a channel."""
        low, high = best_range(histogram, channel, bits, is_symmetric=False)
        delta, offset = asymmetric(np.asarray(low), np.asarray(high), bits)
        return float(delta), float(offset)

    def symmetric(self, histogram: Histogram, channel: int, bits: int) -> float:
        """Step of a channel."""
        low, high = best_range(histogram, channel, bits, is_symmetric=True)
        return float(symmetric(np.asarray(max(-low, high)), bits))


def best_range(
    histogram: Histogram, channel: int, bits: int, *, is_symmetric: bool
) -> tuple[float, float]:
    """The range of least squared error, from <= 0 to >= 0."""
    edges, middle, share = _bins(histogram, channel)
    lows, highs = np.append(edges[edges < 0], 0.0), np.append(edges[edges > 0], 0.0)
    if bits <= NARROW_BITS:
        used = share > 0
        costs = _costs(lows, highs, middle[used], share[used], bits, is_symmetric)
    else:
        costs = _wide_costs(lows, highs, middle, share, bits, is_symmetric)
    # The last of all would be from zero to zero.
    low, high = divmod(int(np.argmin(costs.ravel()[:-1])), len(highs))
    return float(lows[low]), float(highs[high])


def _bins(histogram: Histogram, channel: int) -> tuple[F64, F64, F64]:
    """Edges that ranges may end on, and the bins of the cost: middles, and the shares of the bins that these lie in.

    AIMET counts bins of one width from the lower end of the span, which is zero, and no edge, where all is positive; an
    end that is an edge counts twice, so that there is one bin more than is filled.
    """
    left, width = histogram.left[channel], histogram.width[channel]
    bins = histogram.shares.shape[1]
    low, high = histogram.span(channel)
    first, last = histogram.filled(channel)
    if left + width * first > 0:
        first = max(0, int(np.ceil((low - left) / width)))
    if high != left + width * last:
        last = int(np.floor((high - left) / width))
    edges = np.append(low, left + width * np.arange(first, min(last + 1, bins) + 1))
    middle = low + width / 2 + width * np.arange(len(edges) - 1)
    index = np.clip(np.floor((middle - left) / width), 0, bins - 1).astype(np.int64)
    return edges, middle, histogram.shares[channel, index]


def _costs(lows: F64, highs: F64, middle: F64, share: F64, bits: int, is_symmetric: bool) -> F64:
    """MSE of every range, float64 [lows, highs]."""
    costs = np.full((len(lows), len(highs)), np.inf)
    for row, low in enumerate(lows):
        # From zero to zero is no range; it comes last.
        ends = highs if row < len(lows) - 1 else highs[:-1]
        if is_symmetric:
            delta = symmetric(np.maximum(-low, ends), bits)
            offset = np.full(len(ends), -float(levels(bits)))
        else:
            delta, offset = asymmetric(np.full(len(ends), low), ends, bits)
        step, start = delta[:, None], offset[:, None]
        clamped = np.clip(middle, low, ends[:, None])
        rounded = step * (half_away(clamped / step - start) + start)
        costs[row, : len(ends)] = (share * np.square(middle - rounded)).sum(axis=1)
    return costs


def _wide_costs(
    lows: F64, highs: F64, middle: F64, share: F64, bits: int, is_symmetric: bool
) -> F64:
    """The same where a step is finer than a bin: step^2 / 12 inside, the squared distance outside."""
    share_below, below = _beyond(middle, share, lows)
    share_above, above = _beyond(-middle[::-1], share[::-1], -highs)
    inside = share.sum() - share_below[:, None] - share_above
    if is_symmetric:
        delta = symmetric(np.maximum(-lows[:, None], highs), bits)
    else:
        delta = (highs - lows[:, None]) / (2**bits - 1)
    return np.asarray(inside * delta * delta / 12 + below[:, None] + above)


def _beyond(middle: F64, share: F64, end: F64) -> tuple[F64, F64]:
    """Of the (rising) values below each `end`: their share, and their squared distance from it."""
    count = np.searchsorted(middle, end)
    none, one, two = (np.append(0.0, np.cumsum(share * middle**power))[count] for power in range(3))
    return none, two - 2 * end * one + end * end * none


CALIBRATORS.register(Mse())
