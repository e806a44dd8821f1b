"""Tables of a study of a video codec, for its page: BD-rates, rate points, all-intra coding, accumulation."""

import math
from collections.abc import Mapping, Sequence

from harness.clip_rd import MEAN, ClipBdRate, ClipPoint, ClipStudy, HyperCost
from harness.rd import ANCHOR, OWN_CALIBRATOR, Variant
from harness.report.page import Line, percent, side_by_side, table, text
from harness.report.ssf_accumulation import Accumulation, mean_of, steepest
from harness.report.ssf_conclusions import published

NONE = "none"


def bd_table(found: Sequence[ClipBdRate]) -> str:
    """A line a variant, a column a clip; the mean and the published figure come first. Empty where nothing was found."""
    clips = [c for c in dict.fromkeys(rate.clip for rate in found) if c != MEAN]
    rows = []
    for variant in dict.fromkeys(rate.variant for rate in found):
        rates = {rate.clip: rate for rate in found if rate.variant == variant}
        theirs = published(variant)
        notes = [f"{clip}: {rate.psnr.note}" for clip, rate in rates.items() if rate.psnr.note]
        rows.append(
            [
                text(variant.precision),
                text(variant.scope),
                text(", ".join(dict.fromkeys(rate.calibrator for rate in rates.values()))),
                _cell(rates, MEAN),
                "" if theirs is None else f"{theirs:+.1f} %",
                *(_cell(rates, clip) for clip in clips),
                text("; ".join(notes)),
            ]
        )
    head = ["precision", "scope", "calibrator", MEAN, "published", *map(text, clips), "note"]
    return table(head, rows, words=3) if rows else ""


def _cell(rates: Mapping[str, ClipBdRate], clip: str) -> str:
    return percent(rates[clip].percent, rates[clip].error) if clip in rates else ""


def calibrator_table(study: ClipStudy) -> str:
    """The means again with a column a calibrator, where a precision was calibrated in several ways."""
    cells: dict[tuple[Line, str], str] = {}
    for rate in study.bd_rates:
        variant = rate.variant
        own = variant.calibrator == OWN_CALIBRATOR
        column = "the codec's own" if own else variant.calibrator
        if rate.clip == MEAN:
            cells[(variant.precision, variant.scope), column] = percent(rate.percent)
    return side_by_side(
        "Calibrators side by side: BD-rate, mean over the clips", ("precision", "scope"), cells
    )


def point_tables(study: ClipStudy) -> str:
    """A table a clip, a line a quality: fp32, its bits by branch, then the codec's own variants against it."""
    parts = []
    for clip in study.clips:
        points = [point for point in study.points if point.clip == clip]
        variants = [
            v for v in dict.fromkeys(p.variant for p in points if not p.intra) if _is_own(v)
        ]
        branches = list(dict.fromkeys(b for p in points for f in p.frames for b in f.bits))
        rows = [
            _point_row([p for p in points if p.quality == quality], branches, variants)
            for quality in sorted({point.quality for point in points})
        ]
        head = [
            "quality", "frames", "bpp", "PSNR", *(f"{branch} bits" for branch in branches), "all-intra",
            *(text(variant.label) for variant in variants),
        ]  # fmt: skip
        parts.append(f"### {text(clip)}\n\n{table(head, rows, words=0)}")
    return "\n\n".join(parts)


def _is_own(variant: Variant) -> bool:
    return variant != ANCHOR and variant.calibrator == OWN_CALIBRATOR


def _point_row(
    points: Sequence[ClipPoint], branches: Sequence[str], variants: Sequence[Variant]
) -> list[str]:
    anchor = next((p for p in points if p.variant == ANCHOR and not p.intra), None)
    intra = next((p for p in points if p.intra), None)
    by_variant = {point.variant: point for point in points if not point.intra}
    shares = {} if anchor is None else branch_shares(anchor)
    return [
        f"q{points[0].quality}",
        str(len(points[0].frames)),
        NONE if anchor is None else f"{anchor.bpp:.4f}",
        NONE if anchor is None else f"{anchor.psnr:.3f}",
        *(f"{shares[branch]:.1%}" if branch in shares else NONE for branch in branches),
        NONE if intra is None else f"{intra.bpp:.4f} at {intra.psnr:.3f}",
        *(_against(by_variant.get(variant), anchor) for variant in variants),
    ]


def branch_shares(point: ClipPoint) -> dict[str, float]:
    """What each branch takes of all bits, from 0 to 1; nothing of a point without bits."""
    total = sum(frame.total_bits for frame in point.frames)
    names = dict.fromkeys(branch for frame in point.frames for branch in frame.bits)
    return {n: sum(f.bits.get(n, 0) for f in point.frames) / total for n in names if total}


def _against(point: ClipPoint | None, anchor: ClipPoint | None) -> str:
    if point is None:
        return NONE
    if anchor is None:
        return f"{point.bpp:.4f} bpp, {point.psnr:.3f} dB"
    return f"{100 * (point.bpp / anchor.bpp - 1):+.3f} %, {point.psnr - anchor.psnr:+.4f} dB"


