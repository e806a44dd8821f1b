"""A file written piece by piece that is there whole or not at all; nothing of it is kept in memory."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import UserError


class PartFile:
    """Grows under a temporary name beside `path`: `commit` renames it, `discard` leaves nothing.

    Where a write is impossible it is discarded, and the UserError says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.parent / f".{os.getpid()}.{secrets.token_hex(8)}.part"
        with self._reported():
            if path.is_dir():  # found now rather than after the last piece
                raise IsADirectoryError(0, "it is a folder")
            self._file = self._part.open("xb")

    def write(self, data: bytes) -> None:
        with self._reported():
            self._file.write(data)

    def commit(self) -> None:
        with self._reported():
            self._file.close()
            os.replace(self._part, self._path)

    def discard(self) -> None:
        with suppress(OSError):  # what was still to be written is not wanted
            self._file.close()
        with suppress(OSError):
            self._part.unlink()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if hasattr(self, "_file"):
                self.discard()
            raise UserError(
                f"cannot write {self._path}: {error.strerror or error};"
                " name a file in an existing, writable folder with free space"
            ) from error
