"""Margins: distances by hand, predictions where the true rate is known, and one codec that ships."""

from functools import partial

import numpy as np
import pytest

from harness.case import rng
from harness.cdf import indexes_from_scales, scale_thresholds
from harness.cells import platform_runner
from harness.codecs.checkpoint import shipped
from harness.errors import HarnessError
from harness.library import Library, pictures
from harness.margin import (
    WINDOW,
    distances,
    expected_flips,
    flip_probabilities,
    lower_quantile,
    poisson_interval,
    positions,
)
from harness.margin_study import measure_margin
from harness.platforms.pool import Pool

TABLE = np.exp(np.linspace(np.log(0.11), np.log(256), 64)).astype(np.float32)
BITS = scale_thresholds(TABLE)
DIVIDING = BITS[:-1].astype(np.int64)
EVERYWHERE = np.concatenate([
    *(DIVIDING + offset for offset in (-3, -2, -1, 0, 1, 2, 3)), [-5, 0, 1, 2**30 + 17, 0x7F7FFFFF]
])  # fmt: skip


def floats(at):
    magnitudes = np.abs(at).astype(np.int32).view(np.float32)
    return np.where(at < 0, -magnitudes, magnitudes).astype(np.float32)


def indexes(at):
    return indexes_from_scales(floats(at), BITS)


def test_positions_follow_the_order_of_floats() -> None:
    ascending = np.array([-3.4e38, -1, -1e-45, 0, 1e-45, 0.11, 1, 256, 3.4e38], np.float32)
    assert (np.diff(positions(ascending)) > 0).all()
    assert positions(ascending)[[2, 3, 4]].tolist() == [-1, 0, 1]
    assert positions(-ascending).tolist() == (-positions(ascending)).tolist()
    assert positions(np.nextafter(TABLE, np.float32(np.inf))).tolist() == (BITS + 1).tolist()
    assert floats(positions(ascending)).tobytes() == ascending.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sigma_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(HarnessError, match="1 of 3 sigmas are NaN or infinite"):
        positions(np.array([1, value, 2], np.float32))


def test_other_types_are_refused() -> None:
    with pytest.raises(HarnessError, match="float32 sigmas, got float64"):
        positions(np.ones(3))


def test_a_distance_is_the_least_move_that_changes_the_index() -> None:
    found = distances(EVERYWHERE, BITS)
    assert found.min() == 1
    for at, distance in zip(EVERYWHERE.tolist(), found.tolist(), strict=True):
        here = indexes(np.array([at]))
        if at + distance <= 0x7F7FFFFF and distance < 2**31 - 2**24:
            moved = np.array([at - distance, at + distance])
            assert (indexes(moved) != here).any()
            nearer = np.array([at - distance + 1, at + distance - 1])
            assert (indexes(nearer) == here).all()


def test_a_sigma_at_a_threshold_is_one_step_from_the_next_index() -> None:
    assert distances(DIVIDING, BITS).tolist() == [1] * 63
    assert distances(DIVIDING + 1, BITS).tolist() == [1] * 63
    assert (indexes(DIVIDING + 1) == indexes(DIVIDING) + 1).all()
    # Just below and just above: half of all places flip when they move by the whole window.
    assert flip_probabilities(DIVIDING, np.full(63, WINDOW), BITS) == pytest.approx(0.5, abs=1e-5)


def test_the_last_entry_of_the_table_divides_nothing() -> None:
    last = np.array([int(BITS[-1])])
    assert indexes(last - 5).tolist() == indexes(last + 5).tolist() == [63]
    assert distances(last, BITS).tolist() == [int(BITS[-1] - BITS[-2])]


@pytest.mark.parametrize("window", [3, 40])
def test_a_probability_is_the_share_of_places_that_flip(window: int) -> None:
    """By counting, with thresholds so close that moves and windows cross several."""
    bits = np.array([1000, 1007, 1010, 1050, 1200], np.int32)
    dividing = bits[:-1]

    def index(at):
        return np.searchsorted(dividing, at, side="left")

    at = np.arange(900, 1160)
    for move in (*range(-60, 61), -500, 500):
        places = at[:, None] + np.arange(-window, window + 1)
        expected = (index(places) != index(places + move)).mean(axis=1)
        got = flip_probabilities(at, np.full(at.shape, move), bits, window)
        assert got == pytest.approx(expected, abs=1e-12)


def drawn(name: str, low: int, high: int, count: int, scale: float):
    """Positions uniform in [low, high), and the same moved by rounded normal differences."""
    draw = rng(name)
    at = draw.integers(low, high, count)
    return at, at + np.rint(draw.normal(0, scale, count)).astype(np.int64)


def test_the_prediction_is_the_rate_that_is_known_and_not_twice_or_half_of_it() -> None:
    """Uniform positions: each threshold takes E|d| / range of all. A prediction off by a factor 2 would fail."""
    low, high = int(DIVIDING[20]) - 2**19, int(DIVIDING[24]) + 2**19
    at, moved = drawn("uniform", low, high, 2_000_000, 300.0)
    true = 5 * np.abs(moved - at).mean() / (high - low) * at.size
    predicted = flip_probabilities(at, moved - at, BITS).sum()
    measured = int((indexes(at) != indexes(moved)).sum())
    assert predicted == pytest.approx(true, rel=0.02)
    below, above = poisson_interval(measured, 0.999)
    assert below <= predicted <= above
    assert not below <= 2 * predicted <= above
    assert not below <= predicted / 2 <= above


