"""The contract of an executor: work in, what became of it out, in any order; and the loop that all of them share."""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from harness.errors import PlatformCrashed, PlatformTimedOut, PlatformUnavailable
from harness.group import Finished, Work


class Executor(Protocol):
    """Who runs groups of cells."""

    def environment(self, platform: str) -> Mapping[str, str]:
        """What runs under this name; raises PlatformUnavailable, PlatformCrashed or PlatformTimedOut."""
        ...

    def run(self, work: Sequence[Work]) -> Generator[Finished]:
        """Each piece as it is finished; closing the generator ends those that are not."""
        ...

    @property
    def seconds(self) -> float:
        """Time spent inside platforms so far."""
        ...


def describe(executor: Executor, platform: str) -> dict[str, str]:
    """The environment of one platform, or the keys `unavailable` and `remedy`."""
    try:
        return dict(executor.environment(platform))
    except PlatformUnavailable as error:
        return {"unavailable": error.reason, "remedy": error.remedy}
    except (PlatformCrashed, PlatformTimedOut) as error:
        return {"unavailable": str(error), "remedy": "run it alone to see why"}


def side_by_side(
    work: Sequence[Work], jobs: int, run: Callable[[Work, threading.Event], Finished]
) -> Generator[Finished]:
    """`run` every piece, `jobs` at a time; it gets the event that tells it to end early."""
    stop = threading.Event()
    threads = ThreadPoolExecutor(jobs)
    interrupted = False
    try:
        for future in as_completed([threads.submit(run, piece, stop) for piece in work]):
            yield future.result()
    except (KeyboardInterrupt, GeneratorExit):
        interrupted = True
        raise
    finally:
        stop.set()
        threads.shutdown(wait=not interrupted, cancel_futures=True)
