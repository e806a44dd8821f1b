"""The cells of one codec and one picture: encode on A, decode on B, compare, judge, each distinct piece of work once."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness import endpoints
from harness.auto import AUTO, Chooser
from harness.bitstream import pack, unpack
from harness.build import DECODER, Build
from harness.case import Case
from harness.compare import SCOPES, Comparison, compare
from harness.endpoints import Arrays, Decoded, Encoded
from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    StreamError,
    Unsupported,
)
from harness.images import psnr
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.precision import CONTROLS
from harness.results import Panel
from harness.suite import Expect
from harness.trace import TensorRecord, Trace
from harness.verdict import Outcome, Severity, Verdict, judge

U8 = NDArray[np.uint8]
OUTCOMES: Mapping[type[HarnessError], Outcome] = {
    PlatformUnavailable: Outcome.UNAVAILABLE,
    FellBack: Outcome.FELL_BACK,
    Unsupported: Outcome.UNSUPPORTED,
    PlatformCrashed: Outcome.CRASHED,
    PlatformTimedOut: Outcome.TIMED_OUT,
    StreamError: Outcome.UNDECODABLE,
}
# The control whose desynchronised cells get figures.
BROKEN = "fp32"


class Builds(Protocol):
    """How to build a codec (by `family/qN`) at a precision, in a lowering ("auto" excluded) and a scope."""

    def __call__(
        self, name: str, precision: str, lowering: str | None = None, *, scope: str = ...
    ) -> Build: ...


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run draws on: builds, pictures by name, and the choices of lowering `auto`."""

    build: Builds
    chooser: Chooser = field(default_factory=Chooser)
    pictures: Mapping[str, Callable[[], U8]]


def platform_runner(pool: Pool, platform: str) -> endpoints.Run:
    """Run artifacts on `platform`, and those networks that it cannot run by its nature where it borrows them."""
    return Bench(pool).runner(platform)


class Bench:
    """Runs artifacts once per content: (platform, artifact, feeds)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._traces: dict[tuple[str, ...], Trace] = {}

    def runner(self, name: str) -> endpoints.Run:
        platform = PLATFORMS[name]

        def run(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
            runs_here = artifact.integer or network in platform.networks
            where = name if runs_here else platform.borrows_from
            records = [TensorRecord.of(key, value) for key, value in feeds.items()]
            key = (where, artifact.sha256, *(record.digest for record in records))
            if key not in self._traces:
                self._traces[key] = self._pool.child(where).run(
                    artifact.sha256, artifact.onnx_model, records
                )
            return {tensor.name: tensor.array() for tensor in self._traces[key].tensors}

        return run


@dataclass
class Group:
    """All cells of one codec and one picture: they share encodes, decodes and comparisons.

    `show`: make a panel of every cell, not only of desynchronised controls. Without `reconstruct`, decoders of scope
    hyperprior stop at y_hat.
    """

    pool: Pool
    inputs: Inputs
    expectations: Mapping[Case, Expect]
    stop: threading.Event
    show: bool = False
    reconstruct: bool = True
    bench: Bench = field(init=False)
    encoded: dict[tuple[str, ...], Encoded | HarnessError] = field(default_factory=dict)
    decoded: dict[tuple[bytes, str, str], Decoded | HarnessError] = field(default_factory=dict)
    compared: dict[tuple[int, int], Comparison] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bench = Bench(self.pool)

    def run(self, cases: Sequence[Case]) -> "tuple[list[Verdict], list[Panel], int]":
        """Verdicts, the panel of the worst cell that has one, and the number of distinct float results."""
        pixels = self.inputs.pictures[cases[0].input]()
        verdicts, panels = [], []
        for case in cases:
            if self.stop.is_set():
                break
            verdict, panel = self.cell(case, pixels)
            verdicts.append(verdict)
            if panel is not None:
                panels.append((verdict.psnr_decoder_vs_encoder or 0.0, panel))
        worst = [panel for _, panel in sorted(panels, key=lambda pair: pair[0])[:1]]
        return verdicts, worst, self._distinct_floats(cases)

    def cell(self, case: Case, pixels: U8) -> tuple[Verdict, Panel | None]:
        """One case, and its panel if it gets one."""
        began = time.perf_counter()
        expect = self.expectations[case]
        borrowed = self._borrowed(case)
        sent = self._encode(case, pixels)
        got = self._decode(case, sent) if isinstance(sent, Encoded) else sent
        if isinstance(got, HarnessError):
            verdict = Verdict(
                case=case,
                outcome=OUTCOMES[type(got)],
                severity=Severity.NONE,
                expected=expect.outcome,
                reason=expect.reason,
                borrowed=borrowed,
                message=str(got),
                seconds=time.perf_counter() - began,
            )
            return verdict, None
        assert isinstance(sent, Encoded)
        comparison = self._compare(case, sent.trace, got.trace)
        outcome, severity = judge(comparison, decodable=not got.problem)
        ours, theirs = _picture(sent.trace), _picture(got.trace)
        assert ours is not None
        verdict = Verdict(
            case=case,
            outcome=outcome,
            severity=severity,
            expected=expect.outcome,
            reason=expect.reason,
            comparison=comparison,
            borrowed=borrowed,
            message=got.problem,
            bpp=8 * sent.bitstream.payload_bytes / (pixels.shape[0] * pixels.shape[1]),
            psnr=psnr(pixels, ours),
            psnr_decoder_vs_encoder=None if theirs is None else psnr(ours, theirs),
            seconds=time.perf_counter() - began,
        )
        if theirs is None:
            return verdict, None
        if self.show or (case.precision == BROKEN and severity is Severity.DESYNC):
            return verdict, _panel(case, (pixels, ours, theirs), sent.trace, got.trace)
        return verdict, None

    def _encode(self, case: Case, pixels: U8) -> Encoded | HarnessError:
        key = (*_variant(case), case.encoder)
        if key not in self.encoded:
            try:
                made = self._build(case, case.encoder)
                self.encoded[key] = endpoints.encode(made, pixels, self.bench.runner(case.encoder))
            except tuple(OUTCOMES) as error:
                self.encoded[key] = error
        return self.encoded[key]

    def _decode(self, case: Case, sent: Encoded) -> Decoded | HarnessError:
        stream = pack(sent.bitstream)
        key = (stream, case.lowering, case.decoder)
        if key not in self.decoded:
            try:
                made = self._build(case, case.decoder)
                self.decoded[key] = endpoints.decode(
                    made,
                    unpack(stream),
                    self.bench.runner(case.decoder),
                    reconstruct=self.reconstruct or case.scope == DECODER,
                )
            except tuple(OUTCOMES) as error:
                self.decoded[key] = error
        return self.decoded[key]

    def _build(self, case: Case, platform: str) -> Build:
        """The case's build; with lowering `auto`, the fastest that gives the known answers on this platform."""
        name = f"{case.codec}/q{case.quality}"
        if case.lowering != AUTO:
            return self.inputs.build(name, case.precision, case.lowering, scope=case.scope)
        made = self.inputs.build(name, case.precision, scope=case.scope)
        choice = self.inputs.chooser.choice(platform, made, self.bench.runner(platform))
        return self.inputs.build(name, case.precision, choice.lowering, scope=case.scope)

    def _compare(self, case: Case, ours: Trace, theirs: Trace) -> Comparison:
        key = (id(ours), id(theirs))
        if key not in self.compared:
            kept = ours if _picture(theirs) is not None else _until(ours, theirs)
            self.compared[key] = compare(kept, theirs, gated_tensors(case.scope, ours))
        return self.compared[key]

    @staticmethod
    def _borrowed(case: Case) -> tuple[str, ...]:
        parts = []
        for end, networks in (
            (case.encoder, ("g_a", "h_a", "h_s", "g_s")),
            (case.decoder, ("h_s", "g_s")),
        ):
            platform = PLATFORMS[end]
            parts += [
                f"{end}: {n} from {platform.borrows_from}"
                for n in networks
                if n not in platform.networks and not _is_integer(case, n)
            ]
        return tuple(dict.fromkeys(parts))

    def _distinct_floats(self, cases: Sequence[Case]) -> int:
        """Most distinct FP32 scales_hat that decoders made of one stream."""
        results: dict[bytes, set[str]] = {}
        for case in cases:
            sent = self.encoded.get((*_variant(case), case.encoder))
            if case.precision == BROKEN and isinstance(sent, Encoded):
                stream = pack(sent.bitstream)
                got = self.decoded.get((stream, case.lowering, case.decoder))
                if isinstance(got, Decoded):
                    results.setdefault(stream, set()).add(got.trace["scales_hat"].digest)
        return max(map(len, results.values()), default=0)


