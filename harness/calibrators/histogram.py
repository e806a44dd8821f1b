"""The histogram that AIMET's rules read, one row a channel, and how its ranges become steps and offsets.

As in AIMET (quic/aimet, DlQuantization of 2024): 512 bins over three times the first batch's range around its centre;
each later batch's shares are averaged in with equal weight; values outside are dropped. A value falls into the bin whose
left edge is nearest, yet the rules take it to lie in the middle of that bin: half a bin of bias that belongs to the
definition. AIMET computes in float32; here the same is done in float64. (AIMET 2.42 has 1536 bins: 512 over the first
range itself.) Up to 8 bits the rules are followed exactly; beyond, 512 bins are coarser than a step: there are 4096, and
within a bin values are taken as evenly spread, so that their squared error is step^2 / 12.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.calibration import F64
from harness.grid import NARROW_BITS
from harness.roles import levels

I64 = NDArray[np.int64]
BINS, WIDE_BINS = 512, 4096
# A first batch of one value has a range nevertheless, and so has what is calibrated.
LEAST_RANGE = 0.01
ENLARGED = 3


def bins_for(bits: int) -> int:
    return BINS if bits <= NARROW_BITS else WIDE_BINS


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Shares of values per channel and bin, float64 [C, bins]; left edge of the first bin and width, float64 [C].

    `empty` [C]: nothing but zeros was seen.
    """

    left: F64
    width: F64
    shares: F64
    empty: NDArray[np.bool_]

    def edges(self, channel: int) -> F64:
        """Left edges of the bins."""
        return np.asarray(
            self.left[channel] + self.width[channel] * np.arange(self.shares.shape[1])
        )

    def filled(self, channel: int) -> tuple[int, int]:
        """First and last bin with anything in it; if only the first has, AIMET takes the very last for the upper end."""
        found = np.flatnonzero(self.shares[channel])
        if len(found) == 0:
            return 0, self.shares.shape[1] - 1
        return int(found[0]), int(found[-1]) or self.shares.shape[1] - 1

    def span(self, channel: int) -> tuple[float, float]:
        """Left edges of the first and the last bin with anything in it, made to hold zero and 0.01 at least."""
        edges = self.edges(channel)
        first, last = self.filled(channel)
        low, high = min(float(edges[first]), 0.0), max(float(edges[last]), 0.0)
        return low, max(high, low + LEAST_RANGE)


class Collector:
    """Makes a histogram of batches, float [C, n] each.

    `limits`, float64 [C] each, replace the first batch's smallest and largest values.
    """

    def __init__(self, bins: int, limits: tuple[F64, F64] | None = None) -> None:
        self._bins = bins
        self._limits = limits
        self._left: F64 | None = None
        self._width = self._shares = np.zeros(0)
        self._batches: I64 = np.zeros(0, np.int64)

    def add(self, values: NDArray[np.float32] | F64) -> None:
        values = values.astype(np.float64)
        if self._left is None:
            self._left = np.zeros(len(values))
            self._width = np.zeros(len(values))
            self._shares = np.zeros((len(values), self._bins))
            self._batches = np.zeros(len(values), np.int64)
        self._begin(values)
        begun = np.flatnonzero(self._width)
        width = self._width[begun, None]
        index = half_away(values[begun] / width - self._left[begun, None] / width)
        inside = (index >= 0) & (index < self._bins)
        flat = (np.arange(len(begun))[:, None] * self._bins + index)[inside].astype(np.int64)
        counts = np.bincount(flat, minlength=len(begun) * self._bins)
        found = counts.reshape(len(begun), self._bins) / values.shape[1]
        seen = self._batches[begun, None]
        self._shares[begun] = (self._shares[begun] * seen + found) / (seen + 1)
        self._batches[begun] += 1

    def _begin(self, values: F64) -> None:
        """Fix the bins of the channels whose first batch this is: the first with anything but zeros."""
        assert self._left is not None
        low, high = self._limits or (values.min(axis=1), values.max(axis=1))
        new = (self._width == 0) & ((low != 0) | (high != 0))
        high = np.where(low == high, low + LEAST_RANGE, high)
        centre = (low + high) / 2
        start, end = centre - ENLARGED * (centre - low), centre + ENLARGED * (high - centre)
        self._left = np.where(new, start, self._left)
        self._width = np.where(new, (end - start) / self._bins, self._width)

    def histogram(self) -> Histogram:
        assert self._left is not None, "nothing was collected"
        return Histogram(
            left=self._left, width=self._width, shares=self._shares, empty=self._width == 0
        )


def half_away(x: F64) -> F64:
    """Nearest integers, ties away from zero, as `round` of C does."""
    return np.asarray(np.trunc(x + np.copysign(0.5, x)))


def asymmetric(low: F64, high: F64, bits: int) -> tuple[F64, F64]:
    """Steps and offsets of ranges with low <= 0 <= high, low < high: x is delta * (q + offset), q in 0..2^bits-1."""
    steps = 2**bits - 1
    delta = (high - low) / steps
    return delta, 0.0 - np.clip(half_away(-low / delta), 0, steps)


def symmetric(reach: F64, bits: int) -> F64:
    """Steps of ranges [-reach, reach]: 2^(bits-1) - 1 of them on each side."""
    return np.asarray(reach / levels(bits))
