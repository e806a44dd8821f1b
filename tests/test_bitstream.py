"""The container: round trips, its layout byte for byte, every damage a small stream can take."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.bitstream import (
    Bitstream,
    Header,
    check_specification,
    pack,
    symbol_hash,
    unpack,
)
from harness.errors import StreamError, UserError

HEADER = Header(
    codec="bmshj2018-hyperprior", quality=3, profile="w8a8", specification=bytes(range(32)),
    tables=bytes(range(32, 64)), height=511, width=65536, y_shape=(192, 32, 4096),
    z_shape=(128, 8, 1024),
)  # fmt: skip
STREAM = Bitstream(
    header=HEADER, payload_z=b"zz-payload", payload_y=b"the payload of y", z_hash=b"z" * 16,
    index_hash=b"i" * 16, y_hash=b"y" * 16,
)  # fmt: skip
PICTURED = replace(STREAM, picture_hash=b"p" * 16)
OVERHEAD = 185
MINE: Mapping[str, str | int | bytes] = {
    name: getattr(HEADER, name)
    for name in ("codec", "quality", "profile", "specification", "tables")
}


def sealed(start: bytes, rest: bytes) -> bytes:
    """A stream with a new header, and the CRC-32 that makes it look intact."""
    head = start[:6] + struct.pack("<H", len(start) - 8) + start[8:]
    return head + struct.pack("<I", zlib.crc32(head)) + rest


def parts(stream: Bitstream) -> tuple[bytes, bytes]:
    data = pack(stream)
    end = 8 + struct.unpack_from("<H", data, 6)[0]
    return data[:end], data[end + 4 :]


@pytest.mark.parametrize(
    "stream", [STREAM, PICTURED, replace(STREAM, payload_z=b"", payload_y=b"")]
)
def test_round_trip(stream: Bitstream) -> None:
    data = pack(stream)
    assert unpack(data) == stream
    assert pack(unpack(data)) == data
    overhead = OVERHEAD + len(stream.picture_hash)
    assert len(data) - stream.payload_bytes == overhead < 220


def test_layout_is_the_documented_one() -> None:
    head = b"".join((
        b"\x14bmshj2018-hyperprior", b"\x03\x00", b"\x04w8a8", HEADER.specification, HEADER.tables,
        b"\xfe\x01\xff\xff", b"\xbf\x00\x1f\x00\xff\x0f", b"\x7f\x00\x07\x00\xff\x03",
        b"z" * 16, b"i" * 16, b"y" * 16, b"\x01", b"p" * 16,
    ))  # fmt: skip
    expected = b"XCHK\x01\x00" + struct.pack("<H", len(head)) + head
    expected += struct.pack("<I", zlib.crc32(expected))
    for payload in (b"zz-payload", b"the payload of y"):
        length = struct.pack("<I", len(payload))
        expected += length + struct.pack("<I", zlib.crc32(length + payload)) + payload
    assert pack(PICTURED) == expected


def test_the_longest_names_cost_what_is_documented() -> None:
    header = replace(HEADER, codec="c" * 64, profile="p" * 64)
    stream = replace(PICTURED, header=header)
    assert len(pack(stream)) - stream.payload_bytes == 305
    assert unpack(pack(stream)) == stream


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
dimensions = st.integers(1, 65536)
small = st.tuples(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400))


def sized(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


headers = st.builds(
    Header, codec=names, quality=st.integers(0, 65535), profile=names, specification=sized(32),
    tables=sized(32), height=dimensions, width=dimensions, y_shape=small, z_shape=small,
)  # fmt: skip
streams = st.builds(
    Bitstream, header=headers, payload_z=st.binary(max_size=100), payload_y=st.binary(max_size=100),
    z_hash=sized(16), index_hash=sized(16), y_hash=sized(16),
    picture_hash=st.just(b"") | sized(16),
)  # fmt: skip


@given(streams)
@settings(max_examples=150, deadline=None)
def test_every_stream_round_trips(stream: Bitstream) -> None:
    data = pack(stream)
    assert unpack(data) == stream
    assert pack(unpack(data)) == data


@pytest.mark.parametrize("stream", [STREAM, PICTURED])
def test_every_truncation_is_found(stream: Bitstream) -> None:
    data = pack(stream)
    for size in range(len(data)):
        with pytest.raises(StreamError, match=r"^bitstream is truncated or damaged in the [^\n]*$"):
            unpack(data[:size])


@pytest.mark.parametrize("stream", [STREAM, PICTURED])
def test_every_flipped_bit_is_found_and_its_part_named(stream: Bitstream) -> None:
    data = pack(stream)
    z_frame = len(data) - 8 - len(stream.payload_y) - 8 - len(stream.payload_z)
    bounds = (0, 4, 6, z_frame, len(data) - 8 - len(stream.payload_y), len(data))
    says = ("not a Crosscheck bitstream", "has version", "header", "z payload", "y payload")
    for (low, high), words in zip(pairwise(bounds), says, strict=True):
        for bit in range(8 * low, 8 * high):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            # A length that grew runs into the next part, or one that shrank leaves bytes over.
            pattern = f"{words}|follow its end" if words.endswith("payload") else words
            with pytest.raises(StreamError, match=f"^[^\n]*({pattern})[^\n]*$"):
                unpack(bytes(damaged))


@pytest.mark.parametrize("extra", [b"\0", b"x", b"\0" * 8, pack(STREAM)])
def test_bytes_after_the_end_are_refused(extra: bytes) -> None:
    with pytest.raises(StreamError, match=f"{len(extra)} bytes follow its end"):
        unpack(pack(STREAM) + extra)


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_a_stream_error(noise: bytes, prefixed: bool) -> None:
    with pytest.raises(StreamError):
        unpack(b"XCHK\x01\x00" + noise if prefixed else noise)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_a_random_header_with_a_right_crc_is_a_stream_error(head: bytes) -> None:
    with pytest.raises(StreamError, match=r"^[^\n]*header[^\n]*$"):
        unpack(sealed(b"XCHK\x01\x00\x00\x00" + head, parts(STREAM)[1]))


@given(st.integers(8, 8 + 158), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_header_with_a_right_crc_is_read_or_refused(place: int, value: int) -> None:
    start, rest = parts(STREAM)
    data = sealed(start[:place] + bytes([value]) + start[place + 1 :], rest)
    try:
        assert pack(unpack(data)) == data
    except StreamError as error:
        assert "header" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (9, b"\xe9", "in the header, codec must be"),
        (9, b"\n", "in the header, codec must be"),
        (32, b" ", "in the header, profile must be"),
        (8, b"\xff", "in the header's codec id"),
        (31, b"\xff", "in the header's profile"),
        (104, b"\xff\xff\xff\xff\xff\xff", "in the header, y_shape .* elements"),
        (110, b"\xff\xff\xff\xff\xff\xff", "in the header, z_shape .* elements"),
        (164, b"\x02", "header"),
        (164, b"\x01", "in the header's picture hash: 16 bytes wanted"),
    ],
)
def test_a_forged_header_is_refused(place: int, value: bytes, says: str) -> None:
    start, rest = parts(STREAM)
    forged = sealed(start[:place] + value + start[place + len(value) :], rest)
    with pytest.raises(StreamError, match=f"^[^\n]*{says}[^\n]*$"):
        unpack(forged)


def test_a_header_that_is_longer_than_its_fields_is_refused() -> None:
    start, rest = parts(STREAM)
    with pytest.raises(StreamError, match="1 bytes of header after its end"):
        unpack(sealed(start + b"\0", rest))


def test_a_length_that_lies_allocates_nothing() -> None:
    start, _ = parts(STREAM)
    with pytest.raises(StreamError, match="z payload: 4294967295 bytes wanted"):
        unpack(sealed(start, b"\xff\xff\xff\xff" + bytes(20)))


@pytest.mark.parametrize(
    "change",
    [{"codec": ""}, {"codec": "c" * 65}, {"codec": "a b"}, {"codec": "\u00e9"}, {"codec": b"c"},
     {"codec": "a\n"}, {"profile": ""}, {"profile": "p" * 65}, {"quality": -1}, {"quality": 65536},
     {"quality": 1.0}, {"quality": True}, {"specification": bytes(31)}, {"specification": "0" * 32},
     {"tables": bytes(33)}, {"height": 0}, {"height": 65537}, {"width": 0}, {"width": np.int64(5)},
     {"y_shape": (1, 2)}, {"y_shape": [1, 2, 3]}, {"y_shape": (0, 2, 3)}, {"y_shape": None},
     {"z_shape": (1, 2, 65537)}, {"z_shape": (8192, 8192, 2)}, {"z_shape": (1, 2.0, 3)}],
    ids=str,
)  # fmt: skip
def test_a_header_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=f"^{name} [^\n]*$"):
        replace(HEADER, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"z_hash": b""}, {"index_hash": bytes(17)}, {"y_hash": "y" * 16}, {"picture_hash": bytes(15)},
     {"picture_hash": None}, {"payload_z": bytearray(3)}, {"payload_y": "y"}],
    ids=str,
)  # fmt: skip
def test_a_stream_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=f"^{name} [^\n]*$"):
        replace(STREAM, **change)  # type: ignore[arg-type]


def test_what_is_not_bytes_is_not_unpacked() -> None:
    with pytest.raises(UserError, match="a bitstream is bytes, got str"):
        unpack("XCHK")  # type: ignore[arg-type]


def test_symbol_hash_is_of_dtype_shape_and_values() -> None:
    symbols = np.arange(6, dtype=np.int32).reshape(2, 3)
    canonical = b"int32[2, 3]\0" + symbols.astype("<i4").tobytes()
    assert symbol_hash(symbols) == sha256(canonical).digest()[:16]
    others: list[NDArray[np.generic]] = [
        symbols.astype(np.int64), symbols.T, symbols.reshape(3, 2), symbols + 1, symbols[None],
    ]  # fmt: skip
    assert len({symbol_hash(a) for a in (symbols, *others)}) == 6
    same: list[NDArray[np.generic]] = [np.asfortranarray(symbols), symbols.astype(">i4")]
    assert {symbol_hash(a) for a in same} == {symbol_hash(symbols)}


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros(3, bool), [1, 2]])
def test_only_integers_are_hashed(array: NDArray[np.generic]) -> None:
    with pytest.raises(UserError, match="integers"):
        symbol_hash(array)


def test_a_decoder_of_the_same_specification_is_let_in() -> None:
    check_specification(HEADER, **MINE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codec": "mbt"}, "codec 'bmshj2018-hyperprior'; this decoder has codec 'mbt'"),
        ({"quality": 4}, "quality 3; this decoder has quality 4"),
        ({"profile": "float32"}, "profile 'w8a8'; this decoder has profile 'float32'"),
        ({"specification": b"s" * 32}, "specification 0001020304050607; .* 7373737373737373"),
        ({"tables": b"t" * 32}, "tables 2021222324252627; .* 7474747474747474"),
        ({"quality": 4, "profile": "w4a8"}, "quality 3, profile 'w8a8'; this decoder has"),
    ],
)  # fmt: skip
def test_another_specification_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(StreamError, match=f"^bitstream was made with {says}[^\n]*$"):
        check_specification(HEADER, **{**MINE, **change})  # type: ignore[arg-type]
