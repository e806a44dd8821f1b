"""The whole order, on stub platforms in this process; a few cells on real ones in children of their own."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import cells, errors, fixtures, pipeline, specimens
from harness import suite as suites
from harness.build import Build, build
from harness.calibrate import observe
from harness.case import Case, rng
from harness.compare import SCOPES
from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    StreamError,
    Unsupported,
    UserError,
)
from harness.executors.local import LocalExecutor
from harness.images import read_image
from harness.library import Library
from harness.platforms.base import PLATFORMS, Session
from harness.platforms.pool import Pool
from harness.report import to_results
from harness.report.json_results import dumps, without_timings
from harness.report.junit import to_junit
from harness.results import Run
from harness.suite import Block, Expect, Suite
from harness.trace import TensorRecord, Trace
from harness.verdict import Expectation, Outcome, Severity, Verdict

U8 = NDArray[np.uint8]
TINY = "selftest/q0"
A, B, DSP = "ort-cpu", "ort-cpu-noopt", "dsp-exact32"
OTHER_ARITHMETIC = "dsp-floor"


pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def tiny(precision: str, lowering: str | None = None, scope: str = "hyperprior") -> Build:
    codec = specimens.tiny_codec()
    y_hat = rng("pipeline/y_hat").integers(-20, 21, (1, specimens.M, 6, 6)).astype(np.float32)
    calibrations = {
        "h_s": observe(codec.networks["h_s"], [specimens.tiny_hyper_latent()]),
        "g_s": observe(codec.networks["g_s"], [y_hat]),
    }
    return build(codec, precision, calibrations, lowering=lowering, scope=scope)


def tiny_build(
    name: str, precision: str, lowering: str | None = None, *, scope: str = "hyperprior"
) -> Build:
    assert name == TINY
    return tiny(precision, lowering, scope)


def noise(name: str) -> U8:
    return rng(f"pipeline/{name}").integers(0, 256, (70, 130, 3), dtype=np.uint8)


PICTURES: Mapping[str, Callable[[], U8]] = {
    name: cache(lambda name=name: noise(name)) for name in ("noise", "other")
}
INPUTS = cells.Inputs(build=tiny_build, pictures=PICTURES)


class Stub:
    """A platform in this process: counts its runs, and may change or refuse them."""

    def __init__(self, name: str, pool: "StubPool") -> None:
        self._engine = PLATFORMS[name].open()
        self._name, self._pool = name, pool
        self._sessions: dict[str, Session] = {}

    def environment(self) -> Mapping[str, str]:
        if self._name in self._pool.absent:
            raise PlatformUnavailable(self._name, "not here", "go there")
        return {"platform": self._name, **self._engine.environment()}

    def run(self, artifact: str, onnx_model: bytes, feeds: Sequence[TensorRecord]) -> Trace:
        self._pool.runs[self._name] += 1
        error = self._pool.errors.get(self._name)
        if error is not None:
            raise error
        if artifact not in self._sessions:
            self._sessions[artifact] = self._engine.load(onnx_model)
        outputs = self._sessions[artifact].run({feed.name: feed.array() for feed in feeds})
        change = self._pool.changes.get(self._name, {})
        records = [
            TensorRecord.of(name, np.asarray(change.get(name, np.asarray)(array), array.dtype))
            for name, array in outputs.items()
        ]
        return Trace(tensors=tuple(records), environment={})


class StubPool(Pool):
    def __init__(
        self,
        *,
        absent: Sequence[str] = (),
        errors: Mapping[str, BaseException] | None = None,
        changes: Mapping[str, Mapping[str, Callable[..., object]]] | None = None,
    ) -> None:
        super().__init__()
        self.absent, self.errors, self.changes = absent, errors or {}, changes or {}
        self.runs: Counter[str] = Counter()
        self.stubs: dict[str, Stub] = {}

    def child(self, platform: str) -> Stub:  # type: ignore[override]
        if platform not in self.stubs:
            self.stubs[platform] = Stub(platform, self)
        return self.stubs[platform]


def suite(
    *required: str,
    precisions: Sequence[str] = ("fp32", "w8a8"),
    images: Sequence[str] = ("noise",),
    optional: Sequence[str] = (),
    must_diverge: Sequence[str] = (),
    scope: str = "hyperprior",
) -> Suite:
    return Suite(
        name="trial",
        summary="",
        scope=scope,
        required=required,
        optional=tuple(optional),
        must_diverge=tuple(must_diverge),
        blocks=(
            Block(
                codecs=("*",),
                precisions=tuple(precisions),
                images=tuple(images),
                encoders=("*",),
                decoders=("*",),
            ),
        ),
        expectations={
            "fp32": Expect(outcome=Expectation.INFORMATIONAL, reason="floats"),
            "w8a8": Expect(outcome=Expectation.IDENTICAL, reason="integers"),
        },
    )


def execute(
    plan: Suite,
    pool: Pool,
    *,
    inputs: cells.Inputs = INPUTS,
    codecs: Sequence[str] = (TINY,),
    pattern: str = "*",
    report: Callable[[pipeline.Progress], None] = lambda _: None,
    finished: Callable[[Sequence[Verdict]], None] = lambda _: None,
) -> Run:
    executor = LocalExecutor(pool, jobs=1)
    environments, ready = pipeline.probe(plan, executor)
    cases = plan.cases(
        codecs=codecs, images=list(inputs.pictures), platforms=ready, pattern=pattern
    )
    return pipeline.run_suite(
        plan,
        inputs,
        cases,
        executor,
        environments,
        controls=pattern == "*",
        report=report,
        finished=finished,
    )


def verdict(run: Run, pattern: str) -> Verdict:
    (one,) = [v for v in run.verdicts if v.case.matches(pattern)]
    return one


@pytest.fixture(scope="module")
def good() -> tuple[Run, StubPool, list[pipeline.Progress], list[Verdict]]:
    pool = StubPool()
    progress: list[pipeline.Progress] = []
    finished: list[Verdict] = []
    plan = suite(A, B, DSP, images=["noise", "other"])
    run = execute(plan, pool, report=progress.append, finished=finished.extend)
    return run, pool, progress, finished


def test_every_cell_has_a_verdict(good: tuple[Run, StubPool, list, list]) -> None:
    run, _, progress, finished = good
    assert len(run.verdicts) == 2 * 2 * 9
    assert [str(v.case) for v in run.verdicts] == sorted(str(v.case) for v in run.verdicts)
    assert run.gate.green, run.gate.problems
    assert not run.interrupted
    assert {v.case for v in finished} == {v.case for v in run.verdicts}
    assert [(p.done, p.total) for p in progress] == [(18, 36), (36, 36)]
    assert set(run.environments) == {A, B, DSP}
    assert run.kernels.platforms == 3


def test_the_claim_holds_on_every_pair(good: tuple[Run, StubPool, list, list]) -> None:
    for v in good[0].verdicts:
        if v.case.precision == "w8a8":
            assert v.outcome is Outcome.IDENTICAL
            assert v.severity in {Severity.NONE, Severity.ROUND_OFF}
        assert v.comparison is not None
        gated = {name for name, counts in v.comparison.tensors.items() if counts.gated}
        assert gated == set(SCOPES["hyperprior"])
        assert v.bpp is not None
        assert v.bpp > 0
        assert v.psnr is not None


def test_p_platforms_cost_p_runs_and_not_their_square(
    good: tuple[Run, StubPool, list, list],
) -> None:
    """Each (platform, artifact, feeds) runs once, whatever the number of cells that need it."""
    alone, three = StubPool(), StubPool()
    execute(suite(A, precisions=["w8a8"]), alone)
    assert alone.runs == {A: 4}
    execute(suite(A, B, DSP, precisions=["w8a8"]), three)
    # Nine cells; whether both make the same symbols of one picture depends on the machine.
    assert 4 <= three.runs[A] <= 6
    assert 4 <= three.runs[B] <= 6
    assert 1 <= three.runs[DSP] <= 2
    # Two precisions, two pictures: again for each distinct stream of floats, at most.
    assert good[1].runs.total() <= 2 * (three.runs.total() + 3 * 3)


def test_one_claimed_cell_is_run_once_and_has_one_panel() -> None:
    pool = StubPool()
    run = execute(suite(A, precisions=["w8a8"]), pool)
    assert [panel.case for panel in run.panels] == [run.verdicts[0].case]
    assert len(to_results(run)["figures"]) == 1


def test_borrowed_networks_are_said(good: tuple[Run, StubPool, list, list]) -> None:
    assert verdict(good[0], f"*/w8a8/*/{A}+{DSP}/noise").borrowed == (f"{DSP}: g_s from {A}",)
    assert verdict(good[0], f"*/w8a8/*/{DSP}+{B}/noise").borrowed == tuple(
        f"{DSP}: {network} from {A}" for network in ("g_a", "h_a", "g_s")
    )
    assert verdict(good[0], f"*/w8a8/*/{A}+{B}/noise").borrowed == ()


def test_two_runs_write_the_same_results(good: tuple[Run, StubPool, list, list]) -> None:
    again = execute(suite(A, B, DSP, images=["noise", "other"]), StubPool())
    first, second = (dumps(without_timings(to_results(run))).encode() for run in (good[0], again))
    assert first == second
    assert len(json.loads(first)["cells"]) == 36


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PlatformUnavailable(B, "gone", "come back"), Outcome.UNAVAILABLE),
        (FellBack("ran on the CPU"), Outcome.FELL_BACK),
        (Unsupported("no such operator"), Outcome.UNSUPPORTED),
        (PlatformCrashed("signal 11"), Outcome.CRASHED),
        (PlatformTimedOut("300 s"), Outcome.TIMED_OUT),
        (StreamError("noise"), Outcome.UNDECODABLE),
    ],
    ids=lambda value: getattr(value, "value", type(value).__name__),
)
def test_every_error_of_a_platform_is_its_outcome(error: HarnessError, outcome: Outcome) -> None:
    pool = StubPool(errors={B: error})
    run = execute(suite(A, B, precisions=["w8a8"]), pool)
    assert len(run.verdicts) == 4
    assert verdict(run, f"*/{A}+{A}/*").outcome is Outcome.IDENTICAL
    for pair in (f"{A}+{B}", f"{B}+{A}", f"{B}+{B}"):
        found = verdict(run, f"*/{pair}/*")
        assert found.outcome is outcome
        assert found.message == str(error)
        assert found.comparison is None
        assert not found.as_expected
    lost = outcome in {Outcome.UNAVAILABLE, Outcome.FELL_BACK}
    assert run.gate.exit_code == (3 if lost else 1)
    assert any(f"{A}+{B}" in problem for problem in run.gate.problems)
    # What failed once is not tried for every cell: once to encode, once to decode.
    assert pool.runs[B] == 2


def test_outcomes_cover_every_error_of_ours() -> None:
    ours = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, HarnessError)}
    assert set(cells.OUTCOMES) == ours - {HarnessError, UserError}


def test_all_broken_is_nothing_ran() -> None:
    run = execute(suite(A, precisions=["w8a8"]), StubPool(errors={A: PlatformCrashed("dead")}))
    assert run.gate.exit_code == 3
    assert "no cell ran" in run.gate.problems


def test_a_bug_of_ours_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        execute(suite(A, precisions=["w8a8"]), StubPool(errors={A: ZeroDivisionError()}))


def test_a_wrong_specification_ends_the_run_in_one_line() -> None:
    with pytest.raises(UserError, match="no precision 'w8a99'"):
        execute(suite(A, precisions=["w8a99"]), StubPool())


def test_an_interrupt_keeps_what_is_finished() -> None:
    kept: list[Verdict] = []

    def stop(_: pipeline.Progress) -> None:
        raise KeyboardInterrupt

    plan = suite(A, precisions=["w8a8"], images=["noise", "other"], must_diverge=["fp32"])
    run = execute(plan, StubPool(), report=stop, finished=kept.extend)
    assert run.interrupted
    assert 1 <= len(run.verdicts) < 3
    assert list(run.verdicts) == kept[: len(run.verdicts)]
    assert run.gate.green  # an unfinished run owes no divergence
    results = to_results(run)
    assert results["summary"]["interrupted"]
    assert "gate" in failed(to_junit(results))


def test_a_required_platform_that_is_missing_is_3() -> None:
    run = execute(suite(A, B, precisions=["w8a8"]), StubPool(absent=[B]))
    assert [v.outcome for v in run.verdicts] == [Outcome.IDENTICAL]
    assert run.gate.exit_code == 3
    assert run.gate.problems == (f"required platform {B} did not run",)
    assert run.environments[B] == {"unavailable": "not here", "remedy": "go there"}


def test_an_optional_platform_may_be_missing_and_is_said() -> None:
    run = execute(suite(A, precisions=["w8a8"], optional=[B]), StubPool(absent=[B]))
    assert run.gate.green
    assert run.environments[B]["unavailable"] == "not here"


def test_a_platform_that_cannot_even_start_is_unavailable() -> None:
    class Broken(StubPool):
        def child(self, platform: str) -> Stub:
            if platform == B:
                raise PlatformCrashed("the process ended with -4")
            return super().child(platform)

    run = execute(suite(A, B, precisions=["w8a8"]), Broken())
    assert run.gate.exit_code == 3
    assert "ended with -4" in run.environments[B]["unavailable"]


def test_an_unknown_platform_is_a_users_mistake() -> None:
    with Pool() as pool, pytest.raises(UserError, match="no platform named 'vaporware'"):
        pipeline.probe(suite("vaporware", A), LocalExecutor(pool, 1))


def test_a_control_that_never_diverges_is_red() -> None:
    plan = suite(A, must_diverge=["fp32"])
    run = execute(plan, StubPool())
    assert run.gate.exit_code == 1
    assert run.gate.problems == ("control fp32 never diverged: this run proves nothing about it",)
    # A few chosen cells cannot promise that.
    assert execute(plan, StubPool(), pattern="*/fp32/*").gate.green


def test_a_control_that_diverges_is_what_was_wanted_and_has_its_picture() -> None:
    coarse = {B: {"scales_hat": lambda s: s * np.float32(1.5)}}
    plan = suite(A, B, must_diverge=["fp32"])
    run = execute(plan, StubPool(changes=coarse))
    assert run.gate.green, run.gate.problems
    broken = verdict(run, f"*/fp32/*/{A}+{B}/*")
    assert (broken.outcome, broken.severity) == (Outcome.UNDECODABLE, Severity.DESYNC)
    assert broken.message
    assert run.kernels.float_results == 2
    # The broken panel, and its companion at the precision that holds.
    assert {panel.case.precision for panel in run.panels} == {"fp32", "w8a8"}
    panel = next(p for p in run.panels if p.case.precision == "fp32")
    assert panel.flipped_indexes > 0
    assert 0 <= panel.before < panel.symbols
    assert panel.first_at is not None
    assert panel.original.shape == panel.decoder_picture.shape


def test_round_off_of_an_ungated_tensor_is_counted_not_gated() -> None:
    nudged = {B: {"x_hat": lambda x: np.nextafter(x, np.float32(9))}}
    run = execute(suite(A, B, precisions=["w8a8"]), StubPool(changes=nudged))
    assert run.gate.green
    found = verdict(run, f"*/{A}+{B}/*")
    assert found.severity is Severity.ROUND_OFF
    assert found.first_divergence is not None
    assert found.first_divergence.tensor == "x_hat"


def test_the_decoder_scope_gates_the_picture() -> None:
    darker = {B: {"x_hat": lambda x: x - np.float32(0.1)}}
    chosen = suite(A, B, precisions=["fp32"], scope="decoder")
    found = verdict(execute(chosen, StubPool(changes=darker)), f"*/{A}+{B}/*")
    assert found.outcome is Outcome.DIVERGED
    assert found.comparison is not None
    picture = found.comparison.tensors["picture"]
    assert picture.gated
    assert picture.mismatched > 0


def test_an_integer_decoder_checks_its_picture_against_the_stream() -> None:
    """In scope decoder the stream carries the picture's hash: a decoder knows by itself that one pixel is off."""
    chosen = suite(A, B, precisions=["w8a8"], scope="decoder")
    right = verdict(execute(chosen, StubPool()), f"*/{A}+{B}/*")
    assert right.outcome is Outcome.IDENTICAL

    def one_pixel(picture: np.ndarray) -> np.ndarray:
        changed = picture.copy()
        changed.flat[0] ^= 1
        return changed

    run = execute(chosen, StubPool(changes={B: {"picture": one_pixel}}))
    found = verdict(run, f"*/{A}+{B}/*")
    assert found.outcome is Outcome.UNDECODABLE
    assert "the picture does not match the stream's hash" in found.message
    assert run.gate.exit_code == 1


