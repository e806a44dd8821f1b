"""The container of videos: round trips, its layout byte for byte, every kind of damage, and bounded memory."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StreamError, UserError
from harness.video_stream import (
    BRANCHES,
    Branch,
    DamagedStream,
    Frame,
    FrameKind,
    StreamHeader,
    StreamReader,
)
from tests.video_streams import (
    FRAMES,
    HEADER,
    KEY,
    bodies,
    clip,
    damaged,
    read,
    records,
    sealed,
    written,
)

DATA = written(HEADER, FRAMES)
START = 4 + 2 + 2 + 7 + 1 + 2 + 4 + 1 + 32 + 32 + 4 + 8 + 4


def test_layout_is_the_documented_one() -> None:
    head = b"".join((
        b"\x07ssf2020", b"\x03\x00", b"\x04w8a8", HEADER.specification, HEADER.tables,
        b"\xef\x00\x9f\x01", struct.pack("<II", 30000, 1001),
    ))  # fmt: skip
    expected, crc = b"", 0
    key, inter = FRAMES[0], replace(FRAMES[1], picture_hash=b"")
    (img,), (motion, res) = key.branches, inter.branches
    for record in (
        b"XCKV\x01\x00" + struct.pack("<H", len(head)) + head,
        b"".join((
            b"FRAM", struct.pack("<IBBII", 0, 0, 1, 12, 24), img.payload_z, img.payload_y,
            img.z_hash, img.index_hash, img.y_hash, key.parameters_hash, key.picture_hash,
        )),
        b"".join((
            b"FRAM", struct.pack("<IBBIIII", 1, 1, 0, 12, 25, 12, 25),
            motion.payload_z, motion.payload_y, res.payload_z, res.payload_y,
            motion.z_hash, motion.index_hash, motion.y_hash,
            res.z_hash, res.index_hash, res.y_hash, inter.parameters_hash,
        )),
        b"ENDS" + struct.pack("<I", 2),
    ):  # fmt: skip
        crc = zlib.crc32(record, crc)
        expected += record + struct.pack("<I", crc)
    assert written(HEADER, (key, inter)) == expected


def test_costs_are_the_documented_ones() -> None:
    start, key, inter, end = map(len, records(HEADER, clip("KP", pictured=False)))
    k, p = clip("KP", pictured=False)
    names = len(HEADER.codec) + len(HEADER.profile)
    assert (start - names, key - k.payload_bytes, inter - p.payload_bytes, end) == (92, 86, 142, 12)
    pictured = [len(each) for each in records(HEADER, clip("KP"))]
    assert pictured == [start, key + 16, inter + 16, end]


def test_limits_are_the_documented_ones() -> None:
    full_hd = replace(HEADER, height=1080, width=1920)
    assert (full_hd.max_payload_y, full_hd.max_payload_z) == (26_542_088, 414_728)
    largest = replace(HEADER, height=8192, width=8192)
    assert largest.max_payload_y == 12 * 2**26 + 8
    with pytest.raises(UserError, match=r"^height and width: 8193x8192 is .* over 67108864$"):
        replace(HEADER, height=8193, width=8192)


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
words = st.integers(1, 2**32 - 1)


def sized(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


headers = st.builds(
    StreamHeader, codec=names, quality=st.integers(0, 65535), profile=names,
    specification=sized(32), tables=sized(32), height=st.integers(1, 8192),
    width=st.integers(1, 8192), rate=st.builds(Fraction, words, words),
)  # fmt: skip


@st.composite
def clips(draw: st.DrawFn) -> tuple[Frame, ...]:
    kinds = [KEY, *draw(st.lists(st.sampled_from(FrameKind), max_size=4))]
    frames = []
    for number, kind in enumerate(kinds):
        branches = (
            draw(st.builds(
                Branch, name=st.just(name), payload_z=st.binary(max_size=60),
                payload_y=st.binary(max_size=60), z_hash=sized(16), index_hash=sized(16),
                y_hash=sized(16),
            ))
            for name in BRANCHES[kind]
        )  # fmt: skip
        frames.append(Frame(
            number=number, kind=kind, branches=tuple(branches), parameters_hash=draw(sized(16)),
            picture_hash=draw(st.just(b"") | sized(16)),
        ))  # fmt: skip
    return tuple(frames)


@given(headers, clips())
@settings(max_examples=100, deadline=None)
def test_every_stream_round_trips(header: StreamHeader, frames: tuple[Frame, ...]) -> None:
    data = written(header, frames)
    reader = StreamReader(io.BytesIO(data))
    assert reader.header == header
    assert tuple(reader) == frames
    assert written(reader.header, frames) == data


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_a_stream_error(noise: bytes, prefixed: bool) -> None:
    with pytest.raises(StreamError, match=r"^the header of the video stream [^\n]*$"):
        read(b"XCKV\x01\x00" + noise if prefixed else noise)


def test_every_truncation_is_found_and_its_frame_named() -> None:
    ends = list(accumulate(map(len, records(HEADER, FRAMES))))
    assert ends[0] == START
    for size in range(START):
        with pytest.raises(StreamError, match=r"^the header of the video stream is truncated: "):
            read(DATA[:size])
    for size in range(START, len(DATA)):
        intact = sum(end <= size for end in ends) - 1
        damaged(DATA[:size], intact, "the stream was cut" if size in ends else "is truncated")


def test_every_flipped_bit_is_found_and_its_frame_named() -> None:
    ends = list(accumulate(map(len, records(HEADER, FRAMES))))
    for bit in range(8 * len(DATA)):
        data = bytearray(DATA)
        data[bit // 8] ^= 1 << bit % 8
        if bit < 8 * START:
            with pytest.raises(StreamError, match=r"^the header of the video stream [^\n]*$"):
                read(bytes(data))
            continue
        place = sum(end <= bit // 8 for end in ends) - 1
        subject = f"frame {place}" if place < len(FRAMES) else f"(the end record|frame {place})"
        damaged(bytes(data), place, f"^{subject} is ")


@pytest.mark.parametrize(
    ("change", "frames", "says"),
    [
        (lambda r: [*r[:2], r[3], r[2], *r[4:]], 1, "frame 1 is damaged or out of order: frame 2 is"),
        (lambda r: [*r[:3], *r[2:]], 2, "frame 2 is damaged or out of order: frame 1 is"),
        (lambda r: [*r[:2], *r[3:]], 1, "frame 1 is damaged or out of order: frame 2 is"),
        (lambda r: [r[0], *r[2:]], 0, "frame 0 is damaged or out of order: frame 1 is"),
        (lambda r: [*r[:5], r[6]], 4, "frame 4 .* the end of 5 frames"),
        (lambda r: [*r[:6]], 5, "frame 5 or the end record is missing: the stream was cut"),
        (lambda r: [*r, b"\0"], 5, "the end record is followed by more bytes"),
        (lambda r: [*r, *r], 5, "the end record is followed by more bytes"),
        (lambda r: [r[0], r[-1]], 0, "frame 0 .* the end of 5 frames"),
        (lambda r: [r[0], *r], 0, "frame 0 is damaged: it starts with b'XCKV'"),
    ],
    ids=["swapped", "repeated", "missing", "first missing", "last missing", "end missing",
         "trailing byte", "trailing stream", "all missing", "header repeated"],
)  # fmt: skip
def test_records_out_of_place_are_found(
    change: Callable[[list[bytes]], list[bytes]], frames: int, says: str
) -> None:
    damaged(b"".join(change(records(HEADER, FRAMES))), frames, says)


@pytest.mark.parametrize(
    "header", [HEADER, replace(HEADER, quality=4)], ids=["same header", "other header"]
)
@pytest.mark.parametrize("place", range(1, 5))
def test_a_frame_of_another_stream_is_found(header: StreamHeader, place: int) -> None:
    """Each has the right number and kind, and its own CRC holds in the stream that it comes from."""
    ours, theirs = records(HEADER, FRAMES), records(header, clip("KPPKP", seed=1))
    one = [*ours[: place + 1], theirs[place + 1], *ours[place + 2 :]]
    damaged(b"".join(one), place, f"frame {place} is damaged: its CRC-32 is stored as")
    tail = [*ours[: place + 1], *theirs[place + 1 :]]
    damaged(b"".join(tail), place, f"frame {place} is damaged: its CRC-32 is stored as")


def test_a_header_of_another_stream_is_found() -> None:
    theirs = records(replace(HEADER, quality=4), FRAMES)
    damaged(b"".join([theirs[0], *records(HEADER, FRAMES)[1:]]), 0, "frame 0 is damaged: its CRC")


def forged(record: int, place: int, value: bytes) -> bytes:
    """A stream whose CRCs hold, with `value` at `place` of a record."""
    parts = bodies(HEADER, FRAMES)
    parts[record] = parts[record][:place] + value + parts[record][place + len(value) :]
    return sealed(parts)


@pytest.mark.parametrize(
    ("record", "place", "value", "frames", "says"),
    [
        (1, 0, b"FRAN", 0, "frame 0 is damaged: it starts with b'FRAN'"),
        (3, 4, b"\x03", 2, "frame 2 is damaged or out of order: frame 3 is in its place"),
        (3, 8, b"\x02", 2, "frame 2 is damaged: its kind is 2"),
        (3, 9, b"\x02", 2, "frame 2 is damaged: .* its picture flag 2"),
        (3, 10, b"\xff\xff\xff\xff", 2, "it claims a payload of 4294967295 bytes, over 24584"),
        (3, 22, struct.pack("<I", 1_572_873), 2, "1572873 bytes, over 1572872"),
        (
            6,
            4,
            b"\x04",
            5,
            "frame 5 is damaged or out of order: the end of 4 frames is in its place",
        ),
    ],
)
def test_a_forged_record_is_refused(
    record: int, place: int, value: bytes, frames: int, says: str
) -> None:
    damaged(forged(record, place, value), frames, says)


def test_a_forged_stream_that_starts_with_an_inter_frame_is_refused() -> None:
    inter = bodies(HEADER, FRAMES)[2]
    parts = [bodies(HEADER, FRAMES)[0], inter[:4] + bytes(4) + inter[8:]]
    damaged(sealed([*parts, b"ENDS\1\0\0\0"]), 0, "frame 0 is damaged: kind of frame 0 must be KEY")


def test_a_forged_stream_of_no_frame_is_refused() -> None:
    damaged(sealed([bodies(HEADER, FRAMES)[0], b"ENDS" + bytes(4)]), 0, "holds no frame")


RATE = START - 4 - 8


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (0, b"XCHK", "is not one of Crosscheck: it starts with b'XCHK'"),
        (4, b"\x02", "has version 2; this decoder reads 1"),
        (9, b"\n", "is damaged: codec must be"),
        (8, b"\xff", "is damaged: .* codec id"),
        (RATE, bytes(4), "is damaged: rate must be"),
        (RATE + 4, bytes(4), "is damaged: rate must be a fraction in lowest terms, got 30000/0"),
        (RATE, struct.pack("<II", 50, 2), "is damaged: rate must be .* lowest terms, got 50/2"),
        (RATE - 4, b"\xff\xff\xff\xff", "is damaged: height and width: 65536x65536 is"),
    ],
)
def test_a_forged_header_is_refused(place: int, value: bytes, says: str) -> None:
    with pytest.raises(StreamError, match=rf"^the header of the video stream {says}[^\n]*$"):
        read(forged(0, place, value))


def test_a_header_that_is_longer_than_its_fields_is_refused() -> None:
    start = bodies(HEADER, FRAMES)[0] + b"\0"
    start = start[:6] + struct.pack("<H", len(start) - 8) + start[8:]
    with pytest.raises(StreamError, match="1 bytes follow its fields"):
        read(sealed([start]))


def test_damage_is_reported_again_at_every_attempt() -> None:
    reader = StreamReader(io.BytesIO(DATA[:-1]))
    for _ in FRAMES:
        next(reader)
    for _ in range(3):
        with pytest.raises(DamagedStream, match="the end record is truncated"):
            next(reader)


def test_a_complete_stream_stays_complete() -> None:
    reader = StreamReader(io.BytesIO(DATA))
    assert len(list(reader)) == 5
    assert list(reader) == []


@pytest.mark.parametrize(
    "change",
    [{"rate": 25}, {"rate": Fraction(0)}, {"rate": Fraction(-1)}, {"rate": Fraction(2**32)},
     {"rate": Fraction(1, 2**32)}, {"codec": ""}, {"height": 0}, {"specification": b""}],
    ids=str,
)  # fmt: skip
def test_a_header_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=rf"^{name} [^\n]*$"):
        replace(HEADER, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"number": -1}, {"number": 1.0}, {"number": 2**32 - 1}, {"kind": KEY}, {"kind": 1},
     {"branches": ()}, {"branches": FRAMES[1].branches[::-1]}, {"branches": FRAMES[0].branches},
     {"parameters_hash": b""}, {"picture_hash": bytes(15)}],
    ids=["negative", "float", "over", "other kind", "no kind", "none", "reversed", "img",
         "no hash", "short hash"],
)  # fmt: skip
def test_a_frame_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=rf"^({name}|branches) [^\n]*$"):
        replace(FRAMES[1], **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"z_hash": b""}, {"y_hash": "y" * 16}, {"payload_y": bytearray(2)}], ids=str
)
def test_a_branch_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=rf"^{name} [^\n]*$"):
        replace(FRAMES[0].branches[0], **change)  # type: ignore[arg-type]
