"""A folder of PNG files, one a frame, in natural order: f2.png comes before f10.png."""

import os
import re
import secrets
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import UserError
from harness.footage.base import (
    DEFAULT_RATE,
    FORMATS,
    Clip,
    ClipWriter,
    Reading,
    Writing,
    require_size,
)
from harness.footage.planar import opened
from harness.footage.writing import FrameWriter
from harness.images import Pixels, read_image, write_png

DEPTH = 8  # what `read_image` makes of every file
SIGNATURE = b"\x89PNG\r\n\x1a\n"
IHDR = struct.Struct(">8s4x4sII")


@dataclass(frozen=True, kw_only=True)
class PngFolder:
    name: str = "png"
    suffixes: frozenset[str] = frozenset({""})

    def open(self, path: Path, reading: Reading) -> Clip:
        paths = list_frames(path)
        if not paths:
            raise UserError(
                f"no PNG files in {str(path)!r}; name a folder of frames, or a clip in it"
            )
        width, height = _size(paths[0])
        require_size(paths[0], width, height)
        for other in paths:
            if (found := _size(other)) != (width, height):
                raise UserError(
                    f"{str(other)!r} is {found[0]}x{found[1]} and {paths[0].name!r} {width}x{height};"
                    " make all frames of one size"
                )
        return Clip(
            name=path.resolve().name,
            height=height,
            width=width,
            frames=len(paths),
            rate=reading.rate or DEFAULT_RATE,
            depth=DEPTH,
            source=partial(_frames, path),
        )

    def create(self, path: Path, writing: Writing) -> ClipWriter:
        if writing.depth != DEPTH:
            raise UserError(
                f"PNG frames have {DEPTH} bits; write {path.name}.y4m for {writing.depth}"
            )
        return PngWriter(path, writing)


class PngWriter(FrameWriter):
    """Frames f00001.png, f00002.png, ... in a folder that is new or empty."""

    def __init__(self, path: Path, writing: Writing) -> None:
        super().__init__(path, writing)
        self._part = path.with_name(f".{os.getpid()}.{secrets.token_hex(8)}.part")
        with self._reported():
            # Renaming onto it would fail just so; found out before the work is done.
            if path.is_dir() and any(path.iterdir()):
                raise FileExistsError(0, "it is not empty")
            self._part.mkdir()

    def append(self, pixels: Pixels, number: int) -> None:
        write_png(self._part / f"f{number:05}.png", pixels)

    def commit(self) -> None:
        with self._reported():
            os.replace(self._part, self._path)

    def discard(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise UserError(
                f"cannot write {str(self._path)!r}: {error.strerror or error}; name a new folder in"
                " an existing, writable folder with free space"
            ) from error


def list_frames(folder: Path) -> list[Path]:
    """The PNG files directly in `folder`, numbers in their names compared as numbers."""
    try:
        found = [
            folder / entry.name
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(".png") and entry.name[0] != "." and entry.is_file()
        ]
    except OSError as error:
        raise UserError(f"cannot list {str(folder)!r}: {error.strerror}; check it") from error
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key; equal numbers of different length are told apart by the name.

    >>> sorted(["f10", "f9", "f09", "g1"], key=natural)
    ['f09', 'f9', 'f10', 'g1']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def _size(path: Path) -> tuple[int, int]:
    """Width and height from the file's first bytes; the pixels are checked when they are read."""
    with opened(path) as file:
        start = file.read(IHDR.size)
    if len(start) == IHDR.size:
        *head, width, height = IHDR.unpack(start)
        if head == [SIGNATURE, b"IHDR"]:
            return width, height
    raise UserError(f"{str(path)!r} is no PNG file; repair or remove it")


def _frames(folder: Path) -> Iterator[Pixels]:
    return map(read_image, list_frames(folder))


FORMATS.register(PngFolder())
