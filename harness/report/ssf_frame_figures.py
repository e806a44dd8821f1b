"""A study of a video codec frame by frame: how far both ends drift apart, and what each precision does to PSNR and bits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.clip_rd import ClipStudy, Drift, DriftFrame
from harness.rd import ANCHOR, DEFAULT_SCOPE, Variant
from harness.report.curves import style
from harness.report.panel_grid import is_leftmost, panel_grid
from harness.report.pictures import png
from harness.report.ssf_accumulation import accumulations
from harness.report.ssf_curves import own_variants
from harness.report.ssf_drift import by_kind, tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Differences of PSNR in dB: linear up to this, logarithmic beyond.
_LINEAR_TO = 0.01
_LEAST_SPAN = 10.0  # dB


def drift_figure(study: ClipStudy) -> bytes:
    """A panel a clip and rate point: PSNR between both ends' pictures per frame; the study has drifts."""
    streams: dict[tuple[str, int], list[Drift]] = {}
    for drift in study.drifts:
        streams.setdefault((drift.clip, drift.quality), []).append(drift)
    note = (
        "8-bit RGB pictures of the same frame at the encoder and at the decoder. Frames whose pictures are identical stand"
        " in the band above, a line a variant. X: the first frame with a wrong symbol."
    )
    figure, grid = panel_grid(len(streams), (4.4,), note)
    every = [drift.variant for drift in study.drifts]
    for number, ((clip, quality), [axes]) in enumerate(zip(streams, grid, strict=True)):
        _drifts(axes, streams[clip, quality], every)
        axes.set_title(f"{clip}, q{quality}", fontsize=12, weight="bold", loc="left")
        axes.set_xlabel("frame", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if is_leftmost(number):
            axes.set_ylabel("PSNR between the ends (dB)", fontsize=10)
    return png(figure)


def _drifts(axes: "Axes", drifts: Sequence[Drift], every: Sequence[Variant]) -> None:
    known = [f.psnr_between for d in drifts for f in d.frames if f.psnr_between is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    span = max(high - low, _LEAST_SPAN)
    kinds = by_kind(drifts)
    band = [high + span * (0.14 + 0.05 * number) for number in range(len(kinds))]
    for at_top, (name, members) in zip(band, kinds.items(), strict=True):
        for drift in members:
            label = _legend(name, members) if drift is members[0] else None
            _stream(axes, drift, at_top, _look(drift.variant, every), label)
    axes.axhspan(band[0] - 0.05 * span, band[-1] + 0.05 * span, color="#eaf5ef", zorder=0)
    ticks = [t for t in MaxNLocator(6).tick_values(low, high) if known and t <= high + 0.05 * span]
    middle = (band[0] + band[-1]) / 2
    axes.set_yticks([*ticks, middle], [*(f"{tick:g}" for tick in ticks), "identical"])
    axes.set_ylim(low - 0.08 * span, band[-1] + 0.08 * span)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(0, -0.13))


def _stream(
    axes: "Axes", drift: Drift, at_top: float, look: dict[str, Any], label: str | None
) -> None:
    heights = [_height(frame, at_top) for frame in drift.frames]
    numbers = [frame.number for frame in drift.frames]
    axes.plot(numbers, heights, linewidth=1.4, label=label, **look)
    for number, height in zip(numbers, heights, strict=True):
        if number == drift.first_damaged:
            axes.plot([number], [height], marker="X", markersize=8, color=look["color"])


def _height(frame: DriftFrame, at_top: float) -> float:
    return at_top if frame.psnr_between is None else frame.psnr_between


def _legend(name: str, members: Sequence[Drift]) -> str:
    """The platforms, or how many pairs of them there are, and how many pictures held."""
    found = tally(members)
    (one, *others) = members
    pairs = f"{len(members)} pairs" if others else f"{one.encoder} → {one.decoder}"
    stopped = sum(bool(drift.problem) for drift in members)
    return (
        f"{name}, {pairs}: {found.identical:,} of {found.frames:,} pictures identical"
        f"{f', {stopped} stopped' if stopped else ''}"
    )


def _look(variant: Variant, every: Sequence[Variant]) -> dict[str, Any]:
    """The precision's colour; the decoder scope is drawn through."""
    colour, dash, *_ = style(variant, every)
    return {"color": colour, "linestyle": dash if variant.scope == DEFAULT_SCOPE else "-"}


def frame_figure(study: ClipStudy) -> bytes:
    """A panel a clip at the middle rate point: PSNR against fp32's, and bits, per frame; the study has points."""
    qualities = sorted({point.quality for point in study.points})
    quality = qualities[len(qualities) // 2]
    variants = own_variants(study)
    note = (
        f"Rate point q{quality}, PSNR of 8-bit RGB less FP32's of the same frame: linear within ±{_LINEAR_TO:g} dB,"
        " logarithmic beyond. Drawn through: scope decoder."
    )
    figure, grid = panel_grid(len(study.clips), (3.0, 3.0), note)
    for number, (clip, (above, below)) in enumerate(zip(study.clips, grid, strict=True)):
        _differences(above, study, (clip, quality), variants)
        _bits(below, study, (clip, quality), variants)
        above.set_title(clip, fontsize=12, weight="bold", loc="left")
        below.set_xlabel("frame", fontsize=10)
        if is_leftmost(number):
            above.set_ylabel("PSNR against FP32 (dB)", fontsize=10)
            below.set_ylabel("bits per frame (payload)", fontsize=10)
    return png(figure)


def _differences(
    axes: "Axes", study: ClipStudy, where: tuple[str, int], variants: Sequence[Variant]
) -> None:
    axes.axhline(0, color="black", linewidth=1.2, zorder=1)
    shown = [
        found
        for found in accumulations(study)
        if (found.clip, found.quality) == where and found.variant in variants
    ]
    for found in shown:
        axes.plot(found.differences, linewidth=1.3, **_look(found.variant, variants))
    reach = 1.5 * max([_LINEAR_TO, *(abs(y) for found in shown for y in found.differences)])
    axes.set_yscale("symlog", linthresh=_LINEAR_TO)
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.grid(alpha=0.25)


def _bits(
    axes: "Axes", study: ClipStudy, where: tuple[str, int], variants: Sequence[Variant]
) -> None:
    for point in study.points:
        inter = (point.clip, point.quality) == where and not point.intra
        if inter and point.variant in {ANCHOR, *variants}:
            numbers = [frame.number for frame in point.frames]
            bits = [frame.total_bits for frame in point.frames]
            look = _look(point.variant, variants)
            axes.plot(numbers, bits, linewidth=1.3, label=point.variant.label, **look)
    axes.set_yscale("log")
    axes.grid(alpha=0.25)
    if axes.lines:
        axes.legend(
            frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=3
        )
