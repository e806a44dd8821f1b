"""Axes of rate-distortion curves that lie on one another, and of the rate one takes beyond another; knows no study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from harness.bd_rate import Curve, common_qualities, rate_differences
from harness.rd import ANCHOR, Variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Colour-blind safe (Okabe and Ito); the curves lie on one another, so every variant has a marker and a dash of its own
# too, and the markers are hollow and shrink from one to the next: none hides another.
Style = tuple[str, str | tuple[float, tuple[float, ...]], str, float]
ANCHOR_STYLE: Style = ("#000000", "-", ".", 5.0)
_STYLES: tuple[Style, ...] = (
    ("#d55e00", (0, (1.2, 1.4)), "s", 12.0),
    ("#0072b2", (0, (5, 2)), "D", 8.5),
    ("#009e73", (0, (5, 1.5, 1.2, 1.5)), "^", 7.0),
    ("#cc79a7", (0, (2.5, 1.2)), "o", 5.5),
    ("#e69f00", (0, (7, 2, 1, 2, 1, 2)), "v", 9.5),
    ("#56b4e9", (0, (3, 3)), "P", 10.5),
)
_BACKDROP_COLOUR = "#8c959f"
# The precisions that are always compared look the same in every study; others take what is left.
_USUAL = ("w4a4", "w8a8", "w12a12", "w16a16")
# Percentages: linear up to this, logarithmic beyond, so that 0.02 % and 250 % can be read off one axis.
LINEAR_TO = 0.1
_DECADES = [sign * 10.0**power for power in range(-1, 6) for sign in (-1, 1)]
_SAMPLES = 161


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What one pair of axes shows: a curve a variant, the anchor's first.

    `percents`: the BD-rates that the legend names. `method`: how rates are interpolated, None where nothing is compared.
    `backdrop`: a curve to see the others against, with its name; it bounds the axes only where `wide` is set.
    """

    title: str
    curves: Mapping[Variant, Curve]
    percents: Mapping[Variant, float | None] = field(default_factory=dict)
    method: str | None = None
    backdrop: tuple[str, Curve] = ("", ())
    wide: bool = False


def style(variant: Variant, every: Iterable[Variant]) -> Style:
    """One look a precision, in every figure of a study with the variants `every`."""
    if variant == ANCHOR:
        return ANCHOR_STYLE
    others = [each.precision for each in every if each != ANCHOR]
    precisions = list(dict.fromkeys([*_USUAL, *others]))
    turn, number = divmod(precisions.index(variant.precision), len(_STYLES))
    _, dash, marker, size = _STYLES[(number + turn) % len(_STYLES)]  # a second round has others
    return _STYLES[number][0], dash, marker, size


def draw_curves(axes: "Axes", panel: Panel, every: Sequence[Variant]) -> None:
    """Quality over rate, on a logarithmic axis, with a legend."""
    name, points = panel.backdrop
    if points:
        axes.plot(
            [rate for rate, _ in points], [quality for _, quality in points], color=_BACKDROP_COLOUR,
            linewidth=1.4, label=name, zorder=1,
        )  # fmt: skip
    for variant, curve in panel.curves.items():
        colour, dash, marker, size = style(variant, every)
        axes.plot(
            [rate for rate, _ in curve], [quality for _, quality in curve], color=colour,
            linestyle=dash, marker=marker, markersize=size, markerfacecolor="none",
            markeredgewidth=1.4, linewidth=1.5, label=_legend(panel, variant),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="lower right", handlelength=3.4, labelspacing=0.65)


def _legend(panel: Panel, variant: Variant) -> str:
    percent = panel.percents.get(variant)
    return variant.label if percent is None else f"{variant.label} ({percent_text(percent)})"


def draw_differences(axes: "Axes", panel: Panel, every: Sequence[Variant]) -> None:
    """Lines between the lowest and the highest common quality, a marker at each rate point of the variant."""
    axes.axhline(0, color=ANCHOR_STYLE[0], linewidth=1.2, zorder=1)
    anchor = panel.curves.get(ANCHOR, ())
    for variant, test in panel.curves.items():
        if variant == ANCHOR or panel.method is None or not anchor or not test:
            continue
        colour, dash, marker, size = style(variant, every)
        between = [float(q) for q in np.linspace(*common_qualities(anchor, test), _SAMPLES)]
        for qualities, look in (
            (between, {"linestyle": dash, "linewidth": 1.5}),
            ([q for _, q in test], {"linestyle": "", "marker": marker, "markersize": size}),
        ):
            found = rate_differences(anchor, test, panel.method, qualities)
            axes.plot(
                [rate for rate, _ in found], [percent for _, percent in found], color=colour,
                markerfacecolor="none", markeredgewidth=1.4, **look,
            )  # fmt: skip
    axes.grid(alpha=0.25)


def limit_curves(axes: "Axes", panels: Sequence[Panel]) -> None:
    """Room for every curve of `panels`, which share these limits, and for as much of a backdrop as is beside them."""
    points = [point for panel in panels for curve in panel.curves.values() for point in curve]
    points += [point for panel in panels if panel.wide for point in panel.backdrop[1]]
    low, high = min(rate for rate, _ in points) * 0.85, max(rate for rate, _ in points) * 1.18
    shown = [q for panel in panels for rate, q in panel.backdrop[1] if low <= rate <= high]
    decibels = [*(quality for _, quality in points), *shown]
    axes.set_xlim(low, high)
    axes.set_ylim(min(decibels) - 0.7, max(decibels) + 0.7)
    rate_ticks(axes.xaxis)


def rate_ticks(axis: "Axis") -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def limit_differences(shared: "Sequence[Axes]") -> None:
    """One axis of percent, fit for 0.02 and for 250, for axes that share it."""
    drawn = [y for axes in shared for line in axes.lines for y in np.ravel(line.get_ydata())]
    shared[0].set_yscale("symlog", linthresh=LINEAR_TO)
    shared[0].set_ylim(percent_limits(drawn, 1.8))
    percent_ticks(shared[0].yaxis)


def percent_limits(values: Sequence[float], room: float) -> tuple[float, float]:
    """`room` times what `values` reach, and at least the middle of the linear part."""
    middle = LINEAR_TO / 2
    return room * min([-middle, *values]), room * max([middle, *values])


def percent_ticks(axis: "Axis") -> None:
    """A tick a decade; on the linear part, a mark a tenth of it."""
    axis.set_major_locator(FixedLocator([0.0, *_DECADES]))
    linear = [k * 0.1 * LINEAR_TO for k in range(-9, 10)]
    axis.set_minor_locator(FixedLocator(linear + [k * d for d in _DECADES for k in range(2, 10)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))


def percent_text(percent: float) -> str:
    """Three digits that count, but no more than three after the point.

    >>> [percent_text(p) for p in (0.0212, 5.71, 254.03, -0.0271)]
    ['+0.021 %', '+5.71 %', '+254 %', '-0.027 %']
    """
    digits = 3 if abs(percent) < 1 else 2 if abs(percent) < 10 else 1 if abs(percent) < 100 else 0  # noqa: PLR2004
    return f"{percent:+.{digits}f} %"
