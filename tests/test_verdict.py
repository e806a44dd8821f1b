"""From a comparison to an exit code: every outcome, every severity, and a gate that cannot be green by accident."""

from collections.abc import Mapping

import pytest

from harness.case import Case
from harness.compare import Comparison, Divergence, TensorComparison
from harness.verdict import Expectation, Outcome, Severity, Verdict, gate, judge

GATED = ("z_symbols", "means_hat", "indexes", "y_symbols", "y_hat")
ORDER = (
    "z_symbols",
    "scales_hat",
    "means_hat",
    "indexes",
    "y_symbols",
    "y_hat",
    "x_hat",
    "picture",
)


def case(precision: str = "w8a8", encoder: str = "ort-cpu", decoder: str = "torch") -> Case:
    return Case(codec="c", quality=1, precision=precision, scope="hyperprior", lowering="l", encoder=encoder,
                decoder=decoder, input="i")  # fmt: skip


def comparison(mismatched: Mapping[str, int]) -> Comparison:
    found = [
        Divergence(tensor=name, kind="value", gated=name in GATED, index=(0,), expected="0", actual="1",
                   mismatched=mismatched[name], values=10, identical_before=0)
        for name in ORDER if name in mismatched
    ]  # fmt: skip
    return Comparison(
        tensors={
            name: TensorComparison(
                values=10, bytes=40, mismatched=mismatched.get(name, 0), gated=name in GATED
            )
            for name in ORDER
        },
        first=found[0] if found else None,
        first_gated=next((d for d in found if d.gated), None),
    )


def verdict(
    outcome: Outcome,
    expected: Expectation = Expectation.IDENTICAL,
    at: Case | None = None,
    message: str = "",
) -> Verdict:
    return Verdict(
        case=at or case(),
        outcome=outcome,
        severity=Severity.NONE,
        expected=expected,
        reason="",
        message=message,
    )


@pytest.mark.parametrize(
    ("differ", "decodable", "outcome", "severity"),
    [
        ((), True, Outcome.IDENTICAL, Severity.NONE),
        (("x_hat",), True, Outcome.IDENTICAL, Severity.ROUND_OFF),
        (("scales_hat", "x_hat", "picture"), True, Outcome.IDENTICAL, Severity.ROUND_OFF),
        (("means_hat", "y_hat"), True, Outcome.DIVERGED, Severity.MEAN),
        (("y_hat",), True, Outcome.DIVERGED, Severity.MEAN),
        (("indexes",), True, Outcome.DIVERGED, Severity.INDEX),
        (("means_hat", "indexes"), True, Outcome.DIVERGED, Severity.INDEX),
        (("indexes", "y_symbols", "y_hat"), True, Outcome.DIVERGED, Severity.DESYNC),
        (("z_symbols",), True, Outcome.DIVERGED, Severity.DESYNC),
        (("indexes", "y_symbols", "y_hat"), False, Outcome.UNDECODABLE, Severity.DESYNC),
        (("indexes",), False, Outcome.UNDECODABLE, Severity.INDEX),
        ((), False, Outcome.UNDECODABLE, Severity.NONE),
    ],
)
def test_a_comparison_has_one_outcome_and_severity(
    differ: tuple[str, ...], decodable: bool, outcome: Outcome, severity: Severity
) -> None:
    assert judge(comparison(dict.fromkeys(differ, 3)), decodable=decodable) == (outcome, severity)


def test_a_tensor_without_elements_can_be_missing_too() -> None:
    assert judge(comparison({"means_hat": 0}), decodable=True) == (Outcome.DIVERGED, Severity.MEAN)


