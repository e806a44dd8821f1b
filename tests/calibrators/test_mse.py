"""mse against its definition written out: every pair of edges, every bin."""

import math

import numpy as np
import pytest

from harness.calibrators import mse
from harness.calibrators.histogram import Histogram
from harness.calibrators.mse import Mse, best_range
from tests.calibrators.test_histogram import KINDS, c_round
from tests.calibrators.test_tf_enhanced import collected, literal_span

RULE = Mse()
BINS = 48


def literal_bins(histogram: Histogram) -> tuple[list[float], list[tuple[float, float]]]:
    """Edges that ranges may end on; middles and shares that the error is summed over."""
    shares = histogram.shares[0].tolist()
    left, width = float(histogram.left[0]), float(histogram.width[0])
    low, high = literal_span(histogram)
    # In exact arithmetic an edge is its own equal; here by its number.
    inside = [
        left + width * i
        for i in range(len(shares) + 1)
        if left + width * i >= low - width * 1e-9 and left + width * i <= high + width * (1 + 1e-9)
    ]
    edges = [low, *inside]
    values = []
    for j in range(len(edges) - 1):
        middle = low + width / 2 + width * j
        index = min(max(math.floor((middle - left) / width), 0), len(shares) - 1)
        values.append((middle, shares[index]))
    return edges, values


def literal_grid(low: float, high: float, bits: int, is_symmetric: bool) -> tuple[float, int]:
    n = 2**bits - 1
    if is_symmetric:
        return max(-low, high) / (n // 2), -(2 ** (bits - 1))
    delta = (high - low) / n
    return delta, -c_round(-low / delta)


def literal_error(
    values: list[tuple[float, float]], low: float, high: float, bits: int, is_symmetric: bool
) -> float:
    delta, offset = literal_grid(low, high, bits, is_symmetric)
    total = []
    for value, share in values:
        clamped = max(low, min(value, high))
        rounded = delta * (c_round(clamped / delta - offset) + offset)
        total.append(share * (value - rounded) ** 2)
    return math.fsum(total)


def literal_ranges(edges: list[float]) -> list[tuple[float, float]]:
    lows, highs = [e for e in edges if e < 0] + [0.0], [e for e in edges if e > 0] + [0.0]
    return [(low, high) for low in lows for high in highs][:-1]


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_is_the_first_of_least_error(kind: str, bits: int, is_symmetric: bool) -> None:
    histogram = collected(kind, BINS)
    edges, values = literal_bins(histogram)
    ranges = literal_ranges(edges)
    errors = [literal_error(values, *each, bits, is_symmetric) for each in ranges]
    got = best_range(histogram, 0, bits, is_symmetric=is_symmetric)
    # Equal errors come out of two sums a last bit apart: of those within it, any is the least.
    error = literal_error(values, *got, bits, is_symmetric)
    assert error == pytest.approx(min(errors), rel=1e-12, abs=1e-30)
    assert any(got == pytest.approx(each, abs=1e-12) for each in ranges)
    wanted = literal_grid(*got, bits, is_symmetric)
    if is_symmetric:
        assert RULE.symmetric(histogram, 0, bits) == wanted[0]
    else:
        assert RULE.asymmetric(histogram, 0, bits) == wanted


def test_of_equal_ranges_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    histogram = collected("signed", BINS)
    edges, _ = literal_bins(histogram)
    monkeypatch.setattr(mse, "_costs", lambda lows, highs, *_: np.zeros((len(lows), len(highs))))
    first = best_range(histogram, 0, 4, is_symmetric=False)
    assert first == pytest.approx((min(edges), min(e for e in edges if e > 0)))


def test_one_sided_values_get_one_sided_ranges() -> None:
    """To a bin: that of zero ends beyond it."""
    positive, negative = collected("relu"), collected("negative")
    for bits in (2, 4, 8, 12):
        assert best_range(positive, 0, bits, is_symmetric=False)[0] == 0
        high = best_range(negative, 0, bits, is_symmetric=False)[1]
        assert high < 2 * negative.width[0]


def test_four_bits_clip_what_eight_keep() -> None:
    histogram = collected("signed")
    widths = []
    for bits in (2, 4, 8):
        low, high = best_range(histogram, 0, bits, is_symmetric=False)
        widths.append(high - low)
    assert widths == sorted(widths)
    assert widths[0] < 0.7 * widths[-1]


def test_no_rule_leaves_less_error_on_its_histogram() -> None:
    """It is exhaustive: min-max, and every other pair of edges, does no better."""
    histogram = collected("signed", BINS)
    _, values = literal_bins(histogram)
    low, high = literal_span(histogram)
    for bits in (2, 4):
        best = best_range(histogram, 0, bits, is_symmetric=False)
        least = literal_error(values, *best, bits, False)
        assert least < literal_error(values, low, high + float(histogram.width[0]), bits, False)


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_beyond_8_bits_values_are_spread_over_their_bins(kind: str, is_symmetric: bool) -> None:
    histogram = collected(kind, BINS)
    edges, values = literal_bins(histogram)
    ranges = literal_ranges(edges)
    errors = []
    for low, high in ranges:
        delta, _ = literal_grid(low, high, 12, is_symmetric)
        parts = [
            share * (delta**2 / 12 if low <= v <= high else min(abs(v - low), abs(v - high)) ** 2)
            for v, share in values
        ]
        errors.append(math.fsum(parts))
    got = best_range(histogram, 0, 12, is_symmetric=is_symmetric)
    error = min(
        e for r, e in zip(ranges, errors, strict=True) if got == pytest.approx(r, abs=1e-12)
    )
    assert error == pytest.approx(min(errors), rel=1e-9)
