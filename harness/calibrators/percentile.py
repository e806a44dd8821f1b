"""percentile: ranges that leave out one value in ten thousand at either end (AIMET, `percentile`, at 99.99)."""

from dataclasses import dataclass

import numpy as np

from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, Problem
from harness.calibrators.by_histogram import calibrate
from harness.calibrators.histogram import Histogram, asymmetric, symmetric

PERCENTILE = 99.99


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """AIMET's rule for its percentile scheme, on the same histogram as its others."""

    name: str = "percentile"
    summary: str = (
        f"AIMET's percentile at {PERCENTILE}: the ends of a histogram without the rarest values"
    )

    def calibrate(self, problem: Problem) -> Calibration:
        return calibrate(problem, self)

    def asymmetric(self, histogram: Histogram, channel: int, bits: int) -> tuple[float, float]:
        """Step and offset of a channel."""
        low, high = limits(histogram, channel)
        delta, offset = asymmetric(np.asarray(low), np.asarray(high), bits)
        return float(delta), float(offset)

    def symmetric(self, histogram: Histogram, channel: int, bits: int) -> float:
        """Step of a channel."""
        low, high = limits(histogram, channel)
        return float(symmetric(np.asarray(max(-low, high)), bits))


def limits(histogram: Histogram, channel: int) -> tuple[float, float]:
    """From the first bin by which 0.01 % of the values are seen, to behind the last one by which 99.99 % are not yet.

    Both at bin edges, at least a bin apart, and zero between them.
    """
    edges = histogram.edges(channel)
    seen = np.cumsum(histogram.shares[channel])
    share = PERCENTILE / 100
    reached = np.flatnonzero(seen >= 1 - share)
    below = np.flatnonzero((seen < share) & (edges < histogram.span(channel)[1]))
    low = int(reached[0]) if len(reached) else 0
    high = (int(below[-1]) if len(below) else len(edges) - 1) + 1
    if low == high:
        high += 1
    end = histogram.left[channel] + histogram.width[channel] * high
    return min(float(edges[low]), 0.0), max(float(end), 0.0)


CALIBRATORS.register(Percentile())