def test_a_wrong_mean_diverges_and_a_wrong_index_out_of_range_is_undecodable() -> None:
    wrong = {B: {"means_hat": lambda m: m + 1}, DSP: {"indexes": lambda i: i + 100}}
    run = execute(suite(A, B, DSP, precisions=["w8a8"]), StubPool(changes=wrong))
    mean = verdict(run, f"*/{A}+{B}/*")
    assert (mean.outcome, mean.severity) == (Outcome.DIVERGED, Severity.MEAN)
    index = verdict(run, f"*/{A}+{DSP}/*")
    assert index.outcome is Outcome.UNDECODABLE
    assert "rows" in index.message


def failed(junit: str) -> set[str]:
    return {
        case.attrib["name"]
        for case in ET.fromstring(junit).iter("testcase")
        if case.find("failure") is not None
    }


@pytest.mark.parametrize("mutant", [OTHER_ARITHMETIC, "dsp-double-rounding"])
def test_a_platform_of_other_arithmetic_turns_the_run_red(mutant: str) -> None:
    plan = suite(A, DSP, precisions=["w8a8"]).with_platforms([mutant])
    run = execute(plan, StubPool())
    assert run.gate.exit_code == 1
    wrong = {str(v.case) for v in run.verdicts if not v.outcome.ok}
    assert f"selftest/q0/w8a8/hyperprior/mmi-u8u8/{A}+{mutant}/noise" in wrong
    assert all(mutant in name for name in wrong)
    assert failed(to_junit(to_results(run))) == {*wrong, "gate"}


