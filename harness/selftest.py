"""checkasm's self-test: deliberately wrong traces, tables, streams and back ends, each of which must be caught.

Every check ends in a verdict of the same code that judges real cells. Expected is that a wrong thing diverges *and*
that the harness names what was wrong: caught under another name counts as not caught. Needs no trained codec.
"""

import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness import endpoints, fixtures, reference, specimens
from harness.bitstream import pack, unpack
from harness.build import Build, build
from harness.calibrate import observe
from harness.calibration import Calibration
from harness.case import Case
from harness.cells import OUTCOMES, gated_tensors, platform_runner
from harness.compare import compare
from harness.endpoints import Encoded
from harness.errors import PlatformUnavailable, StreamError, UserError
from harness.lowerings.base import INTEGER, LOWERINGS, Source
from harness.mutants import (
    MUTANTS,
    damaged_streams,
    flip,
    flip_bit,
    one_index_off,
    other_codecs,
    other_tables,
    swap_tensors,
)
from harness.platforms.pool import Pool
from harness.results import Kernels, Run
from harness.trace import TensorRecord, Trace
from harness.verdict import Expectation, Outcome, Severity, Verdict, gate, judge

SCOPE, PRECISION, BENCH = "hyperprior", "w8a8", "ort-cpu"
JOBS = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The fields of selftest.toml: tensors to gate, tensors to count, back ends that are wrong and right."""

    must_gate: tuple[str, ...]
    must_count: tuple[str, ...]
    dsp_controls: tuple[str, ...]
    exact_platforms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Base:
    """A right encoder: its build, its stream with the trace behind it, and who ran it."""

    made: Build
    ranges: Calibration
    sent: Encoded
    run: endpoints.Run


def load_plan(path: Path) -> Plan:
    """Read selftest.toml; a key too many, too few, or without names is a UserError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"suite {path}: {type(error).__name__}: {error}") from error
    known = [field.name for field in fields(Plan)]
    if not isinstance(raw.pop("summary", None), str) or set(raw) != set(known):
        raise UserError(
            f"suite {path}: its keys must be summary, {', '.join(known)}; got {', '.join(sorted(raw))}"
        )
    for key, names in raw.items():
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) for name in names)
        ):
            raise UserError(f"suite {path}: {key} must be a list of names, got {names!r}")
    return Plan(**{key: tuple(names) for key, names in raw.items()})


def run() -> Run:
    """Check the harness as fixtures/suites/selftest.toml says."""
    return check(load_plan(fixtures.root() / "suites" / "selftest.toml"))


def check(plan: Plan) -> Run:
    """Every check of `plan`; red unless every wrong thing is caught and every right one passes."""
    began = time.perf_counter()
    platforms = (*plan.dsp_controls, *plan.exact_platforms)
    environments: dict[str, dict[str, str]] = {}
    with Pool() as pool:
        base = make_base(platform_runner(pool, BENCH))
        verdicts = [*trace_verdicts(base.sent.trace, plan), *stream_verdicts(base)]
        with ThreadPoolExecutor(JOBS) as executor:
            for found, verdict in executor.map(
                lambda name: platform_verdict(pool, name, plan), platforms
            ):
                environments[verdict.case.decoder] = found
                verdicts.append(verdict)
        seconds = pool.seconds
    absent = [name for name, found in environments.items() if "unavailable" in found]
    kernels = {
        found["integer_kernel"] for found in environments.values() if "integer_kernel" in found
    }
    return Run(
        suite="selftest",
        verdicts=tuple(sorted(verdicts, key=lambda v: str(v.case))),
        environments=environments,
        gate=gate(verdicts, required=platforms, absent=absent, must_diverge=()),
        panels=(),
        kernels=Kernels(
            float_results=0, integer_kernels=len(kernels), platforms=len(platforms) - len(absent)
        ),
        seconds=time.perf_counter() - began,
        platform_seconds=seconds,
    )


def make_base(run: endpoints.Run) -> Base:
    """Encode a small picture with the small codec, `run` computing its networks."""
    codec = specimens.tiny_codec()
    ranges = observe(codec.networks["h_s"], [specimens.tiny_hyper_latent()])
    made = build(codec, PRECISION, {"h_s": ranges})
    return Base(
        made=made,
        ranges=ranges,
        sent=endpoints.encode(made, specimens.tiny_picture(), run),
        run=run,
    )


