"""Expectations by the linter's word, and the gate that goes red where it does not cover a divergence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness import linted, pipeline
from harness.case import Case
from harness.covered import ORDER_DEPENDENT, Judgement
from harness.errors import FellBack, HarnessError, Unsupported
from harness.executors.local import LocalExecutor
from harness.results import Run
from harness.suite import INTEGER_ONLY, SAME_PLATFORM, Expect
from harness.verdict import Expectation, Outcome
from tests.test_pipeline import INPUTS, TINY, A, B, StubPool, suite, tiny_build

FLOATS = Expect(outcome=Expectation.INFORMATIONAL, reason="floats")
VNNI = {"runtime": "onnxruntime 1", "machine": "x86_64", "cpu_flags": "avx2 avx512_vnni"}
AVX2 = {**VNNI, "cpu_flags": "avx2"}
FLOOR = {"runtime": "crosscheck simulated DSP", "rounding": "floor"}
PAIRS = {"pair-saturation": ("onnxruntime", "torch")}


def case(precision: str = "w8a8", lowering: str = "mmi-u8s8", decoder: str = "b") -> Case:
    codec, _, quality = TINY.rpartition("/q")
    return Case(
        codec=codec, quality=int(quality), precision=precision, scope="hyperprior", lowering=lowering,
        encoder="a", decoder=decoder, input="x",
    )  # fmt: skip


def test_the_linter_judges_each_variant_once_and_names_who_deviates() -> None:
    asked = []

    def build(name: str, precision: str, lowering: str, *, scope: str) -> object:
        asked.append((name, precision, lowering, scope))
        return tiny_build(name, precision, lowering, scope=scope)

    cases = [case(), case(decoder="c"), case("fp32", "float32")]
    found = linted.judgements(cases, build)  # type: ignore[arg-type]
    assert set(found) == {each.variant for each in cases}
    assert asked == [
        (TINY, "w8a8", "mmi-u8s8", "hyperprior"),
        (TINY, "fp32", "float32", "hyperprior"),
    ]
    assert found[case("fp32", "float32").variant].verdict == ORDER_DEPENDENT
    exact = found[case().variant]
    assert exact.verdict != ORDER_DEPENDENT
    assert exact.deviations["pair-saturation"] == ("onnxruntime", "torch")


@pytest.mark.parametrize(
    ("given", "decoder", "outcome", "says"),
    [
        (FLOATS, VNNI, Expectation.IDENTICAL, "integer-only"),
        (INTEGER_ONLY, AVX2, Expectation.INFORMATIONAL, "pair-saturation"),
        (INTEGER_ONLY, FLOOR, Expectation.INFORMATIONAL, "rounding floor"),
        (SAME_PLATFORM, AVX2, Expectation.IDENTICAL, "repeats its own bits"),
    ],
)
def test_exact_is_identical_but_for_known_deviations(
    given: Expect, decoder: Mapping[str, str], outcome: Expectation, says: str
) -> None:
    judged = {case().variant: Judgement(verdict="exact", deviations=PAIRS)}
    (found,) = linted.expectations({case(): given}, judged, {"a": VNNI, "b": decoder}).values()
    assert found.outcome is outcome
    assert says in found.reason


def test_what_is_order_dependent_keeps_what_the_suite_says() -> None:
    judged = {case().variant: Judgement(verdict=ORDER_DEPENDENT, deviations=PAIRS)}
    assert linted.expectations({case(): FLOATS}, judged, {}) == {case(): FLOATS}


def execute(pool: StubPool, precisions: Sequence[str] = ("w8a8",)) -> Run:
    plan = replace(suite(A, precisions=precisions, optional=[B]), linted=True, may_refuse=True)
    executor = LocalExecutor(pool, jobs=1)
    environments, ready = pipeline.probe(plan, executor)
    cases = plan.cases(codecs=[TINY], images=["noise"], platforms=ready)
    judged = linted.judgements(cases, INPUTS.build)
    return pipeline.run_suite(
        plan, INPUTS, linted.expectations(cases, judged, environments), executor, environments,
        controls=True, judgements=judged, report=lambda _: None, finished=lambda _: None,
    )  # fmt: skip


def test_the_gate_holds_platforms_to_the_linters_word() -> None:
    run = execute(StubPool(), ["fp32", "w8a8"])
    assert run.gate.green, run.gate.problems
    assert len(run.judgements) == 2


def test_a_divergence_that_no_rule_covers_turns_the_gate_red() -> None:
    run = execute(StubPool(changes={B: {"means_hat": lambda x: x + 1}}))
    assert run.gate.exit_code == 1
    assert [line for line in run.gate.problems if f"{A}+{B}" in line and "no rule" in line]


@pytest.mark.parametrize("error", [Unsupported("no such operator"), FellBack("ran on the CPU")])
def test_an_optional_platform_may_refuse_a_graph_where_the_suite_says_so(
    error: HarnessError,
) -> None:
    run = execute(StubPool(errors={B: error}))
    ended = {v.outcome for v in run.verdicts if v.case.decoder == B}
    assert ended <= {Outcome.UNSUPPORTED, Outcome.FELL_BACK}
    assert run.gate.green, run.gate.problems


def test_a_required_one_may_not() -> None:
    run = execute(StubPool(errors={A: Unsupported("no such operator")}))
    assert run.gate.exit_code == 1
    assert [line for line in run.gate.problems if f"{A}+{A}" in line]