def test_the_runner_borrows_and_remembers() -> None:
    pool = StubPool()
    run = cells.platform_runner(pool, DSP)
    made = tiny("w8a8")
    feeds = {"y_hat": np.zeros((1, specimens.M, 4, 4), np.float32)}
    for _ in range(3):
        assert run("g_s", made.artifacts["g_s"], feeds)["x_hat"].shape == (1, 3, 64, 64)
    assert pool.runs == {A: 1}


# Real platforms, a codec that ships.


@pytest.fixture(scope="module")
def shipped() -> tuple[str, cells.Inputs]:
    library = Library()
    names = library.names()
    if not names:
        pytest.skip("no codec ships yet: make fixtures")
    corner = read_image(fixtures.root() / "images" / "astronaut.png")[100:164, 200:264]
    return names[0], cells.Inputs(build=library.build, pictures={"corner": lambda: corner})


@pytest.mark.platform
def test_a_shipped_codec_crosses_real_platforms(shipped: tuple[str, cells.Inputs]) -> None:
    name, inputs = shipped
    plan = suite(A, B, images=["corner"]).with_platforms([DSP, OTHER_ARITHMETIC])
    with Pool(120) as pool:
        run = execute(plan, pool, inputs=inputs, codecs=[name])
    assert len(run.verdicts) == 2 * 4 * 4
    for v in run.verdicts:
        right = OTHER_ARITHMETIC not in {v.case.encoder, v.case.decoder}
        if v.case.precision == "w8a8" and right:
            assert v.outcome is Outcome.IDENTICAL, str(v.case)
        assert v.outcome.ran, f"{v.case}: {v.message}"
    assert verdict(run, f"*/w8a8/*/{A}+{OTHER_ARITHMETIC}/*").outcome in {
        Outcome.DIVERGED,
        Outcome.UNDECODABLE,
    }
    assert run.gate.exit_code == 1
    assert run.platform_seconds > 0
    junit = failed(to_junit(to_results(run)))
    family, quality = name.split("/q")
    case = Case(
        codec=family,
        quality=int(quality),
        precision="w8a8",
        scope="hyperprior",
        lowering="mmi-u8u8",
        encoder=A,
        decoder=OTHER_ARITHMETIC,
        input="corner",
    )
    assert str(case) in junit


@pytest.mark.platform
def test_a_platform_that_is_not_here_is_probed_with_its_remedy() -> None:
    plan = suite(A, optional=["ort-cuda"])
    with Pool(120) as pool:
        environments, ready = pipeline.probe(plan, LocalExecutor(pool, 1))
    if "ort-cuda" in ready:
        pytest.skip("this machine has CUDA")
    assert ready == [A]
    assert "onnxruntime-gpu" in environments["ort-cuda"]["remedy"]


def test_the_default_suite_has_controls_and_claims() -> None:
    default = suites.load("default")
    assert default.expectations["w8a8"].outcome is Expectation.IDENTICAL
    assert set(default.must_diverge) == {"fp32", "w8a8-qdq"}
