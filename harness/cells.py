"""The two ends of a cell: what builds them, who runs them, and failures as values. Judging them is `group`'s."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import ends
from harness.auto import AUTO, Chooser
from harness.build import DECODER, Build
from harness.case import Case
from harness.codecs.video import VIDEO_FAMILIES
from harness.compare import scope_of
from harness.endpoints import Arrays, Run
from harness.ends import Received, Sent, Source
from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    StreamError,
    Unsupported,
)
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.precision import CONTROLS
from harness.trace import Shared, TensorRecord, Trace
from harness.verdict import Outcome
from harness.video.build import VideoBuild

U8 = NDArray[np.uint8]
AnyBuild = Build | VideoBuild
T = TypeVar("T")
OUTCOMES: Mapping[type[HarnessError], Outcome] = {
    PlatformUnavailable: Outcome.UNAVAILABLE,
    FellBack: Outcome.FELL_BACK,
    Unsupported: Outcome.UNSUPPORTED,
    PlatformCrashed: Outcome.CRASHED,
    PlatformTimedOut: Outcome.TIMED_OUT,
    StreamError: Outcome.UNDECODABLE,
}
# What `Bench` remembers.
KEPT_BYTES = 1 << 29
WARP = "warp"


class Builds(Protocol):
    """How to build a codec (by `family/qN`) at a precision, in a lowering ("auto" excluded) and a scope."""

    def __call__(
        self, name: str, precision: str, lowering: str | None = None, *, scope: str = ...
    ) -> Build: ...


class VideoBuilds(Protocol):
    """The same of video codecs."""

    def __call__(
        self, name: str, precision: str, lowering: str | None = None, *, scope: str = ...
    ) -> VideoBuild: ...


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run draws on: builds, pictures and clips by name, and the choices of lowering `auto`."""

    build: Builds
    build_video: VideoBuilds | None = None
    chooser: Chooser = field(default_factory=Chooser)
    pictures: Mapping[str, Callable[[], U8]]
    clips: Mapping[str, Callable[[], Sequence[U8]]] = field(default_factory=dict)

    def source(self, case: Case) -> Source:
        """The picture or the clip of a case."""
        return (self.clips if case.codec in VIDEO_FAMILIES else self.pictures)[case.input]()

    def build_for(self, case: Case, platform: str, run: Run) -> AnyBuild:
        """The case's build; with lowering `auto`, the fastest that gives the known answers where `run` runs."""
        name = f"{case.codec}/q{case.quality}"
        build: Builds | VideoBuilds | None = self.build
        if case.codec in VIDEO_FAMILIES:
            build = self.build_video
        if build is None:
            raise HarnessError(f"{case}: nothing here builds video codecs")
        if case.lowering != AUTO:
            return build(name, case.precision, case.lowering, scope=case.scope)
        made = build(name, case.precision, scope=case.scope)
        choice = self.chooser.choice(platform, made, run)
        return build(name, case.precision, choice.lowering, scope=case.scope)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An end that did not come to its result: how, and the one line that says why."""

    outcome: Outcome
    message: str


def attempt(work: Callable[[], T]) -> T | Failed:
    """What `work` gives, or which of the ways to fail it took; any other error is a mistake and goes on."""
    try:
        return work()
    except tuple(OUTCOMES) as error:
        return Failed(outcome=OUTCOMES[type(error)], message=str(error))


class Ends(Protocol):
    """Who encodes and decodes. Each call asks for a piece of work; what it returns waits for the result."""

    def encode(self, case: Case, source: Source) -> Callable[[], Sent | Failed]: ...

    def decode(
        self, case: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Received | Failed]: ...


class LocalEnds:
    """Both ends on the platforms of this machine, one after the other; equal work is done once."""

    def __init__(self, pool: Pool, inputs: Inputs) -> None:
        self._inputs = inputs
        self._bench = Bench(pool)
        self._shared = Shared()

    def encode(self, case: Case, source: Source) -> Callable[[], Sent | Failed]:
        def work() -> Sent:
            run = self._bench.runner(case.encoder)
            sent = ends.encode(self._inputs.build_for(case, case.encoder, run), source, run)
            return replace(sent, frames=tuple(map(self._shared, sent.frames)))

        done = attempt(work)
        return lambda: done

    def decode(
        self, case: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Received | Failed]:
        def work() -> Received:
            run = self._bench.runner(case.decoder)
            made = self._inputs.build_for(case, case.decoder, run)
            got = ends.decode(made, stream, run, reconstruct=reconstruct)
            return replace(got, frames=tuple(map(self._shared, got.frames)))

        done = attempt(work)
        return lambda: done


def platform_runner(pool: Pool, platform: str) -> Run:
    """Run artifacts on `platform`, and those networks that it cannot run by its nature where it borrows them."""
    return Bench(pool).runner(platform)


class Bench:
    """Runs artifacts once per content: (platform, artifact, feeds), while the results are among the last of `KEPT_BYTES`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._traces: OrderedDict[tuple[str, ...], Trace] = OrderedDict()
        self._bytes = 0

    def runner(self, name: str) -> Run:
        platform = PLATFORMS[name]

        def run(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
            runs_here = artifact.integer or network in platform.networks
            where = name if runs_here else platform.borrows_from
            records = [TensorRecord.of(key, value) for key, value in feeds.items()]
            key = (where, artifact.sha256, *(record.digest for record in records))
            trace = self._traces.get(key)
            if trace is None:
                trace = self._pool.child(where).run(artifact.sha256, artifact.onnx_model, records)
                self._keep(key, trace)
            return {tensor.name: tensor.array() for tensor in trace.tensors}

        return run

    def _keep(self, key: tuple[str, ...], trace: Trace) -> None:
        """Clips have no end: what is oldest goes."""
        self._traces[key] = trace
        self._bytes += _size(trace)
        while self._bytes > KEPT_BYTES and len(self._traces) > 1:
            self._bytes -= _size(self._traces.popitem(last=False)[1])


def _size(trace: Trace) -> int:
    return sum(len(tensor.data) for tensor in trace.tensors)


def encoder_runs(case: Case) -> tuple[str, ...]:
    """The networks that the encoder of a case runs, by kind."""
    return ("g_a", "h_a", *decoder_runs(case))


def decoder_runs(case: Case, *, reconstruct: bool = True) -> tuple[str, ...]:
    """The networks that its decoder runs; without `reconstruct` only what entropy decoding needs."""
    if not reconstruct:
        return ("h_s",)
    return ("h_s", "g_s", WARP) if case.codec in VIDEO_FAMILIES else ("h_s", "g_s")


def borrowed(case: Case, platform: str, networks: Sequence[str]) -> tuple[str, ...]:
    """Those of `networks` that a platform cannot run by its nature, and so borrows."""
    return tuple(
        network
        for network in networks
        if network not in PLATFORMS[platform].networks and not _is_integer(case, network)
    )


def gated_tensors(scope: str, trace: Trace) -> tuple[str, ...]:
    """The scope's tensors of one trace."""
    return scope_of([tensor.name for tensor in trace.tensors], scope)


def _is_integer(case: Case, network: str) -> bool:
    quantized = {"h_s", "g_s", WARP} if case.scope == DECODER else {"h_s"}
    return network in quantized and case.precision not in CONTROLS
