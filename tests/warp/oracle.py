"""The warp by exact fractions, written from its definition pixel by pixel: nothing of harness.warp but its constants."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np

from harness.warp.specification import BLUR_TAPS, WarpSpecification

Rows = list[list[int]]
HALF = Fraction(1, 2)


def half_up(value: Fraction) -> int:
    return floor(value + HALF)


def inside(value: Fraction, highest: int) -> Fraction:
    return min(max(value, Fraction(0)), Fraction(highest))


def between(position: Fraction, count: int) -> list[tuple[int, Fraction]]:
    """The two pixels around a position in the picture, with their weights."""
    near = floor(position)
    return [(near, 1 - (position - near)), (min(near + 1, count - 1), position - near)]


def filtered(line: Sequence[int]) -> list[int]:
    """256 times the weighted means."""
    reach, last = len(BLUR_TAPS) // 2, len(line) - 1
    return [
        sum(tap * line[min(max(i + k - reach, 0), last)] for k, tap in enumerate(BLUR_TAPS))
        for i in range(len(line))
    ]


def turned(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def blur(rows: Rows) -> Rows:
    smooth = turned([filtered(column) for column in turned([filtered(row) for row in rows])])
    return [[half_up(Fraction(v, 256**2)) for v in row] for row in smooth]


def halve(rows: Rows) -> Rows:
    return [
        [
            half_up(Fraction(sum(rows[2 * i + a][2 * j + b] for a in (0, 1) for b in (0, 1)), 4))
            for j in range(len(rows[0]) // 2)
        ]
        for i in range(len(rows) // 2)
    ]


def enlarge(rows: Rows) -> Rows:
    """Pixel i of the enlarged line has its centre at (i + 1/2) / 2 - 1/2 of the line."""

    def around(i: int, count: int) -> list[tuple[int, Fraction]]:
        return between(inside((i + HALF) / 2 - HALF, count - 1), count)

    return [
        [
            half_up(
                sum(
                    wy * wx * rows[y][x]
                    for y, wy in around(i, len(rows))
                    for x, wx in around(j, len(rows[0]))
                )
            )
            for j in range(2 * len(rows[0]))
        ]
        for i in range(2 * len(rows))
    ]


def volume(picture: Rows) -> list[Rows]:
    x = blur(picture)
    levels = [picture, x]
    for halvings in range(1, 5):
        x = blur(halve(x))
        level = x
        for _ in range(halvings):
            level = enlarge(level)
        levels.append(level)
    return levels


def predict(
    specification: WarpSpecification, volumes: Sequence[list[Rows]], motion: np.ndarray
) -> np.ndarray:
    """int32 [1, 3, H, W] of the volumes of three channels and an int32 motion [1, 3, H, W]."""
    flow_one, scale_one = (
        2**bits for bits in (specification.flow_fraction_bits, specification.scale_fraction_bits)
    )
    height, width = motion.shape[2:]
    out = np.zeros(motion.shape, np.int32)
    for i in range(height):
        for j in range(width):
            flow_x, flow_y, scale = (
                min(max(int(v), -(2**15)), 2**15 - 1) for v in motion[0, :, i, j]
            )
            moved_x = Fraction(half_up(Fraction(flow_x, flow_one) * width / 2 * 32), 32)
            moved_y = Fraction(half_up(Fraction(flow_y, flow_one) * height / 2 * 32), 32)
            level = Fraction(half_up(Fraction(scale, scale_one) * 3 * 64) + 160, 64)
            corners = [
                (z, y, x, wz * wy * wx)
                for z, wz in between(inside(level, 5), 6)
                for y, wy in between(inside(i + moved_y, height - 1), height)
                for x, wx in between(inside(j + moved_x, width - 1), width)
            ]
            for channel, levels in enumerate(volumes):
                value = sum(weight * levels[z][y][x] for z, y, x, weight in corners)
                out[0, channel, i, j] = half_up(value)
    return out
