"""Groups of cells on a Dask cluster: each end is a task that runs where its platform is; compared and judged here.

The scheduler places tasks by resources, one a platform, that workers announce (`crosscheck worker`): an encode and the
decode of its stream may be on two machines. A task whose worker dies goes to another one that offers the platform; where
there is none (any more), its cells are UNAVAILABLE. Dask moves values by pickle: the cluster must be trusted.
"""

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

import dask.config
from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from harness.case import Case
from harness.cells import (
    AnyBuild,
    Failed,
    Inputs,
    attempt,
    borrowed,
    decoder_runs,
    encoder_runs,
)
from harness.endpoints import Arrays, Run
from harness.ends import Received, Sent, Source
from harness.errors import PlatformCrashed, PlatformUnavailable
from harness.executors import dask_worker as worker
from harness.executors.base import side_by_side
from harness.executors.dask_worker import HARNESS, Reply, resource
from harness.group import Finished, Group, Work
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.verdict import Outcome

T = TypeVar("T")
CONNECT_SECONDS = 5.0
POLL_SECONDS = 1.0
# How long a platform may be missing from the cluster before its cells are given up: a worker may come back.
PATIENCE_SECONDS = 20.0
# How the loss of the scheduler shows, in whatever is being done.
LOST = (CancelledError, ClosedClientError, OSError)
REMEDY = "start `crosscheck worker {address} --platform {platform}` on a machine that has it"


