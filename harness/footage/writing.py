"""Clips that are there whole or not at all, however long they are."""

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from harness.errors import HarnessError, UserError
from harness.footage.base import Writing
from harness.images import Pixels


class AtomicWriter(ABC):
    """A `ClipWriter` that grows under a temporary name beside `path` and takes the name at the end.

    What `write_file` is for bytes that fit in memory. An exception within its `with` leaves
    nothing, and what was at `path` as it was.
    """

    def __init__(self, path: Path, writing: Writing) -> None:
        self.path = path
        self._shape = (writing.height, writing.width, 3)
        self._frames = 0
        # Random, since one thread may write several clips to one folder at a time.
        self.temporary = path.with_name(f".{os.getpid()}.{secrets.token_hex(4)}.part")
        self._open = False
        with self.guarded():
            self.start()
        self._open = True

    @abstractmethod
    def start(self) -> None:
        """Create the temporary file."""

    @abstractmethod
    def append(self, pixels: Pixels, number: int) -> None:
        """Write frame `number` (from 1)."""

    @abstractmethod
    def finish(self) -> None:
        """Close the temporary file."""

    @abstractmethod
    def remove(self) -> None:
        """Close and delete the temporary file."""

    def write(self, pixels: Pixels) -> None:
        if pixels.shape != self._shape or pixels.dtype.name != "uint8":
            raise HarnessError(
                f"a frame of {self.path.name!r} is uint8{list(self._shape)},"
                f" not {pixels.dtype}{list(pixels.shape)}"
            )
        if not self._open:
            raise HarnessError(f"{self.path.name!r} is finished; write to a new clip")
        with self.guarded():
            self.append(pixels, self._frames + 1)
        self._frames += 1

    def close(self) -> None:
        if not self._open:
            return
        if not self._frames:
            self._discard()
            raise UserError(f"no frame for {str(self.path)!r}; write at least one")
        with self.guarded():
            self.finish()
            os.replace(self.temporary, self.path)
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """What the system refuses becomes a `UserError`, and nothing is left."""
        try:
            yield
        except UserError:
            self._discard()
            raise
        except OSError as error:
            self._discard()
            raise UserError(
                f"cannot write {str(self.path)!r}: {error.strerror or error}; name a new one in an"
                " existing, writable folder with free space"
            ) from error

    def _discard(self) -> None:
        if self._open:
            self._open = False
            with suppress(OSError):
                self.remove()