def _case(kind: str, mutant: str, what: str) -> Case:
    return Case(
        codec="selftest",
        quality=0,
        precision=kind,
        scope=SCOPE,
        lowering=INTEGER,
        encoder="reference",
        decoder=mutant,
        input=what,
    )


def caught(
    case: Case, want: Trace, got: Trace, name: str, *, gated: Sequence[str], problem: str = ""
) -> Verdict:
    """The verdict on a wrong trace: diverged only if `name` is the first gated tensor that differs."""
    comparison = compare(want, got, gated)
    outcome, severity = judge(comparison, decodable=not problem)
    first = comparison.first_gated
    message = f"{problem}; {first}" if problem else str(first)
    if first is None or first.tensor != name:
        outcome, message = (
            Outcome.IDENTICAL,
            f"{name} is wrong, but the comparison names {first or 'no gated tensor'}",
        )
    return Verdict(
        case=case,
        outcome=outcome,
        severity=severity,
        expected=Expectation.DIVERGES,
        comparison=comparison,
        reason=f"{case.decoder}: {name} is wrong and must be named",
        message=message,
    )


def counted(case: Case, want: Trace, got: Trace, name: str) -> Verdict:
    """The verdict on one flipped bit outside of the scope: identical only if exactly that element is counted."""
    comparison = compare(want, got, gated_tensors(SCOPE, want))
    outcome, severity = judge(comparison, decodable=True)
    numbers = {
        key: tensor.mismatched for key, tensor in comparison.tensors.items() if tensor.mismatched
    }
    message = f"counted {numbers}, not gated"
    if numbers != {name: 1} or severity is not Severity.ROUND_OFF:
        outcome, message = (
            Outcome.DIVERGED,
            f"one element of {name} is wrong, but counted were {numbers}, {severity.value}",
        )
    return Verdict(
        case=case,
        outcome=outcome,
        severity=severity,
        expected=Expectation.IDENTICAL,
        comparison=comparison,
        reason=f"{name} is not in scope {SCOPE}: a flipped bit is counted, not gated",
        message=message,
    )


def refused(case: Case, made: Build, stream: bytes, run: endpoints.Run, name: str) -> Verdict:
    """The verdict on a stream that is not for this decoder: undecodable only if the refusal names `name`."""
    try:
        decoded = endpoints.decode(made, unpack(stream), run)
    except StreamError as error:
        outcome, message = Outcome.UNDECODABLE, str(error)
    else:
        outcome, message = (
            Outcome.IDENTICAL,
            f"decoded; {decoded.problem or 'no hash of the stream objected'}",
        )
    if not re.search(rf"\b{re.escape(name)}\b", message):
        outcome, message = Outcome.IDENTICAL, f"the {name} is not named: {message}"
    return Verdict(
        case=case,
        outcome=outcome,
        severity=Severity.NONE,
        expected=Expectation.DIVERGES,
        message=message,
        reason=f"{case.decoder}: the decoder must refuse the stream and name the {name}",
    )


def trace_verdicts(base: Trace, plan: Plan) -> Iterator[Verdict]:
    """Wrong traces of a right run: every tensor and every mutant."""
    recorded = {tensor.name for tensor in base.tensors}
    if {*plan.must_gate, *plan.must_count} != recorded:
        raise UserError(
            f"selftest.toml must place every recorded tensor: {', '.join(sorted(recorded))}"
        )
    gated = gated_tensors(SCOPE, base)
    for kind, mutant in MUTANTS.items():
        for name in plan.must_gate:
            yield caught(_case(kind, kind, name), base, mutant(base, name), name, gated=gated)
    for name in ("means_hat", "indexes", "y_symbols"):
        yield caught(
            _case("swap-tensors", "swap-tensors", name),
            base,
            swap_tensors(base, name),
            name,
            gated=gated,
        )
    for name in plan.must_count:
        yield counted(_case("flip-bit", "flip-bit", name), base, flip_bit(base, name), name)


