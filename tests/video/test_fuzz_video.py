"""10^4 damaged and hostile streams through reader and decoder: a clear error, a correct prefix, or a reported problem.

Networks are replaced by what they gave for the undamaged streams, and by noise for anything else, so that 10^4 decodes take
seconds. Seeded: input N is the same everywhere, and a failure names it (`mutant(N)` makes it again).
"""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
import pytest

from harness.bitstream import symbol_hash
from harness.endpoints import Arrays
from harness.ends import check_header, header_of
from harness.errors import StreamError
from harness.lowerings.base import Artifact
from harness.video.build import VideoBuild
from harness.video.endpoints import encode
from harness.video.playback import play
from harness.video_stream import Frame, StreamReader
from tests.video import tiny
from tests.video.tiny import built, clip
from tests.video_streams import bodies, records, sealed

INPUTS = 10_000
# Small pictures: they are hashed 10^4 times.
SIZE = (9, 10)
SCOPES = ("decoder", "hyperprior")
# Marker and number, kind and flag; then lengths.
FIXED, A_LENGTH = 10, 8
Key = tuple[object, ...]


class Recorded:
    """Networks that know the feeds they have seen, and give noise for others."""

    def __init__(self) -> None:
        self.known: dict[Key, Arrays] = {}
        self.like: dict[str, Arrays] = {}

    @staticmethod
    def key(artifact: Artifact, feeds: Arrays) -> Key:
        sums = (zlib.crc32(np.ascontiguousarray(each).data) for each in feeds.values())
        return (artifact.sha256, *sums)

    def record(self, network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        outputs = tiny.run(network, artifact, feeds)
        self.known[self.key(artifact, feeds)] = self.like[artifact.sha256] = outputs
        return outputs

    def run(self, network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        del network
        key = self.key(artifact, feeds)
        if key in self.known:
            return self.known[key]
        noise = np.frombuffer(Random(repr(key)).randbytes(61), np.uint8) % 64
        return {
            name: np.resize(noise, like.shape).astype(like.dtype)
            for name, like in self.like[artifact.sha256].items()
        }


@dataclass(frozen=True, kw_only=True)
class Original:
    """A stream that a build wrote, cut up, and the hashes of the pictures that its encoder saw."""

    records: list[bytes]
    bodies: list[bytes]
    pictures: list[bytes]

    @property
    def data(self) -> bytes:
        return b"".join(self.records)


@cache
def networks() -> Recorded:
    return Recorded()


@cache
def originals(scope: str) -> list[Original]:
    """Two clips of one codec, and the beginning of the first as a stream of its own."""
    return [
        original(scope, "a", 4, intra=2),
        original(scope, "b", 4, intra=0),
        original(scope, "a", 2, intra=2),
    ]


def original(scope: str, name: str, count: int, *, intra: int) -> Original:
    made = built("w8a8", scope)
    shown = clip(4, *SIZE, name=name)[:count]
    sent = list(encode(made, shown, networks().record, intra=intra))
    header = header_of(made, SIZE, tiny.RATE)
    frames: list[Frame] = [each.frame for each in sent]
    return Original(
        records=records(header, frames),
        bodies=bodies(header, frames),
        pictures=[symbol_hash(each.trace.array("picture")) for each in sent],
    )


# Mutations. Those that leave CRCs as they are:


def flipped(random: Random, known: Sequence[Original]) -> bytes:
    """Bytes changed, cut, inserted or copied without regard for their meaning."""
    data, other = bytearray(random.choice(known).data), random.choice(known).data
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        at, size = random.randrange(len(data) + 1), random.choice((1, 4, 16, 256))
        match random.randrange(6):
            case 0 | 1 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = random.randbytes(size)
            case _:
                start = random.randrange(len(other))
                data[at : at + size] = other[start : start + size]
    return bytes(data)


def rearranged(random: Random, known: Sequence[Original]) -> bytes:
    """Whole records swapped, repeated, left out, or of another stream."""
    parts, other = list(random.choice(known).records), random.choice(known).records
    shuffle(random, parts, other)
    return b"".join(parts)


def shuffle(random: Random, parts: list[bytes], other: Sequence[bytes]) -> None:
    a, b = random.randrange(len(parts)), random.randrange(len(parts))
    match random.randrange(5):
        case 0:
            parts[a], parts[b] = parts[b], parts[a]
        case 1:
            parts.insert(a, parts[b])
        case 2:
            del parts[a]
        case 3:
            parts[a] = random.choice(other)
        case _:
            parts[a:] = other[random.randrange(len(other)) :]


# Those behind CRCs that hold, which the container cannot see:


def resealed(random: Random, known: Sequence[Original]) -> bytes:
    """Bits flipped or bytes replaced in payloads and hashes of one frame."""
    parts = list(random.choice(known).bodies)
    at = random.randrange(1, len(parts) - 1)
    body = bytearray(parts[at])
    first = FIXED + A_LENGTH * (1 if body[8] == 0 else 2)
    for _ in range(random.choice((1, 1, 2, 16))):
        place = random.randrange(first, len(body))
        body[place] = random.choice(
            (body[place] ^ (1 << random.randrange(8)), random.randrange(256))
        )
    parts[at] = bytes(body)
    return sealed(parts)


def spliced(random: Random, known: Sequence[Original]) -> bytes:
    """Frames in another order, repeated, or of another clip of this codec, numbered as if they belonged there."""
    parts = list(random.choice(known).bodies)
    frames = parts[1:-1]
    for _ in range(random.choice((1, 1, 2))):
        if frames:
            shuffle(random, frames, random.choice(known).bodies[1:-1])
    numbered = []
    for number, each in enumerate(frames):
        body = bytearray(each)
        struct.pack_into("<I", body, 4, number)
        if random.random() < 0.1 and body[9]:  # no hash of the picture
            body[9] = 0
            del body[-16:]
        numbered.append(bytes(body))
    head = bytearray(parts[0])
    if random.random() < 0.1:  # its fields
        head[random.randrange(8, len(head))] = random.randrange(256)
    return sealed([bytes(head), *numbered, b"ENDS" + struct.pack("<I", len(numbered))])


# A hash of the picture is there only where it is the same everywhere: elsewhere who recomputes CRCs can reorder frames.
MUTATIONS = {
    "decoder": (flipped, rearranged, resealed, spliced),
    "hyperprior": (flipped, rearranged, resealed, resealed),
}


def mutant(number: int) -> tuple[str, str, bytes]:
    """Which build is to decode it, what was done, and the stream; one in 50 is of the other scope."""
    random = Random(f"video {number}")
    scope = SCOPES[number // 4 % 2]
    make = MUTATIONS[scope][number % 4]
    data = make(random, originals(scope))
    if random.random() < 0.02:
        scope = SCOPES[1 - SCOPES.index(scope)]
    return scope, make.__name__, data


def decoded(made: VideoBuild, data: bytes) -> tuple[list[bytes], StreamError | None]:
    """Hashes of the pictures that are vouched for, and what ended them."""
    pictures: list[bytes] = []
    try:
        with StreamReader(io.BytesIO(data)) as reader:
            check_header(made, reader.header)
            size = (reader.header.height, reader.header.width)
            shown = play(made, reader, size, networks().run)
            pictures.extend(symbol_hash(each.trace.array("picture")) for each in shown)
    except StreamError as error:
        return pictures, error
    return pictures, None


def outcome(number: int) -> str:
    """How it ends; AssertionError if a picture is given that no encoder saw in its place."""
    scope, how, data = mutant(number)
    known = originals(scope)
    pictures, error = decoded(built("w8a8", scope), data)
    if error is not None:
        text = str(error)
        assert text.isprintable()
        assert 0 < len(text) < 400
    if how == "spliced":
        seen = {picture for each in known for picture in each.pictures}
        assert set(pictures) <= seen, "a picture that no encoder saw"
    else:
        assert any(pictures == each.pictures[: len(pictures)] for each in known), "a wrong picture"
    if error is None and how in {"flipped", "rearranged"}:
        assert data in [each.data for each in known], "damage that nobody noticed"
    return "complete" if error is None else "prefix" if pictures else "nothing"


def test_undamaged_streams_are_decoded() -> None:
    for scope in SCOPES:
        for each in originals(scope):
            assert decoded(built("w8a8", scope), each.data) == (each.pictures, None)


def test_no_damage_goes_without_a_report() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(INPUTS):
        try:
            ended = outcome(number)
        except BaseException as error:
            raise AssertionError(f"mutant({number}): {error!r}") from error
        counts[mutant_kind(number), ended] += 1
    # A fuzzer whose inputs all end in one place has tested one place.
    for how in ("flipped", "rearranged", "resealed", "spliced"):
        assert counts[how, "prefix"] > 100, counts
        assert counts[how, "nothing"] > 100, counts


def mutant_kind(number: int) -> str:
    return MUTATIONS[SCOPES[number // 4 % 2]][number % 4].__name__


class Agreeing(bytes):
    """A hash that differs from nothing."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def test_the_fuzzer_catches_a_decoder_that_skips_its_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for scope in SCOPES:
        originals(scope)
    for module in ("end", "endpoints"):
        monkeypatch.setattr(
            f"harness.video.{module}.symbol_hash", lambda array: Agreeing(symbol_hash(array))
        )
    caught: Counter[str] = Counter()
    for number in range(800):
        try:
            outcome(number)
        except AssertionError:
            caught[mutant_kind(number)] += 1
    assert caught["resealed"] > 20
    assert caught["spliced"] > 20


def test_a_frame_without_its_picture_hash_is_no_way_around_it() -> None:
    """P frames of another clip, their hashes of pictures left out: what they show, no encoder saw."""
    first, second, _ = originals("decoder")
    body = bytearray(second.bodies[2])
    body[9] = 0
    del body[-16:]
    data = sealed([first.bodies[0], first.bodies[1], bytes(body), b"ENDS" + struct.pack("<I", 2)])
    pictures, error = decoded(built("w8a8", "decoder"), data)
    assert pictures == first.pictures[:1]
    assert error is not None
    assert "frame 1" in str(error)
