"""What both ends of a cell make, pictures and clips alike: a stream, and the traces of its frames (a picture has one)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness import endpoints
from harness.bitstream import check_specification, pack, unpack
from harness.build import Build
from harness.endpoints import Run
from harness.errors import StreamError
from harness.trace import Trace
from harness.video import endpoints as video
from harness.video.build import VideoBuild
from harness.video_stream import StreamHeader, StreamReader, StreamWriter

U8 = NDArray[np.uint8]
# One picture [H, W, 3], or the pictures of a clip.
Source = U8 | Sequence[U8]
# A clip in a matrix of cells is a list of pictures: how fast they follow each other changes no bit.
RATE = Fraction(25)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An encoder's stream and its traces, one a frame; `payload_bytes` without the container."""

    stream: bytes
    payload_bytes: int
    frames: tuple[Trace, ...]


@dataclass(frozen=True, kw_only=True)
class Received:
    """A decoder's traces, one a frame; `problem` says which of the stream's own hashes failed first, empty if none."""

    frames: tuple[Trace, ...]
    problem: str


def encode(made: Build | VideoBuild, source: Source, run: Run) -> Sent:
    if isinstance(made, VideoBuild):
        return _encode_clip(made, source, run)
    assert isinstance(source, np.ndarray)
    encoded = endpoints.encode(made, source, run)
    return Sent(
        stream=pack(encoded.bitstream),
        payload_bytes=encoded.bitstream.payload_bytes,
        frames=(encoded.trace,),
    )


def decode(made: Build | VideoBuild, stream: bytes, run: Run, *, reconstruct: bool) -> Received:
    """StreamError if the stream is of another build or cannot be decoded at all."""
    if isinstance(made, VideoBuild):
        return _decode_clip(made, stream, run, reconstruct=reconstruct)
    decoded = endpoints.decode(made, unpack(stream), run, reconstruct=reconstruct)
    return Received(frames=(decoded.trace,), problem=decoded.problem)


def header_of(made: VideoBuild, size: tuple[int, int], rate: Fraction) -> StreamHeader:
    """The header of a stream of this build, of pictures of `size` (height, width)."""
    return StreamHeader(
        codec=made.codec.family,
        quality=made.codec.quality,
        profile=made.profile,
        specification=bytes.fromhex(made.specification),
        tables=bytes.fromhex(made.codec.tables_digest),
        height=size[0],
        width=size[1],
        rate=rate,
    )


def check_header(made: VideoBuild, header: StreamHeader) -> None:
    """StreamError unless a stream with this header is of exactly this build."""
    check_specification(
        header,
        codec=made.codec.family,
        quality=made.codec.quality,
        profile=made.profile,
        specification=bytes.fromhex(made.specification),
        tables=bytes.fromhex(made.codec.tables_digest),
    )


def _encode_clip(made: VideoBuild, source: Source, run: Run) -> Sent:
    frames, payload = [], 0
    file = io.BytesIO()
    height, width = source[0].shape[:2]
    with StreamWriter(file, header_of(made, (height, width), RATE)) as writer:
        for coded in video.encode(made, source, run):
            writer.write(coded.frame)
            payload += coded.payload_bytes
            frames.append(coded.trace)
    return Sent(stream=file.getvalue(), payload_bytes=payload, frames=tuple(frames))


def _decode_clip(made: VideoBuild, stream: bytes, run: Run, *, reconstruct: bool) -> Received:
    reader = StreamReader(io.BytesIO(stream))
    check_header(made, reader.header)
    size = (reader.header.height, reader.header.width)
    frames: list[Trace] = []
    problem = ""
    try:
        for decoded in video.decode(made, reader, size, run, reconstruct=reconstruct):
            frames.append(decoded.trace)
            problem = problem or decoded.problem
    except StreamError as error:  # what came before it is there
        if not frames:
            raise
        problem = problem or f"frame {len(frames)}: {error}"
    return Received(frames=tuple(frames), problem=problem)
