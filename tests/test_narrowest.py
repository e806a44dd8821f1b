"""The search for the narrowest widths, over costs that are made up."""

from collections.abc import Callable, Sequence

import pytest

from harness.bd_rate import Bd
from harness.errors import HarnessError, UserError
from harness.narrowest import Unbuildable, narrowest
from harness.rd import BdRate, Search, Variant


def rates(variant: Variant, percents: Sequence[float | None]) -> list[BdRate]:
    return [
        BdRate(
            family=f"family{number}",
            variant=variant,
            calibrator="min-max",
            method="pchip",
            psnr=Bd.none("no curve")
            if percent is None
            else Bd(percent=percent, overlap=1.0, note=""),
            ms_ssim=Bd.none("not asked"),
        )
        for number, percent in enumerate(percents)
    ]


def bits(variant: Variant) -> tuple[int, int]:
    weights, activations = variant.precision.removeprefix("w").split("a")
    return int(weights), int(activations)


def search(
    cost: Callable[[int, int], Sequence[float | None]], budget: float = 1.0
) -> tuple[dict[str, Search], list[str]]:
    """Searches by pattern, and what was measured, in order."""
    measured: list[str] = []

    def measure(variant: Variant) -> list[BdRate]:
        measured.append(variant.precision)
        return rates(variant, cost(*bits(variant)))

    found = narrowest(measure, budget, scope="decoder", calibrator="mse")
    return {one.pattern: one for one in found}, measured


def halves(weights: int, activations: int) -> list[float]:
    """Each bit fewer costs twice as much; activations cost four times what weights do. The second family costs less."""
    cost = 2.0 ** (2 - weights) + 4 * 2.0 ** (2 - activations)
    return [cost, cost / 2]


def test_each_pattern_ends_at_the_first_width_within_the_budget() -> None:
    found, _ = search(halves)
    # w5a5: 5/8, w4a4: 5/4; w2a16: 1 + a little, w3a16: 1/2; w16a4: 1 + a little, w16a5: 1/2.
    best = {name: one.narrowest for name, one in found.items()}
    assert {n: b.variant.precision for n, b in best.items() if b} == {
        "wBaB": "w5a5",
        "wBa16": "w3a16",
        "w16aB": "w16a5",
    }
    for one in found.values():
        assert [trial.is_within for trial in one.trials] == [False] * (len(one.trials) - 1) + [True]
        assert [trial.bits for trial in one.trials] == list(range(2, 2 + len(one.trials)))
        assert (one.scope, one.calibrator, one.budget) == ("decoder", "mse", 1.0)
    before_last = found["wBaB"].trials[-2]
    assert before_last.percents == {"family0": 1.25, "family1": 0.625}
    assert (before_last.worst, before_last.calibrator) == (1.25, "min-max")
    assert before_last.variant == Variant(precision="w4a4", scope="decoder", calibrator="mse")


def test_the_worst_family_counts() -> None:
    found, _ = search(lambda w, a: [0.0, 2.0 if min(w, a) < 8 else 0.0])
    best = found["wBaB"].narrowest
    assert best is not None
    assert best.bits == 8


def test_what_is_on_the_budget_is_within_it() -> None:
    found, measured = search(lambda *_: [1.0, -3.0])
    assert [one.narrowest.bits for one in found.values() if one.narrowest] == [2, 2, 2]
    assert measured == ["w2a2", "w2a16", "w16a2"]


def test_what_a_wider_one_costs_does_not_matter() -> None:
    found, measured = search(lambda w, a: [5.0 if min(w, a) in {2, 9} else 0.0])
    best = found["wBaB"].narrowest
    assert best is not None
    assert best.bits == 3
    assert "w9a9" not in measured


def test_nothing_is_narrow_enough_where_even_the_widest_costs_too_much() -> None:
    found, measured = search(lambda *_: [1.01])
    assert [one.narrowest for one in found.values()] == [None] * 3
    assert all(len(one.trials) == 15 for one in found.values())
    assert len(measured) == len(set(measured)) == 3 * 15 - 2  # w16a16 once, not three times


def test_a_family_without_a_bd_rate_is_not_within_the_budget() -> None:
    found, _ = search(lambda w, _: [0.0, None if w < 12 else 0.0])
    trial = found["wBaB"].trials[-2]
    assert (trial.bits, trial.worst, trial.is_within) == (11, None, False)
    assert trial.note == "family1: none: no curve"


def test_a_width_that_cannot_be_built_is_passed_over() -> None:
    def cost(weights: int, activations: int) -> list[float]:
        if max(weights, activations) > 12 or min(weights, activations) == 2:
            raise Unbuildable("accumulators do not fit")
        return [0.0 if min(weights, activations) >= 5 else 2.0]

    found, measured = search(cost)
    uniform = found["wBaB"]
    assert [trial.bits for trial in uniform.trials] == [2, 3, 4, 5]
    assert uniform.narrowest is not None
    assert uniform.narrowest.bits == 5
    first = uniform.trials[0]
    assert (first.percents, first.is_within) == ({}, False)
    assert first.note == "not built: accumulators do not fit"
    assert found["wBa16"].narrowest is None  # tried to the end
    assert len(found["wBa16"].trials) == 15
    assert measured.count("w16a16") == 1


def test_a_mistake_is_not_a_width_that_cannot_be_built() -> None:
    def cost(*_: int) -> list[float]:
        raise UserError("no such picture")

    with pytest.raises(UserError, match="no such picture"):
        search(cost)


def test_a_search_over_nothing_is_an_error() -> None:
    with pytest.raises(HarnessError, match="one BD-rate a family"):
        search(lambda *_: [])


@pytest.mark.parametrize("budget", [-0.1, float("nan")])
def test_a_budget_below_nothing_is_a_mistake(budget: float) -> None:
    with pytest.raises(UserError, match="no budget of"):
        search(halves, budget)