def stream_verdicts(base: Base) -> Iterator[Verdict]:
    """Streams for another decoder, damaged streams, and a decoder that computes one index wrong."""
    stream = pack(base.sent.bitstream)
    yield _unchanged(base, stream)
    for kind, decoders in (
        ("regenerated-table", other_tables(base.made, base.ranges)),
        ("other-specification", other_codecs(base.made, base.ranges)),
    ):
        for mutant, (made, name) in decoders.items():
            yield refused(_case(kind, mutant, name), made, stream, base.run, name)
    for mutant, (data, name) in damaged_streams(base.sent.bitstream).items():
        yield refused(
            _case("damaged-stream", mutant, name.replace(" ", "-")), base.made, data, base.run, name
        )
    # Bytes that every CRC approves of: only the hashes of the symbols and the comparison are left to catch these.
    forged = replace(base.sent.bitstream, payload_y=flip(base.sent.bitstream.payload_y, 15))
    yield _desynchronised(base, "forged-y", pack(forged), base.run, "y_symbols")
    yield _desynchronised(base, "one-index-off", stream, one_index_off(base.run), "indexes")


def _desynchronised(
    base: Base, mutant: str, stream: bytes, run: endpoints.Run, name: str
) -> Verdict:
    want, decoded = base.sent.trace, endpoints.decode(base.made, unpack(stream), run)
    verdict = caught(
        _case("wrong-decode", mutant, name),
        want,
        decoded.trace,
        name,
        gated=gated_tensors(SCOPE, want),
        problem=decoded.problem,
    )
    if decoded.problem:
        return verdict
    return replace(
        verdict,
        outcome=Outcome.IDENTICAL,
        message=f"no hash of the stream objected; {verdict.message}",
    )


def _unchanged(base: Base, stream: bytes) -> Verdict:
    right = endpoints.decode(base.made, unpack(stream), base.run)
    comparison = compare(base.sent.trace, right.trace, gated_tensors(SCOPE, right.trace))
    outcome, severity = judge(comparison, decodable=not right.problem)
    return Verdict(
        case=_case("unchanged", BENCH, "stream"),
        outcome=outcome,
        severity=severity,
        comparison=comparison,
        expected=Expectation.IDENTICAL,
        reason="a right stream on a right decoder passes",
        message=right.problem,
    )


def platform_verdict(pool: Pool, name: str, plan: Plan) -> tuple[dict[str, str], Verdict]:
    """One platform on the network that shows wrong arithmetic, against the reference; and its environment."""
    net, symbols = specimens.crafted_net(), specimens.crafted_symbols()
    artifact = LOWERINGS[INTEGER].lower(
        Source(network=specimens.tiny_codec().networks["h_s"], integer=net)
    )
    expected = reference.run(net, symbols)
    want = Trace(
        tensors=tuple(TensorRecord.of(key, expected[key]) for key in artifact.outputs),
        environment={},
    )
    control = name in plan.dsp_controls
    case = _case("dsp-profile" if control else "exact-platform", name, "crafted")
    try:
        child = pool.child(name)
        environment = dict(child.environment())
        got = child.run(
            artifact.sha256, artifact.onnx_model, [TensorRecord.of("z_symbols", symbols)]
        )
    except tuple(OUTCOMES) as error:
        remedy = (
            error.remedy if isinstance(error, PlatformUnavailable) else "run it alone to see why"
        )
        return {"unavailable": str(error), "remedy": remedy}, Verdict(
            case=case,
            outcome=OUTCOMES[type(error)],
            severity=Severity.NONE,
            message=str(error),
            expected=Expectation.DIVERGES if control else Expectation.IDENTICAL,
            reason="a platform of the self-test",
        )
    if control:
        gated = tuple(key for key in gated_tensors(SCOPE, want) if key in artifact.outputs)
        return environment, caught(case, want, got, "means_hat", gated=gated)
    comparison = compare(want, got, artifact.outputs)
    outcome, severity = judge(comparison, decodable=True)
    return environment, Verdict(
        case=case,
        outcome=outcome,
        severity=severity,
        expected=Expectation.IDENTICAL,
        comparison=comparison,
        message=str(comparison.first or ""),
        reason="right arithmetic equals the reference in every output, bit for bit",
    )
