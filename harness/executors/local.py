"""Groups of cells on this machine: threads here, platforms in processes of their own."""

import threading
from collections.abc import Generator, Mapping, Sequence

from harness.cells import LocalEnds
from harness.executors.base import side_by_side
from harness.group import Finished, Group, Work
from harness.platforms.pool import Pool


class LocalExecutor:
    """`jobs` groups at once on the children of one pool; whoever opened the pool ends it."""

    def __init__(self, pool: Pool, jobs: int) -> None:
        self._pool = pool
        self._jobs = jobs

    def environment(self, platform: str) -> Mapping[str, str]:
        return self._pool.child(platform).environment()

    def run(self, work: Sequence[Work]) -> Generator[Finished]:
        return side_by_side(work, self._jobs, self._group)

    def _group(self, work: Work, stop: threading.Event) -> Finished:
        return Group(work, LocalEnds(self._pool, work.inputs)).run(stop)

    @property
    def seconds(self) -> float:
        return self._pool.seconds
