"""Every conversion against the formulas of H.273 in exact fractions; resampling against its definition."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.footage.chroma import UNITS, downsampled, upsampled
from harness.footage.colour import (
    ROWS,
    Coding,
    Planes,
    Rounded,
    from_rgb,
    plane_shapes,
    rgb_forms,
    to_rgb,
    ycc_forms,
)

CODINGS = [
    Coding(matrix=matrix, full_range=full, depth=depth, chroma="444", siting="left")
    for matrix, full, depth in product(("bt601", "bt709"), (False, True), (8, 10))
]
EACH_CODING = pytest.mark.parametrize(
    "coding", CODINGS, ids=lambda c: f"{c.matrix}-{'full' if c.full_range else 'limited'}-{c.depth}"
)
STUDIO = Coding(matrix="bt709", full_range=False, depth=8, chroma="444", siting="left")
CONSTANTS = {
    "bt601": (Fraction(299, 1000), Fraction(587, 1000), Fraction(114, 1000)),
    "bt709": (Fraction(2126, 10000), Fraction(7152, 10000), Fraction(722, 10000)),
}


def grid(depth: int, *, step: int) -> list[int]:
    """Samples at both ends, around black, white and no colour, and every `step` between."""
    most, unit = 2**depth - 1, 2 ** (depth - 8)
    edges = {0, 1, most - 1, most, *(n * unit + d for n in (16, 128, 235, 240) for d in (-1, 0, 1))}
    return sorted(edges | set(range(0, most, step)))


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def exact_rgb(coding: Coding, y: int, cb: int, cr: int) -> tuple[int, int, int]:
    """As H.273 has it, in the order of its own equations, by somebody who knows no common divisor."""
    unit = 2 ** (coding.depth - 8)
    if coding.full_range:
        most = 2**coding.depth - 1
        e_y, e_cb, e_cr = Fraction(y, most), *(Fraction(c - 128 * unit, most) for c in (cb, cr))
    else:
        e_y = Fraction(y - 16 * unit, 219 * unit)
        e_cb, e_cr = (Fraction(c - 128 * unit, 224 * unit) for c in (cb, cr))
    k_r, k_g, k_b = CONSTANTS[coding.matrix]
    red, blue = e_y + 2 * (1 - k_r) * e_cr, e_y + 2 * (1 - k_b) * e_cb
    green = (e_y - k_r * red - k_b * blue) / k_g
    r, g, b = (min(255, max(0, half_up(255 * each))) for each in (red, green, blue))
    return r, g, b


def exact_ycc(coding: Coding, r: int, g: int, b: int) -> tuple[int, int, int]:
    k_r, k_g, k_b = CONSTANTS[coding.matrix]
    e_y = (k_r * r + k_g * g + k_b * b) / 255
    e_cb, e_cr = (Fraction(b, 255) - e_y) / (2 - 2 * k_b), (Fraction(r, 255) - e_y) / (2 - 2 * k_r)
    unit, most = 2 ** (coding.depth - 8), 2**coding.depth - 1
    if coding.full_range:
        real = (most * e_y, most * e_cb + 128 * unit, most * e_cr + 128 * unit)
    else:
        real = ((219 * e_y + 16) * unit, (224 * e_cb + 128) * unit, (224 * e_cr + 128) * unit)
    y, cb, cr = (min(most, max(0, half_up(each))) for each in real)
    return y, cb, cr


def as_planes(samples: list[tuple[int, int, int]]) -> Planes:
    y, cb, cr = (np.array([column], np.uint16) for column in zip(*samples, strict=True))
    return y, cb, cr


@EACH_CODING
def test_rgb_is_the_exact_formula_rounded_half_up(coding: Coding) -> None:
    values = grid(coding.depth, step=2 ** (coding.depth - 3) - 1)
    samples = list(product(values, repeat=3))
    assert len(samples) > 5_000
    rgb = to_rgb(as_planes(samples), coding)
    assert rgb.dtype == np.uint8
    assert rgb[0].tolist() == [list(exact_rgb(coding, *sample)) for sample in samples]


@EACH_CODING
def test_samples_are_the_exact_formula_rounded_half_up(coding: Coding) -> None:
    samples = list(product(range(0, 256, 15), repeat=3))
    rgb = np.array([samples], np.uint8)
    planes = np.stack(from_rgb(rgb, coding), axis=-1)
    assert planes.dtype == np.uint16
    assert planes[0].tolist() == [list(exact_ycc(coding, *sample)) for sample in samples]


@EACH_CODING
def test_all_grey_of_8_bits_survives(coding: Coding) -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    planes = from_rgb(grey, coding)
    assert set(planes[1].flat) | set(planes[2].flat) == {128 * 2 ** (coding.depth - 8)}
    back = to_rgb(planes, coding).astype(int)
    # 219 steps cannot hold 256 greys; every other coding has steps enough.
    bound = 1 if (coding.depth, coding.full_range) == (8, False) else 0
    assert int(np.abs(back - grey).max()) == bound


# The largest error of an RGB sample after planes of full chroma and back: 10 bits hold every one of
# the grid's colours, 8 bits do not. (The same with every third value instead of every fifth.)
BOUNDS = {
    ("bt601", False, 8): 2,
    ("bt601", True, 8): 1,
    ("bt709", False, 8): 2,
    ("bt709", True, 8): 1,
    ("bt601", False, 10): 0,
    ("bt601", True, 10): 0,
    ("bt709", False, 10): 0,
    ("bt709", True, 10): 0,
}


@EACH_CODING
def test_round_trip_of_rgb_is_bounded(coding: Coding) -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    back = to_rgb(from_rgb(rgb, coding), coding).astype(int)
    assert np.abs(back - rgb).max() == BOUNDS[coding.matrix, coding.full_range, coding.depth]


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_round_trip_of_8_bit_samples_is_exact_where_rgb_has_the_colour(matrix: str) -> None:
    coding = replace(STUDIO, matrix=matrix)
    samples = list(product(range(16, 236, 3), range(16, 241, 7), range(16, 241, 7)))
    planes = np.stack(as_planes(samples), axis=-1)
    rgb = to_rgb(as_planes(samples), coding)
    inside = ((rgb > 0) & (rgb < 255)).all(axis=-1)
    assert inside.sum() > 10_000
    back = np.stack(from_rgb(rgb, coding), axis=-1)
    assert back[inside].tolist() == planes[inside].tolist()


@EACH_CODING
def test_integers_are_far_from_overflow(coding: Coding) -> None:
    most = [1023, 1023 * UNITS, 1023 * UNITS]
    for form in (*rgb_forms(coding), *ycc_forms(coding)):
        reach = sum(abs(w) * m for w, m in zip(form.weights, most, strict=True)) + abs(form.offset)
        assert reach < 2**62


def test_a_tie_goes_up_and_the_rest_to_the_nearest() -> None:
    form = Rounded.of([Fraction(1, 4)], Fraction(-1))
    numbers = np.arange(-8, 9)
    expected = [half_up(Fraction(int(n), 4) - 1) for n in numbers]
    assert form(numbers).tolist() == expected


def test_known_colours_of_bt709() -> None:
    """75 % bars as SMPTE RP 219 and every video tool have them, full-scale white and black."""
    samples = [(235, 128, 128), (16, 128, 128), (168, 44, 136), (133, 63, 52), (51, 109, 212)]
    rgb = to_rgb(as_planes(samples), STUDIO)[0].tolist()
    assert rgb[:2] == [[255, 255, 255], [0, 0, 0]]
    expected = [[191, 191, 0], [0, 191, 0], [191, 0, 0]]
    assert np.abs(np.array(rgb[2:]) - expected).max() <= 1


# Chroma


def line(values: list[int]) -> NDArray[np.uint16]:
    return np.array([values], np.uint16)


@pytest.mark.parametrize(
    ("siting", "expected"),
    [
        # Beside the even columns: these are the samples, the odd ones the mean of two.
        ("left", [8, 16, 24, 20, 16, 16]),
        ("top-left", [8, 16, 24, 20, 16, 16]),
        # In the middle of two columns: 3/4 of the nearer, 1/4 of the farther.
        ("center", [8, 12, 20, 22, 18, 16]),
    ],
)
def test_columns_between_chroma_samples(siting: str, expected: list[int]) -> None:
    coding = replace(STUDIO, chroma="422", siting=siting)
    fine = upsampled(line([8, 24, 16]), 1, 6, coding)
    assert fine.tolist() == [[UNITS * value for value in expected]]


@pytest.mark.parametrize(
    ("siting", "expected"),
    [
        ("left", [8, 12, 20, 22, 18, 16]),
        ("center", [8, 12, 20, 22, 18, 16]),
        ("top-left", [8, 16, 24, 20, 16, 16]),
    ],
)
def test_rows_between_chroma_samples(siting: str, expected: list[int]) -> None:
    coding = replace(STUDIO, chroma="420", siting=siting)
    column = np.array([[8], [24], [16]], np.uint16)
    fine = upsampled(column, 6, 1, coding)
    assert fine[:, 0].tolist() == [UNITS * value for value in expected]


@pytest.mark.parametrize("siting", ["left", "center", "top-left"])
def test_interpolation_is_separable_and_exact_on_every_pixel(siting: str) -> None:
    coding = replace(STUDIO, chroma="420", siting=siting, depth=10)
    plane = np.random.default_rng(3).integers(0, 1024, (4, 5), dtype=np.uint16)
    fine = upsampled(plane, 7, 9, coding)  # odd sides drop the last row and column
    on_rows, on_columns = {"left": (0, 1), "center": (0, 0), "top-left": (1, 1)}[siting]

    def at(position: int, on: int, count: int) -> list[tuple[int, Fraction]]:
        where = Fraction(position, 2) if on else Fraction(2 * position - 1, 4)
        low = floor(where)
        part = where - low
        return [(min(max(n, 0), count - 1), w) for n, w in ((low, 1 - part), (low + 1, part))]

    for row, column in product(range(7), range(9)):
        exact = sum(
            v * h * int(plane[i, j])
            for i, v in at(row, on_rows, 4)
            for j, h in at(column, on_columns, 5)
        )
        assert int(fine[row, column]) == exact * UNITS


@pytest.mark.parametrize(
    ("siting", "rows", "columns"),
    [
        ("left", {0: 8, 1: 8}, {-1: 4, 0: 8, 1: 4}),
        ("center", {0: 8, 1: 8}, {0: 8, 1: 8}),
        ("top-left", {-1: 4, 0: 8, 1: 4}, {-1: 4, 0: 8, 1: 4}),
    ],
)
def test_averaging_has_the_stated_weights(
    siting: str, rows: dict[int, int], columns: dict[int, int]
) -> None:
    coding = replace(STUDIO, chroma="420", siting=siting)
    for row, column in product(range(-2, 3), repeat=2):
        impulse = np.zeros((8, 8), np.uint8)
        impulse[4 + row, 4 + column] = 16
        weight = rows.get(row, 0) * columns.get(column, 0)
        assert int(downsampled(impulse, coding)[2, 2]) == weight


def test_the_border_repeats_itself() -> None:
    for siting in ("left", "center", "top-left"):
        coding = replace(STUDIO, chroma="420", siting=siting)
        flat = np.full((3, 5), 77, np.uint8)
        assert set(downsampled(flat, coding).flat) == {77 * UNITS}
        assert set(upsampled(np.full((2, 3), 77, np.uint16), 3, 5, coding).flat) == {77 * UNITS}


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (3, 2), (2 * ROWS + 1, 7)])
def test_flat_colours_survive_every_size(chroma: str, height: int, width: int) -> None:
    coding = replace(STUDIO, chroma=chroma)
    flat = np.empty((height, width, 3), np.uint8)
    flat[...] = (200, 30, 90)
    planes = from_rgb(flat, coding)
    assert [plane.shape for plane in planes] == plane_shapes(height, width, chroma)
    y, cb, cr = exact_ycc(coding, 200, 30, 90)
    assert [set(plane.flat) for plane in planes] == [{y}, {cb}, {cr}]
    expected = list(exact_rgb(coding, y, cb, cr))
    assert to_rgb(planes, coding).reshape(-1, 3).tolist() == [expected] * (height * width)


def test_one_rounding_even_where_chroma_is_interpolated() -> None:
    coding = replace(STUDIO, chroma="422", siting="left")
    y = np.array([[100, 100]], np.uint16)
    neutral = np.array([[128]], np.uint16)
    pair = np.array([[128, 129]], np.uint16)
    wide = (np.array([[100] * 4], np.uint16), np.array([[128, 128]], np.uint16), pair)
    # Column 1 is at Cr = 128.5, which no stored sample can say.
    half = half_up(255 * (Fraction(84, 219) + Fraction("1.5748") * Fraction(1, 448)))
    assert int(to_rgb(wide, coding)[0, 1, 0]) == half
    assert to_rgb((y, neutral, neutral), coding)[0, 0].tolist() == [98, 98, 98]


def test_planes_of_wrong_shapes_are_refused() -> None:
    y, small = np.zeros((4, 4), np.uint16), np.zeros((1, 2), np.uint16)
    with pytest.raises(HarnessError, match="are no 420 picture"):
        to_rgb((y, small, small), replace(STUDIO, chroma="420"))
