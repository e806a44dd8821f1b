"""Raw 4:2:0 planes (.yuv), 8 bits or 10 in 16-bit little-endian words: a file without a header.

Its chroma lies where MPEG-2 has it. What the user does not say is taken from the name, as the test
sequences of JCT-VC and UVG have it: `BasketballDrive_1920x1080_50.yuv`,
`Beauty_3840x2160_120fps_420_10bit_YUV.yuv`.
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
from harness.footage.colour import WORDS, Coding
from harness.footage.planar import Layout, PlanarWriter, opened, written_coding
from harness.images import Pixels

SIZE = re.compile(r"(?<![0-9])([0-9]{1,5})x([0-9]{1,5})(?![0-9])")
RATE = re.compile(r"[0-9]x[0-9]+_([0-9]{1,4})(?:fps|hz)?(?=_|$)", re.IGNORECASE)
DEPTH = re.compile(r"(?<![0-9])([0-9]{1,2})bit", re.IGNORECASE)
OTHER_CHROMA = re.compile(r"(?<=_)(?:p|yuv)?(422|444)(?=p|_|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Raw:
    name: str = "raw"
    suffixes: frozenset[str] = frozenset({".yuv"})

    def open(self, path: Path, reading: Reading) -> Clip:
        if other := OTHER_CHROMA.search(path.stem):
            raise UserError(
                f"{str(path)!r} is {other[1]} by its name, and raw files are read as 420;"
                " convert it to y4m"
            )
        width, height = reading.size or _size(path)
        require_size(path, width, height)
        depth = reading.depth or _depth(path)
        coding = Coding(
            matrix=reading.matrix or "bt709",
            full_range=reading.color_range == "full",
            depth=depth,
            chroma="420",
            siting="left",
        )
        layout = Layout(height=height, width=width, coding=coding)
        with opened(path) as file:
            frames = _count(path, file, layout)
        match = RATE.search(path.stem)
        named = Fraction(int(match[1])) if match and int(match[1]) else DEFAULT_RATE
        return Clip(
            name=path.stem,
            height=height,
            width=width,
            frames=frames,
            rate=reading.rate or named,
            depth=depth,
            source=partial(_frames, path, layout),
        )

    def create(self, path: Path, writing: Writing) -> ClipWriter:
        if writing.chroma != "420":
            raise UserError(f"raw files are 420; write {path.stem}.y4m for {writing.chroma}")
        size, named = (writing.width, writing.height), SIZE.search(path.stem)
        if named and size != tuple(map(int, named.groups())):
            raise UserError(
                f"{path.name!r} does not name the size {size[0]}x{size[1]}; name that one"
            )
        return PlanarWriter(path, writing, written_coding(writing), header=b"", mark=b"")


def _size(path: Path) -> tuple[int, int]:
    match = SIZE.search(path.stem)
    if not match:
        raise UserError(
            f"the name {path.name!r} does not say the size of the frames; give it, as in 416x240"
        )
    return int(match[1]), int(match[2])


def _depth(path: Path) -> int:
    match = DEPTH.search(path.stem)
    depth = int(match[1]) if match else 8
    if depth not in WORDS:
        raise UserError(f"{path.name!r} names {depth}-bit samples; convert them to 8 or 10 bits")
    return depth


def _count(path: Path, file: BinaryIO, layout: Layout) -> int:
    size = os.fstat(file.fileno()).st_size
    frames, rest = divmod(size, layout.frame_bytes)
    if rest or not frames:
        raise UserError(
            f"{str(path)!r} has {size} bytes, which is not a multiple of the {layout.frame_bytes} of one"
            f" {layout.width}x{layout.height} 4:2:0 frame of {layout.coding.depth} bits;"
            " give its real size and depth"
        )
    return frames


def _frames(path: Path, layout: Layout) -> Iterator[Pixels]:
    with opened(path) as file:
        frames = _count(path, file, layout)
        for number in range(1, frames + 1):
            yield layout.read(file, f"frame {number} of {str(path)!r}")


FORMATS.register(Raw())