def test_exactly_one_outcome_is_good() -> None:
    assert [outcome for outcome in Outcome if outcome.ok] == [Outcome.IDENTICAL]
    assert {o for o in Outcome if o.ran} == {
        Outcome.IDENTICAL,
        Outcome.DIVERGED,
        Outcome.UNDECODABLE,
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_expectations(outcome: Outcome) -> None:
    diverged = outcome in {Outcome.DIVERGED, Outcome.UNDECODABLE}
    assert verdict(outcome, Expectation.IDENTICAL).as_expected is outcome.ok
    assert verdict(outcome, Expectation.DIVERGES).as_expected is diverged
    assert verdict(outcome, Expectation.INFORMATIONAL).as_expected is outcome.ran


def run(*verdicts: Verdict, required: tuple[str, ...] = (), absent: tuple[str, ...] = (),
        must_diverge: tuple[str, ...] = ()) -> tuple[int, str]:  # fmt: skip
    found = gate(verdicts, required=required, absent=absent, must_diverge=must_diverge)
    assert found.green is (found.exit_code == 0) is (not found.problems)
    return found.exit_code, "; ".join(found.problems)


GOOD = verdict(Outcome.IDENTICAL)
CONTROL = verdict(Outcome.DIVERGED, Expectation.INFORMATIONAL, case("fp32"))


def test_a_good_run_is_green() -> None:
    assert run(GOOD, CONTROL, required=("ort-cpu", "torch"), must_diverge=("fp32",)) == (0, "")


@pytest.mark.parametrize(
    "outcome",
    [o for o in Outcome if o not in {Outcome.IDENTICAL, Outcome.FELL_BACK, Outcome.UNAVAILABLE}],
)
def test_a_claim_that_fails_is_1_and_named(outcome: Outcome) -> None:
    code, problems = run(GOOD, verdict(outcome))
    assert code == 1
    assert str(case()) in problems
    assert outcome.value in problems


def test_an_expected_divergence_that_turns_identical_is_1() -> None:
    assert run(verdict(Outcome.IDENTICAL, Expectation.DIVERGES))[0] == 1


def test_a_control_that_never_diverges_is_1() -> None:
    same = verdict(Outcome.IDENTICAL, Expectation.INFORMATIONAL, case("fp32"))
    code, problems = run(GOOD, same, must_diverge=("fp32",))
    assert code == 1
    assert "control fp32 never diverged" in problems
    assert run(GOOD, same, CONTROL, must_diverge=("fp32",))[0] == 0


def test_a_crashed_control_is_no_divergence() -> None:
    crashed = verdict(Outcome.CRASHED, Expectation.INFORMATIONAL, case("fp32"))
    assert run(GOOD, crashed, must_diverge=("fp32",))[0] == 1


def test_a_required_platform_that_is_absent_is_3() -> None:
    code, problems = run(GOOD, required=("ort-cpu", "torch-cuda"), absent=("torch-cuda",))
    assert code == 3
    assert "torch-cuda" in problems
    assert run(GOOD, required=("ort-cpu",), absent=("torch-cuda",))[0] == 0


@pytest.mark.parametrize("outcome", [Outcome.FELL_BACK, Outcome.UNAVAILABLE])
def test_a_required_platform_that_did_not_run_where_asked_is_3(outcome: Outcome) -> None:
    lost = verdict(outcome, at=case(decoder="ort-cuda"), message="ran on the CPU")
    code, problems = run(GOOD, lost, required=("ort-cuda",))
    assert code == 3
    assert "ran on the CPU" in problems
    assert run(GOOD, lost)[0] == 0


def test_wrong_weighs_more_than_missing() -> None:
    code, problems = run(verdict(Outcome.DIVERGED), required=("x",), absent=("x",))
    assert code == 1
    assert "required platform x" in problems


@pytest.mark.parametrize(
    "verdicts",
    [(), (verdict(Outcome.UNAVAILABLE),), (verdict(Outcome.CRASHED), verdict(Outcome.UNSUPPORTED))],
)
def test_nothing_ran_is_3(verdicts: tuple[Verdict, ...]) -> None:
    code, problems = run(*verdicts)
    assert code == 3
    assert "no cell ran" in problems
