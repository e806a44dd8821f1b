"""The two ends of a cell: what builds them, who runs them, and failures as values. Judging them is `group`'s."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import endpoints
from harness.auto import AUTO, Chooser
from harness.bitstream import unpack
from harness.build import DECODER, Build
from harness.case import Case
from harness.compare import SCOPES
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
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.precision import CONTROLS
from harness.trace import TensorRecord, Trace
from harness.verdict import Outcome

U8 = NDArray[np.uint8]
T = TypeVar("T")
OUTCOMES: Mapping[type[HarnessError], Outcome] = {
    PlatformUnavailable: Outcome.UNAVAILABLE,
    FellBack: Outcome.FELL_BACK,
    Unsupported: Outcome.UNSUPPORTED,
    PlatformCrashed: Outcome.CRASHED,
    PlatformTimedOut: Outcome.TIMED_OUT,
    StreamError: Outcome.UNDECODABLE,
}
# The networks that each end runs.
ENCODER_RUNS = ("g_a", "h_a", "h_s", "g_s")
DECODER_RUNS = ("h_s", "g_s")


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

    def build_for(self, case: Case, platform: str, run: endpoints.Run) -> Build:
        """The case's build; with lowering `auto`, the fastest that gives the known answers where `run` runs."""
        name = f"{case.codec}/q{case.quality}"
        if case.lowering != AUTO:
            return self.build(name, case.precision, case.lowering, scope=case.scope)
        made = self.build(name, case.precision, scope=case.scope)
        choice = self.chooser.choice(platform, made, run)
        return self.build(name, case.precision, choice.lowering, scope=case.scope)


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

    def encode(self, case: Case, pixels: U8) -> Callable[[], Encoded | Failed]: ...

    def decode(
        self, case: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Decoded | Failed]: ...


class LocalEnds:
    """Both ends on the platforms of this machine, one after the other; equal work is done once."""

    def __init__(self, pool: Pool, inputs: Inputs) -> None:
        self._inputs = inputs
        self._bench = Bench(pool)

    def encode(self, case: Case, pixels: U8) -> Callable[[], Encoded | Failed]:
        def work() -> Encoded:
            run = self._bench.runner(case.encoder)
            return endpoints.encode(self._inputs.build_for(case, case.encoder, run), pixels, run)

        done = attempt(work)
        return lambda: done

    def decode(
        self, case: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Decoded | Failed]:
        def work() -> Decoded:
            run = self._bench.runner(case.decoder)
            made = self._inputs.build_for(case, case.decoder, run)
            return endpoints.decode(made, unpack(stream), run, reconstruct=reconstruct)

        done = attempt(work)
        return lambda: done


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


def borrowed(case: Case, platform: str, networks: Sequence[str]) -> tuple[str, ...]:
    """Those of `networks` that a platform cannot run by its nature, and so borrows."""
    return tuple(
        network
        for network in networks
        if network not in PLATFORMS[platform].networks and not _is_integer(case, network)
    )


def gated_tensors(scope: str, trace: Trace) -> tuple[str, ...]:
    """The scope's tensors; a family without means has no means_hat to gate."""
    names = {tensor.name for tensor in trace.tensors}
    return tuple(name for name in SCOPES[scope] if name != "means_hat" or name in names)


def _is_integer(case: Case, network: str) -> bool:
    quantized = {"h_s", "g_s"} if case.scope == DECODER else {"h_s"}
    return network in quantized and case.precision not in CONTROLS
