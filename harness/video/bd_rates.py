"""BD-rates of clips: what every variant costs, and how much of that is chance.

In a closed loop one latent that is rounded the other way changes every frame behind it, so that a clip gives one draw of what
a variant costs. Mirrored, the same pictures give another. The mean over the draws is nearer to the price, and their scatter
says how near.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.bd_rate import Bd, bd_rate
from harness.clip_rd import MEAN, ClipBdRate, ClipPoint
from harness.rd import ANCHOR, Variant


def bd_rates(points: Sequence[ClipPoint], method: str) -> list[ClipBdRate]:
    """Every variant against the anchor, clip by clip, and the mean of the clips."""
    curves: dict[tuple[str, Variant], list[ClipPoint]] = {}
    for point in sorted(points, key=lambda p: p.quality):
        if not point.intra:
            curves.setdefault((point.clip, point.variant), []).append(point)
    found: list[ClipBdRate] = []
    for variant in dict.fromkeys(variant for _, variant in curves):
        if variant == ANCHOR:
            continue
        of_clips = [
            ClipBdRate(
                clip=clip,
                variant=variant,
                calibrator=", ".join(dict.fromkeys(p.calibrator for p in curve)),
                method=method,
                psnr=bd_rate(_curve(curves[clip, ANCHOR]), _curve(curve), method),
            )
            for (clip, other), curve in curves.items()
            if other == variant
        ]
        found += [*of_clips, _mean(of_clips)]
    return found


def _curve(points: Sequence[ClipPoint]) -> list[tuple[float, float]]:
    return [(point.bpp, point.psnr) for point in points]


def _mean(rates: Sequence[ClipBdRate]) -> ClipBdRate:
    first = rates[0]
    numbers = _percents(rates)
    if len(numbers) != len(rates):
        psnr_rate = Bd.none(f"{len(rates) - len(numbers)} of {len(rates)} clips have none")
    else:
        overlap = min(rate.psnr.overlap or 0.0 for rate in rates)
        psnr_rate = Bd(percent=float(np.mean(numbers)), overlap=overlap, note="")
    return ClipBdRate(
        clip=MEAN,
        variant=first.variant,
        calibrator=first.calibrator,
        method=first.method,
        psnr=psnr_rate,
    )


def _percents(rates: Sequence[ClipBdRate]) -> list[float]:
    return [rate.percent for rate in rates if rate.percent is not None]


def mirrored_bd_rates(points: Sequence[ClipPoint], method: str) -> list[ClipBdRate]:
    """Mean and standard error of every variant on each clip over its mirrorings, then of the mean over the clips.

    The mirrorings of a clip are taken for independent draws; the error of a mean over K clips is the root of the sum of their
    squared errors, over K. Every variant and the anchor must be there in each mirroring that one of them is in. A mirroring
    that has no BD-rate, as a curve of it does not rise, is left out, and the note says so.
    """
    draws: dict[tuple[Variant, str], list[ClipBdRate]] = {}
    for mirroring in sorted({point.mirroring for point in points}):
        for rate in bd_rates([p for p in points if p.mirroring == mirroring], method):
            if rate.clip != MEAN:
                draws.setdefault((rate.variant, rate.clip), []).append(rate)
    found: list[ClipBdRate] = []
    for variant in dict.fromkeys(variant for variant, _ in draws):
        of_clips = [_over_draws(each) for (v, _), each in draws.items() if v == variant]
        errors = [rate.error for rate in of_clips if rate.error is not None]
        error = math.hypot(*errors) / len(of_clips) if len(errors) == len(of_clips) else None
        found += [*of_clips, replace(_mean(of_clips), error=error)]
    return found


def _over_draws(rates: Sequence[ClipBdRate]) -> ClipBdRate:
    found = [rate for rate in rates if rate.percent is not None]
    if not found[1:]:  # one draw says nothing of its error
        return replace(_mean(rates), clip=rates[0].clip)
    scatter = float(np.std(_percents(found), ddof=1))
    mean, missing = _mean(found), len(rates) - len(found)
    note = f"{missing} of {len(rates)} mirrorings have none" if missing else ""
    return replace(
        mean,
        clip=rates[0].clip,
        psnr=replace(mean.psnr, note=note),
        error=scatter / math.sqrt(len(found)),
    )
