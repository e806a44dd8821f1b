"""Where both ends' pictures part: a mismatch as a row of pictures, and the first of them below the RD curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from harness.clip_rd import ClipStudy, Mismatch
from harness.rd import Variant
from harness.report.captions import psnr
from harness.report.curves import (
    LINEAR_TO,
    draw_curves,
    draw_differences,
    limit_curves,
    limit_differences,
    rate_ticks,
)
from harness.report.pictures import (
    DPI,
    MUTED,
    decibels,
    png,
    residual_gain,
    show_picture,
    show_residual,
)
from harness.report.ssf_curves import BEYOND, QUALITY, RATE, own_variants, rd_panel

_WIDTH = 13.0  # inches
_GAP = 0.1
_PICTURE = (_WIDTH - 0.9) / 4 - _GAP
_ABOVE = 0.8  # a row's caption and the titles of its pictures
_WEIGHTS = ("bold", "normal")
_CURVES = 5.0
# A study can have a mismatch a clip, variant and decoder: of so many clips the worst one is drawn, all are in the results.
_CLIPS = 3


def mismatch_figure(mismatches: Sequence[Mismatch]) -> bytes:
    """A row each: the original, both ends' pictures, the amplified residual."""
    height = sum(map(_row_height, mismatches)) + _GAP
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
    _rows(figure, mismatches, height)
    return png(figure)


def telling_mismatches(study: ClipStudy) -> list[Mismatch]:
    """Those that show damage, and those of variants that held everywhere, not in that frame by luck."""
    drifted = {drift.variant for drift in study.drifts if not drift.is_identical}
    return [m for m in study.mismatches if m.residual.any() or m.variant not in drifted]


def worst_mismatches(mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """Of the clips that are damaged most, the worst mismatch, below each the same frame of a variant that held.

    Where nothing was damaged, the first that held.
    """
    worst: dict[str, Mismatch] = {}
    for mismatch in sorted((m for m in mismatches if m.residual.any()), key=_between):
        worst.setdefault(mismatch.clip, mismatch)
    rows = (
        row
        for first in [*worst.values()][:_CLIPS]
        for row in (first, counterpart(mismatches, first))
        if row is not None
    )
    return list(rows) or list(mismatches[:1])


def _between(mismatch: Mismatch) -> float:
    return psnr(mismatch.encoder_picture, mismatch.decoder_picture)


def paired_figure(study: ClipStudy, variants: Sequence[Variant]) -> bytes | None:
    """RD curves above the worst mismatch, and the same frame of a variant that held; None without one."""
    telling = telling_mismatches(study)
    first = next(iter(worst_mismatches(telling)), None)
    if first is None or not first.residual.any() or not study.points:
        return None
    held = counterpart(telling, first)
    rows = [first, *([held] if held else [])]
    below = sum(map(_row_height, rows)) + _GAP
    height = below + _CURVES
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
    bottom, share = (below + 0.85) / height, (_CURVES - 1.35) / height
    above, beside = (
        figure.add_axes((left / _WIDTH, bottom, 5.5 / _WIDTH, share)) for left in (0.7, 7.3)
    )
    clip = first.clip if first.clip in study.clips else study.clips[0]
    panel, every = rd_panel(study, clip, variants), own_variants(study)
    draw_curves(above, panel, every)
    draw_differences(beside, panel, every)
    limit_curves(above, [panel])
    limit_differences([beside])
    beside.set_xscale("log")
    beside.set_xlim(above.get_xlim())
    rate_ticks(beside.xaxis)
    for axes, title, name in ((above, clip, QUALITY), (beside, "", BEYOND)):
        axes.set_title(title, fontsize=12, weight="bold", loc="left")
        axes.set_xlabel(RATE, fontsize=10)
        axes.set_ylabel(name, fontsize=10)
    note = (
        "In brackets the BD-rate against FP32 on this clip. Right: at FP32's bits per pixel; linear within"
        f" ±{LINEAR_TO:g} %, logarithmic beyond."
    )
    figure.text(0.05 / _WIDTH, (below + 0.12) / height, note, va="bottom", size=9, color=MUTED)
    _rows(figure, rows, below)
    return png(figure)


def counterpart(mismatches: Sequence[Mismatch], of: Mismatch) -> Mismatch | None:
    """The same frame of the same rate point between the same ends, in a variant whose pictures are identical."""

    def where(m: Mismatch) -> tuple[object, ...]:
        return m.clip, m.quality, m.frame, m.encoder, m.decoder

    same = (m for m in mismatches if where(m) == where(of))
    return next((m for m in same if not m.residual.any()), None)


def mismatch_caption(mismatch: Mismatch) -> tuple[str, str]:
    """Which frame was coded and decoded where; how far the ends are apart."""
    where = (
        f"{mismatch.clip}, frame {mismatch.frame}, {mismatch.family}/q{mismatch.quality} {mismatch.variant.label}:"
        f" encoded on {mismatch.encoder}, decoded on {mismatch.decoder}"
    )
    residual = mismatch.residual
    differing = int(np.count_nonzero(residual))
    if not differing:
        every = (
            f"All {residual.size:,} 8-bit values are identical: the residual is zero everywhere."
        )
        return where, every
    between = _between(mismatch)
    return where, (
        f"{differing:,} of {residual.size:,} 8-bit values differ, by at most {int(residual.max())}; PSNR between the ends"
        f" {between:.1f} dB; the residual is shown x{residual_gain(residual)}."
    )


def _row_height(mismatch: Mismatch) -> float:
    return _ABOVE + _picture_height(mismatch) + _GAP


def _picture_height(mismatch: Mismatch) -> float:
    rows, columns, _ = mismatch.original.shape
    return min(max(_PICTURE * rows / columns, 0.8), 6.0)


def _rows(figure: Figure, mismatches: Sequence[Mismatch], top: float) -> None:
    """From `top` inches down."""
    height = float(figure.get_figheight())
    for mismatch in mismatches:
        picture = _picture_height(mismatch)
        bottom = top - _ABOVE - picture
        axes = [
            figure.add_axes(
                (
                    (0.05 + number * (_PICTURE + _GAP)) / _WIDTH,
                    bottom / height,
                    _PICTURE / _WIDTH,
                    picture / height,
                )
            )
            for number in range(4)
        ]
        at_encoder, at_decoder = (
            decibels(psnr(mismatch.original, seen))
            for seen in (mismatch.encoder_picture, mismatch.decoder_picture)
        )
        show_picture(axes[0], mismatch.original, "original")
        show_picture(
            axes[1], mismatch.encoder_picture, f"encoder: {mismatch.encoder}, {at_encoder}"
        )
        show_picture(
            axes[2], mismatch.decoder_picture, f"decoder: {mismatch.decoder}, {at_decoder}"
        )
        show_residual(figure, axes[3], mismatch.residual.max(axis=2).astype(np.int16))
        for down, line, weight in zip(
            (0.08, 0.3), mismatch_caption(mismatch), _WEIGHTS, strict=True
        ):
            at = 0.05 / _WIDTH, (top - down) / height
            figure.text(*at, line, va="top", size=9.5, weight=weight)
        top = bottom - _GAP
