"""From measured points to a study: every curve against the anchor, against JPEG and against itself; the gate.

The rule: FP32, and precisions of at least 8 bits in scope hyperprior with the codec's own calibration, must lie above
JPEG and rise with quality. Of every other variant the same is reported as a warning: what narrow widths cost is what
the study is there to find out, not a fault.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise

from harness.bd_rate import Bd, bd_rate
from harness.errors import HarnessError
from harness.jpeg import against_jpeg
from harness.ms_ssim import TOO_SMALL
from harness.rd import (
    ANCHOR,
    BELOW,
    JUDGED_BITS,
    NO_JPEG,
    BdRate,
    JpegPoint,
    Point,
    Row,
    Search,
    Study,
    Variant,
)

GATE_RULE = (
    f"The gate judges fp32, and precisions of at least {JUDGED_BITS} bits in scope hyperprior with the codec's own"
    " calibration: above JPEG at their rate, and rising with quality. Of other variants the same is only reported."
)
SMALL = f"a picture's smaller side is at most {TOO_SMALL} px"


def study(
    points: Sequence[Point],
    jpeg: Sequence[JpegPoint],
    method: str,
    searches: Sequence[Search] = (),
) -> Study:
    """Compare every point with JPEG, every variant with the anchor, every curve with itself."""
    if not points or not jpeg:
        raise HarnessError("no rate point or no JPEG was measured")
    if len({tuple((s.image, s.pixels) for s in point.samples) for point in points}) != 1:
        raise HarnessError("the rate points were not measured on the same images")
    ordered = sorted(points, key=lambda p: (p.family, p.quality))  # stable: variants as given
    rows = [against_jpeg(point, jpeg) for point in ordered]
    problems, warnings = _beside_jpeg(rows)
    rates: list[BdRate] = []
    for _, members in groupby(ordered, key=lambda p: p.family):
        curves = _by_variant(list(members))
        for variant, curve in curves.items():
            (problems if variant.is_judged else warnings).extend(not_monotone(curve))
            if len(curve) == 1:
                (only,) = curve
                warnings.append(
                    f"{only.family} {variant.label}: one rate point, so there is no curve to check"
                )
        rates += bd_rates([point for curve in curves.values() for point in curve], method)
    warnings += _about_ms_ssim(ordered[0])
    return Study(
        rows=tuple(rows),
        jpeg=tuple(jpeg),
        bd_rates=tuple(rates),
        problems=tuple(problems),
        warnings=(*warnings, *_about_bd_rates(rates)),
        searches=tuple(searches),
    )


def bd_rates(points: Sequence[Point], method: str) -> list[BdRate]:
    """Every variant of every family against the family's anchor, by payload bytes; a family without one has none."""
    found: list[BdRate] = []
    for family in dict.fromkeys(point.family for point in points):
        curves = _by_variant([point for point in points if point.family == family])
        found += _of_family(family, curves, method)
    return found


def psnr_curve(points: Sequence[Point]) -> list[tuple[float, float]]:
    """(payload bpp, mean PSNR in dB) of each point."""
    return [(point.bpp, point.psnr) for point in points]


def not_monotone(curve: Sequence[Point]) -> list[str]:
    """Where bpp or PSNR fails to rise from one quality to the next of a family's curve in one variant."""
    ordered = sorted(curve, key=lambda point: point.quality)
    return [
        f"{low.codec} -> q{high.quality} {low.variant.label}: {what} does not rise with quality"
        f" ({before:.4f} -> {after:.4f})"
        for low, high in pairwise(ordered)
        for what, before, after in (
            ("bpp", low.bpp, high.bpp),
            ("PSNR", low.psnr, high.psnr),
        )
        if not before < after
    ]


def _beside_jpeg(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """(problems, warnings)."""
    problems, warnings = [], []
    judged = [row for row in rows if row.point.variant.is_judged]
    for row in rows:
        point = row.point
        if row.verdict == BELOW and point.variant.is_judged:
            problems.append(_below(row))
        elif row.verdict == BELOW:
            warnings.append(f"{_below(row)} (not judged)")
        elif row.verdict == NO_JPEG:
            warnings.append(f"{point.name}: JPEG has no {point.bpp:.4f} bpp to compare")
    if all(row.verdict == NO_JPEG for row in judged):
        problems.append("no rate point lies at a rate where JPEG can be compared")
    return problems, warnings


def _below(row: Row) -> str:
    point = row.point
    if row.margin is None:
        return f"{point.name}: below JPEG's best, at a higher rate ({point.bpp:.4f} bpp)"
    return f"{point.name}: {-row.margin:.2f} dB below JPEG at {point.bpp:.4f} bpp"


def _by_variant(points: Sequence[Point]) -> dict[Variant, list[Point]]:
    curves: dict[Variant, list[Point]] = {}
    for point in points:
        curves.setdefault(point.variant, []).append(point)
    return curves


def _of_family(
    family: str, curves: Mapping[Variant, Sequence[Point]], method: str
) -> Iterator[BdRate]:
    anchor = curves.get(ANCHOR)
    for variant, curve in curves.items():
        if anchor is not None and variant != ANCHOR:
            yield BdRate(
                family=family,
                variant=variant,
                calibrator=", ".join(dict.fromkeys(point.calibrator for point in curve)),
                method=method,
                psnr=bd_rate(psnr_curve(anchor), psnr_curve(curve), method),
                ms_ssim=_by_ms_ssim(anchor, curve, method),
            )


def _by_ms_ssim(anchor: Sequence[Point], test: Sequence[Point], method: str) -> Bd:
    before, after = (
        [(point.bpp, point.ms_ssim_db) for point in curve if point.ms_ssim_db is not None]
        for curve in (anchor, test)
    )
    if (len(before), len(after)) != (len(anchor), len(test)):
        return Bd.none(SMALL)
    return bd_rate(before, after, method)


def _about_ms_ssim(point: Point) -> list[str]:
    """The pictures are the same at every point, and so are those too small."""
    small = [sample.image for sample in point.samples if sample.ms_ssim is None]
    if not small:
        return []
    others = f" and {len(small) - 3} more" if len(small) > 3 else ""  # noqa: PLR2004 - a line is a line
    return [f"no MS-SSIM, {SMALL}: {', '.join(small[:3])}{others}"]


def _about_bd_rates(rates: Sequence[BdRate]) -> list[str]:
    """A note by MS-SSIM only where it says something else."""
    lines = []
    for rate in rates:
        name = f"BD-rate of {rate.family} {rate.variant.label}"
        by_psnr, by_ms_ssim = rate.psnr.note, rate.ms_ssim.note
        if by_psnr:
            lines.append(f"{name}: {by_psnr}")
        if by_ms_ssim not in {"", by_psnr} and SMALL not in by_ms_ssim:
            lines.append(f"{name} by MS-SSIM: {by_ms_ssim}")
    return lines
