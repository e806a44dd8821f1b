"""The tester of the tester: green as it is, red and to the point as soon as the harness looks away."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import harness.compare
from harness import endpoints, fixtures, mutants, selftest
from harness.cells import platform_runner
from harness.compare import Comparison, compare
from harness.errors import PlatformCrashed, PlatformUnavailable, StreamError, UserError
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.hosts import LOCAL
from harness.platforms.pool import Child, Pool
from harness.results import Run
from harness.trace import TensorRecord, Trace
from harness.verdict import Expectation, Gate, Outcome, Severity, gate

PLAN = selftest.load_plan(fixtures.root() / "suites" / "selftest.toml")
pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def finished() -> Run:
    return selftest.run()


@pytest.fixture(scope="module")
def base() -> Iterator[selftest.Base]:
    """One encoder for the whole module; its child stays for the decoders that get as far as running."""
    with Pool() as pool:
        yield selftest.make_base(platform_runner(pool, selftest.BENCH))


def judged(base: selftest.Base) -> Gate:
    """The checks that need no back end but the encoder's."""
    verdicts = [*selftest.trace_verdicts(base.sent.trace, PLAN), *selftest.stream_verdicts(base)]
    return gate(verdicts, required=(), absent=(), must_diverge=())


def assert_red(base: selftest.Base, *names: str) -> None:
    found = judged(base)
    assert found.exit_code == 1
    for name in names:
        assert any(name in problem for problem in found.problems), (name, found.problems)


def test_it_is_green(finished: Run) -> None:
    assert (finished.gate.exit_code, finished.gate.problems) == (0, ())
    assert len(finished.verdicts) == len({str(verdict.case) for verdict in finished.verdicts}) > 50
    assert finished.seconds < 60


def test_every_kind_of_mistake_was_made(finished: Run) -> None:
    assert {verdict.case.precision for verdict in finished.verdicts} == {
        "flip-bit", "drop-tensor", "widen-dtype", "flatten-shape", "swap-channels", "swap-tensors", "unchanged",
        "regenerated-table", "other-specification", "damaged-stream", "wrong-decode", "dsp-profile", "exact-platform",
    }  # fmt: skip


def test_every_gated_tensor_had_every_mutant(finished: Run) -> None:
    seen = {(verdict.case.decoder, verdict.case.input) for verdict in finished.verdicts}
    for name in PLAN.must_gate:
        assert {(mutant, name) for mutant in mutants.MUTANTS} <= seen
    assert {("flip-bit", name) for name in PLAN.must_count} <= seen


def test_every_simulated_back_end_is_in_the_plan() -> None:
    """A new profile must be shown wrong, or right."""
    ours = [each for each in PLATFORMS if each.host is LOCAL]
    assert {each.name for each in ours if each.name.startswith("dsp-")} == {
        name for name in (*PLAN.dsp_controls, *PLAN.exact_platforms) if name.startswith("dsp-")
    }


def test_every_wrong_thing_is_named(finished: Run) -> None:
    for verdict in finished.verdicts:
        if verdict.case.precision in mutants.MUTANTS and verdict.expected is Expectation.DIVERGES:
            assert verdict.message.startswith(verdict.case.input)
        assert verdict.reason


def test_platforms_left_their_environment(finished: Run) -> None:
    assert set(finished.environments) == {*PLAN.dsp_controls, *PLAN.exact_platforms}
    assert all("runtime" in record for record in finished.environments.values())


def test_the_short_form_is_green_too(base: selftest.Base) -> None:
    assert judged(base).problems == ()


