"""2 x 10^4 damaged and hostile video streams: each is a StreamError after exactly a prefix of what was written.

Seeded: input N is the same everywhere, and a failure names it (`mutant(N)` makes it again).
"""

import io
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from harness.errors import StreamError
from harness.video_stream import Frame, StreamHeader, StreamReader
from tests.video_streams import HEADER, bodies, clip, records, sealed

INPUTS = 20_000
# Two streams of one header and others beside them, one of them the beginning of another.
Stream = tuple[StreamHeader, tuple[Frame, ...]]
STREAMS: tuple[Stream, ...] = (
    (HEADER, clip("KPPPPP")),
    (HEADER, clip("KPPPPP", seed=1)),
    (HEADER, clip("KPP")),
    (replace(HEADER, quality=4), clip("KPPKPP", pictured=False)),
    (replace(HEADER, profile="float32"), clip("K", seed=2)),
)
RECORDS = [records(*stream) for stream in STREAMS]
BODIES = [bodies(*stream) for stream in STREAMS]
ORIGINALS = {b"".join(each): stream for each, stream in zip(RECORDS, STREAMS, strict=True)}


def raw(random: Random) -> bytes:
    """Bytes changed without regard for their meaning."""
    data = bytearray(b"".join(random.choice(RECORDS)))
    other = b"".join(random.choice(RECORDS))
    for _ in range(random.choice((1, 1, 1, 1, 2, 8))):
        at, size = random.randrange(len(data) + 1), random.choice((1, 2, 4, 16, 256))
        match random.randrange(8):
            case 0 | 1 | 2 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 3:
                del data[at:]
            case 4:
                del data[at : at + size]
            case 5:
                data[at:at] = random.randbytes(size)
            case 6:
                start = random.randrange(len(other))
                data[at : at + size] = other[start : start + size]
            case _:
                data[at : at + size] = random.choice((b"\0", b"\xff")) * size
    return bytes(data)


def rearranged(random: Random) -> bytes:
    """Whole records swapped, repeated, left out, or taken from another stream: each is intact in itself."""
    parts = list(random.choice(RECORDS))
    for _ in range(random.choice((1, 1, 1, 2))):
        _rearrange(random, parts, random.choice(RECORDS))
    return b"".join(parts)


def resealed(random: Random) -> bytes:
    """What a broken writer would make: records in a wrong order, or of impossible fields, under CRCs that hold."""
    which = random.randrange(len(BODIES))
    parts = list(BODIES[which])
    if random.random() < 0.5:
        # Within one stream: what a frame holds is not changed by where it stands.
        _rearrange(random, parts, parts)
    else:
        at = random.randrange(1, len(parts))
        body = bytearray(parts[at])
        value = random.choice((0xFFFFFFFF, 0x7FFFFFFF, 1 << 24, random.randrange(1 << 32), 0, 1))
        # A number or count, a kind with its flag, a length.
        place, form = random.choice(((4, "<I"), (8, "<H"), (10, "<I"), (14, "<I")))
        if place < len(body) - 4:
            struct.pack_into(form, body, place, value & (0xFFFF if form == "<H" else 0xFFFFFFFF))
        parts[at] = bytes(body)
    return sealed(parts)


def _rearrange(random: Random, parts: list[bytes], other: list[bytes]) -> None:
    a, b = random.randrange(len(parts)), random.randrange(len(parts))
    match random.randrange(6):
        case 0:
            parts[a], parts[b] = parts[b], parts[a]
        case 1:
            parts.insert(a, parts[b])
        case 2:
            if len(parts) > 1:
                del parts[a]
        case 3:
            parts[a] = other[random.randrange(len(other))]
        case 4:
            parts[a:] = other[random.randrange(len(other)) :]
        case _:
            parts.extend(other[random.randrange(len(other)) :])


def mutant(number: int) -> bytes:
    random = Random(f"video stream {number}")
    make: Callable[[Random], bytes] = (raw, raw, rearranged, resealed)[number % 4]
    return make(random)


def check_line(error: StreamError) -> None:
    """A refusal is one line, short, and clean enough for a terminal."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) < 400


def outcome(data: bytes) -> str:
    """How reading ends. Whatever is yielded must be frames of a stream that the data begins with, byte for byte."""
    frames: list[Frame] = []
    ended = "complete"
    try:
        with StreamReader(io.BytesIO(data)) as reader:
            frames.extend(reader)
    except StreamError as error:
        check_line(error)
        ended = "prefix" if frames else "nothing"
    if ended == "complete":
        assert data in ORIGINALS
        assert tuple(frames) == ORIGINALS[data][1]
    elif frames:
        assert any(
            tuple(frames) == original[: len(frames)]
            and data.startswith(b"".join(parts[: len(frames) + 1]))
            for (_, original), parts in zip(STREAMS, RECORDS, strict=True)
        ), "these frames were not written so"
    return ended


def test_no_damage_is_believed() -> None:
    counts: Counter[str] = Counter()
    changed = 0
    for number in range(INPUTS):
        data = mutant(number)
        try:
            ended = outcome(data)
        except BaseException as error:
            raise AssertionError(f"mutant({number}): {error!r}") from error
        counts[ended] += 1
        changed += data not in ORIGINALS
    # A fuzzer whose inputs all end in one place has tested one place; one that changes nothing, nothing.
    assert set(counts) == {"complete", "prefix", "nothing"}
    assert counts["complete"] == INPUTS - changed
    assert changed >= 10_000
    assert counts["prefix"] >= INPUTS // 4


@pytest.mark.parametrize(
    ("broken", "replacement"),
    [
        ("harness.video_stream.checked_file.crc_holds", lambda *_: True),
        ("harness.video_stream.reader.in_order", lambda *_: True),
        ("harness.video_stream.checked_file.CheckedFile.at_end", lambda _: True),
    ],
    ids=["no CRC", "no order", "no end"],
)
def test_the_fuzzer_catches_a_broken_reader(
    broken: str, replacement: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken, replacement)
    believed = 0
    for number in range(3000):
        try:
            outcome(mutant(number))
        except AssertionError:
            believed += 1
    assert believed
