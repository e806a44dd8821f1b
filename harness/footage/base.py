"""Clips in and out: what a source and a sink of 8-bit RGB frames are, and how one is opened.

    file or folder --open_clip--> Clip --limited, cropped--> frames --create_clip--> file or folder

Knows no codec and no file format: a format is one file in `formats/` that registers itself. One
frame is in memory at a time. `colour.py` says how Y'CbCr becomes RGB, to the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np

from harness.errors import UserError
from harness.footage.chroma import Chroma
from harness.footage.colour import WORDS, Matrix
from harness.images import MAX_PIXELS, Pixels
from harness.registry import Registry

DEFAULT_RATE = Fraction(25)  # of a source that states none
MIRRORINGS = 8  # ways to lay a frame: mirrored in its columns, in its rows, in its diagonal
ColorRange = Literal["limited", "full"]


class Source(Protocol):
    """Starts from the first frame at every call, and closes its file when it is dropped."""

    def __call__(self) -> Iterator[Pixels]: ...


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames of one size, read one at a time; may be iterated over again and again."""

    name: str  # of the file without its suffix, or of the folder
    height: int
    width: int
    frames: int | None  # None: only decoding all would tell
    rate: Fraction  # frames a second
    depth: int  # bits of the source's samples, 8 or 10
    source: Source = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[Pixels]:
        """Yield uint8 RGB [height, width, 3] arrays, each the caller's own.

        `UserError` at a frame that is damaged, of another size, or missing.
        """
        number = 0
        for number, pixels in enumerate(self.source(), start=1):
            if pixels.shape != (self.height, self.width, 3):
                height, width, _ = pixels.shape
                raise UserError(
                    f"frame {number} of clip {self.name!r} is {width}x{height}, the clip is"
                    f" {self.width}x{self.height}; make all its frames of one size"
                )
            yield pixels
        if self.frames is not None and number != self.frames:
            raise UserError(
                f"clip {self.name!r} ended after {number} of {self.frames} frames; it changed while"
                " it was read: read it again"
            )
        if not number:
            raise UserError(f"clip {self.name!r} has no frame; give a whole file")

    def limited(self, frames: int) -> "Clip":
        """The first `frames` frames, or all there are if these are fewer."""
        if frames < 1:
            raise UserError(f"a clip cannot be limited to {frames} frames; give 1 or more")
        known = None if self.frames is None else min(self.frames, frames)
        return replace(self, frames=known, source=partial(_first, self, frames))

    def cropped(self, height: int, width: int) -> "Clip":
        """The middle of every frame: 1024 rows of 1080 start at row 28."""
        top, left = (self.height - height) // 2, (self.width - width) // 2
        return self.cropped_at(top, left, height, width)

    def cropped_at(self, top: int, left: int, height: int, width: int) -> "Clip":
        """The same window of every frame; `UserError` if it is empty or reaches outside."""
        inside = 0 <= top <= self.height - height and 0 <= left <= self.width - width
        if not inside or min(height, width) < 1:
            raise UserError(
                f"no {width}x{height} window at row {top}, column {left} of clip {self.name!r},"
                f" which is {self.width}x{self.height}; give a smaller size"
            )
        window = partial(_window, self, top, left, height, width)
        return replace(self, height=height, width=width, source=window)

    def mirrored(self, number: int) -> "Clip":
        """One of `MIRRORINGS` clips of the same pictures, 0 as it is; bits: 1 left-right, 2 upside down, 4 rows for columns."""
        if not 0 <= number < MIRRORINGS:
            raise UserError(f"no mirrored clip number {number}; give 0 to {MIRRORINGS - 1}")
        height, width = (self.width, self.height) if number & 4 else (self.height, self.width)
        return replace(self, height=height, width=width, source=partial(_mirrored, self, number))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says of a file; None: what the file says, then its name, then the default."""

    size: tuple[int, int] | None = None  # width, height
    depth: int | None = None
    matrix: Matrix | None = None
    color_range: ColorRange | None = None
    rate: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What the file to be written shall be."""

    height: int
    width: int
    rate: Fraction
    depth: int
    chroma: Chroma
    matrix: Matrix
    color_range: ColorRange


