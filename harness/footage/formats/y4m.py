"""YUV4MPEG2 (.y4m) with 4:2:0, 4:2:2 or 4:4:4 chroma, 8 or 10 bits, progressive.

Header fields as mjpegtools' yuv4mpeg(5) and FFmpeg read them: `420` and nothing are `420jpeg`
(chroma in the centre), `XCOLORRANGE` is FFmpeg's. No field states the matrix.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

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
from harness.footage.chroma import Chroma, Siting
from harness.footage.colour import Coding
from harness.footage.planar import Layout, PlanarWriter, opened, written_coding
from harness.images import Pixels

MAGIC = b"YUV4MPEG2"
MARK = b"FRAME"
LINE = 256  # bytes of a header at most; FFmpeg takes 96
CONVERT = "convert it, as with ffmpeg -pix_fmt yuv420p"
PLACES: dict[str, tuple[Chroma, Siting, int]] = {
    "420": ("420", "center", 8),
    "420jpeg": ("420", "center", 8),
    "420mpeg2": ("420", "left", 8),
    "420paldv": ("420", "top-left", 8),
    "420p10": ("420", "left", 10),
    "422": ("422", "left", 8),
    "422p10": ("422", "left", 10),
    "444": ("444", "left", 8),
    "444p10": ("444", "left", 10),
}
WRITTEN: dict[tuple[Chroma, int], str] = {
    ("420", 8): "420mpeg2",
    ("420", 10): "420p10",
    ("444", 8): "444",
    ("444", 10): "444p10",
}


@dataclass(frozen=True, kw_only=True)
class Y4m:
    name: str = "y4m"
    suffixes: frozenset[str] = frozenset({".y4m"})

    def open(self, path: Path, reading: Reading) -> Clip:
        with opened(path) as file:
            fields = _fields(path, _line(file))
            layout = _layout(path, fields, reading)
            frames = _count(path, file, layout)
        return Clip(
            name=path.stem,
            height=layout.height,
            width=layout.width,
            frames=frames,
            rate=reading.rate or _rate(fields),
            depth=layout.coding.depth,
            source=partial(_frames, path, layout),
        )

    def create(self, path: Path, writing: Writing) -> ClipWriter:
        rate = writing.rate
        header = (
            f"YUV4MPEG2 W{writing.width} H{writing.height} F{rate.numerator}:{rate.denominator}"
            f" Ip A1:1 C{WRITTEN[writing.chroma, writing.depth]}"
            f" XCOLORRANGE={writing.color_range.upper()}\n"
        )
        coding = written_coding(writing)
        return PlanarWriter(path, writing, coding, header=header.encode(), mark=MARK + b"\n")


def _line(file: BinaryIO) -> bytes:
    return file.readline(LINE)


def _fields(path: Path, line: bytes) -> dict[str, str]:
    """Fields of the header by their letter; vendor fields by `X` and their word."""
    magic, *words = line.split()
    if magic != MAGIC or not line.endswith(b"\n"):
        raise UserError(f"{str(path)!r} does not begin as a y4m file does; give a real one")
    fields: dict[str, str] = {}
    for word in words:
        text = word.decode("ascii", "replace")
        key, _, value = text.partition("=") if text[0] == "X" else (text[0], "", text[1:])
        fields[key] = value
    return fields


def _layout(path: Path, fields: dict[str, str], reading: Reading) -> Layout:
    width, height = (_side(path, fields.get(key, "")) for key in "WH")
    require_size(path, width, height)
    if fields.get("I", "p") not in {"p", "?"}:
        raise UserError(f"{str(path)!r} is interlaced; deinterlace it first")
    place = fields.get("C", "420")
    if place not in PLACES:
        raise UserError(f"{str(path)!r} has samples of kind {place!r}; {CONVERT}")
    chroma, siting, depth = PLACES[place]
    stated = "full" if fields.get("XCOLORRANGE") == "FULL" else "limited"
    coding = Coding(
        matrix=reading.matrix or "bt709",
        full_range=(reading.color_range or stated) == "full",
        depth=depth,
        chroma=chroma,
        siting=siting,
    )
    return Layout(height=height, width=width, coding=coding)


def _side(path: Path, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise UserError(f"{str(path)!r} states no width or no height; give a whole y4m file")
    return int(text)


def _rate(fields: dict[str, str]) -> Fraction:
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", fields.get("F", ""))
    numerator, denominator = map(int, match.groups()) if match else (0, 0)
    return Fraction(numerator, denominator) if numerator and denominator else DEFAULT_RATE


def _count(path: Path, file: BinaryIO, layout: Layout) -> int:
    """Count the frames by walking over them, since each may have a header of its own length."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _line(file)
    frames, whole = 0, file.tell()
    while line := _line(file):
        _require_mark(path, line, frames + 1, whole)
        end = file.tell() + layout.frame_bytes
        if end > size:
            raise _cut_off(path, frames, whole)
        frames, whole = frames + 1, file.seek(end)
    if not frames:
        raise UserError(f"{str(path)!r} has no frame; give a whole y4m file")
    return frames


def _require_mark(path: Path, line: bytes, number: int, whole: int) -> None:
    if MARK.startswith(line.rstrip(b"\n")[: len(MARK)]) and not line.endswith(b"\n"):
        raise _cut_off(path, number - 1, whole)
    if line.split(b" ")[0].rstrip(b"\n") != MARK or not line.endswith(b"\n"):
        raise UserError(
            f"frame {number} of {str(path)!r} is not marked as one; copy the file again"
        )


def _cut_off(path: Path, frames: int, whole: int) -> UserError:
    return UserError(
        f"frame {frames + 1} of {str(path)!r} is cut off; copy the file again, or keep the"
        f" {frames} whole frames with head -c {whole}"
    )


def _frames(path: Path, layout: Layout) -> Iterator[Pixels]:
    with opened(path) as file:
        _line(file)
        number = 1
        while line := _line(file):
            _require_mark(path, line, number, 0)
            yield layout.read(file, f"frame {number} of {str(path)!r}")
            number += 1


FORMATS.register(Y4m())