class DaskExecutor:
    """Client of the scheduler at HOST:PORT; a context manager. PlatformUnavailable if none answers there."""

    def __init__(self, address: str, jobs: int, patience: float = PATIENCE_SECONDS) -> None:
        self._address = f"dask://{address}"
        self._jobs = jobs
        self._patience = patience
        self._lock = threading.Lock()
        self._held: dict[int, tuple[AnyBuild, Future[AnyBuild]]] = {}
        self._found: dict[str, dict[str, dict[str, str]]] = {}
        self._resources: tuple[float, list[set[str]]] = (-POLL_SECONDS, [])
        self._closed = False
        self._seconds = 0.0
        try:
            self._client = Client(  # type: ignore[no-untyped-call]
                address, set_as_default=False, timeout=CONNECT_SECONDS
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(
                self._address,
                f"no Dask scheduler answers there ({error})",
                "start one: dask scheduler",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._closed = True
        self._held.clear()
        self._client.close()  # type: ignore[no-untyped-call]

    def environment(self, platform: str) -> Mapping[str, str]:
        """What all workers say that offer it; where they differ, every value."""
        PLATFORMS[platform]  # an unknown name ends here
        if not self._found:
            self._found = self._client.run(worker.announced, on_error="ignore")
        found = [offered[platform] for offered in self._found.values() if platform in offered]
        if not found:
            raise PlatformUnavailable(
                platform,
                f"no worker of {HARNESS} at {self._address} offers it",
                self._remedy(platform),
            )
        keys = dict.fromkeys(key for each in found for key in each)
        merged = {key: dict.fromkeys(each.get(key, "-") for each in found) for key in keys}
        return {
            **{key: " | ".join(values) for key, values in merged.items()},
            "workers": str(len(found)),
        }

    def run(self, work: Sequence[Work]) -> Generator[Finished]:
        return side_by_side(work, self._jobs, self._group)

    def _group(self, work: Work, stop: threading.Event) -> Finished:
        group = Group(work, _Ends(self, work.inputs))
        group.ask(stop)
        return group.run(stop)

    @property
    def seconds(self) -> float:
        return self._seconds

    def ask(
        self,
        task: Callable[..., Reply[T]],
        platforms: Sequence[str],
        *arguments: object,
        made: AnyBuild | None = None,
    ) -> Callable[[], T | Failed]:
        """Start a task on the first of `platforms`, where all of them are; what it returns waits for the result."""
        resources = {resource(platform): 1 for platform in platforms}
        try:
            held = [] if made is None else [self._hold(made)]
            future = self._client.submit(
                task, platforms[0], *held, *arguments, resources=resources, pure=False
            )
        except LOST as error:
            lost = self._lost(error)
            return lambda: lost
        return _Once(lambda: self._wait(future, platforms))

    def _hold(self, made: AnyBuild) -> "Future[AnyBuild]":
        """A build on the cluster, sent once."""
        with self._lock:
            if id(made) not in self._held:
                # Some 20 MB, on purpose: what was scattered instead would be lost with the worker that has it.
                with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
                    future = self._client.submit(
                        worker.hold, made, resources={HARNESS: 1}, pure=False
                    )
                self._held[id(made)] = made, future
            return self._held[id(made)][1]

    def _wait(self, future: "Future[Reply[T]]", platforms: Sequence[str]) -> T | Failed:
        offered = time.monotonic()
        while not self._closed:
            try:
                with suppress(TimeoutError):
                    return self._counted(future.result(timeout=POLL_SECONDS))
                if self._offers(platforms):
                    offered = time.monotonic()
                elif time.monotonic() - offered > self._patience:
                    return self._missing(platforms)
            except KilledWorker as error:
                message = f"{platforms[0]}: {error.allowed_failures + 1} workers died of it"
                return Failed(outcome=Outcome.CRASHED, message=message)
            except LOST as error:
                return self._lost(error)
        return Failed(outcome=Outcome.CRASHED, message=f"{platforms[0]}: the run has ended")

    def _counted(self, reply: Reply[T]) -> T | Failed:
        with self._lock:
            self._seconds += reply.seconds
        return reply.value

    def _lost(self, error: Exception) -> Failed:
        what = " ".join(str(error).split()) or type(error).__name__
        return Failed(
            outcome=Outcome.UNAVAILABLE,
            message=f"the Dask scheduler at {self._address} is gone ({what}); start it and run again",
        )

    def _offers(self, platforms: Sequence[str]) -> bool:
        """Whether one worker has them all, as the scheduler knew at most a moment ago."""
        with self._lock:
            if time.monotonic() - self._resources[0] > POLL_SECONDS:
                known = self._client.scheduler_info().get("workers")
                if known is None:
                    raise ConnectionError("it does not answer")
                found = [set(each["resources"]) for each in known.values()]
                self._resources = time.monotonic(), found
        needed = {resource(platform) for platform in platforms}
        return any(needed <= offered for offered in self._resources[1])

    def _missing(self, platforms: Sequence[str]) -> Failed:
        together = " together with ".join(platforms)
        message = f"no worker at {self._address} offers {together}; {self._remedy(*platforms)}"
        return Failed(outcome=Outcome.UNAVAILABLE, message=message)

    def _remedy(self, *platforms: str) -> str:
        return REMEDY.format(address=self._address, platform=" --platform ".join(platforms))


class _Once(Generic[T]):
    """The result of `wait`, which is called once: the cluster need not keep what has come here."""

    def __init__(self, wait: Callable[[], T]) -> None:
        self._wait: Callable[[], T] | None = wait
        self._value: T

    def __call__(self) -> T:
        if self._wait is not None:
            self._value = self._wait()
            self._wait = None
        return self._value


class _NotPlaced(Exception):
    """No lowering can be chosen for a platform that no worker has."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class _Ends:
    """Both ends as tasks of the cluster; builds are made here and sent there."""

    def __init__(self, executor: DaskExecutor, inputs: Inputs) -> None:
        self._executor = executor
        self._inputs = inputs

    def encode(self, case: Case, source: Source) -> Callable[[], Sent | Failed]:
        made = self._build(case, case.encoder)
        if isinstance(made, Failed):
            return lambda: made
        where = placed(case, case.encoder, encoder_runs(case))
        return self._executor.ask(worker.encode, where, source, made=made)

    def decode(
        self, case: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Received | Failed]:
        made = self._build(case, case.decoder)
        if isinstance(made, Failed):
            return lambda: made
        where = placed(case, case.decoder, decoder_runs(case, reconstruct=reconstruct))
        return self._executor.ask(worker.decode, where, stream, reconstruct, made=made)

    def _build(self, case: Case, platform: str) -> AnyBuild | Failed:
        try:
            return attempt(lambda: self._inputs.build_for(case, platform, self._runner(platform)))
        except _NotPlaced as error:
            return error.failed

    def _runner(self, platform: str) -> Run:
        """Runs single networks on the cluster: how a lowering is chosen for a platform that is there."""

        def run(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
            got = self._executor.ask(worker.execute, [platform], network, artifact, feeds)()
            if isinstance(got, Failed) and got.outcome is Outcome.UNAVAILABLE:
                raise _NotPlaced(got)
            if isinstance(got, Failed):
                raise PlatformCrashed(got.message)
            return got

        return run


def placed(case: Case, platform: str, networks: Sequence[str]) -> list[str]:
    """The platforms that one end needs at one place: its own, and the one that it borrows from."""
    lends = [PLATFORMS[platform].borrows_from] if borrowed(case, platform, networks) else []
    return [platform, *lends]