class ClipWriter(Protocol):
    """A clip in the making: a context manager, whose file appears whole at its end or not at all."""

    def write(self, pixels: Pixels) -> None:
        """Append one uint8 RGB [height, width, 3] frame."""

    def close(self) -> None:
        """Give the file its name; `UserError` if there is no frame or no space."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class Format(Protocol):
    """How clips of one kind of file are read and written."""

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> frozenset[str]:
        """Of its files, in lower case; "" for a folder."""

    def open(self, path: Path, reading: Reading) -> Clip: ...
    def create(self, path: Path, writing: Writing) -> ClipWriter: ...


FORMATS: Registry[Format] = Registry("clip format", "harness.footage.formats")


def open_clip(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    depth: int | None = None,
    matrix: Literal["auto", "bt601", "bt709"] = "auto",
    color_range: Literal["auto", "limited", "full"] = "auto",
    rate: Fraction | None = None,
) -> Clip:
    """Open a y4m, raw yuv or video file, or a folder of PNGs; no frame is decoded yet.

    - `size` is (width, height). A raw file states neither size nor depth nor rate: they are taken
      from here, else from its name (`Foo_416x240_50_10bit.yuv`), else 8 bits and 25 a second.
    - `auto` is what the file states; of a file that states nothing, BT.709 and limited range.

    `UserError` for what is no such file, is damaged, is larger than a picture may be, or is of
    another size or depth than the one given here.
    """
    require_size(path, *(size or (1, 1)))
    if depth is not None and depth not in WORDS:
        raise UserError(f"samples of {depth} bits are not supported; give 8 or 10")
    if rate is not None and rate <= 0:
        raise UserError(f"a frame rate of {rate} is impossible; give one above 0")
    reading = Reading(
        size=size,
        depth=depth,
        matrix=None if matrix == "auto" else matrix,
        color_range=None if color_range == "auto" else color_range,
        rate=rate,
    )
    clip = _format_of(path, _suffix_of_existing(path)).open(path, reading)
    if size is not None and size != (clip.width, clip.height):
        raise UserError(
            f"{str(path)!r} is {clip.width}x{clip.height}, not {size[0]}x{size[1]};"
            " leave the size away, since the file states it"
        )
    if depth is not None and depth != clip.depth:
        raise UserError(
            f"{str(path)!r} has {clip.depth}-bit samples, not {depth}-bit ones;"
            " leave the depth away, since the file states it"
        )
    return clip


def create_clip(
    path: Path,
    *,
    height: int,
    width: int,
    rate: Fraction,
    depth: int = 8,
    chroma: Literal["420", "444"] = "420",
    matrix: Matrix = "bt709",
    color_range: ColorRange = "limited",
) -> ClipWriter:
    """Start a .y4m or raw .yuv file, or a folder of PNGs (a name without suffix).

    Neither y4m nor raw files can state the matrix, and raw files state nothing: who reads them
    has to know. Chroma of 4:2:0 lies where MPEG-2 has it. `UserError` where it cannot be written.
    """
    require_size(path, width, height)
    if depth not in WORDS:
        raise UserError(f"samples of {depth} bits are not supported; give 8 or 10")
    if rate <= 0:
        raise UserError(f"a frame rate of {rate} is impossible; give one above 0")
    writing = Writing(
        height=height,
        width=width,
        rate=rate,
        depth=depth,
        chroma=chroma,
        matrix=matrix,
        color_range=color_range,
    )
    return _format_of(path, path.suffix.lower()).create(path, writing)


def clip_suffixes() -> frozenset[str]:
    """The suffixes of all files that may be clips."""
    return frozenset().union(*(each.suffixes for each in FORMATS)) - {""}


def _first(clip: Clip, frames: int) -> Iterator[Pixels]:
    for number, pixels in enumerate(clip, start=1):
        yield pixels
        if number == frames:
            return


def _window(clip: Clip, top: int, left: int, height: int, width: int) -> Iterator[Pixels]:
    for pixels in clip:
        yield pixels[top : top + height, left : left + width].copy()


def _mirrored(clip: Clip, number: int) -> Iterator[Pixels]:
    for pixels in clip:
        turned = pixels.transpose(1, 0, 2) if number & 4 else pixels
        rows, columns = (-1 if number & bit else 1 for bit in (2, 1))
        yield np.ascontiguousarray(turned[::rows, ::columns])


def _suffix_of_existing(path: Path) -> str:
    try:
        if path.is_dir():
            return ""
        if not path.is_file():
            raise UserError(f"no file {str(path)!r}; check the path")
        if path.stat().st_size == 0:
            raise UserError(f"{str(path)!r} is empty; give a whole file")
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}; check the path") from error
    return path.suffix.lower() or "none"


def _format_of(path: Path, suffix: str) -> Format:
    for each in FORMATS:
        if suffix in each.suffixes:
            return each
    raise UserError(
        f"{str(path)!r} is no clip that we know; give a folder of PNGs or a file ending in"
        f" {', '.join(sorted(clip_suffixes()))}"
    )


def require_size(path: Path, width: int, height: int) -> None:
    """`UserError` for a size that no picture has, before anything of that size is allocated."""
    if width < 1 or height < 1:
        raise UserError(
            f"{str(path)!r} of {width}x{height} pixels is impossible; give its real size"
        )
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{str(path)!r} is {width}x{height}, which exceeds {MAX_PIXELS} pixels; scale it down first"
        )
