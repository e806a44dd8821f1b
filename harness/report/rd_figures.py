"""A rate-distortion study as PNG pictures: the curves with what they cost below them, and every BD-rate as a bar."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.rd import ANCHOR, DEFAULT_SCOPE, OWN_CALIBRATOR, Study, Variant
from harness.rd_study import psnr_curve
from harness.report.curves import (
    ANCHOR_STYLE,
    LINEAR_TO,
    Panel,
    draw_curves,
    draw_differences,
    limit_curves,
    limit_differences,
    percent_limits,
    percent_text,
    percent_ticks,
    style,
)
from harness.report.pictures import DPI, MUTED, RC, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bar_figure", "curve_figure", "curve_figures"]


def curve_figures(study: Study) -> dict[str, bytes]:
    """A figure of curves for each scope and calibrator, by file name: `rd.png` is that of the defaults."""
    groups: dict[tuple[str, str], list[Variant]] = {}
    for row in study.rows:
        variant = row.point.variant
        if variant != ANCHOR and variant not in groups.setdefault(_group(variant), []):
            groups[_group(variant)].append(variant)
    return {
        "-".join(["rd", *_unusual(*group)]) + ".png": curve_figure(study, variants)
        for group, variants in (groups or {(DEFAULT_SCOPE, OWN_CALIBRATOR): []}).items()
    }


def _group(variant: Variant) -> tuple[str, str]:
    return variant.scope, variant.calibrator


def _unusual(scope: str, calibrator: str) -> list[str]:
    """The parts that differ from the default, for names."""
    return [
        part
        for part, usual in ((scope, DEFAULT_SCOPE), (calibrator, OWN_CALIBRATOR))
        if part != usual
    ]


def curve_figure(study: Study, variants: Sequence[Variant]) -> bytes:
    """A column a family: RD curves, and below them the rate that `variants` take beyond the anchor's at equal PSNR."""
    families = list(dict.fromkeys(row.point.family for row in study.rows))
    panels = [_panel(study, family, variants) for family in families]
    every = _every(study)
    count = len(study.rows[0].point.samples)
    with mpl.rc_context(RC):
        figure = Figure(
            figsize=(0.6 + 5.6 * len(families), 7.6), dpi=DPI, facecolor="white", layout="constrained"
        )  # fmt: skip
        grid = figure.subplots(
            2, len(families), sharex="col", sharey="row", squeeze=False, height_ratios=(1.35, 1)
        )
        for number, panel in enumerate(panels):
            above, below = grid[:, number]
            draw_curves(above, panel, every)
            draw_differences(below, panel, every)
            above.set_title(panel.title, fontsize=12, weight="bold", loc="left")
            below.set_xlabel("bits per pixel (payload)", fontsize=10)
        for above in grid[0]:
            limit_curves(above, panels)
        limit_differences(grid[1])
        grid[0][0].set_ylabel("PSNR of 8-bit RGB (dB)", fontsize=10)
        grid[1][0].set_ylabel("rate beyond FP32's at equal PSNR (%)", fontsize=10)
        note = (
            f"Means over {count} image{'s' * (count != 1)}; in brackets the BD-rate against FP32. "
            f"Below: at FP32's bits per pixel; linear within ±{LINEAR_TO:g} %, logarithmic beyond."
        )
        lines = textwrap.wrap(note, 92 * len(families))
        figure.supxlabel("\n".join(lines), fontsize=9, color=MUTED)
        return png(figure)


def _panel(study: Study, family: str, variants: Sequence[Variant]) -> Panel:
    points = [row.point for row in study.rows if row.point.family == family]
    rates = [rate for rate in study.bd_rates if rate.family == family]
    return Panel(
        title=family,
        curves={v: psnr_curve([p for p in points if p.variant == v]) for v in (ANCHOR, *variants)},
        percents={rate.variant: rate.percent for rate in rates},
        method=next((rate.method for rate in rates), None),
        backdrop=("JPEG (Pillow, 4:2:0)", [(p.bpp, p.psnr) for p in study.jpeg]),
    )


def _every(study: Study) -> list[Variant]:
    return [row.point.variant for row in study.rows]


def bar_figure(study: Study) -> bytes:
    """Every BD-rate of the study: a panel a family, a bar a variant, its number beside it."""
    families = list(dict.fromkeys(rate.family for rate in study.bd_rates))
    variants = list(dict.fromkeys(rate.variant for rate in study.bd_rates))
    with mpl.rc_context(RC):
        figure = Figure(
            figsize=(1.9 + 4.9 * max(len(families), 1), 1.5 + 0.34 * max(len(variants), 1)),
            dpi=DPI, facecolor="white", layout="constrained",
        )  # fmt: skip
        if not families:
            figure.text(0.5, 0.5, "no BD-rate: nothing beside fp32", ha="center", va="center")
            return png(figure)
        panels = figure.subplots(1, len(families), sharey=True, sharex=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=True):
            _bars(axes, study, family, variants)
            axes.set_title(family, fontsize=12, weight="bold", loc="left")
            axes.set_xlabel("BD-rate against FP32 (%)", fontsize=10)
        numbers = [r.percent for r in study.bd_rates if r.percent is not None]
        panels[0].set_xscale("symlog", linthresh=LINEAR_TO)
        panels[0].set_xlim(percent_limits(numbers, 16))  # the numbers stand beyond the bars
        percent_ticks(panels[0].xaxis)
        panels[0].set_yticks(range(len(variants)), [variant.label for variant in variants])
        panels[0].set_ylim(len(variants) - 0.4, -0.6)
        return png(figure)


def _bars(axes: "Axes", study: Study, family: str, variants: Sequence[Variant]) -> None:
    for rate in (rate for rate in study.bd_rates if rate.family == family):
        at, percent = variants.index(rate.variant), rate.percent
        colour, *_ = style(rate.variant, _every(study))
        axes.barh(
            at, percent or 0, height=0.62, color=colour,
            hatch="///" if rate.variant.scope != DEFAULT_SCOPE else "", edgecolor="white",
        )  # fmt: skip
        left = percent is not None and percent < 0
        axes.annotate(
            "none" if percent is None else percent_text(percent), (percent or 0, at),
            xytext=(-4 if left else 4, 0), textcoords="offset points", va="center",
            ha="right" if left else "left", fontsize=9,
        )  # fmt: skip
    axes.axvline(0, color=ANCHOR_STYLE[0], linewidth=1.2)
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
