"""What a video stream holds: its header and its frames, as values that cannot be out of range."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from harness.errors import StreamError, UserError
from harness.stream_fields import HASH_BYTES, Origin, check_bytes, check_payload, kind_of

MAX_FRAMES = (1 << 32) - 1
MAX_PIXELS = 1 << 26
_MAX_RATE = (1 << 32) - 1
# y is 16 times smaller than the padded picture in height and width, z 128 times.
_PADDING, _PIXELS_A_Y, _PIXELS_A_Z = 128, 256, 16384
# The most that `coder` writes: 8 bytes, and 6 for each symbol.
_STATE_BYTES, _SYMBOL_BYTES, _MAX_CHANNELS = 8, 6, 512


class FrameKind(Enum):
    """How a frame was predicted; the values are those in the stream."""

    KEY = 0
    INTER = 1


# The coded latents of a frame, in the order of decoding.
BRANCHES = {FrameKind.KEY: ("img",), FrameKind.INTER: ("motion", "res")}


class DamagedStream(StreamError):
    """A stream that cannot be read on; `frame` is the number of the first frame that cannot be had.

    All frames before it were read intact, and nothing from it on is believed.
    """

    def __init__(self, message: str, frame: int) -> None:
        super().__init__(message)
        self.frame = frame


@dataclass(frozen=True, kw_only=True)
class StreamHeader(Origin):
    """What a decoder must know, and be, before it decodes. Anything out of range is a UserError.

    `rate`: frames per second, numerator and denominator 1..2^32 - 1. The picture, padded to multiples
    of 128, has at most 2^26 pixels.
    """

    rate: Fraction

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rate, Fraction) or not (
            0 < self.rate.numerator <= _MAX_RATE and self.rate.denominator <= _MAX_RATE
        ):
            raise UserError(f"rate must be a positive fraction of 32-bit numbers, got {self.rate}")
        if self._padded_pixels > MAX_PIXELS:
            raise UserError(
                f"height and width: {self.height}x{self.width} is {self._padded_pixels} pixels"
                f" when padded to multiples of {_PADDING}, over {MAX_PIXELS}"
            )

    @property
    def max_payload_y(self) -> int:
        """The most bytes that the y payload of a branch can have."""
        return _most_bytes(self._padded_pixels // _PIXELS_A_Y)

    @property
    def max_payload_z(self) -> int:
        """The most bytes that the z payload of a branch can have."""
        return _most_bytes(self._padded_pixels // _PIXELS_A_Z)

    @property
    def _padded_pixels(self) -> int:
        rows, columns = (-(-size // _PADDING) for size in (self.height, self.width))
        return rows * columns * _PADDING**2


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One coded latent: the payloads of `coder`, and the hashes that prove a decode (16 bytes each).

    `z_hash` and `y_hash` are of the symbols, `index_hash` of the indexes, as `bitstream.symbol_hash`
    gives them. Else a UserError.
    """

    name: str
    payload_z: bytes
    payload_y: bytes
    z_hash: bytes
    index_hash: bytes
    y_hash: bytes

    def __post_init__(self) -> None:
        for name in ("z_hash", "index_hash", "y_hash"):
            check_bytes(name, getattr(self, name), HASH_BYTES)
        for name in ("payload_z", "payload_y"):
            check_payload(name, getattr(self, name), _most_bytes(MAX_PIXELS // _PIXELS_A_Y))

    @property
    def payload_bytes(self) -> int:
        return len(self.payload_z) + len(self.payload_y)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One coded frame. Its branches are those of its kind, and frame 0 is a key frame; else a UserError.

    `parameters_hash` is of the entropy parameters of all branches, `picture_hash` of the
    reconstruction or b"" for none, both as `bitstream.symbol_hash` gives them.
    """

    number: int
    kind: FrameKind
    branches: tuple[Branch, ...]
    parameters_hash: bytes
    picture_hash: bytes = b""

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 <= self.number < MAX_FRAMES:
            raise UserError(
                f"number must be an integer in 0..{MAX_FRAMES - 1}, got {self.number!r}"
            )
        if not isinstance(self.kind, FrameKind):
            raise UserError(f"kind must be a FrameKind, got {kind_of(self.kind)}")
        if self.number == 0 and self.kind is not FrameKind.KEY:
            raise UserError("kind of frame 0 must be KEY: a stream starts with a key frame")
        names = tuple(branch.name for branch in self.branches)
        if names != BRANCHES[self.kind]:
            raise UserError(
                f"branches of a frame of kind {self.kind.name} must be {BRANCHES[self.kind]}, got {names}"
            )
        check_bytes("parameters_hash", self.parameters_hash, HASH_BYTES)
        if self.picture_hash != b"":
            check_bytes("picture_hash", self.picture_hash, HASH_BYTES)

    @property
    def payload_bytes(self) -> int:
        """The rate that is the codec's own: all payloads, without the container."""
        return sum(branch.payload_bytes for branch in self.branches)


def _most_bytes(elements: int) -> int:
    return _STATE_BYTES + _SYMBOL_BYTES * _MAX_CHANNELS * elements
