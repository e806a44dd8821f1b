"""What the bitstreams of pictures and of videos have in common: who made them, and careful reading.

Stands under `bitstream` and `video_stream`. Knows no payloads and no container. The fields of `Origin`
as both containers lay them out, all numbers little-endian:

    size  field
    1+a   codec id: length, then printable ASCII (1..64)
    2     quality
    1+b   arithmetic profile: length, then printable ASCII (1..64): "float32", "w8a8", ...
    32    SHA-256 of the specification that computes the entropy parameters
    32    SHA-256 of the tables
    4     height, width of the picture; each is stored minus one
"""

import re
import struct
from dataclasses import dataclass

import numpy as np

from harness.errors import StreamError, UserError

MAX_DIMENSION = 1 << 16
DIGEST_BYTES, HASH_BYTES = 32, 16

_QUALITY = struct.Struct("<H")
_SIZE = struct.Struct("<2H")
_NAME = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a decoder must be to decode a stream. Anything out of range is a UserError.

    `codec` and `profile`: 1 to 64 printable ASCII characters; `profile` is the arithmetic that
    computed the entropy parameters, "float32" or the name of an integer specification such as
    "w8a8". `specification`, `tables`: SHA-256, 32 bytes each. `height`, `width`: the true size of
    the picture.
    """

    codec: str
    quality: int
    profile: str
    specification: bytes
    tables: bytes
    height: int
    width: int

    def __post_init__(self) -> None:
        for name, text in (("codec", self.codec), ("profile", self.profile)):
            if not isinstance(text, str) or not _NAME.fullmatch(text):
                raise UserError(f"{name} must be 1 to 64 printable ASCII characters, got {text!r}")
        if type(self.quality) is not int or not 0 <= self.quality < 1 << 16:
            raise UserError(f"quality must be an integer in 0..65535, got {self.quality!r}")
        check_bytes("specification", self.specification, DIGEST_BYTES)
        check_bytes("tables", self.tables, DIGEST_BYTES)
        for name, size in (("height", self.height), ("width", self.width)):
            if not is_dimension(size):
                raise UserError(f"{name} must be an integer in 1..{MAX_DIMENSION}, got {size!r}")


def pack_origin(origin: Origin) -> bytes:
    """The fields of `origin`, laid out as this module's docstring says."""
    return b"".join((
        bytes([len(origin.codec)]) + origin.codec.encode(),
        _QUALITY.pack(origin.quality),
        bytes([len(origin.profile)]) + origin.profile.encode(),
        origin.specification + origin.tables,
        _SIZE.pack(origin.height - 1, origin.width - 1),
    ))  # fmt: skip


def unpack_origin(reader: "FieldReader") -> Origin:
    """What `pack_origin` was given. Too few bytes are a StreamError, a field out of range is a UserError."""
    codec = _unpack_name(reader, "codec id")
    (quality,) = _QUALITY.unpack(reader.take(_QUALITY.size, "header's quality"))
    profile = _unpack_name(reader, "profile")
    specification = reader.take(DIGEST_BYTES, "header's specification")
    tables = reader.take(DIGEST_BYTES, "header's tables")
    height, width = _SIZE.unpack(reader.take(_SIZE.size, "header's size"))
    return Origin(
        codec=codec, quality=quality, profile=profile, specification=specification,
        tables=tables, height=height + 1, width=width + 1,
    )  # fmt: skip


class FieldReader:
    """Takes bytes from the front, never past the end; errors name the part that was being read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int, part: str) -> bytes:
        if size > self.left:
            raise StreamError(
                f"bitstream is truncated or damaged in the {part}:"
                f" {size} bytes wanted at offset {self.position}, {self.left} left"
            )
        self.position += size
        return self.data[self.position - size : self.position]


def is_dimension(size: object) -> bool:
    return type(size) is int and 1 <= size <= MAX_DIMENSION


def check_bytes(name: str, value: object, size: int) -> None:
    """Refuse, by a UserError, what is not exactly `size` bytes."""
    if not isinstance(value, bytes) or len(value) != size:
        raise UserError(f"{name} must be {size} bytes, got {kind_of(value)}")


def check_payload(name: str, value: object, most: int) -> None:
    """Refuse, by a UserError, what is not bytes or more than `most` of them."""
    if not isinstance(value, bytes) or len(value) > most:
        raise UserError(f"{name} must be at most {most} bytes, got {kind_of(value)}")


def kind_of(value: object) -> str:
    """What an error message says of a value of the wrong kind."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__


def _unpack_name(reader: FieldReader, part: str) -> str:
    (length,) = reader.take(1, f"header's {part}")
    return reader.take(length, f"header's {part}").decode("latin-1")  # `Origin` wants ASCII
