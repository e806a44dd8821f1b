"""Margins as one PNG: how close sigmas come to their thresholds, and predicted against measured flips."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.report.margin_report import CodecEntry, MarginResults, PairEntry
from harness.report.pictures import DPI, RC, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["margin_figure"]

# Colour-blind safe (Okabe and Ito); each codec has a marker and a dash of its own too.
_STYLES = (
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", (0, (5, 2))),
    ("#009e73", "^", (0, (1.2, 1.4))),
    ("#cc79a7", "D", (0, (5, 1.5, 1.2, 1.5))),
)
_MUTED = "#57606a"


def margin_figure(results: MarginResults) -> bytes:
    """Left: the distribution of distances, with each pair's mean round-off. Right: a point a pair that differs."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(12.5, 5.6), dpi=DPI, facecolor="white", layout="constrained")
        left, right = figure.subplots(1, 2)
        _distances(left, results)
        _flips(right, results["codecs"])
        note = (
            "Left: the share of sigmas that a change of at most x ULPs can move to another CDF index; on the line, the"
            " mean round-off of each platform pair. Right: flips per megapixel of every pair whose sigmas differ, with the"
            f" {results['confidence']:.0%} Poisson interval of what was measured; hollow and with an arrow: none was seen,"
            " drawn at the interval's upper end. Predictions never look at the flips."
        )
        figure.supxlabel("\n".join(textwrap.wrap(note, 165)), fontsize=9, color=_MUTED)
        return png(figure)


def _distances(axes: "Axes", results: MarginResults) -> None:
    for number, entry in enumerate(results["codecs"]):
        colour, marker, dash = _STYLES[number % len(_STYLES)]
        counts = [count for _, count in entry["within"]]
        drawn = entry["within"][: counts.index(entry["elements"]) + 1]
        seen = [(ulps, count / entry["elements"]) for ulps, count in drawn if count]
        axes.plot(
            [ulps for ulps, _ in seen], [share for _, share in seen],
            color=colour, linestyle=dash, linewidth=1.6, label=entry["codec"],
        )  # fmt: skip
        # Near a threshold sigmas lie evenly: their share is a straight line.
        moves = [pair["mean_roundoff"] for pair in entry["pairs"] if pair["mean_roundoff"]]
        each = entry["near"] / results["window"] / entry["elements"]
        axes.plot(
            moves, [each * move for move in moves], color=colour, marker=marker, linestyle="",
            markersize=6, markerfacecolor="none", markeredgewidth=1.3,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("distance to the nearest threshold (ULPs)")
    axes.set_ylabel("share of sigmas at most so far")
    axes.set_title("Distance to the next CDF index", loc="left", weight="bold", fontsize=12)
    _finish(axes)


def _flips(axes: "Axes", codecs: Sequence[CodecEntry]) -> None:
    values: list[float] = []
    for number, entry in enumerate(codecs):
        colour, marker, _ = _STYLES[number % len(_STYLES)]
        drawn = [pair for pair in entry["pairs"] if pair["predicted_per_megapixel"] > 0]
        for i, pair in enumerate(drawn):
            values += _point(axes, pair, colour, marker, entry["codec"] if i == 0 else "")
    low, high = (min(values), max(values)) if values else (0.1, 1.0)
    ends = [10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))]
    axes.plot(ends, ends, color=_MUTED, linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("predicted flips per megapixel")
    axes.set_ylabel("measured flips per megapixel")
    axes.set_title("Predicted against measured", loc="left", weight="bold", fontsize=12)
    if not values:
        axes.text(0.5, 0.5, "no pair of platforms differs", ha="center", transform=axes.transAxes)
    _finish(axes)


def _point(
    axes: "Axes", pair: PairEntry, colour: str, marker: str, label: str
) -> tuple[float, ...]:
    """Draw one pair; what it takes on the axes."""
    x, y = pair["predicted_per_megapixel"], pair["measured_per_megapixel"]
    low, high = pair["interval_per_megapixel"]
    style: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markersize": 6,
        "linewidth": 1.1,
        "capsize": 2,
    }
    if not pair["measured"]:
        axes.errorbar(
            [x], [high], yerr=[[high * 0.4], [0.0]], uplims=True, markerfacecolor="none",
            label=label or None, **style,
        )  # fmt: skip
        return x, high, high * 0.6
    axes.errorbar([x], [y], yerr=[[y - low], [high - y]], label=label or None, **style)
    return x, low, high


def _finish(axes: "Axes") -> None:
    axes.grid(visible=True, which="major", color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9, frameon=False, loc="upper left")
