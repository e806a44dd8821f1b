"""What variants cost on clips, by made-up curves: means over clips, and over their mirrorings."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.clip_rd import ClipPoint
from harness.rd import ANCHOR, Variant
from harness.video.bd_rates import bd_rates, mirrored_bd_rates
from tests.report.ssf_studies import W4, W8, make_curve


def test_bd_rates_are_per_clip_and_their_mean() -> None:
    curves = make_curve(clip="a") + make_curve(clip="b")
    curves += make_curve(W4, 1.1, clip="a") + make_curve(W4, 1.3, clip="b")
    curves += make_curve(clip="a", intra=True)  # is no curve of the anchor
    rates = {rate.clip: rate.percent for rate in bd_rates(curves, "pchip")}
    assert rates["a"] == pytest.approx(10, abs=0.1)
    assert rates["b"] == pytest.approx(30, abs=0.1)
    assert rates["mean"] == pytest.approx((rates["a"] + rates["b"]) / 2)  # type: ignore[operator]
    short = [p for p in curves if p.clip != "b" or p.quality == 1]
    by_clip = {rate.clip: rate for rate in bd_rates(short, "pchip")}
    assert by_clip["b"].percent is None
    assert by_clip["mean"].percent is None
    assert "1 of 2 clips" in by_clip["mean"].psnr.note


def mirrored(variant: Variant, clip: str, gains: Sequence[float]) -> list[ClipPoint]:
    """The curve of a clip in as many mirrorings as there are gains."""
    return [
        replace(point, mirroring=number)
        for number, gain in enumerate(gains)
        for point in make_curve(variant, gain, clip=clip)
    ]


def test_mirrored_clips_give_means_and_their_standard_errors() -> None:
    # Every draw is held against the anchor of the same mirroring: those of clip b are twice as large in one.
    points = mirrored(ANCHOR, "a", [1, 1, 1]) + mirrored(ANCHOR, "b", [1, 2, 1])
    points += mirrored(W8, "a", [1.01, 1.02, 1.03]) + mirrored(W8, "b", [0.98, 2.0, 1.02])
    rates = {rate.clip: rate for rate in mirrored_bd_rates(points, "pchip")}
    assert list(rates) == ["a", "b", "mean"]
    assert rates["a"].percent == pytest.approx(2, abs=1e-3)
    assert rates["a"].error == pytest.approx(1 / math.sqrt(3), abs=1e-3)
    assert rates["b"].percent == pytest.approx(0, abs=1e-3)
    assert rates["b"].error == pytest.approx(2 / math.sqrt(3), abs=1e-3)
    assert rates["mean"].percent == pytest.approx(1, abs=1e-3)
    assert rates["mean"].error == pytest.approx(math.sqrt(5 / 3) / 2, abs=1e-3)
    assert all(rate.variant == W8 for rate in rates.values())


def test_one_draw_has_no_error_and_missing_ones_are_left_out_and_told() -> None:
    once = mirrored(ANCHOR, "a", [1]) + mirrored(W8, "a", [1.01])
    assert [rate.error for rate in mirrored_bd_rates(once, "pchip")] == [None, None]
    points = mirrored(ANCHOR, "a", [1, 1, 1]) + mirrored(W8, "a", [1.01, 1.03, 1.01])
    two = [p for p in points if p.mirroring < 2 or p.quality < 7]
    rates = {rate.clip: rate for rate in mirrored_bd_rates(two, "pchip")}
    assert rates["a"].percent == pytest.approx(2, abs=1e-3)
    assert rates["a"].error == pytest.approx(1, abs=1e-3)
    assert rates["a"].psnr.note == "1 of 3 mirrorings have none"
    assert rates["mean"].percent == rates["a"].percent
    one = [p for p in points if p.mirroring < 1 or p.quality < 7]
    rates = {rate.clip: rate for rate in mirrored_bd_rates(one, "pchip")}
    assert (rates["a"].percent, rates["a"].error) == (None, None)
    assert "2 of 3" in rates["a"].psnr.note
    assert (rates["mean"].percent, rates["mean"].error) == (None, None)
