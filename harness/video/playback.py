"""A stream's frames to pictures, up to the first that cannot be vouched for; which one that is, and why."""

from collections.abc import Iterable, Iterator

from harness.endpoints import Run
from harness.errors import StreamError
from harness.video.build import VideoBuild
from harness.video.endpoints import DecodedFrame, decode
from harness.video_stream import DamagedStream, Frame

HINT = "this platform computes other values than the encoder did, or the stream is damaged"


def play(
    made: VideoBuild,
    frames: Iterable[Frame],
    size: tuple[int, int],
    run: Run,
    *,
    keep_going: bool = False,
) -> Iterator[DecodedFrame]:
    """Decode `frames` of a stream of exactly this build, of pictures of `size` (height, width), one by one.

    Every frame given has all of its hashes confirmed, and so have all before it: the first that is damaged, cannot be
    decoded or fails a hash is a DamagedStream instead, which says why. With `keep_going` a frame that fails a hash is
    given with its `problem`: what a user without hashes would see; only what cannot be decoded at all is a DamagedStream.
    """
    number = 0
    try:
        for decoded in decode(made, frames, size, run):
            if not keep_going:
                _require_intact(decoded)
            yield decoded
            number += 1
    except DamagedStream:
        raise
    except StreamError as error:
        message = str(error)
        named = message if message.startswith("frame ") else f"frame {number}: {message}"
        raise DamagedStream(named, number) from error


def _require_intact(decoded: DecodedFrame) -> None:
    if decoded.problem:
        raise DamagedStream(f"{decoded.problem}: {HINT}", decoded.number)
