"""BD-rate against published numbers and its identities; the difference at equal quality whose mean it is."""

import math

import numpy as np
import pytest

from harness.bd_rate import BD_METHODS, Bd, bd_rate, rate_differences
from harness.errors import UserError

Curve = list[tuple[float, float]]
# The check values of the literature: A is the anchor.
A: Curve = [(90.33, 27.95), (181.03, 31.17), (332.99, 34.44), (547.79, 38.11)]
B: Curve = [(127.1719, 29.9286), (186.14, 32.4165), (307.2924, 34.7013), (481.5588, 37.4561)]
METHODS = sorted(BD_METHODS)
ONLY_74 = "the quality intervals overlap by only 74%"


@pytest.mark.parametrize(
    ("method", "percent"),
    [("cubic", -13.261773), ("pchip", -13.2925241110), ("akima", -13.3434731888)],
)
def test_bd_rate_has_the_published_values(method: str, percent: float) -> None:
    found = bd_rate(A, B, method)
    assert found.percent == pytest.approx(percent, abs=1e-6)
    assert found.overlap == pytest.approx((37.4561 - 29.9286) / (38.11 - 27.95))
    assert found.note == ONLY_74


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0.5, 1.01, 3.0])
def test_a_rate_times_c_costs_c_minus_1(method: str, factor: float) -> None:
    found = bd_rate(A, [(rate * factor, psnr) for rate, psnr in A], method)
    assert found.percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert (found.overlap, found.note) == (1.0, "")


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_costs_nothing_against_itself(method: str) -> None:
    assert bd_rate(A, A, method) == Bd(percent=0.0, overlap=1.0, note="")


@pytest.mark.parametrize("method", METHODS)
def test_there_and_back_is_where_it_was(method: str) -> None:
    there, back = bd_rate(A, B, method).percent, bd_rate(B, A, method).percent
    assert there is not None
    assert back is not None
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, abs=1e-12)


def test_the_order_of_the_points_is_no_matter() -> None:
    assert bd_rate(A[::-1], [B[2], B[0], B[3], B[1]], "pchip") == bd_rate(A, B, "pchip")


NONE = [
    (B[:3], "none: 3 rate points"),
    ([(rate, psnr + 20) for rate, psnr in B], "do not overlap"),
    ([(rate, psnr + 38.11 - 29.9286) for rate, psnr in B], "do not overlap"),  # they touch
    ([*B[:3], (600.0, 30.0)], "does not rise"),
    ([*B[:3], (600.0, B[2][1])], "does not rise"),
]


@pytest.mark.parametrize(
    ("test", "reason"), NONE, ids=["too-few", "apart", "touching", "falling", "level"]
)
def test_no_number_where_there_is_none(test: Curve, reason: str) -> None:
    found = bd_rate(A, test, "pchip")
    assert found.percent is None
    assert reason in found.note
    assert rate_differences(A, test, "pchip", [35.0]) == []


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match="'spline'; known: pchip, cubic, akima"):
        bd_rate(A, B, "spline")


@pytest.mark.parametrize("method", METHODS)
def test_the_bd_rate_is_the_mean_of_the_differences(method: str) -> None:
    qualities = np.linspace(29.9286, 37.4561, 4001).tolist()
    logs = [
        math.log10(1 + percent / 100)
        for _, percent in rate_differences(A, B, method, qualities)
    ]  # fmt: skip
    assert len(logs) == 4001
    mean = np.mean((np.array(logs[1:]) + logs[:-1]) / 2)
    assert 100 * (10**mean - 1) == pytest.approx(bd_rate(A, B, method).percent, abs=1e-3)


def test_a_difference_is_read_at_the_anchors_rate_and_only_where_both_have_the_quality() -> None:
    twice = [(2 * rate, psnr) for rate, psnr in A]
    found = rate_differences(A, twice, "pchip", [27.0, 31.17, 38.11, 39.0])
    assert [rate for rate, _ in found] == pytest.approx([181.03, 547.79])
    assert [percent for _, percent in found] == pytest.approx([100, 100])
