"""Whoever calls a graph exact must not be contradicted: random graphs on machines that use every freedom they have."""

from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest

from harness.lint import deviations
from harness.lint import grids as g
from harness.lint.analyse import Analysis, Options, examine
from harness.lint.findings import Level, Verdict
from harness.lint.transfer import convert, settle
from tests.lint.machines import CONDITIONED, DEVIANT, FREE, PLAIN, Machine, run
from tests.lint.random_graphs import Specimen, specimen

BATCHES, EACH = 12, 60


@cache
def judged(seed: int) -> tuple[Specimen, Analysis, dict[str, np.ndarray]]:
    made = specimen(seed)
    analysis = examine(made.model.SerializeToString(), options=Options(ranges=made.ranges))
    return made, analysis, run(made.model, {"x": made.feeds}, PLAIN)


def result(made: Specimen, values: dict[str, np.ndarray], *, zeros_alike: bool) -> bytes:
    output = values[made.model.graph.output[0].name]
    if zeros_alike and output.dtype.kind == "f":
        output = output + np.zeros((), output.dtype)
    return output.tobytes()


def agrees(seed: int, machine: Machine) -> bool:
    made, analysis, plain = judged(seed)
    alike = any(f.rule == "signed-zero" for f in analysis.report.findings)
    other = run(made.model, {"x": made.feeds}, machine)
    return result(made, plain, zeros_alike=alike) == result(made, other, zeros_alike=alike)


def tell(seed: int) -> str:
    made, analysis, _ = judged(seed)
    found = [f"{f.level.value} {f.rule} {f.node}: {f.message}" for f in analysis.report.findings]
    return (
        f"seed {seed}\n"
        + onnx.printer.to_text(made.model.graph)
        + f"\n{made.ranges}\n"
        + "\n".join(found)
    )


SEEDS = [range(b * EACH, (b + 1) * EACH) for b in range(BATCHES)]


def contradiction(seed: int) -> Machine | None:
    """A machine that keeps to every condition stated, and yet differs from the plain one; None for inexact graphs."""
    report = judged(seed)[1].report
    if report.verdict is Verdict.ORDER_DEPENDENT:
        return None
    stated = {f.rule for f in report.findings}
    if "rounded-then-clamped" in stated:
        stated.add("float-carrier")  # it asks for the same, and more
    free = [*FREE, *(m for rule, m in CONDITIONED.items() if rule not in stated)]
    free += [m for rule, m in DEVIANT.items() if rule not in stated]
    return next((machine for machine in free if not agrees(seed, machine)), None)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_what_is_called_exact_never_differs(seeds: range) -> None:
    for seed in seeds:
        machine = contradiction(seed)
        assert machine is None, f"{machine.name}: {tell(seed)}"


def believe_in_more_bits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "_reach", lambda kind, unit: settle.power(unit + kind.digits + 6))


def never_overflow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "whole", lambda *given: settle.top(given[1], given[2]))


def forget_ties(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deviations.quantization, "may_tie", lambda _: False)


def forget_pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deviations.products, "INT8_PAIR", 2.0**17)
    patch.setattr(deviations.products, "INT8_PAIR_LOW", 2.0**17)


def casts_never_wrap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(convert, "_narrow", lambda _, x, kind: x.renewed(kind, x.range, x.grids))


def trust_what_was_rounded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "_within", lambda trust, *_: trust)


@pytest.mark.parametrize(
    "mutant",
    [
        believe_in_more_bits,
        never_overflow,
        forget_ties,
        forget_pairs,
        casts_never_wrap,
        trust_what_was_rounded,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_a_linter_that_is_wrong_is_contradicted(
    mutant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        judged.cache_clear()
        caught = any(contradiction(seed) for seed in range(BATCHES * EACH))
    judged.cache_clear()
    assert caught


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_bounds_hold_what_is_observed(seeds: range) -> None:
    for seed in seeds:
        made, analysis, plain = judged(seed)
        runs = [plain, *(run(made.model, {"x": made.feeds}, machine) for machine in FREE[:5])]
        for name, value in analysis.values.items():
            for values in runs:
                seen = values[name].astype(np.float64)
                inside = (value.range.low <= seen) & (seen <= value.range.high)
                inside |= np.isnan(seen) & np.isinf(value.range.high - value.range.low)
                assert inside.all(), f"{name} in {seen.min()}..{seen.max()}: {tell(seed)}"
            if value.grids and value.trust is None:
                seen = plain[name].astype(np.float64)
                on = [on_grid(grid, seen) for grid in value.grids]
                assert np.logical_or.reduce(on).all(), f"{name} off its grid: {tell(seed)}"


def on_grid(grid: g.Grid, seen: np.ndarray) -> np.ndarray:
    return g.two_adic(seen - grid.residue) >= grid.step


def test_the_search_has_power() -> None:
    """Both verdicts are common, most inexact graphs are caught in the act, and so is the neglect of most conditions."""
    verdicts: Counter[Verdict] = Counter()
    caught = Counter()
    neglected: Counter[str] = Counter()
    stated: Counter[str] = Counter()
    for seed in range(BATCHES * EACH):
        report = judged(seed)[1].report
        verdicts[report.verdict] += 1
        if report.verdict is Verdict.ORDER_DEPENDENT:
            free = [*FREE, *CONDITIONED.values()]
            caught[any(not agrees(seed, machine) for machine in free)] += 1
            continue
        for rule, machine in {**CONDITIONED, **DEVIANT}.items():
            if any(f.rule == rule and f.level is not Level.NOTE for f in report.findings):
                stated[rule] += 1
                if rule != "signed-zero":
                    neglected[rule] += not agrees(seed, machine)
    total = sum(verdicts.values())
    exact = verdicts[Verdict.EXACT] + verdicts[Verdict.CONDITIONAL]
    assert exact > 0.3 * total
    assert verdicts[Verdict.ORDER_DEPENDENT] > 0.2 * total
    assert caught[True] > 0.6 * caught.total()
    # Each condition is stated somewhere, and where it is, keeping to it mostly matters.
    assert set(stated) == {*CONDITIONED, *DEVIANT} - {"rounded-then-clamped"}
    assert sum(neglected.values()) > 0.4 * (stated.total() - stated["signed-zero"])