@pytest.mark.parametrize("name", PLAN.must_gate)
def test_a_tensor_that_the_scope_forgets_is_red(
    name: str, base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = tuple(tensor for tensor in harness.compare.SCOPES["hyperprior"] if tensor != name)
    monkeypatch.setitem(harness.compare.SCOPES, "hyperprior", scope)  # type: ignore[arg-type]
    assert_red(
        base,
        f"flip-bit/{name}",
        f"drop-tensor/{name}",
        f"widen-dtype/{name}",
        f"swap-channels/{name}",
    )


def test_a_scope_that_gates_the_picture_is_red(
    base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = (*harness.compare.SCOPES["hyperprior"], "picture")
    monkeypatch.setitem(harness.compare.SCOPES, "hyperprior", scope)  # type: ignore[arg-type]
    assert_red(base, "flip-bit/picture")


def as_int64(trace: Trace) -> Trace:
    tensors = (TensorRecord.of(t.name, t.array().astype(np.int64)) for t in trace.tensors)
    return Trace(tensors=tuple(tensors), environment={})


def flat(trace: Trace) -> Trace:
    return replace(trace, tensors=tuple(replace(t, shape=(t.values,)) for t in trace.tensors))


def shared(trace: Trace, other: Trace) -> Trace:
    names = {tensor.name for tensor in other.tensors}
    return replace(trace, tensors=tuple(tensor for tensor in trace.tensors if tensor.name in names))


def ignoring_dtype(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:
    return compare(as_int64(want), as_int64(got), gated)


def ignoring_shape(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:
    return compare(flat(want), flat(got), gated)


def ignoring_what_is_missing(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:
    names = {tensor.name for tensor in got.tensors}
    return compare(shared(want, got), shared(got, want), [name for name in gated if name in names])


def with_a_tolerance(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:
    """Equal where at most one element in twenty differs."""
    found = compare(want, got, gated)
    if all(t.mismatched <= t.values / 20 for t in found.tensors.values()):
        return compare(want, want, gated)
    return found


def naming_the_last(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:
    found = compare(want, got, gated)
    if found.first_gated is None:
        return found
    return replace(found, first_gated=replace(found.first_gated, tensor="picture"))


def blind(want: Trace, got: Trace, gated: tuple[str, ...]) -> Comparison:  # noqa: ARG001 - that is the mistake
    return compare(want, want, gated)


@pytest.mark.parametrize(
    ("broken", "caught"),
    [
        (ignoring_dtype, ["widen-dtype/indexes", "widen-dtype/y_hat"]),
        (ignoring_shape, ["flatten-shape/z_symbols", "flatten-shape/means_hat"]),
        (ignoring_what_is_missing, ["drop-tensor/indexes", "drop-tensor/y_symbols"]),
        (with_a_tolerance, ["flip-bit/indexes", "flip-bit/z_symbols", "flip-bit/picture"]),
        (naming_the_last, ["flip-bit/indexes", "swap-tensors/means_hat", "one-index-off/indexes"]),
        (blind, ["flip-bit/y_hat", "swap-channels/indexes", "forged-y/y_symbols"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_comparator_is_red(
    broken: Callable[..., Comparison],
    caught: list[str],
    base: selftest.Base,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selftest, "compare", broken)
    assert_red(base, *caught)


@pytest.mark.parametrize("constant", [Outcome.IDENTICAL, Outcome.DIVERGED])
def test_a_verdict_that_is_always_the_same_is_red(
    constant: Outcome, base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "judge", lambda _, *, decodable: (constant, Severity.ROUND_OFF))  # noqa: ARG005
    assert_red(base, "flip-bit/indexes" if constant is Outcome.IDENTICAL else "unchanged/")


def test_a_decoder_that_takes_any_stream_is_red(
    base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "check_specification", lambda *_, **__: None)
    assert_red(
        base,
        "scale-table-ulp",
        "y-cdf-entry",
        "z-cdf-entry",
        "w4a8",
        "fp32",
        "one-weight-off",
        "other-quality",
    )


def test_a_refusal_that_names_nothing_is_red(
    base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> endpoints.Decoded:
        raise StreamError("no")

    made, stream = base.made, b""
    monkeypatch.setattr(endpoints, "decode", refuse)
    monkeypatch.setattr(selftest, "unpack", lambda data: data)
    case = next(selftest.trace_verdicts(base.sent.trace, PLAN)).case
    verdict = selftest.refused(case, made, stream, base.run, "tables")
    assert (verdict.outcome, verdict.as_expected) == (Outcome.IDENTICAL, False)
    assert "tables is not named" in verdict.message


def test_a_decoder_that_ignores_its_hashes_is_red(
    base: selftest.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = endpoints.decode
    monkeypatch.setattr(endpoints, "decode", lambda *given: replace(real(*given), problem=""))
    assert_red(base, "forged-y", "one-index-off")


def test_a_decoder_that_is_wrong_on_good_streams_is_red(base: selftest.Base) -> None:
    def wrong(network: str, artifact: Artifact, feeds: endpoints.Arrays) -> endpoints.Arrays:
        outputs = dict(base.run(network, artifact, feeds))
        if "means_hat" in outputs:
            outputs["means_hat"] = np.roll(outputs["means_hat"], 1, axis=3)
        return outputs

    assert_red(replace(base, run=wrong), "unchanged/")


def swapped(plan: selftest.Plan, control: str, exact: str) -> selftest.Plan:
    return replace(plan, dsp_controls=(control,), exact_platforms=(exact,))


def test_a_wrong_back_end_that_is_right_and_a_right_one_that_is_wrong_are_red() -> None:
    finished = selftest.check(swapped(PLAN, "dsp-exact32", "dsp-floor"))
    assert finished.gate.exit_code == 1
    problems = " ".join(finished.gate.problems)
    assert "reference+dsp-exact32/" in problems
    assert "reference+dsp-floor/" in problems


def test_a_back_end_that_crashes_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Child.run

    def run(child: Child, artifact: str, onnx_model: bytes, feeds: list[TensorRecord]) -> Trace:
        if child.environment()["platform"] == "dsp-floor":
            raise PlatformCrashed("the process ended with -11")
        return real(child, artifact, onnx_model, feeds)

    monkeypatch.setattr(Child, "run", run)
    finished = selftest.check(swapped(PLAN, "dsp-floor", "ort-cpu"))
    assert finished.gate.exit_code == 1
    assert any("dsp-floor" in problem for problem in finished.gate.problems)


def test_a_back_end_that_is_not_here_is_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def environment() -> Mapping[str, str]:
        raise PlatformUnavailable("dsp-floor", "no numpy", "pip install numpy")

    real = Pool.child

    def child(pool: Pool, name: str) -> Child:
        found = real(pool, name)
        if name == "dsp-floor":
            monkeypatch.setattr(found, "environment", environment)
        return found

    monkeypatch.setattr(Pool, "child", child)
    assert selftest.check(swapped(PLAN, "dsp-floor", "ort-cpu")).gate.exit_code == 3


GOOD = (fixtures.root() / "suites" / "selftest.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "must_fix = []\n",
        GOOD.replace("must_gate", "must_gates"),
        GOOD.replace("summary", "title"),
        "",
        "summary = [",
        GOOD.replace('must_count = ["scales_hat", "x_hat", "picture"]', "must_count = []"),
        GOOD.replace('must_count = ["scales_hat", "x_hat", "picture"]', "must_count = [1]"),
        GOOD.replace('must_count = ["scales_hat", "x_hat", "picture"]', 'must_count = "x_hat"'),
    ],
)
def test_a_plan_is_read_strictly(text: str, tmp_path: Path) -> None:
    (tmp_path / "selftest.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        selftest.load_plan(tmp_path / "selftest.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["must_gate", "must_count"])
def test_a_plan_that_forgets_a_tensor_is_refused(field: str, base: selftest.Base) -> None:
    plan = replace(PLAN, **{field: getattr(PLAN, field)[1:]})
    with pytest.raises(UserError, match="must place every recorded tensor"):
        list(selftest.trace_verdicts(base.sent.trace, plan))


def test_a_plan_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none"):
        selftest.load_plan(tmp_path / "none")


def test_one_flipped_bit_is_one_flipped_bit(base: selftest.Base) -> None:
    for name in (tensor.name for tensor in base.sent.trace.tensors):
        before, after = (
            base.sent.trace[name].data,
            mutants.flip_bit(base.sent.trace, name)[name].data,
        )
        assert sum((a ^ b).bit_count() for a, b in zip(before, after, strict=True)) == 1
