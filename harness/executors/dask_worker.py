"""The half of the Dask executor that lives on a worker: which platforms it offers, and the tasks that run there.

Values arrive and leave by Dask's pickle: a cluster is one trust domain, its network and its clients included.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Generic, TypeVar

from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from harness import ends
from harness.cells import AnyBuild, Bench, Failed, attempt
from harness.endpoints import Arrays, Run
from harness.ends import Received, Sent, Source
from harness.errors import PlatformUnavailable
from harness.executors.base import describe
from harness.executors.local import LocalExecutor
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool

T = TypeVar("T")
PLUGIN = "crosscheck"
# Of another version the values would not fit: its workers offer other resources, so that nothing is placed there.
HARNESS = f"crosscheck-{version('codec-crosscheck')}"
# How many values a worker may be asked to hold at once: no limit of ours.
HOLDS = 2.0**20


def resource(platform: str) -> str:
    """The name under which the scheduler knows that a worker runs a platform."""
    return f"{HARNESS}/{platform}"


@dataclass(frozen=True, kw_only=True)
class Reply(Generic[T]):
    """What became of a task, and the time it spent inside platforms."""

    value: T | Failed
    seconds: float


class Site(WorkerPlugin):
    """What a worker has to run platforms with; their processes end with it."""

    name = PLUGIN

    def __init__(self, environments: Mapping[str, Mapping[str, str]]) -> None:
        self.environments = environments
        self.pool = Pool()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        self.pool.__exit__(None, None, None)


def offers(names: Sequence[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Environments of those platforms that can run here, and for the others why not. Their processes end again."""
    environments, absent = {}, {}
    with Pool() as pool:
        executor = LocalExecutor(pool, jobs=1)
        for name in names or PLATFORMS.names():
            found = describe(executor, name)
            if "unavailable" in found:
                absent[name] = f"{found['unavailable']}; {found['remedy']}"
            else:
                environments[name] = found
            pool.child(name).close()
    return environments, absent


async def serve(
    address: str,
    environments: Mapping[str, Mapping[str, str]],
    jobs: int,
    ready: Callable[[], None],
) -> None:
    """Work for the scheduler at `address` until it goes away; PlatformUnavailable if it cannot be reached."""
    resources = {HARNESS: HOLDS, **{resource(name): 1.0 for name in environments}}
    worker = Worker(
        address,
        nthreads=jobs,
        resources=resources,
        plugins=(Site(environments),),
        dashboard=False,
    )
    try:
        await worker
    except (OSError, TimeoutError) as error:
        raise PlatformUnavailable(
            f"dask://{address}", f"no scheduler answers ({error})", "start one: dask scheduler"
        ) from error
    ready()
    await worker.finished()  # type: ignore[no-untyped-call]


def announced(dask_worker: Worker) -> dict[str, dict[str, str]]:
    """The environments of a worker; none if it is not one of ours."""
    site = dask_worker.plugins.get(PLUGIN)
    if not isinstance(site, Site):
        return {}
    return {name: dict(found) for name, found in site.environments.items()}


def hold(value: T) -> T:
    """A value that many tasks need: sent once, and again where the worker that held it is lost."""
    return value


class _Timed:
    """Runs networks on a platform of this worker, and counts the time."""

    def __init__(self, platform: str) -> None:
        site = get_worker().plugins[PLUGIN]
        assert isinstance(site, Site)
        self._run = Bench(site.pool).runner(platform)
        self.seconds = 0.0

    def __call__(self, network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        began = time.perf_counter()
        try:
            return self._run(network, artifact, feeds)
        finally:
            self.seconds += time.perf_counter() - began


def _reply(platform: str, work: Callable[[Run], T]) -> Reply[T]:
    run = _Timed(platform)
    value = attempt(lambda: work(run))
    return Reply(value=value, seconds=run.seconds)


def encode(platform: str, made: AnyBuild, source: Source) -> Reply[Sent]:
    return _reply(platform, lambda run: ends.encode(made, source, run))


def decode(platform: str, made: AnyBuild, stream: bytes, reconstruct: bool) -> Reply[Received]:
    return _reply(platform, lambda run: ends.decode(made, stream, run, reconstruct=reconstruct))


def execute(platform: str, network: str, artifact: Artifact, feeds: Arrays) -> Reply[Arrays]:
    """One network alone."""
    return _reply(platform, lambda run: run(network, artifact, feeds))
