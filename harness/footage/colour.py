"""Colour conversion in integers: Y'CbCr planes to 8-bit RGB and back, the same bits everywhere.

Both directions are the real-valued formulas of Rec. ITU-T H.273 (8.3, matrix coefficients and
VideoFullRangeFlag) with the constants of BT.601 and BT.709, computed exactly and rounded *once*,
half up. With d bits a sample:

    limited range:  Y = 2^(d-8) (219 E'Y + 16)     C = 2^(d-8) (224 E'C + 128)
    full range:     Y = (2^d - 1) E'Y              C = (2^d - 1) E'C + 2^(d-1)
    R' = E'Y + 2 (1 - Kr) E'Cr    B' = E'Y + 2 (1 - Kb) E'Cb    G' = (E'Y - Kr R' - Kb B') / Kg

with Kg = 1 - Kr - Kb. An RGB sample is clip(floor(255 x + 1/2), 0, 255), so that 10-bit samples
too become 8-bit RGB in one rounding, and where chroma was interpolated, from the unrounded value.
A formula is one exact integer linear form over a common divisor; there is no table, no float.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.footage.chroma import STEPS, UNITS, Chroma, Siting, downsampled, upsampled
from harness.images import Pixels

Matrix = Literal["bt601", "bt709"]
Plane = NDArray[np.uint16]  # [rows, columns], samples of 8 or 10 bits
Planes = tuple[Plane, Plane, Plane]  # Y, Cb, Cr
I64 = NDArray[np.int64]

KR_KB: dict[Matrix, tuple[Fraction, Fraction]] = {
    "bt601": (Fraction("0.299"), Fraction("0.114")),
    "bt709": (Fraction("0.2126"), Fraction("0.0722")),
}
WORDS = {8: "u1", 10: "<u2"}  # the depths there are
HALF = Fraction(1, 2)
ROWS = 16  # of a strip: its int64 intermediates stay in the cache


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What the samples of Y'CbCr planes mean."""

    matrix: Matrix
    full_range: bool
    depth: int  # 8 or 10 bits a sample
    chroma: Chroma
    siting: Siting

    @property
    def word(self) -> str:
        """The dtype of a sample in a file: a byte, or two with the lower one first."""
        return WORDS[self.depth]

    @property
    def luma(self) -> tuple[int, int]:
        """The sample of black, and how many steps white is above it."""
        if self.full_range:
            return 0, 2**self.depth - 1
        return 16 * 2 ** (self.depth - 8), 219 * 2 ** (self.depth - 8)

    @property
    def difference(self) -> tuple[int, int]:
        """The sample of no colour, and how many steps span -1/2 to 1/2."""
        span = 2**self.depth - 1 if self.full_range else 224 * 2 ** (self.depth - 8)
        return 2 ** (self.depth - 1), span


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """Half-up rounding of a real linear form in integers: (weights . samples + offset) // divisor.

    >>> Rounded.of([Fraction(1, 2)], Fraction(0))(np.array([-3, -1, 1, 2, 3])).tolist()
    [-1, 0, 1, 1, 2]
    """

    weights: tuple[int, ...]
    offset: int
    divisor: int

    @classmethod
    def of(cls, weights: Sequence[Fraction], constant: Fraction) -> "Rounded":
        terms = [*weights, constant + HALF]
        divisor = math.lcm(*(term.denominator for term in terms))
        *scaled, offset = (int(term * divisor) for term in terms)
        return cls(weights=tuple(scaled), offset=offset, divisor=divisor)

    def __call__(self, *samples: I64) -> NDArray[np.int16]:
        total = samples[0] * np.int64(self.weights[0])
        for weight, each in zip(self.weights[1:], samples[1:], strict=True):
            if weight:
                total += each * np.int64(weight)
        total += np.int64(self.offset)
        total //= np.int64(self.divisor)  # floors on negatives too
        return total.astype(np.int16)  # a few times the range of the samples at most


