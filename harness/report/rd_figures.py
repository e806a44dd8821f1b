"""A rate-distortion study as PNG pictures: the curves with what they cost below them, and every BD-rate as a bar."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from harness.bd_rate import common_qualities, rate_differences
from harness.rd import ANCHOR, DEFAULT_SCOPE, OWN_CALIBRATOR, Point, Study, Variant
from harness.rd_study import psnr_curve
from harness.report.figures import DPI, RC, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["bar_figure", "curve_figure", "curve_figures"]

# Colour-blind safe (Okabe and Ito); the curves lie on one another, so every variant has a marker and a dash of its own
# too, and the markers are hollow and shrink from one to the next: none hides another.
_Style = tuple[str, str | tuple[float, tuple[float, ...]], str, float]
_ANCHOR_STYLE: _Style = ("#000000", "-", ".", 5.0)
_STYLES: tuple[_Style, ...] = (
    ("#d55e00", (0, (1.2, 1.4)), "s", 12.0),
    ("#0072b2", (0, (5, 2)), "D", 8.5),
    ("#009e73", (0, (5, 1.5, 1.2, 1.5)), "^", 7.0),
    ("#cc79a7", (0, (2.5, 1.2)), "o", 5.5),
    ("#e69f00", (0, (7, 2, 1, 2, 1, 2)), "v", 9.5),
    ("#56b4e9", (0, (3, 3)), "P", 10.5),
)
_JPEG_COLOUR = "#8c959f"
_MUTED = "#57606a"
# The precisions that are always compared look the same in every study; others take what is left.
_USUAL = ("w4a4", "w8a8", "w12a12", "w16a16")
# Percentages: linear up to this, logarithmic beyond, so that 0.02 % and 250 % can be read off one axis.
_LINEAR_TO = 0.1
_DECADES = [sign * 10.0**power for power in range(-1, 6) for sign in (-1, 1)]
_SAMPLES = 161


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
    count = len(study.rows[0].point.samples)
    with mpl.rc_context(RC):
        figure = Figure(
            figsize=(0.6 + 5.6 * len(families), 7.6), dpi=DPI, facecolor="white", layout="constrained"
        )  # fmt: skip
        grid = figure.subplots(
            2, len(families), sharex="col", sharey="row", squeeze=False, height_ratios=(1.35, 1)
        )
        for number, family in enumerate(families):
            above, below = grid[:, number]
            _curves(above, study, family, variants)
            _differences(below, study, family, variants)
            above.set_title(family, fontsize=12, weight="bold", loc="left")
            below.set_xlabel("bits per pixel (payload)", fontsize=10)
        _limits(grid[0], grid[1], study, variants)
        grid[0][0].set_ylabel("PSNR of 8-bit RGB (dB)", fontsize=10)
        grid[1][0].set_ylabel("rate beyond FP32's at equal PSNR (%)", fontsize=10)
        note = (
            f"Means over {count} image{'s' * (count != 1)}; in brackets the BD-rate against FP32. "
            f"Below: at FP32's bits per pixel; linear within ±{_LINEAR_TO:g} %, logarithmic beyond."
        )
        lines = textwrap.wrap(note, 92 * len(families))
        figure.supxlabel("\n".join(lines), fontsize=9, color=_MUTED)
        return png(figure)


def _curves(axes: "Axes", study: Study, family: str, variants: Sequence[Variant]) -> None:
    axes.plot(
        [p.bpp for p in study.jpeg], [p.psnr for p in study.jpeg], color=_JPEG_COLOUR, linewidth=1.4,
        label="JPEG (Pillow, 4:2:0)", zorder=1,
    )  # fmt: skip
    for variant in (ANCHOR, *variants):
        curve = _points(study, family, variant)
        colour, dash, marker, size = _style(study, variant)
        axes.plot(
            [p.bpp for p in curve], [p.psnr for p in curve], color=colour, linestyle=dash,
            marker=marker, markersize=size, markerfacecolor="none", markeredgewidth=1.4,
            linewidth=1.5, label=_legend(study, family, variant),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="lower right", handlelength=3.4, labelspacing=0.65)


def _differences(axes: "Axes", study: Study, family: str, variants: Sequence[Variant]) -> None:
    """Lines between the lowest and the highest common PSNR, a marker at each rate point of the variant."""
    axes.axhline(0, color=_ANCHOR_STYLE[0], linewidth=1.2, zorder=1)
    anchor = psnr_curve(_points(study, family, ANCHOR))
    for variant in variants:
        test = psnr_curve(_points(study, family, variant))
        method = next((r.method for r in study.bd_rates if r.variant == variant), None)
        if method is None or not anchor or not test:
            continue
        colour, dash, marker, size = _style(study, variant)
        between = [float(q) for q in np.linspace(*common_qualities(anchor, test), _SAMPLES)]
        for qualities, look in (
            (between, {"linestyle": dash, "linewidth": 1.5}),
            ([q for _, q in test], {"linestyle": "", "marker": marker, "markersize": size}),
        ):
            found = rate_differences(anchor, test, method, qualities)
            axes.plot(
                [rate for rate, _ in found], [percent for _, percent in found], color=colour,
                markerfacecolor="none", markeredgewidth=1.4, **look,
            )  # fmt: skip
    axes.grid(alpha=0.25)


def _limits(
    above: "Iterable[Axes]", below: "Sequence[Axes]", study: Study, variants: Sequence[Variant]
) -> None:
    points = [row.point for row in study.rows if row.point.variant in {ANCHOR, *variants}]
    rates, decibels = [p.bpp for p in points], [p.psnr for p in points]
    low, high = min(rates) * 0.85, max(rates) * 1.18
    shown = [p.psnr for p in study.jpeg if low <= p.bpp <= high]
    for axes in above:
        axes.set_xlim(low, high)
        axes.set_ylim(min([*decibels, *shown]) - 0.7, max([*decibels, *shown]) + 0.7)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
    drawn = [y for axes in below for line in axes.lines for y in np.ravel(line.get_ydata())]
    below[0].set_yscale("symlog", linthresh=_LINEAR_TO)
    below[0].set_ylim(_limits_of(drawn, 1.8))
    _percent_ticks(below[0].yaxis)


def _limits_of(values: Sequence[float], room: float) -> tuple[float, float]:
    """`room` times what `values` reach, and at least the middle of the linear part."""
    middle = _LINEAR_TO / 2
    return room * min([-middle, *values]), room * max([middle, *values])


def _percent_ticks(axis: "Axis") -> None:
    """A tick a decade; on the linear part, a mark a tenth of it."""
    axis.set_major_locator(FixedLocator([0.0, *_DECADES]))
    linear = [k * 0.1 * _LINEAR_TO for k in range(-9, 10)]
    axis.set_minor_locator(FixedLocator(linear + [k * d for d in _DECADES for k in range(2, 10)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))


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
        panels[0].set_xscale("symlog", linthresh=_LINEAR_TO)
        panels[0].set_xlim(_limits_of(numbers, 16))  # the numbers stand beyond the bars
        _percent_ticks(panels[0].xaxis)
        panels[0].set_yticks(range(len(variants)), [variant.label for variant in variants])
        panels[0].set_ylim(len(variants) - 0.4, -0.6)
        return png(figure)


def _bars(axes: "Axes", study: Study, family: str, variants: Sequence[Variant]) -> None:
    for rate in (rate for rate in study.bd_rates if rate.family == family):
        at, percent = variants.index(rate.variant), rate.percent
        colour, *_ = _style(study, rate.variant)
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
    axes.axvline(0, color=_ANCHOR_STYLE[0], linewidth=1.2)
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def percent_text(percent: float) -> str:
    """Three digits that count, but no more than three after the point.

    >>> [percent_text(p) for p in (0.0212, 5.71, 254.03, -0.0271)]
    ['+0.021 %', '+5.71 %', '+254 %', '-0.027 %']
    """
    digits = 3 if abs(percent) < 1 else 2 if abs(percent) < 10 else 1 if abs(percent) < 100 else 0  # noqa: PLR2004
    return f"{percent:+.{digits}f} %"


def _points(study: Study, family: str, variant: Variant) -> list[Point]:
    points = [row.point for row in study.rows]
    return [p for p in points if (p.family, p.variant) == (family, variant)]


def _style(study: Study, variant: Variant) -> _Style:
    """One look a precision, in every figure."""
    if variant == ANCHOR:
        return _ANCHOR_STYLE
    others = [v.precision for row in study.rows if (v := row.point.variant) != ANCHOR]
    precisions = list(dict.fromkeys([*_USUAL, *others]))
    turn, number = divmod(precisions.index(variant.precision), len(_STYLES))
    _, dash, marker, size = _STYLES[(number + turn) % len(_STYLES)]  # a second round has others
    return _STYLES[number][0], dash, marker, size


def _legend(study: Study, family: str, variant: Variant) -> str:
    if variant == ANCHOR:
        return variant.label
    rate = next((r for r in study.bd_rates if (r.family, r.variant) == (family, variant)), None)
    if rate is None or rate.percent is None:
        return variant.label
    return f"{variant.label} ({percent_text(rate.percent)})"