def gated_tensors(scope: str, trace: Trace) -> tuple[str, ...]:
    """The scope's tensors; a family without means has no means_hat to gate."""
    names = {tensor.name for tensor in trace.tensors}
    return tuple(name for name in SCOPES[scope] if name != "means_hat" or name in names)


def _is_integer(case: Case, network: str) -> bool:
    quantized = {"h_s", "g_s"} if case.scope == DECODER else {"h_s"}
    return network in quantized and case.precision not in CONTROLS


def _variant(case: Case) -> tuple[str, str, str]:
    return case.precision, case.scope, case.lowering


def _picture(trace: Trace) -> U8 | None:
    names = {tensor.name for tensor in trace.tensors}
    return trace.array("picture").astype(np.uint8, copy=False) if "picture" in names else None


def _until(ours: Trace, theirs: Trace) -> Trace:
    """The encoder's trace, without what a decoder that stops at y_hat does not make."""
    return replace(ours, tensors=ours.tensors[: len(theirs.tensors)])


def _panel(case: Case, pictures: tuple[U8, U8, U8], ours: Trace, theirs: Trace) -> Panel:
    """`pictures`: the original, the encoder's and the decoder's."""
    pixels, ours_picture, theirs_picture = pictures
    flips = ours.array("indexes") != theirs.array("indexes")
    wrong = ours.array("y_symbols") != theirs.array("y_symbols")
    block = 16
    first = np.unravel_index(int(flips.argmax()), flips.shape) if flips.any() else None
    return Panel(
        case=case,
        original=pixels,
        encoder_picture=ours_picture,
        decoder_picture=theirs_picture,
        first_at=(int(first[2]) * block, int(first[3]) * block) if first else None,
        block=block,
        flipped_indexes=int(flips.sum()),
        wrong_symbols=int(wrong.sum()),
        symbols=int(wrong.size),
        before=int(wrong.argmax()) if wrong.any() else int(wrong.size),
    )