@cache
def rgb_forms(coding: Coding) -> tuple[Rounded, Rounded, Rounded]:
    """R, G and B of 0 to 255, before clipping, from Y and from Cb and Cr in 1/UNITS steps."""
    kr, kb = KR_KB[coding.matrix]
    kg = 1 - kr - kb
    black, luma_span = coding.luma
    middle, span = coding.difference
    by_cb_cr = (
        (Fraction(0), 2 * (1 - kr)),
        (-kb * 2 * (1 - kb) / kg, -kr * 2 * (1 - kr) / kg),
        (2 * (1 - kb), Fraction(0)),
    )
    y = Fraction(255, luma_span)
    red, green, blue = (
        Rounded.of(
            [y, 255 * cb / (span * UNITS), 255 * cr / (span * UNITS)],
            -black * y - 255 * (cb + cr) * Fraction(middle, span),
        )
        for cb, cr in by_cb_cr
    )
    return red, green, blue


@cache
def ycc_forms(coding: Coding) -> tuple[Rounded, Rounded, Rounded]:
    """Y from R, G and B; Cb and Cr from sums of R, G and B in 1/UNITS steps; before clipping."""
    kr, kb = KR_KB[coding.matrix]
    kg = 1 - kr - kb
    black, luma_span = coding.luma
    middle, span = coding.difference

    def difference(own: Fraction, red: Fraction, green: Fraction, blue: Fraction) -> Rounded:
        scale = Fraction(span, 255 * UNITS) / (2 * (1 - own))
        return Rounded.of([scale * red, scale * green, scale * blue], Fraction(middle))

    return (
        Rounded.of([Fraction(luma_span, 255) * k for k in (kr, kg, kb)], Fraction(black)),
        difference(kb, -kr, -kg, 1 - kb),
        difference(kr, 1 - kr, -kg, -kb),
    )


def to_rgb(planes: Planes, coding: Coding) -> Pixels:
    """Convert one picture to [height, width, 3] 8-bit RGB; chroma is interpolated by its siting.

    `HarnessError` if the planes do not have the shapes of the picture.
    """
    luma = planes[0]
    height, width = luma.shape
    shapes = [plane.shape for plane in planes]
    if shapes != plane_shapes(height, width, coding.chroma):
        raise HarnessError(f"planes of shapes {shapes} are no {coding.chroma} picture")
    cb, cr = (upsampled(plane, height, width, coding) for plane in planes[1:])
    pixels = np.empty((height, width, 3), np.uint8)
    forms = rgb_forms(coding)
    for top in range(0, height, ROWS):
        rows = slice(top, top + ROWS)
        samples = [plane[rows].astype(np.int64) for plane in (luma, cb, cr)]
        for channel, form in enumerate(forms):
            pixels[rows, :, channel] = np.clip(form(*samples), 0, 255)
    return pixels


def from_rgb(pixels: Pixels, coding: Coding) -> Planes:
    """Convert [height, width, 3] 8-bit RGB to planes; chroma is averaged by its siting first."""
    red, green, blue = (np.ascontiguousarray(pixels[:, :, channel]) for channel in range(3))
    to_y, to_cb, to_cr = ycc_forms(coding)
    means = [downsampled(plane, coding) for plane in (red, green, blue)]
    most = 2**coding.depth - 1

    def plane(form: Rounded, sources: Sequence[NDArray[np.uint8]] | Sequence[Plane]) -> Plane:
        made = np.empty(sources[0].shape, np.uint16)
        for top in range(0, len(made), ROWS):
            rows = slice(top, top + ROWS)
            samples = [source[rows].astype(np.int64) for source in sources]
            made[rows] = np.clip(form(*samples), 0, most)
        return made

    return plane(to_y, (red, green, blue)), plane(to_cb, means), plane(to_cr, means)


def plane_shapes(height: int, width: int, chroma: Chroma) -> list[tuple[int, int]]:
    """The shapes of Y, Cb and Cr; the chroma of an odd side has the half rounded up.

    >>> plane_shapes(5, 8, "420")
    [(5, 8), (3, 4), (3, 4)]
    """
    half = (-(-height // STEPS[chroma][0]), -(-width // STEPS[chroma][1]))
    return [(height, width), half, half]
