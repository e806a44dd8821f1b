"""A figure of panels side by side, each a stack of axes; more panels than columns begin another row."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from harness.report.pictures import DPI, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
WIDE = 5.2  # inches a column
_CHARACTERS = 84  # of a note, a column


def panel_grid(
    count: int, heights: Sequence[float], note: str
) -> "tuple[Figure, list[list[Axes]]]":
    """The figure, and of each of `count` panels its axes from above, `heights` inches high; `note` stands below all."""
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    lines = textwrap.wrap(note, _CHARACTERS * columns)
    figure = Figure(
        figsize=(0.5 + WIDE * columns, rows * sum(heights) + 0.2 * len(lines) + 0.3),
        dpi=DPI, facecolor="white", layout="constrained",
    )  # fmt: skip
    cells = figure.subplots(
        rows * len(heights), columns, squeeze=False, height_ratios=list(heights) * rows
    )
    panels = []
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        stack = list(cells[row * len(heights) : (row + 1) * len(heights), column])
        if number < count:
            panels.append(stack)
        else:
            for axes in stack:
                axes.remove()
    figure.supxlabel("\n".join(lines), fontsize=9, color=MUTED)
    return figure, panels


def is_leftmost(number: int) -> bool:
    """Whether a panel is in the first column, where the axes are named."""
    return number % COLUMNS == 0
