"""The histogram that the rules read, against its definition written out, bin by bin."""

import math

import numpy as np
import pytest

from harness.calibrators.histogram import (
    BINS,
    Collector,
    asymmetric,
    bins_for,
    half_away,
    symmetric,
)


def c_round(x: float) -> int:
    """`round` of C: to the nearest, ties away from zero."""
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)


def literal(batches: list[np.ndarray], bins: int) -> tuple[float, float, list[float]]:
    """Left edge, width and shares of one channel, as the module's first lines say."""
    left = width = 0.0
    shares = [0.0] * bins
    seen = 0
    for batch in batches:
        values = [float(v) for v in batch]
        if width == 0:
            if not any(values):
                continue
            low, high = min(values), max(values)
            if low == high:
                high = low + 0.01
            centre = (low + high) / 2
            left = centre - 3 * (centre - low)
            width = (centre + 3 * (high - centre) - left) / bins
        counts = [0] * bins
        for value in values:
            index = c_round(value / width - left / width)
            if 0 <= index < bins:
                counts[index] += 1
        shares = [
            (s * seen + c / len(values)) / (seen + 1) for s, c in zip(shares, counts, strict=True)
        ]
        seen += 1
    return left, width, shares


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Values as layers have them, float32."""
    x = rng.laplace(size=300) * np.exp(rng.normal())
    shaped = {
        "signed": x, "relu": np.maximum(x, 0), "leaky": np.where(x < 0, 0.01 * x, x), "lattice": np.rint(3 * x),
        "negative": -np.abs(x), "constant": np.full(300, 2.5), "far": x / 50 + 7, "zero": 0 * x,
    }  # fmt: skip
    return shaped[kind].astype(np.float32)


KINDS = ["signed", "relu", "leaky", "lattice", "negative", "constant", "far"]


@pytest.mark.parametrize("kind", [*KINDS, "zero"])
@pytest.mark.parametrize("bins", [16, BINS])
def test_it_is_the_definition(kind: str, bins: int) -> None:
    rng = np.random.default_rng(bins)
    batches = [draw(kind, rng) * scale for scale in (1, 0.5, 8)]
    collector = Collector(bins)
    for batch in batches:
        collector.add(batch[None])
    got = collector.histogram()
    left, width, shares = literal(batches, bins)
    assert (got.left[0], got.width[0]) == (left, width)
    assert got.shares[0].tolist() == shares
    assert got.empty[0] == (kind == "zero")


def test_channels_do_not_see_each_other() -> None:
    """One that begins with zeros starts at its first batch with anything else, and averages from there."""
    rng = np.random.default_rng(0)
    first = np.stack([draw("signed", rng), draw("zero", rng), draw("zero", rng)])
    second = np.stack([draw("relu", rng), draw("lattice", rng), draw("zero", rng)])
    collector = Collector(64)
    collector.add(first)
    collector.add(second)
    got = collector.histogram()
    for channel in range(2):
        left, width, shares = literal([first[channel], second[channel]], 64)
        assert (got.left[channel], got.width[channel]) == (left, width)
        assert got.shares[channel].tolist() == shares
    assert got.shares[1].sum() == pytest.approx(1)
    assert got.empty.tolist() == [False, False, True]


def test_values_outside_are_dropped_and_still_counted() -> None:
    collector = Collector(BINS)
    collector.add(np.array([[-1.0, 1.0]]))
    collector.add(np.array([[0.5, 100.0, -100.0, 0.5]]))
    assert collector.histogram().shares.sum() == pytest.approx((1 + 0.5) / 2)


def test_ties_round_away_from_zero() -> None:
    ties = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, -0.49, 0.0])
    assert half_away(ties).tolist() == [c_round(x) for x in ties.tolist()]


def test_steps_and_offsets_hold_zero_exactly() -> None:
    for bits in (2, 4, 8):
        steps = 2**bits - 1
        for low, high in ((-1.0, 2.0), (-3.0, 0.0), (0.0, 3.0), (-0.001, 5.0), (-5.0, 0.001)):
            delta, offset = asymmetric(np.asarray(low), np.asarray(high), bits)
            assert delta == (high - low) / steps
            assert offset == -c_round(-low / float(delta))
            assert -steps <= offset <= 0
    assert symmetric(np.asarray(2.0), 4) == 2 / 7


def test_up_to_8_bits_there_are_the_512_bins_of_aimet_and_more_beyond() -> None:
    assert {bins_for(bits) for bits in range(2, 9)} == {512}
    assert {bins_for(bits) for bits in range(9, 17)} == {4096}