def intra_table(study: ClipStudy) -> str:
    """What P frames take beside key frames of the same PSNR; empty where it was not measured."""
    rows = [
        [
            text(share.clip),
            f"q{share.quality}",
            f"{share.psnr:.3f}",
            f"{share.inter_bpp:.4f}",
            NONE if share.intra_bpp is None else f"{share.intra_bpp:.4f}",
            NONE if share.share is None else f"{share.share:.1%}",
            f"{share.beyond:.2f} dB" if share.beyond else "",
        ]
        for share in study.intra_shares
    ]
    head = [
        "clip",
        "quality",
        "PSNR",
        "P frames, bpp",
        "all-intra there, bpp",
        "share",
        "extended by",
    ]
    return table(head, rows, words=1) if rows else ""


def intra_sentence(study: ClipStudy) -> str:
    """The range of the shares, and at how many rate points all-intra coding does not reach the PSNR."""
    known = [share for share in study.intra_shares if share.share is not None]
    points = len(study.intra_shares)
    sentences = []
    if known:
        worst = max(known, key=lambda share: share.share or 0.0)
        best = min(known, key=lambda share: share.share or 0.0)
        sentences.append(
            f"At equal PSNR a P frame takes {best.share:.1%} to {worst.share:.1%} of the bits of all-intra coding; the"
            f" most at {worst.clip}, q{worst.quality}."
        )
    if far := [share.beyond for share in known if share.beyond]:
        sentences.append(
            f"For {len(far)} of {points} rate points all-intra coding's curve is extended, by {max(far):.2f} dB at most."
        )
    if without := points - len(known):
        sentences.append(
            f"All-intra coding does not reach the PSNR of {without} of {points} rate points."
        )
    return " ".join(sentences)


def accumulation_table(found: Sequence[Accumulation]) -> str:
    """A line a clip and variant: means over the rate points, and the rate point that loses fastest."""
    lines: dict[tuple[Variant, str], list[Accumulation]] = {}
    for each in found:
        if _is_own(each.variant):
            lines.setdefault((each.variant, each.clip), []).append(each)
    rows = []
    for (variant, clip), points in lines.items():
        worst = steepest(points)
        at_worst = "" if worst is None else f" (q{worst.quality})"
        rows.append(
            [
                text(variant.label),
                text(clip),
                *(
                    _signed(mean_of([_frame(p, at) for p in points]))
                    for at in ("first", "middle", "last")
                ),
                _signed(mean_of([p.slope for p in points])),
                _signed(None if worst is None else worst.slope) + at_worst,
                *(
                    percent(mean_of(bits))
                    for bits in ([p.early_bits for p in points], [p.late_bits for p in points])
                ),
            ]
        )
    head = [
        "variant", "clip", "first frame", "middle frame", "last frame", "slope", "steepest loss",
        "bits, first half", "bits, second half",
    ]  # fmt: skip
    return table(head, rows, words=2) if rows else ""


def _frame(point: Accumulation, at: str) -> float:
    return {"first": point.first, "middle": point.middle, "last": point.last}[at]


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.4f}"


def cost_table(study: ClipStudy) -> str:
    """Memory and compute of the hyper-decoders; rate points whose networks are equally large share a line."""
    lines: dict[tuple[str, ...], list[int]] = {}
    full = {(c.quality, c.branch): c for c in study.costs if c.precision == ANCHOR.precision}
    for cost in study.costs:
        anchor = full.get((cost.quality, cost.branch))
        of = (0, 0, 0) if anchor is None else _amounts(anchor)
        height, width = cost.size
        weights, activations, operations = (
            show(found) + (f" ({found / whole:.1%})" if whole else "")
            for show, found, whole in zip((_bytes, _bytes, _count), _amounts(cost), of, strict=True)
        )
        cells = (
            text(cost.precision),
            text(cost.branch),
            f"{width}x{height}",
            f"{cost.weights:,}",
            weights,
            activations,
            _count(cost.macs),
            operations,
        )
        lines.setdefault(cells, []).append(cost.quality)
    rows = [
        [*cells[:2], " ".join(f"q{quality}" for quality in qualities), *cells[2:]]
        for cells, qualities in lines.items()
    ]
    head = [
        "precision", "branch", "rate points", "frame", "weights", "weight bytes", "activation bytes", "MACs",
        "bit operations",
    ]  # fmt: skip
    return table(head, rows, words=3) if rows else ""


def _amounts(cost: HyperCost) -> tuple[float, float, float]:
    return cost.weight_bytes, cost.activation_bytes, cost.bit_operations


def _bytes(found: float) -> str:
    """Bytes in the largest unit that leaves one or more.

    >>> [_bytes(n) for n in (950, 2_770_000)]
    ['950.00 B', '2.64 MiB']
    """
    power = min(int(math.log(found, 1024)), 3) if found >= 1 else 0
    return f"{found / 1024**power:.2f} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _count(number: float) -> str:
    """Three digits that count.

    >>> [_count(n) for n in (950, 27_300_000, 27_955_200_000)]
    ['950', '27.3 M', '28 G']
    """
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 10**power:
            return f"{number / 10**power:.3g} {letter}"
    return f"{number:g}"
