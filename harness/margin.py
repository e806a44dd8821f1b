"""How far sigmas are from the next CDF index, in ULPs, and how many indexes a given round-off will flip.

Pure numbers: sigmas and thresholds in, distances and expectations out. A sigma's position is its place among all
float32, so that neighbours are 1 apart; its distance is the least move that changes its index, so that 1 is the least.

The prediction assumes one thing: where a sigma lies within a window around a threshold (WINDOW positions to each side,
about 1 % of its value) has nothing to do with how two platforms round it. Its position within the window is then as
good as uniform, and a sigma that one platform moves by d ULPs flips with probability d / (2 WINDOW + 1), if it is within
the window of a threshold. Each sigma keeps its own difference: ULPs depend on its exponent, and round-off on the
magnitudes that were added, so differences of other sigmas would not do. Whether a sigma really flipped is not looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv  # type: ignore[import-untyped]

from harness.errors import HarnessError

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

WINDOW = 2**16
CONFIDENCE = 0.95
MEDIAN = 0.5
QUANTILES = (MEDIAN, 1e-3, 1e-4, 1e-5, 1e-6)
# No float32 is this far from another.
_FAR = np.int64(2**33)
_MAGNITUDE = np.int32(0x7FFFFFFF)


@dataclass(frozen=True, kw_only=True)
class PairMargin:
    """Two platforms on the same sigmas. Round-offs are differences in ULPs of the sigmas that are near a threshold."""

    platforms: tuple[str, str]
    differing: int
    mean_roundoff: float
    median_roundoff: float
    largest_roundoff: int
    predicted: float
    measured: int


@dataclass(frozen=True, kw_only=True)
class CodecMargin:
    """One codec's h_s over all pictures.

    `near`: sigmas within WINDOW of a threshold. `quantiles`: of the distance, None where there are too few sigmas.
    `within`: (ULPs, sigmas at most so far from a threshold). `roundoffs`: (ULPs, flips if every sigma moved so far).
    """

    codec: str
    elements: int
    pixels: int
    near: int
    quantiles: tuple[tuple[float, int | None], ...]
    within: tuple[tuple[int, int], ...]
    roundoffs: tuple[tuple[int, float], ...]
    pairs: tuple[PairMargin, ...]


def positions(sigma: NDArray[np.generic]) -> I64:
    """The place of each float32 among all, same shape: neighbours differ by 1, both zeros are 0.

    Anything but finite float32 is a HarnessError.

    >>> positions(np.array([0.0, -0.0, 1e-45, -1e-45], np.float32)).tolist()
    [0, 0, 1, -1]
    """
    if not isinstance(sigma, np.ndarray) or sigma.dtype != np.float32:
        raise HarnessError(f"margins are of float32 sigmas, got {getattr(sigma, 'dtype', sigma)}")
    wrong = int(np.count_nonzero(~np.isfinite(sigma)))
    if wrong:
        raise HarnessError(f"{wrong} of {sigma.size} sigmas are NaN or infinite: no margin")
    bits = np.ascontiguousarray(sigma).view(np.int32).reshape(sigma.shape)
    magnitude = (bits & _MAGNITUDE).astype(np.int64)
    return np.where(bits < 0, -magnitude, magnitude)


def distances(at: I64, thresholds_bits: I32) -> I64:
    """The least move, in ULPs, that changes a sigma's index; same shape, at least 1.

    `thresholds_bits` are those of `harness.cdf`, whose last one divides nothing. A sigma at a threshold still belongs
    below it: 1 up is enough.

    >>> distances(np.array([8, 9, 10, 14, 20]), np.array([10, 20, 30], np.int32)).tolist()
    [3, 2, 1, 4, 1]
    """
    dividing = thresholds_bits[:-1].astype(np.int64)
    padded = np.concatenate([[-_FAR], dividing, [_FAR]])
    below = np.searchsorted(dividing, at, side="left")
    nearest: I64 = np.minimum(padded[below + 1] + 1 - at, at - padded[below])
    return nearest


def flip_probabilities(at: I64, moves: I64, thresholds_bits: I32, window: int = WINDOW) -> F64:
    """How likely each sigma's index changes when it moves by `moves` ULPs; same shape.

    The share of the places within `window` of where it is from which that move crosses a threshold.
    """
    dividing = thresholds_bits[:-1].astype(np.int64)
    padded = np.concatenate([[-_FAR], dividing, [_FAR]])
    probabilities = np.zeros(at.shape, np.float64)
    possible = (moves != 0) & (distances(at, thresholds_bits) <= window + np.abs(moves))
    here, move = at[possible], moves[possible]
    first, last = here - window, here + window
    crossing = np.zeros(here.shape, np.int64)
    for k, threshold in enumerate(dividing):
        # Moving up flips the places from threshold - move (excluded) to threshold, but none that an earlier threshold
        # has flipped; moving down those from threshold (excluded) to threshold - move.
        begin = threshold - np.clip(move, 0, threshold - padded[k])
        end = threshold + np.clip(-move, 0, padded[k + 2] - threshold)
        crossing += np.maximum(np.minimum(end, last) - np.maximum(begin, first - 1), 0)
    probabilities[possible] = crossing / (2 * window + 1)
    return probabilities


def expected_flips(at: I64, roundoff: int, thresholds_bits: I32) -> float:
    """Flips if every sigma moved by `roundoff` ULPs, up or down alike."""
    moves = np.full(at.shape, roundoff, np.int64)
    up = flip_probabilities(at, moves, thresholds_bits).sum()
    down = flip_probabilities(at, -moves, thresholds_bits).sum()
    return float(up + down) / 2


def lower_quantile(ascending: NDArray[np.int64] | NDArray[np.uint32], share: float) -> int | None:
    """The value that a `share` of all does not exceed; None where that is less than one value.

    >>> lower_quantile(np.arange(1, 1001), 1e-2), lower_quantile(np.arange(1, 1001), 1e-4)
    (10, None)
    """
    # A product such as 1e-3 * 1000 may fall short of the integer that is meant.
    rank = round(share * ascending.size, 6)
    return int(ascending[int(np.ceil(rank)) - 1]) if rank >= 1 else None


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The means under which a Poisson count as small or as large as this is not too rare (Garwood's exact interval).

    >>> [round(bound, 3) for bound in poisson_interval(0)]
    [0.0, 3.689]
    """
    tail = (1 - confidence) / 2
    low = float(gammaincinv(count, tail)) if count else 0.0
    return low, float(gammaincinv(count + 1, 1 - tail))
