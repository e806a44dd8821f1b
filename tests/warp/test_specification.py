"""The constants of the warp follow from what they are for, and its bounds hold."""

import math
from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.lint.analyse import lint
from harness.lint.findings import Level
from harness.warp import integer_graph, specification
from harness.warp.graph import lower_integer
from harness.warp.specification import (
    BLUR_SHIFT,
    BLUR_TAPS,
    FLOW_FRACTION_BITS,
    LEVEL_MAX,
    LEVEL_OF_NO_SCALE,
    LEVELS,
    MOTION_LOW,
    PICTURE_MAX,
    PREDICTION_SHIFT,
    SCALE_FRACTION_BITS,
    SIDE_MAX,
    WarpSpecification,
    check_sides,
)
from tests.warp.inputs import SPECIFICATIONS, called

USUAL = WarpSpecification(flow_fraction_bits=16, scale_fraction_bits=14)


def test_the_taps_are_the_rounded_gaussian_and_sum_to_256() -> None:
    weights = [math.exp(-0.5 * (k / 1.5) ** 2) for k in range(-5, 6)]
    assert tuple(round(256 * w / sum(weights)) for w in weights) == BLUR_TAPS
    assert sum(BLUR_TAPS) ** 2 == 1 << BLUR_SHIFT
    assert BLUR_TAPS[::-1] == BLUR_TAPS


def test_the_bounds_of_the_specification() -> None:
    half = [(1 << bits) // 2 for bits in range(20)]
    for flow_bits in FLOW_FRACTION_BITS:
        shift = flow_bits - 8
        reached = -MOTION_LOW * (SIDE_MAX // 16) + (SIDE_MAX << (5 + shift)) + half[shift]
        assert reached < 2**30
    for scale_bits in SCALE_FRACTION_BITS:
        shift = scale_bits - 6
        assert -MOTION_LOW * 3 + (LEVEL_OF_NO_SCALE << shift) + half[shift] < 2**18
    assert sum(BLUR_TAPS) * PICTURE_MAX < 2**22
    assert sum(BLUR_TAPS) ** 2 * PICTURE_MAX + half[BLUR_SHIFT] < 2**30
    assert 16 * PICTURE_MAX + 8 < 2**18
    assert (PICTURE_MAX << PREDICTION_SHIFT) + half[PREDICTION_SHIFT] < 2**30
    assert LEVELS * SIDE_MAX**2 < 2**31
    assert LEVEL_MAX == 320


@pytest.mark.parametrize("chosen", SPECIFICATIONS, ids=called)
def test_the_linter_proves_that_nothing_overflows(chosen: WarpSpecification) -> None:
    report = lint(lower_integer(chosen).onnx_model)
    assert report.nodes > 500
    assert [f for f in report.findings if f.level is not Level.DEVIATION] == []


@pytest.mark.parametrize(
    ("constant", "value"),
    [("PICTURE_MAX", 2**15), ("SIDE_MAX", 2**15), ("MOTION_HIGH", 2**21)],
)
def test_the_proof_fails_where_a_bound_is_given_up(
    constant: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integer_graph, constant, value)
    report = lint(integer_graph.build(SPECIFICATIONS[-1], {}))
    assert "integer-overflow" in {f.rule for f in report.at_level(Level.INEXACT)}


@pytest.mark.parametrize(("flow", "scale"), [(8, 10), (19, 10), (12, 6), (12, 16)])
def test_units_that_the_warp_does_not_take(flow: int, scale: int) -> None:
    with pytest.raises(UserError, match="the warp takes"):
        WarpSpecification(flow_fraction_bits=flow, scale_fraction_bits=scale)


@pytest.mark.parametrize(("height", "width"), [(0, 16), (24, 32), (32, 24), (16, SIDE_MAX + 16)])
def test_pictures_that_the_warp_does_not_take(height: int, width: int) -> None:
    with pytest.raises(UserError, match=f"{width}x{height}"):
        check_sides(height, width)


def test_the_digest_tells_specifications_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert USUAL.digest == replace(USUAL).digest
    digests = {one.digest for one in SPECIFICATIONS}
    assert len(digests) == len(SPECIFICATIONS)
    monkeypatch.setattr(specification, "BLUR_TAPS", (1, *BLUR_TAPS[1:]))
    assert replace(USUAL).digest not in digests
