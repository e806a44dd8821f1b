"""Pictures on axes, side by side, and where two of them differ; the one way from a figure to a PNG."""

import io
import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Fixed here so that a user's matplotlibrc cannot change a report.
RC = {**mpl.rcParamsDefault, "font.family": ["DejaVu Sans"], "text.usetex": False}
DPI = 110
MUTED = "#57606a"
# Cells a side of a residual map: many pixels differ, or too few to be seen.
_FINE, _COARSE = 320, 64
_FEW = 0.02


def show_picture(axes: "Axes", picture: NDArray[np.uint8], name: str) -> None:
    shown = picture if picture.shape[2] != 1 else np.repeat(picture, 3, axis=2)
    axes.imshow(shown, interpolation="antialiased", aspect="auto")
    _frame(axes, name)


def _frame(axes: "Axes", name: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d0d7de")
    axes.set_title(name, size=9.5, color=MUTED, pad=5)


def show_residual(figure: Figure, axes: "Axes", steps: NDArray[np.int16]) -> None:
    """|encoder - decoder| as a heat map with its own range; no wrong pixel is averaged away."""
    rows, columns = steps.shape
    worst = int(steps.max())
    gain = residual_gain(steps)
    top = 255 / gain
    few = np.count_nonzero(steps) < _FEW * steps.size
    block = math.ceil(max(steps.shape) / (_COARSE if worst and few else _FINE))
    axes.imshow(
        block_maxima(steps, block), cmap="inferno", vmin=0, vmax=top, aspect="auto",
        interpolation="nearest", extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )  # fmt: skip
    name = "|encoder - decoder|" + (f", shown x{gain}" if gain > 1 else "")
    _frame(axes, f"{name} ({block}x{block} maxima)" if block > 1 else name)
    if not worst:
        axes.text(0.5, 0.5, "identical", color="white", size=14, ha="center", va="center",
                  transform=axes.transAxes)  # fmt: skip
    box, width = axes.get_position(), figure.get_figwidth()
    bar_axes = figure.add_axes((box.x1 + 0.08 / width, box.y0, 0.12 / width, box.height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, top), "inferno"), cax=bar_axes)
    bar.set_ticks([tick for tick in _ticks(top) if tick <= top])
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("8-bit steps", size=8, color=MUTED, labelpad=2)


def residual_gain(steps: NDArray[np.int16] | NDArray[np.uint8]) -> int:
    """What a residual is multiplied by to be seen: the most that keeps its largest step within 255, 1 if all is zero."""
    worst = int(steps.max())
    return 255 // worst if worst else 1


def _ticks(top: float) -> list[int]:
    stride = max(1, 2 ** math.ceil(math.log2(top / 8))) if top > 8 else 1  # noqa: PLR2004
    return list(range(0, int(top) + 1, stride))


def block_maxima(steps: NDArray[np.int16], block: int) -> NDArray[np.int16]:
    """The largest value of each block of `block` x `block`; the last ones may be cut."""
    rows, columns = (math.ceil(side / block) for side in steps.shape)
    padded = np.zeros((rows * block, columns * block), np.int16)
    padded[: steps.shape[0], : steps.shape[1]] = steps
    maxima: NDArray[np.int16] = padded.reshape(rows, block, columns, block).max(axis=(1, 3))
    return maxima


def decibels(value: float) -> str:
    return "identical" if value == math.inf else f"{value:.1f} dB"


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
