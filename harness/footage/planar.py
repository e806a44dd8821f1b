"""Frames as planes in a file, Y then Cb then Cr: what y4m and raw yuv have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.errors import UserError
from harness.footage.base import Writing
from harness.footage.colour import Coding, Planes, from_rgb, plane_shapes, to_rgb
from harness.footage.writing import FrameWriter
from harness.images import Pixels
from harness.part_file import PartFile


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the bytes of one frame are arranged; 10-bit samples are 16-bit little-endian words."""

    height: int
    width: int
    coding: Coding

    @property
    def frame_bytes(self) -> int:
        shapes = plane_shapes(self.height, self.width, self.coding.chroma)
        return sum(rows * columns for rows, columns in shapes) * np.dtype(self.coding.word).itemsize

    def read(self, file: BinaryIO, where: str) -> Pixels:
        """Read one frame; `UserError`, which says `where`, if it is cut off or no such samples."""
        data = file.read(self.frame_bytes)
        if len(data) != self.frame_bytes:
            raise UserError(f"{where} is cut off; copy the file again")
        samples = np.frombuffer(data, self.coding.word).astype(np.uint16)
        if samples.max() >= 2**self.coding.depth:
            raise UserError(
                f"{where} has samples beyond {self.coding.depth} bits; it is not of that depth or"
                " not little-endian: give its real depth, or convert it"
            )
        return to_rgb(self._split(samples), self.coding)

    def bytes_of(self, pixels: Pixels) -> bytes:
        return b"".join(p.astype(self.coding.word).tobytes() for p in from_rgb(pixels, self.coding))

    def _split(self, samples: np.typing.NDArray[np.uint16]) -> Planes:
        shapes = plane_shapes(self.height, self.width, self.coding.chroma)
        ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        y, cb, cr = (
            part.reshape(shape) for part, shape in zip(np.split(samples, ends), shapes, strict=True)
        )
        return y, cb, cr


class PlanarWriter(FrameWriter):
    """Frames one after the other behind a header, each behind a mark."""

    def __init__(
        self, path: Path, writing: Writing, coding: Coding, *, header: bytes, mark: bytes
    ) -> None:
        super().__init__(path, writing)
        self._layout = Layout(height=writing.height, width=writing.width, coding=coding)
        self._mark = mark
        self._part = PartFile(path)
        self._part.write(header)

    def append(self, pixels: Pixels, number: int) -> None:
        del number
        self._part.write(self._mark + self._layout.bytes_of(pixels))

    def commit(self) -> None:
        self._part.commit()

    def discard(self) -> None:
        self._part.discard()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, to be read; `UserError` whatever goes wrong with it."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot read {str(path)!r}: {reason}; check the file") from error


def written_coding(writing: Writing) -> Coding:
    return Coding(
        matrix=writing.matrix,
        full_range=writing.color_range == "full",
        depth=writing.depth,
        chroma=writing.chroma,
        siting="left",
    )
