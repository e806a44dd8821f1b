"""Panels and results as PNG pictures: equal input gives equal bytes, no global state is touched."""

import math
import textwrap
from collections.abc import Collection
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from harness.report.captions import difference, distances, finding, psnr, title
from harness.report.matrix import MEANINGS, SYMBOLS, UNEXPECTED, Entry, Matrix, matrices
from harness.report.pictures import DPI, MUTED, RC, decibels, png, show_picture, show_residual
from harness.report.schema import Results
from harness.results import Panel
from harness.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["matrix_figure", "panel_figure"]

_WIDTH = 13.0
_MARK = "#00e5ff"
# Colour-blind safe (after Okabe and Ito, Tol); luminance falls as it gets worse.
_COLOURS = {
    Outcome.IDENTICAL: ("#cdebdd", "#0b4f3a"),
    Outcome.DIVERGED: ("#f0a63c", "#3d2600"),
    Outcome.UNDECODABLE: ("#882255", "#ffffff"),
}
_NOT_RUN = ("#eaeef2", "#57606a")
_CELL = 0.53  # inches


def panel_figure(panel: Panel, verdict: Verdict) -> bytes:
    """Original, encoder's and decoder's reconstruction, and where the two differ, as a PNG."""
    with mpl.rc_context(RC):
        return _panel_figure(panel, verdict)


def _panel_figure(panel: Panel, verdict: Verdict) -> bytes:
    steps = difference(panel).max(axis=2)
    rows, columns = steps.shape
    picture_width = (_WIDTH - 0.9) / 4 - 0.1
    picture_height = min(max(picture_width * rows / columns, 0.8), 6.0)
    lines = textwrap.wrap(f"{finding(panel, verdict)} {distances(panel)}", 168)
    height = 0.62 + picture_height + 0.27 + 0.23 * len(lines)
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
    bottom, share = (0.22 + 0.23 * len(lines)) / height, picture_height / height
    axes = [
        figure.add_axes(
            ((0.05 + i * (picture_width + 0.1)) / _WIDTH, bottom, picture_width / _WIDTH, share)
        )
        for i in range(4)
    ]
    case = panel.case
    encoder_db = decibels(psnr(panel.original, panel.encoder_picture))
    decoder_db = decibels(psnr(panel.original, panel.decoder_picture))
    show_picture(axes[0], panel.original, "original")
    show_picture(axes[1], panel.encoder_picture, f"encoder: {case.encoder}, {encoder_db}")
    show_picture(axes[2], panel.decoder_picture, f"decoder: {case.decoder}, {decoder_db}")
    show_residual(figure, axes[3], steps)
    for pictured in axes[1:]:
        _mark(pictured, panel)
    figure.text(
        0.05 / _WIDTH, 1 - 0.1 / height, title(panel, verdict), va="top", size=12.5, weight="bold"
    )
    caption = figure.text(0.05 / _WIDTH, 0.08 / height, "\n".join(lines), va="bottom", size=10)
    caption.set_linespacing(1.35)
    return png(figure)


def _mark(axes: "Axes", panel: Panel) -> None:
    """Frame the block whose latent diverged first and point at it from the picture's inner side."""
    if panel.first_at is None:
        return
    (row, column), side = panel.first_at, max(panel.block, 1)
    rows, columns = panel.original.shape[:2]
    outline = [withStroke(linewidth=3.5, foreground="black")]
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), side, side, fill=False, edgecolor=_MARK, linewidth=1.6,
            path_effects=outline,
        )
    )  # fmt: skip
    x, y = min(column + side / 2, columns - 1), min(row + side / 2, rows - 1)
    reach = 0.26 * min(rows, columns)
    right, down = x < columns / 2, y < rows / 2
    axes.annotate(
        "first difference",
        xy=(x + (side / 2 if right else -side / 2), y + (side / 2 if down else -side / 2)),
        xytext=(x + (reach if right else -reach), y + (reach if down else -reach)),
        color="white", size=8.5, ha="left" if right else "right", va="top" if down else "bottom",
        arrowprops={"arrowstyle": "->", "color": _MARK, "linewidth": 1.6, "path_effects": outline},
        path_effects=[withStroke(linewidth=2.5, foreground="black")],
    )  # fmt: skip


