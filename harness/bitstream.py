"""The container that payloads travel in: what made them, their shapes, CRCs and hashes.

Stands between `coder` (payloads) and whoever stores or sends bytes. Knows nothing of networks,
tables or platforms, and codes nothing itself. All numbers are little-endian:

    offset  size  field
    0       4     magic b"XCHK"
    4       2     version, 1
    6       2     h, length of the header in bytes
    8       h     header (below)
    8+h     4     CRC-32 (zlib's) of everything before it
    12+h    4     length n of the z payload
    16+h    4     CRC-32 of that length field and the payload
    20+h    n     z payload
    ...     8+m   y payload, in a frame of the same form; nothing follows it

    header: size    field
            72+a+b  codec id (a characters), quality, profile (b characters), specification,
                    tables, height and width, as `stream_fields` lays them out
            6       y shape: channels, height, width; each is stored minus one
            6       z shape: likewise
            16      hash of the z symbols
            16      hash of the indexes
            16      hash of the y symbols
            1       1 if a hash of the reconstructed picture follows, else 0
            0|16    hash of the picture

So a stream costs 161 + a + b bytes besides its payloads, and 16 more with a picture hash: 185 for
"bmshj2018-hyperprior" and "w8a8" (201), at most 305. A CRC-32 finds every single flipped bit and
every burst of up to 32; a hash is the first half of a SHA-256 (`symbol_hash`). There is one
encoding of each value: `pack(unpack(data)) == data`.
"""

import struct
import zlib
from dataclasses import asdict, dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from harness.errors import StreamError, UserError
from harness.stream_fields import (
    HASH_BYTES,
    MAX_DIMENSION,
    FieldReader,
    Origin,
    check_bytes,
    check_payload,
    is_dimension,
    kind_of,
    pack_origin,
    unpack_origin,
)
from harness.trace import TensorRecord

Shape = tuple[int, int, int]

MAGIC = b"XCHK"
VERSION = 1
MAX_ELEMENTS = 1 << 26
MAX_PAYLOAD = (1 << 32) - 1

_START = struct.Struct("<4sHH")
_WORD = struct.Struct("<I")
_FRAME = struct.Struct("<II")
_SHAPES = struct.Struct("<6H")
_AXES = 3


@dataclass(frozen=True, kw_only=True)
class Header(Origin):
    """What a decoder must know, and be, before it decodes. Anything out of range is a UserError.

    `y_shape`, `z_shape`: C, H, W, each 1..65536 and at most 2^26 elements.
    """

    y_shape: Shape
    z_shape: Shape

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, shape in (("y_shape", self.y_shape), ("z_shape", self.z_shape)):
            axes = len(shape) if isinstance(shape, tuple) else 0
            if axes != _AXES or not all(map(is_dimension, shape)):
                raise UserError(f"{name} must be 3 integers in 1..{MAX_DIMENSION}, got {shape!r}")
            if prod(shape) > MAX_ELEMENTS:
                raise UserError(f"{name} {shape} has {prod(shape)} elements, over {MAX_ELEMENTS}")


@dataclass(frozen=True, kw_only=True)
class Bitstream:
    """A header, the payloads of `coder`, and the hashes that prove a decode (16 bytes each).

    `z_hash` and `y_hash` are of the symbols, `index_hash` of the indexes, `picture_hash` of the
    reconstruction, as `symbol_hash` gives them; b"" is no picture hash. Else a UserError.
    """

    header: Header
    payload_z: bytes
    payload_y: bytes
    z_hash: bytes
    index_hash: bytes
    y_hash: bytes
    picture_hash: bytes = b""

    def __post_init__(self) -> None:
        for name in ("z_hash", "index_hash", "y_hash"):
            check_bytes(name, getattr(self, name), HASH_BYTES)
        if self.picture_hash != b"":
            check_bytes("picture_hash", self.picture_hash, HASH_BYTES)
        for name in ("payload_z", "payload_y"):
            check_payload(name, getattr(self, name), MAX_PAYLOAD)

    @property
    def payload_bytes(self) -> int:
        """The rate that is the codec's own: both payloads, without the container."""
        return len(self.payload_z) + len(self.payload_y)


def symbol_hash(array: NDArray[np.generic]) -> bytes:
    """16 bytes: the first half of the SHA-256 over dtype, shape and little-endian elements.

    So int64 symbols hash unlike int32 ones (the coder gives int32), a transposed latent unlike
    itself. Floats and booleans are a UserError.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise UserError(
            f"only arrays of integers are hashed into a bitstream, got {kind_of(array)}"
        )
    return bytes.fromhex(TensorRecord.of("", array).digest)[:HASH_BYTES]


def pack(bitstream: Bitstream) -> bytes:
    """The bytes of `bitstream`, laid out as this module's docstring says."""
    head = _pack_header(bitstream)
    start = _START.pack(MAGIC, VERSION, len(head)) + head
    frames = (_pack_frame(bitstream.payload_z), _pack_frame(bitstream.payload_y))
    return b"".join((start, _WORD.pack(zlib.crc32(start)), *frames))


