"""Small video streams, and streams taken apart and put together again, for the tests of their container."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import pytest

from harness.video_stream import (
    BRANCHES,
    Branch,
    DamagedStream,
    Frame,
    FrameKind,
    StreamHeader,
    StreamReader,
    StreamWriter,
)

HEADER = StreamHeader(
    codec="ssf2020", quality=3, profile="w8a8", specification=bytes(range(32)),
    tables=bytes(range(32, 64)), height=240, width=416, rate=Fraction(30000, 1001),
)  # fmt: skip
KEY, INTER = FrameKind.KEY, FrameKind.INTER


def frame(
    number: int, kind: FrameKind, *, seed: int = 0, pictured: bool = True, size: int = 12
) -> Frame:
    """A frame whose bytes follow from its arguments."""

    def some(what: str, length: int) -> bytes:
        text = f"{seed} {number} {what} ".encode()
        return (text * (length // len(text) + 1))[:length]

    branches = (
        Branch(
            name=name, payload_z=some(f"{name} z", size), payload_y=some(f"{name} y", 2 * size + number),
            z_hash=some(f"{name} z#", 16), index_hash=some(f"{name} i#", 16),
            y_hash=some(f"{name} y#", 16),
        )
        for name in BRANCHES[kind]
    )  # fmt: skip
    return Frame(
        number=number, kind=kind, branches=tuple(branches), parameters_hash=some("parameters", 16),
        picture_hash=some("picture", 16) if pictured else b"",
    )  # fmt: skip


def clip(kinds: str, *, seed: int = 0, pictured: bool = True) -> tuple[Frame, ...]:
    """Frames of the kinds that the letters K and P name."""
    return tuple(
        frame(number, KEY if kind == "K" else INTER, seed=seed, pictured=pictured)
        for number, kind in enumerate(kinds)
    )


FRAMES = clip("KPPKP")


def records(header: StreamHeader, frames: Sequence[Frame]) -> list[bytes]:
    """The start, each frame and the end, each with its CRC: what `StreamWriter` writes, cut up."""
    file = io.BytesIO()
    places = [0]
    with StreamWriter(file, header) as writer:
        places.append(file.tell())
        for each in frames:
            writer.write(each)
            places.append(file.tell())
    data = file.getvalue()
    return [data[start:end] for start, end in pairwise([*places, len(data)])]


def written(header: StreamHeader, frames: Sequence[Frame]) -> bytes:
    return b"".join(records(header, frames))


def sealed(bodies: Iterable[bytes]) -> bytes:
    """Records without their CRCs to a stream whose CRCs hold."""
    crc, data = 0, b""
    for body in bodies:
        crc = zlib.crc32(body, crc)
        data += body + struct.pack("<I", crc)
    return data


def bodies(header: StreamHeader, frames: Sequence[Frame]) -> list[bytes]:
    return [record[:-4] for record in records(header, frames)]


def read(data: bytes) -> tuple[list[Frame], DamagedStream | None]:
    """The frames before the first damage, and the damage; a StreamError if it is of the header."""
    reader = StreamReader(io.BytesIO(data))
    frames: list[Frame] = []
    try:
        frames.extend(reader)
    except DamagedStream as error:
        return frames, error
    return frames, None


def damaged(data: bytes, frames: int, says: str) -> None:
    """Reading `data` yields the first `frames` of FRAMES, then one line that says so."""
    found, problem = read(data)
    assert tuple(found) == FRAMES[:frames]
    assert problem is not None
    assert problem.frame == frames
    intact = ("no frame is intact", "frame 0 is intact", f"frames 0 to {frames - 1} are intact")
    with pytest.raises(DamagedStream, match=rf"^[^\n]*{says}[^\n]*; {intact[min(frames, 2)]}$"):
        raise problem
