"""Warm child processes, one a platform: state, thread pools, ISA caps, crashes and hangs do not leak between them."""

import os
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import IO, Self

from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    Unsupported,
)
from harness.platforms import wire
from harness.platforms.base import PLATFORMS, Platform
from harness.platforms.hosts import package_path
from harness.trace import TensorRecord, Trace

TIMEOUT_SECONDS = 300.0
# A child holds its runtime and up to 64 compiled graphs: half a gigabyte with large ones. So many keep a process as the
# machine's memory has room for, and no fewer than an ordinary suite has: starting one again takes seconds.
GROWN_BYTES = 1 << 29
FEWEST_WARM = 12
# One thread a child: the harness runs several children at once, and thread counts must not be a variable.
SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Child:
    """A platform's process, started at first use and again after a crash. Safe to share between threads."""

    def __init__(
        self, platform: Platform, timeout: float, used: Callable[[], None] = lambda: None
    ) -> None:
        """`used` is called whenever somebody is about to talk to the process."""
        self._platform = platform
        self._timeout = timeout
        self._used = used
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._sent: set[str] = set()
        self._environment: dict[str, str] = {}
        self._unavailable: PlatformUnavailable | None = None
        self._ended = False
        self.seconds = 0.0

    def environment(self) -> Mapping[str, str]:
        """What really runs there; raises PlatformUnavailable."""
        self._used()
        with self._lock:
            self._start()
            return self._environment

    def run(self, artifact: str, onnx_model: bytes, feeds: Sequence[TensorRecord]) -> Trace:
        """Execute a graph, known by its sha256 `artifact`, on `feeds`."""
        self._used()
        with self._lock:
            self._start()
            reply, tensors = self._ask(
                artifact, b"" if artifact in self._sent else onnx_model, feeds
            )
            if reply.get("error") == "send artifact":
                reply, tensors = self._ask(artifact, onnx_model, feeds)
            self._raise_if_failed(reply)
            self._sent.add(artifact)
            return Trace(tensors=tensors, environment=self._environment)

    @property
    def warm(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def rest(self) -> bool:
        """Close it unless somebody talks to it; the next request starts a new process. False if it is busy."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.close()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
        if self._errors is not None:
            self._errors.close()
        self._process = self._errors = None
        self._sent.clear()

    def end(self) -> None:
        """Close for good: a thread that still uses this child gets PlatformCrashed, no new process."""
        self._ended = True
        self.close()

    def _start(self) -> None:
        if self._ended:
            raise PlatformCrashed(f"platform {self._platform.name}: the run has ended")
        if self._unavailable is not None:
            raise self._unavailable
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        began = time.perf_counter()
        host = self._platform.host
        try:
            command = host.command(self._platform.name)
        except PlatformUnavailable as error:
            self._unavailable = error
            raise
        variables = {**host.variables, **self._platform.variables}
        environment = {**os.environ, **SINGLE_THREAD, **variables}
        environment["PYTHONPATH"] = package_path(host)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        reply, _ = self._reply()
        if reply.get("error") == "unavailable":
            self._unavailable = PlatformUnavailable(
                self._platform.name, str(reply["message"]), str(reply["remedy"])
            )
            self.close()
            raise self._unavailable
        described = reply.get("environment")
        if not isinstance(described, dict):
            raise self._babbled("it did not say what runs there")
        self._environment = {
            "platform": self._platform.name,
            **described,
            **host.environment,
            **{f"variable {k}": v for k, v in variables.items()},
        }
        self.seconds += time.perf_counter() - began

    def _ask(
        self, artifact: str, onnx_model: bytes, feeds: Sequence[TensorRecord]
    ) -> tuple[dict[str, object], tuple[TensorRecord, ...]]:
        assert self._process is not None
        assert self._process.stdin is not None
        with self._deadline():
            wire.send(self._process.stdin, {"artifact": artifact}, onnx_model, feeds)  # type: ignore[arg-type]
        reply, tensors = self._reply()
        seconds = reply.get("seconds", 0.0)
        if not isinstance(seconds, float):
            raise self._babbled("it did not say how long it took")
        self.seconds += seconds
        return reply, tensors

    def _reply(self) -> tuple[dict[str, object], tuple[TensorRecord, ...]]:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._deadline():
            reply, _, tensors = wire.receive(self._process.stdout)  # type: ignore[arg-type]
        return reply, tensors

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Talk to the process; whatever goes wrong ends it and is one of the platform errors."""
        process = self._process
        assert process is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(self._timeout, expire)
        timer.start()
        try:
            yield
        except (EOFError, BrokenPipeError):
            if expired.is_set():
                self.close()
                raise PlatformTimedOut(
                    f"platform {self._platform.name} gave no answer for {self._timeout:g} s and was stopped"
                ) from None
            raise self._died() from None
        except HarnessError as error:
            raise self._babbled(str(error)) from None
        finally:
            timer.cancel()

    def _babbled(self, what: str) -> HarnessError:
        self.close()
        return PlatformCrashed(f"the process of platform {self._platform.name} was stopped: {what}")

    def _died(self) -> HarnessError:
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        self.close()
        return PlatformCrashed(
            f"the process of platform {self._platform.name} ended with {code}: "
            f"{lines[-1] if lines else 'it said nothing'}"
        )

    def _raise_if_failed(self, reply: Mapping[str, object]) -> None:
        message = f"platform {self._platform.name}: {reply.get('message', '')}"
        match reply.get("error"):
            case None:
                return
            case "fell back":
                raise FellBack(message)
            case "unsupported":
                raise Unsupported(message)
            case _:
                raise PlatformCrashed(message)


def most_warm(memory: int) -> int:
    """How many children keep a process on a machine with so many bytes.

    >>> most_warm(24 << 30), most_warm(2 << 30)
    (48, 12)
    """
    return max(FEWEST_WARM, memory // GROWN_BYTES)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Pool:
    """The children of one run; a context manager that leaves no process behind.

    At most `warm` of them have a process (None: as many as memory holds), or as many as are busy at once: who was asked
    least recently is closed first, and starts again when it is asked.
    """

    def __init__(self, timeout: float = TIMEOUT_SECONDS, warm: int | None = None) -> None:
        self._timeout = timeout
        self._warm = most_warm(_memory()) if warm is None else warm
        self._lock = threading.Lock()
        # The one that was asked last is the last.
        self._children: OrderedDict[str, Child] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.end()

    def child(self, platform: str) -> Child:
        """The process of a platform, by name."""
        with self._lock:
            if platform not in self._children:
                used = partial(self._used, platform)
                self._children[platform] = Child(PLATFORMS[platform], self._timeout, used)
            return self._children[platform]

    def _used(self, platform: str) -> None:
        """Make room for the process of a platform."""
        with self._lock:
            self._children.move_to_end(platform)
            others = [c for name, c in self._children.items() if name != platform and c.warm]
            spare = len(others) - (self._warm - 1)
            for child in others:
                if spare <= 0:
                    return
                spare -= child.rest()

    @property
    def seconds(self) -> float:
        """Time spent inside platforms so far: imports, compilation and execution."""
        return sum(child.seconds for child in self._children.values())
