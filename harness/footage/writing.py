"""What every `ClipWriter` does, whatever becomes of its frames."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from harness.errors import HarnessError, UserError
from harness.footage.base import Writing
from harness.images import Pixels


class FrameWriter(ABC):
    """Takes frames of one shape, and ends once: with all of them, or without a trace.

    An exception within its `with`, or a frame that cannot be written, leaves what was at `path`
    as it was.
    """

    def __init__(self, path: Path, writing: Writing) -> None:
        self._path = path
        self._shape = (writing.height, writing.width, 3)
        self._frames = 0
        self._open = True

    @abstractmethod
    def append(self, pixels: Pixels, number: int) -> None:
        """Write frame `number` (from 1) under a temporary name."""

    @abstractmethod
    def commit(self) -> None:
        """Give what was written its name; where that fails, discard it."""

    @abstractmethod
    def discard(self) -> None:
        """Delete what was written."""

    def write(self, pixels: Pixels) -> None:
        if pixels.shape != self._shape or pixels.dtype.name != "uint8":
            raise HarnessError(
                f"a frame of {self._path.name!r} is uint8{list(self._shape)},"
                f" not {pixels.dtype}{list(pixels.shape)}"
            )
        if not self._open:
            raise HarnessError(f"{self._path.name!r} is finished; write to a new clip")
        try:
            self.append(pixels, self._frames + 1)
        except UserError:
            self._abandon()
            raise
        self._frames += 1

    def close(self) -> None:
        if not self._open:
            return
        if not self._frames:
            self._abandon()
            raise UserError(f"no frame for {str(self._path)!r}; write at least one")
        self._open = False
        self.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        if self._open:
            self._open = False
            self.discard()
