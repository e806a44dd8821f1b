"""Chroma resampling in integers, by where the samples lie. Knows sample grids, no colour.

Interpolation is linear between the nearest samples at their true positions, averaging is its
mirror image; both repeat samples at the border and keep the unrounded value, in units of 1/16.
The positions are those of H.273 (ChromaLocType): `left` is MPEG-2's (beside every other column,
between two rows), `center` is JPEG's and MPEG-1's, `top-left` is that of BT.2020 and DV.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Chroma = Literal["420", "422", "444"]
Siting = Literal["left", "center", "top-left"]
U16 = NDArray[np.uint16]

UNITS = 16  # four of each axis
TWO, THREE, FOUR = np.uint16(2), np.uint16(3), np.uint16(4)
STEPS: dict[Chroma, tuple[int, int]] = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}
# Whether a chroma sample lies on every other row (column), or midway between two.
ON_ROWS_COLUMNS: dict[Siting, tuple[bool, bool]] = {
    "left": (False, True),
    "center": (False, False),
    "top-left": (True, True),
}


class Grid(Protocol):
    @property
    def chroma(self) -> Chroma: ...
    @property
    def siting(self) -> Siting: ...


def upsampled(plane: U16, height: int, width: int, grid: Grid) -> U16:
    """Chroma at every luma sample, [height, width], times `UNITS`: 10-bit samples fit 16 bits.

    Midway between two rows, a row is 3/4 of the nearer and 1/4 of the farther sample; on a row,
    it is the sample itself, and between two of them their mean. Columns likewise.
    """
    for axis in (1, 0):  # either order gives the same; this one has half the work
        if STEPS[grid.chroma][axis] == 1:
            plane = plane * FOUR
            continue
        before, after = _neighbours(plane, axis)
        if ON_ROWS_COLUMNS[grid.siting][axis]:
            plane = _interleaved(plane * FOUR, (plane + after) * TWO, axis)
        else:
            plane = _interleaved(before + plane * THREE, plane * THREE + after, axis)
    return plane[:height, :width]


def downsampled(plane: NDArray[np.uint8], grid: Grid) -> U16:
    """Samples at the positions of chroma, times `UNITS`.

    Midway between two rows, it is the mean of both; on a row, (1, 2, 1)/4 of it and its
    neighbours. Columns likewise.
    """
    sums = plane.astype(np.uint16)
    for axis in (0, 1):
        if STEPS[grid.chroma][axis] == 1:
            sums = sums * FOUR
            continue
        before, after = _neighbours(sums, axis)
        if ON_ROWS_COLUMNS[grid.siting][axis]:
            sums = before + sums * TWO + after
        else:
            sums = (sums + after) * TWO
        sums = sums[::2] if axis == 0 else sums[:, ::2]
    return sums


def _neighbours(plane: U16, axis: int) -> tuple[U16, U16]:
    """The plane moved by one either way; the border repeats itself."""
    padded = np.pad(plane, ((1, 1), (0, 0)) if axis == 0 else ((0, 0), (1, 1)), mode="edge")
    return (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])


def _interleaved(even: U16, odd: U16, axis: int) -> U16:
    shape = list(even.shape)
    shape[axis] *= 2
    both = np.empty(shape, np.uint16)
    parts = (both[::2], both[1::2]) if axis == 0 else (both[:, ::2], both[:, 1::2])
    parts[0][...], parts[1][...] = even, odd
    return both
