"""Platforms by precision and lowering as one PNG; letters say what shades do, so it reads in black and white."""

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.report.pictures import DPI, RC, png
from harness.report.platforms_markdown import WORDS, letter
from harness.report.platforms_table import Column, Row, columns, rows
from harness.report.schema import Results

__all__ = ["platforms_figure"]

# Luminance falls as it gets worse; what did not run is white.
_FILLS = {
    "I": ("#cdebdd", "#0b4f3a"),
    "D": ("#f0a63c", "#3d2600"),
    "X": ("#882255", "#ffffff"),
    "C": ("#24292f", "#ffffff"),
    "T": ("#24292f", "#ffffff"),
}
_NOT_RUN = ("#ffffff", "#57606a")
_MUTED = "#57606a"
_WIDE, _HIGH = 0.56, 0.235  # inches a cell
_LEFT, _RIGHT, _ABOVE = 2.1, 0.95, 1.35


def platforms_figure(results: Results) -> bytes:
    """A row a platform, a column a precision and lowering."""
    with mpl.rc_context(RC):
        return png(_figure(rows(results), columns(results)))


def _figure(shown: list[Row], chosen: list[Column]) -> Figure:
    used = {letter(row, column) for row in shown for column in chosen}
    legend = [f"{sign}  {WORDS[sign]}" for sign in WORDS if sign in {s[0] for s in used}]
    if any(sign.endswith("*") for sign in used):
        legend.append(
            "*  known beforehand: by the linter's table of deviations, or a planted mistake"
        )
    width = max(_LEFT + len(chosen) * _WIDE + _RIGHT, 7.0)
    height = _ABOVE + len(shown) * _HIGH + 0.2 + 0.19 * len(legend)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    box = (
        _LEFT / width, 1 - (_ABOVE + len(shown) * _HIGH) / height,
        max(len(chosen), 1) * _WIDE / width, max(len(shown), 1) * _HIGH / height,
    )  # fmt: skip
    axes = figure.add_axes(box)
    axes.set_xlim(0, max(len(chosen), 1))
    axes.set_ylim(max(len(shown), 1), 0)
    for down, row in enumerate(shown):
        for across, column in enumerate(chosen):
            sign = letter(row, column)
            fill, ink = _FILLS.get(sign[0], _NOT_RUN)
            axes.add_patch(
                Rectangle((across, down), 1, 1, facecolor=fill, edgecolor="#d0d7de", linewidth=0.8)
            )
            axes.text(across + 0.5, down + 0.52, sign, color=ink, size=9, ha="center", va="center")
    axes.set_yticks([n + 0.5 for n in range(len(shown))], [row.platform for row in shown])
    names = [
        column.precision if column.is_control else f"{column.precision} {column.lowering}"
        for column in chosen
    ]
    axes.set_xticks([n + 0.5 for n in range(len(chosen))], names, rotation=40, ha="left")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(0.1 / width, 0.08 / height, "\n".join(legend), va="bottom", size=8.5, color=_MUTED)
    return figure
