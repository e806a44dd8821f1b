"""Compressed video (.264, .mp4, .mkv, ...) through PyAV, as far as the planes; colour is ours.

H.264, HEVC, VP9, AV1 and the lossless codecs decode to the same planes everywhere by their
standards; MPEG-2 and MPEG-4 part 2 leave the inverse transform open. Chroma is taken to lie where
MPEG-2 has it, as it does in these codecs by default; rotation and pixel aspect are not applied.
A container's number of frames is a claim, so `Clip.frames` is None.

A picture that the decoder had to conceal is refused when its turn comes; pictures shown before it
may have been predicted from it. What a decoder cannot notice, nobody can: a Matroska file cut
between two frames ends early, and a flipped bit may decode to other samples.

The demuxer is chosen by the suffix, never by the content: a playlist under the name of a film
would make FFmpeg open other files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
from harness.footage.chroma import Chroma
from harness.footage.colour import Coding, Matrix, Plane, plane_shapes, to_rgb
from harness.images import MAX_PIXELS, Pixels

if TYPE_CHECKING:  # optional at run time
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane
    from av.video.stream import VideoStream

DEMUXERS = {
    ".264": "h264", ".h264": "h264", ".265": "hevc", ".h265": "hevc", ".hevc": "hevc",
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska",
    ".ivf": "ivf", ".avi": "avi",
}  # fmt: skip
PIXEL_FORMATS: dict[str, tuple[Chroma, int]] = {
    "yuv420p": ("420", 8), "yuvj420p": ("420", 8), "yuv420p10le": ("420", 10),
    "yuv422p": ("422", 8), "yuvj422p": ("422", 8), "yuv422p10le": ("422", 10),
    "yuv444p": ("444", 8), "yuvj444p": ("444", 8), "yuv444p10le": ("444", 10),
}  # fmt: skip
# MatrixCoefficients of H.273; 2 is "unspecified", 5 and 6 are both BT.601.
MATRICES: dict[int, Matrix] = {1: "bt709", 2: "bt709", 5: "bt601", 6: "bt601"}
FULL_RANGE = 2  # of FFmpeg's AVColorRange
CONVERT = "convert it, as with ffmpeg -pix_fmt yuv420p"


@dataclass(frozen=True, kw_only=True)
class Container:
    name: str = "container"
    suffixes: frozenset[str] = frozenset(DEMUXERS)

    def open(self, path: Path, reading: Reading) -> Clip:
        with _opened(path) as (_, stream):
            context = stream.codec_context
            require_size(path, context.width, context.height)
            coding = _coding(path, stream, reading)
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            return Clip(
                name=path.stem,
                height=context.height,
                width=context.width,
                frames=None,
                rate=reading.rate or rate,
                depth=coding.depth,
                source=partial(_frames, path, coding),
            )

    def create(self, path: Path, writing: Writing) -> ClipWriter:
        del writing
        raise UserError(f"{path.suffix} files are read, not written; name a .y4m file or a folder")


@contextmanager
def _opened(path: Path) -> "Iterator[tuple[InputContainer, VideoStream]]":
    try:
        import av  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UserError(
            f"reading {path.suffix} files needs PyAV; install it with"
            " pip install 'codec-crosscheck[video]', or convert the clip to .y4m"
        ) from error
    try:
        with av.open(f"file:{path}", format=DEMUXERS[path.suffix.lower()]) as container:
            if not container.streams.video:
                raise UserError(f"{str(path)!r} has no video in it; give another file")
            stream = container.streams.video[0]
            # With threads, whether a damaged picture is marked as such is a race: 44 of 60 times.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # of later frames too
            yield container, stream
    except av.FFmpegError as error:
        raise UserError(
            f"cannot decode {str(path)!r}: {error.strerror}; give a whole file, or convert it to .y4m"
        ) from error


def _coding(path: Path, stream: "VideoStream", reading: Reading) -> Coding:
    context = stream.codec_context
    samples = context.pix_fmt or "unknown"
    if samples not in PIXEL_FORMATS:
        raise UserError(f"{str(path)!r} has samples of kind {samples!r}; {CONVERT}")
    chroma, depth = PIXEL_FORMATS[samples]
    matrix = reading.matrix or MATRICES.get(context.colorspace)
    if matrix is None:
        raise UserError(
            f"{str(path)!r} states matrix {context.colorspace} of H.273, and BT.601 and BT.709 are known;"
            " give the one to use"
        )
    full = context.color_range == FULL_RANGE
    return Coding(
        matrix=matrix,
        full_range=reading.color_range == "full" if reading.color_range else full,
        depth=depth,
        chroma=chroma,
        siting="left",
    )


def _frames(path: Path, coding: Coding) -> Iterator[Pixels]:
    with _opened(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream), start=1):
            where = f"frame {number} of {str(path)!r}"
            if frame.is_corrupt:
                raise UserError(f"{where} is damaged; copy the file again")
            if frame.interlaced_frame:
                raise UserError(f"{where} is interlaced; deinterlace it first")
            if PIXEL_FORMATS.get(frame.format.name) != (coding.chroma, coding.depth):
                raise UserError(f"{where} has samples of kind {frame.format.name!r}; {CONVERT}")
            yield to_rgb(_planes(frame, coding), coding)


def _planes(frame: "VideoFrame", coding: Coding) -> tuple[Plane, Plane, Plane]:
    shapes = plane_shapes(frame.height, frame.width, coding.chroma)
    y, cb, cr = (
        _samples(plane, shape, coding.word)
        for plane, shape in zip(frame.planes, shapes, strict=True)
    )
    return y, cb, cr


def _samples(plane: "VideoPlane", shape: tuple[int, int], word: str) -> Plane:
    """Copy the samples out of rows that are padded."""
    rows = np.frombuffer(memoryview(plane), word).reshape(shape[0], -1)
    return rows[:, : shape[1]].astype(np.uint16)


FORMATS.register(Container())
