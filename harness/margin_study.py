"""Measure margins: every platform's sigmas of the same z symbols, over pictures. Platforms are an argument."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.cdf import indexes_from_scales
from harness.codecs.base import Codec
from harness.endpoints import Run
from harness.errors import HarnessError
from harness.lowerings.base import Artifact
from harness.margin import (
    QUANTILES,
    WINDOW,
    CodecMargin,
    PairMargin,
    distances,
    expected_flips,
    flip_probabilities,
    lower_quantile,
    positions,
)
from harness.problems import latents, z_hat

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
# Where the cumulative distribution of distances is read: two places an octave, over all of float32.
_PLACES = [*dict.fromkeys(int(2 ** (i / 2)) for i in range(65))]


@dataclass(kw_only=True)
class _Pair:
    platforms: tuple[str, str]
    differing: int = 0
    predicted: float = 0.0
    measured: int = 0
    # Magnitudes of the moves of sigmas near a threshold, a part for each picture.
    roundoffs: list[I64] = field(default_factory=list)

    def finished(self) -> PairMargin:
        moves = np.concatenate(self.roundoffs)
        return PairMargin(
            platforms=self.platforms,
            differing=self.differing,
            mean_roundoff=float(moves.mean()) if moves.size else 0.0,
            median_roundoff=float(np.median(moves)) if moves.size else 0.0,
            largest_roundoff=int(moves.max(initial=0)),
            predicted=self.predicted,
            measured=self.measured,
        )


def measure_margin(
    codec: Codec,
    h_s: Artifact,
    pictures: Iterable[U8],
    runners: Mapping[str, Callable[[], Run]],
    *,
    roundoffs: Sequence[int],
    advance: Callable[[str], None],
) -> CodecMargin:
    """Margins of the float h_s of `codec` on every platform of `runners`; distances are those of the first one's sigmas.

    `h_s` is its FP32 artifact. A runner may remember what it ran: there is a new one for each picture. `advance` is
    called with a platform's name after each run. Sigmas that are not finite float32 are a HarnessError.
    """
    pairs = [_Pair(platforms=pair) for pair in itertools.combinations(runners, 2)]
    found: list[NDArray[np.uint32]] = []
    flips = dict.fromkeys(roundoffs, 0.0)
    pixels = 0
    for picture in pictures:
        pixels += picture.shape[0] * picture.shape[1]
        fed = z_hat(codec, latents(codec, picture))
        at: dict[str, I64] = {}
        indexes: dict[str, I32] = {}
        for platform, runner in runners.items():
            sigma = np.asarray(runner()("h_s", h_s, {"z_hat": fed})["scales_hat"])
            advance(platform)
            try:
                at[platform] = positions(sigma)
            except HarnessError as error:
                raise HarnessError(f"{codec.name} on {platform}: {error}") from error
            floats = np.asarray(sigma, np.float32)
            indexes[platform] = indexes_from_scales(floats, codec.scale_thresholds)
        first = next(iter(at.values()))
        found.append(distances(first, codec.scale_thresholds).astype(np.uint32).ravel())
        for roundoff in flips:
            flips[roundoff] += expected_flips(first, roundoff, codec.scale_thresholds)
        for pair in pairs:
            _compare(pair, at, indexes, codec.scale_thresholds)
    if not found:
        raise HarnessError("no picture to measure margins on")
    ascending = np.sort(np.concatenate(found))
    return CodecMargin(
        codec=codec.name,
        elements=ascending.size,
        pixels=pixels,
        near=int(np.searchsorted(ascending, WINDOW, side="right")),
        quantiles=tuple((share, lower_quantile(ascending, share)) for share in QUANTILES),
        within=tuple((n, int(np.searchsorted(ascending, n, side="right"))) for n in _PLACES),
        roundoffs=tuple(flips.items()),
        pairs=tuple(pair.finished() for pair in pairs),
    )


def _compare(
    pair: _Pair, at: Mapping[str, I64], indexes: Mapping[str, I32], thresholds: I32
) -> None:
    one, other = pair.platforms
    moves = at[other] - at[one]
    pair.differing += int(np.count_nonzero(moves))
    pair.predicted += float(flip_probabilities(at[one], moves, thresholds).sum())
    pair.measured += int(np.count_nonzero(indexes[one] != indexes[other]))
    pair.roundoffs.append(np.abs(moves[distances(at[one], thresholds) <= WINDOW]))