def test_each_sigma_keeps_its_own_roundoff() -> None:
    """Large differences where no sigma is near a threshold predict nothing, though the mean over all is large."""
    at, _ = drawn("own", int(DIVIDING[30]) - WINDOW, int(DIVIDING[30]) + WINDOW, 200_000, 1.0)
    far = np.full(200_000, (int(DIVIDING[40]) + int(DIVIDING[41])) // 2)
    moves = np.concatenate([np.full(at.size, 8), np.full(far.size, 4000)])
    everything = np.concatenate([at, far])
    true = 8 / (2 * WINDOW) * at.size
    assert flip_probabilities(everything, moves, BITS).sum() == pytest.approx(true, rel=0.02)
    assert np.abs(moves).mean() > 200 * 8


def test_equal_sigmas_predict_no_flip() -> None:
    at, _ = drawn("equal", int(DIVIDING[3]) - 9, int(DIVIDING[3]) + 9, 1000, 1.0)
    assert flip_probabilities(at, np.zeros_like(at), BITS).sum() == 0


def test_a_move_past_every_threshold_flips_all_that_lies_between() -> None:
    at = np.array([0, int(DIVIDING[5]) + 10 * WINDOW, 2**30 + 2**27])
    assert flip_probabilities(at, np.full(3, 2**31), BITS).tolist() == [1, 1, 0]
    assert flip_probabilities(at, np.full(3, -(2**31)), BITS).tolist() == [0, 1, 1]


def test_a_stated_roundoff_goes_both_ways() -> None:
    low = np.array([int(DIVIDING[7]) - WINDOW - 2])  # in reach upwards, not downwards
    up = flip_probabilities(low, np.array([8]), BITS)[0]
    assert up > 0
    assert flip_probabilities(low, np.array([-8]), BITS).tolist() == [0]
    assert expected_flips(low, 8, BITS) == pytest.approx(up / 2)


def test_quantiles_are_values_that_occur() -> None:
    values = np.arange(1, 10_001)
    assert lower_quantile(values, 0.5) == 5000
    assert lower_quantile(values, 1e-3) == 10
    assert lower_quantile(values, 1e-4) == 1
    assert lower_quantile(values, 1e-5) is None


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_poisson_interval_leaves_its_tails(count: int) -> None:
    """By summing the probabilities themselves."""
    low, high = poisson_interval(count)

    def at_most(mean: float, n: int) -> float:
        terms = np.cumprod(np.concatenate([[1.0], mean / np.arange(1, n + 1)]))
        return float(np.exp(-mean) * terms.sum())

    assert at_most(high, count) == pytest.approx(0.025)
    if count:
        assert 1 - at_most(low, count - 1) == pytest.approx(0.025)
    else:
        assert low == 0


@pytest.mark.platform
@pytest.mark.skipif(not shipped(), reason="no codec ships yet: make fixtures DATA=folder")
def test_a_shipped_codec_on_two_platforms() -> None:
    library = Library()
    codec = library.codec("bmshj2018-hyperprior/q3")
    h_s = library.build(codec.name, "fp32").artifacts["h_s"]
    picture = pictures(None)["coffee.c128"]()
    seen: list[str] = []
    names = ["ort-cpu", "ort-cpu-noopt", "torch"]
    with Pool() as pool:
        runners = {name: partial(platform_runner, pool, name) for name in names}
        margin = measure_margin(
            codec, h_s, [picture], runners, roundoffs=[0, 4, 8], advance=seen.append
        )
    assert seen == names
    assert margin.pixels == 128 * 128
    assert margin.elements == codec.networks["g_s"].in_channels * 8 * 8
    assert [pair.platforms for pair in margin.pairs] == [
        ("ort-cpu", "ort-cpu-noopt"), ("ort-cpu", "torch"), ("ort-cpu-noopt", "torch"),
    ]  # fmt: skip
    assert dict(margin.quantiles)[1e-6] is None
    counts = [count for _, count in margin.within]
    assert counts == sorted(counts)
    assert counts[-1] == margin.elements > margin.near > 0
    none, four, eight = (flips for _, flips in margin.roundoffs)
    assert none == 0
    assert eight == pytest.approx(2 * four, rel=0.05)
    differing = [pair for pair in margin.pairs if pair.differing]
    assert differing, "float kernels that never differ would show nothing"
    for pair in differing:
        assert 0 < pair.predicted < 10
        assert 0 < pair.median_roundoff <= pair.largest_roundoff
        low, high = poisson_interval(pair.measured, 0.9999)
        assert low <= pair.predicted <= high


@pytest.mark.skipif(not shipped(), reason="no codec ships yet: make fixtures DATA=folder")
def test_a_platform_that_gives_nan_is_named() -> None:
    library = Library()
    codec = library.codec("bmshj2018-hyperprior/q3")
    h_s = library.build(codec.name, "fp32").artifacts["h_s"]

    def broken(_network, _artifact, _feeds):
        return {"scales_hat": np.full((1, 2, 2, 2), np.nan, np.float32)}

    picture = pictures(None)["coffee.c64"]()
    with pytest.raises(HarnessError, match="q3 on sick: 8 of 8 sigmas are NaN"):
        measure_margin(codec, h_s, [picture], {"sick": lambda: broken}, roundoffs=[], advance=str)


def test_no_picture_is_no_margin() -> None:
    with pytest.raises(HarnessError, match="no picture"):
        measure_margin(None, None, [], {}, roundoffs=[], advance=str)  # type: ignore[arg-type]