def unpack(data: bytes) -> Bitstream:
    """What `pack` was given; any damage (cut, flipped bits, bytes after the end) is a StreamError.

    Its one line names the damaged part. What is not bytes is a UserError. Nothing is allocated
    beyond the size of `data`.
    """
    if not isinstance(data, bytes):
        raise UserError(f"a bitstream is bytes, got {kind_of(data)}")
    reader = FieldReader(data)
    magic, version, length = _START.unpack(reader.take(_START.size, "start"))
    if magic != MAGIC:
        raise StreamError(f"not a Crosscheck bitstream: it starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise StreamError(f"bitstream has version {version}; this decoder reads {VERSION}")
    head = reader.take(length, "header")
    covered = reader.position
    (crc,) = _WORD.unpack(reader.take(_WORD.size, "header"))
    if crc != zlib.crc32(data[:covered]):
        raise StreamError("bitstream is damaged: the header does not match its CRC-32")
    payload_z = _unpack_frame(reader, "z payload")
    payload_y = _unpack_frame(reader, "y payload")
    if reader.left:
        raise StreamError(f"bitstream is damaged: {reader.left} bytes follow its end")
    return _unpack_header(head, payload_z, payload_y)


def check_specification(
    header: Origin, *, codec: str, quality: int, profile: str, specification: bytes, tables: bytes
) -> None:
    """Refuse, by a StreamError, a stream of another specification instead of decoding noise.

    The message says what the stream was made with and what this decoder has, where they differ.
    """
    ours = {"codec": codec, "quality": quality, "profile": profile,
            "specification": specification, "tables": tables}  # fmt: skip
    theirs = {name: getattr(header, name) for name in ours}
    differing = [name for name, value in ours.items() if theirs[name] != value]
    if differing:
        made = ", ".join(f"{name} {_shown(theirs[name])}" for name in differing)
        have = ", ".join(f"{name} {_shown(ours[name])}" for name in differing)
        raise StreamError(
            f"bitstream was made with {made}; this decoder has {have};"
            " decode it with the artifact that it was made with"
        )


def _pack_frame(payload: bytes) -> bytes:
    length = _WORD.pack(len(payload))
    return length + _WORD.pack(zlib.crc32(payload, zlib.crc32(length))) + payload


def _unpack_frame(reader: FieldReader, part: str) -> bytes:
    length, crc = _FRAME.unpack(reader.take(_FRAME.size, part))
    payload = reader.take(length, part)
    if crc != zlib.crc32(payload, zlib.crc32(_WORD.pack(length))):
        raise StreamError(f"bitstream is damaged: the {part} does not match its CRC-32")
    return payload


def _pack_header(bitstream: Bitstream) -> bytes:
    header = bitstream.header
    shapes = (*header.y_shape, *header.z_shape)
    return b"".join((
        pack_origin(header),
        _SHAPES.pack(*(size - 1 for size in shapes)),
        bitstream.z_hash + bitstream.index_hash + bitstream.y_hash,
        bytes([bitstream.picture_hash != b""]),
        bitstream.picture_hash,
    ))  # fmt: skip


def _unpack_header(data: bytes, payload_z: bytes, payload_y: bytes) -> Bitstream:
    """The fields of a header whose CRC holds, which still may have been made by something else."""
    reader = FieldReader(data)
    try:
        origin = unpack_origin(reader)
        shapes = _SHAPES.unpack(reader.take(_SHAPES.size, "header's shapes"))
        yc, yh, yw, zc, zh, zw = (size + 1 for size in shapes)
        z_hash, index_hash, y_hash = (reader.take(HASH_BYTES, "header's hashes") for _ in range(3))
        flag = reader.take(1, "header's picture hash")
        picture_hash = reader.take(HASH_BYTES if flag == b"\1" else 0, "header's picture hash")
        if flag > b"\1" or reader.left:
            raise StreamError(f"bitstream is damaged: {reader.left} bytes of header after its end")
        header = Header(**asdict(origin), y_shape=(yc, yh, yw), z_shape=(zc, zh, zw))
        return Bitstream(
            header=header, payload_z=payload_z, payload_y=payload_y,
            z_hash=z_hash, index_hash=index_hash, y_hash=y_hash, picture_hash=picture_hash,
        )  # fmt: skip
    except UserError as error:
        raise StreamError(f"bitstream is damaged: in the header, {error}") from error


def _shown(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else repr(value)