def matrix_figure(results: Results, precisions: Collection[str]) -> bytes:
    """The encoder x decoder matrices of `precisions` (of all, where it is empty), as one PNG."""
    chosen = [m for m in matrices(results) if not precisions or m.precision in precisions]
    with mpl.rc_context(RC):
        return png(_matrix_figure(chosen))


def _matrix_figure(chosen: list[Matrix]) -> Figure:
    if not chosen:
        figure = Figure(figsize=(6, 1), dpi=DPI, facecolor="white")
        figure.text(0.5, 0.5, "no cell of these precisions was run", ha="center", va="center")
        return figure
    left = 0.5 + 0.085 * max(len(name) for m in chosen for name in m.encoders)
    above = 0.55 + 0.052 * max(len(name) for m in chosen for name in m.decoders)
    most = max(len(m.decoders) for m in chosen)
    columns = min(len(chosen), 2)
    wide = max(left + (most + 1) * _CELL, 0.3 + 0.105 * max(len(m.title) for m in chosen))
    high = above + max(len(m.encoders) for m in chosen) * _CELL + 0.15
    legend = _legend(chosen)
    width = max(columns * wide, 6.0)
    height = math.ceil(len(chosen) / columns) * high + 0.19 * len(legend) + 0.2
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for number, matrix in enumerate(chosen):
        row, column = divmod(number, columns)
        across, down = len(matrix.decoders) * _CELL, len(matrix.encoders) * _CELL
        x, y = column * wide + left, height - row * high - above - down
        axes = figure.add_axes((x / width, y / height, across / width, down / height))
        _matrix(axes, matrix)
        at = ((column * wide + 0.12) / width, 1 - (row * high + 0.12) / height)
        figure.text(*at, matrix.title, va="top", size=11.5, weight="bold")
    figure.text(0.12 / width, 0.1 / height, "\n".join(legend), va="bottom", size=8.5, color=MUTED)
    return figure


def _matrix(axes: "Axes", matrix: Matrix) -> None:
    axes.set_xlim(0, len(matrix.decoders))
    axes.set_ylim(len(matrix.encoders), 0)
    for pair, entry in matrix.entries.items():
        _entry(axes, matrix.decoders.index(pair[1]), matrix.encoders.index(pair[0]), entry)
    ticks = np.arange(max(len(matrix.decoders), len(matrix.encoders))) + 0.5
    axes.set_xticks(ticks[: len(matrix.decoders)], matrix.decoders, rotation=35, ha="left")
    axes.set_yticks(ticks[: len(matrix.encoders)], matrix.encoders)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _entry(axes: "Axes", column: int, row: int, entry: Entry) -> None:
    fill, ink = _COLOURS.get(entry.worst, _NOT_RUN)
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor="white", linewidth=2))
    sign = SYMBOLS[entry.worst] + (UNEXPECTED if entry.unexpected else "")
    count = f"{entry.identical}/{entry.total}"
    centre = column + 0.5
    axes.text(centre, row + 0.4, sign, color=ink, size=13, ha="center", va="center")
    axes.text(centre, row + 0.78, count, color=ink, size=7.5, ha="center", va="center")


def _legend(chosen: list[Matrix]) -> list[str]:
    entries = [entry for matrix in chosen for entry in matrix.entries.values()]
    used = {entry.worst for entry in entries}
    lines = [f"{SYMBOLS[outcome]}  {MEANINGS[outcome]}" for outcome in Outcome if outcome in used]
    lines.append("Encode on row, decode on column; n/m: n of m cells identical, sign of the worst.")
    if any(entry.unexpected for entry in entries):
        lines.append(f"{UNEXPECTED} not as expected")
    return lines
