"""The bytes of a stream's parts, without their CRCs; the package's docstring has the layout.

StreamErrors are predicates, "is damaged: ...": the reader knows of what.
"""

import struct
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction

from harness.errors import StreamError, UserError
from harness.stream_fields import FieldReader, pack_origin, unpack_origin
from harness.video_stream.frames import BRANCHES, Frame, FrameKind, StreamHeader

MAGIC, FRAME, END = b"XCKV", b"FRAM", b"ENDS"
VERSION = 1

START = struct.Struct("<4sHH")
MARK = struct.Struct("<4sI")
KIND = struct.Struct("<BB")
CRC = struct.Struct("<I")
_RATE = struct.Struct("<II")
_KINDS = {kind.value for kind in FrameKind}
# Length of the z payload, length of the y payload, for each branch.
LENGTHS = {kind: struct.Struct(f"<{2 * len(names)}I") for kind, names in BRANCHES.items()}


def pack_start(header: StreamHeader) -> bytes:
    head = pack_origin(header) + _RATE.pack(header.rate.numerator, header.rate.denominator)
    return START.pack(MAGIC, VERSION, len(head)) + head


def header_length(start: bytes) -> int:
    """The length of the header that `start`, `START.size` bytes, announces."""
    magic, version, length = START.unpack(start)
    if magic != MAGIC:
        raise StreamError(f"is not one of Crosscheck: it starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise StreamError(f"has version {version}; this decoder reads {VERSION}")
    return int(length)


def unpack_header(data: bytes) -> StreamHeader:
    """The fields of a header whose CRC holds, which still may have been made by something else."""
    reader = FieldReader(data)
    try:
        origin = unpack_origin(reader)
        header = StreamHeader(**asdict(origin), rate=_unpack_rate(reader))
    except (StreamError, UserError) as error:
        raise StreamError(f"is damaged: {error}") from error
    if reader.left:
        raise StreamError(f"is damaged: {reader.left} bytes follow its fields")
    return header


def _unpack_rate(reader: FieldReader) -> Fraction:
    numerator, denominator = _RATE.unpack(reader.take(_RATE.size, "header's rate"))
    rate = Fraction(numerator, denominator) if denominator else Fraction(0)
    if rate.as_integer_ratio() != (numerator, denominator):
        raise UserError(f"rate must be a fraction in lowest terms, got {numerator}/{denominator}")
    return rate


def frame_parts(frame: Frame) -> Iterator[bytes]:
    """The record of `frame` in pieces, so that payloads need not be copied together."""
    yield MARK.pack(FRAME, frame.number) + KIND.pack(frame.kind.value, frame.picture_hash != b"")
    payloads = [
        payload for branch in frame.branches for payload in (branch.payload_z, branch.payload_y)
    ]
    yield LENGTHS[frame.kind].pack(*map(len, payloads))
    yield from payloads
    for branch in frame.branches:
        yield branch.z_hash + branch.index_hash + branch.y_hash
    yield frame.parameters_hash + frame.picture_hash


def pack_end(frames: int) -> bytes:
    return MARK.pack(END, frames)


def unpack_kind(data: bytes) -> tuple[FrameKind, bool]:
    """A frame's kind, and whether it has a hash of the picture."""
    kind, pictured = KIND.unpack(data)
    if kind not in _KINDS or pictured > 1:
        raise StreamError(f"is damaged: its kind is {kind}, its picture flag {pictured}")
    return FrameKind(kind), bool(pictured)
