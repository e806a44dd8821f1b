"""BD-rate of two curves, and their difference at equal quality. Knows numbers only.

The mean over the overlapping quality interval of log10 R_test(D) - log10 R_anchor(D) is d; BD-rate is (10^d - 1) * 100 %.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

F64 = NDArray[np.float64]
# (rate, quality in dB) points in any order; the unit of the rate does not matter as long as both curves have it.
Curve = Sequence[tuple[float, float]]
# What an interpolation is called where BD-rates are published.
BD_METHODS: Mapping[str, str] = {
    "pchip": "PCHIP, as in the JCT-VC and JVET sheets",
    "cubic": "cubic polynomial, as in VCEG-M33",
    "akima": "Akima",
}
LEAST_POINTS = 4
LEAST_OVERLAP = 0.75


@dataclass(frozen=True, kw_only=True)
class Bd:
    """BD-rate in percent; None, with the reason in `note`, where there is none.

    `overlap` is that of the two quality intervals, from 0 to 1; below `LEAST_OVERLAP` the note says so.
    """

    percent: float | None
    overlap: float
    note: str

    @classmethod
    def none(cls, reason: str) -> "Bd":
        return cls(percent=None, overlap=0.0, note=f"none: {reason}")


def bd_rate(anchor: Curve, test: Curve, method: str) -> Bd:
    """What `test` costs in rate against `anchor` at equal quality; positive is more."""
    refusal, overlap = _comparable(anchor, test, method)
    if refusal:
        return Bd.none(refusal)
    few = "" if overlap >= LEAST_OVERLAP else f"the quality intervals overlap by only {overlap:.0%}"
    return Bd(percent=_bjontegaard(anchor, test, method)[0], overlap=overlap, note=few)


def rate_differences(
    anchor: Curve, test: Curve, method: str, qualities: Sequence[float]
) -> list[tuple[float, float]]:
    """(anchor's rate, what `test` takes more in percent) at each of `qualities` that both curves reach.

    By the very interpolations whose areas make the BD-rate; empty where there is no BD-rate.
    """
    if _comparable(anchor, test, method)[0]:
        return []
    low, high = common_qualities(anchor, test)
    wanted = np.array([quality for quality in qualities if low <= quality <= high])
    _, of_anchor, of_test = _bjontegaard(anchor, test, method)
    before, after = of_anchor(wanted), of_test(wanted)
    percents = 100 * (10 ** (after - before) - 1)
    return list(zip((10**before).tolist(), percents.tolist(), strict=True))


def common_qualities(anchor: Curve, test: Curve) -> tuple[float, float]:
    """Lowest and highest quality that both curves reach; the first is above the second where there is none."""
    spans = [[quality for _, quality in curve] for curve in (anchor, test)]
    return max(min(span) for span in spans), min(max(span) for span in spans)


def _comparable(anchor: Curve, test: Curve, method: str) -> tuple[str, float]:
    """(Why there is no BD-rate, empty if there is one; overlap of the quality intervals)."""
    if method not in BD_METHODS:
        raise UserError(f"no BD-rate method {method!r}; known: {', '.join(BD_METHODS)}")
    curves = [sorted(anchor), sorted(test)]
    if (fewest := min(map(len, curves))) < LEAST_POINTS:
        few = f"{fewest} rate point{'s' * (fewest != 1)}"
        return f"{few}, BD-rate takes at least {LEAST_POINTS}", 0.0
    if not all(low[1] < high[1] for curve in curves for low, high in pairwise(curve)):
        return "quality does not rise with the rate", 0.0
    low, high = common_qualities(anchor, test)
    if low >= high:
        return "the quality intervals do not overlap", 0.0
    both = [quality for curve in curves for _, quality in curve]
    return "", (high - low) / (max(both) - min(both))


def _bjontegaard(
    anchor: Curve, test: Curve, method: str
) -> tuple[float, Callable[[F64], F64], Callable[[F64], F64]]:
    """(BD-rate, log10 rate of quality of the anchor, and of the test), by the package of that name."""
    from bjontegaard import bd_rate as bjontegaard  # noqa: PLC0415 - imports all of pyplot

    (rates_a, qualities_a), (rates_b, qualities_b) = (
        np.array(sorted(curve)).T for curve in (anchor, test)
    )
    percent, of_anchor, of_test = bjontegaard(
        rates_a,
        qualities_a,
        rates_b,
        qualities_b,
        method,
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    return float(percent), of_anchor, of_test
