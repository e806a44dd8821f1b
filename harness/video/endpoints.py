"""The two ends of a video codec, frame by frame: pictures to coded frames on one platform, back on another; traces of both.

The reference rule: every frame predicts from the reconstruction before it, clamped to the range of pictures (as
CompressAI's evaluation script does, and unlike its `compress`). Float decoders keep it as float32 in [0, 1], integer ones
in 2^-6 of an 8-bit step; neither rounds it to 8 bits. Pictures are padded below and to the right by their last row and
column to multiples of 128, and predicted as padded. Nothing is kept but the last reference: memory does not grow with the
number of frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bitstream import symbol_hash
from harness.endpoints import Run
from harness.errors import StreamError
from harness.trace import TensorRecord, Trace
from harness.video.build import VideoBuild
from harness.video.end import End, Observe
from harness.video.latent import Latent, parameters_hash
from harness.video.pictures import Picture, padded, picture_of
from harness.video_stream import Frame, FrameKind

U8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class CodedFrame:
    frame: Frame
    trace: Trace

    @property
    def payload_bytes(self) -> int:
        return self.frame.payload_bytes


@dataclass(frozen=True, kw_only=True)
class DecodedFrame:
    """A decoder's trace of one frame; `problem` says which of the frame's own hashes failed, empty if none."""

    number: int
    trace: Trace
    problem: str


def encode(
    made: VideoBuild,
    pictures: Iterable[U8],
    run: Run,
    observe: Observe = lambda *_: None,
    *,
    intra: int = 0,
) -> Iterator[CodedFrame]:
    """Code [H, W, 3] pictures one by one: a key frame, then P frames; with `intra`, every so many frames a key frame.

    Traces end with the encoder's own reconstruction.
    """
    end = End(made, run)
    reference: Picture | None = None
    for number, pixels in enumerate(pictures):
        size = (pixels.shape[0], pixels.shape[1])
        x = padded(pixels)
        is_key = reference is None or (intra > 0 and number % intra == 0)
        latents, reference = end.frame(x, None if is_key else reference, observe)
        trace = _trace(latents, reference, size)
        yield CodedFrame(
            frame=Frame(
                number=number,
                kind=FrameKind.KEY if is_key else FrameKind.INTER,
                branches=tuple(latent.coded() for latent in latents),
                parameters_hash=parameters_hash(latents),
                picture_hash=symbol_hash(trace.array("picture"))
                if made.has_integer_pictures
                else b"",
            ),
            trace=trace,
        )


def decode(
    made: VideoBuild,
    frames: Iterable[Frame],
    size: tuple[int, int],
    run: Run,
    *,
    reconstruct: bool = True,
) -> Iterator[DecodedFrame]:
    """Decode the frames of a stream of exactly this build, of pictures of `size` (height, width).

    A desynchronised frame still gives a trace and a picture (what a user would see), and the frames behind it predict from
    that. Without `reconstruct` traces end with y_hat: all that scope hyperprior gates.
    """
    end = End(made, run)
    reference: Picture | None = None
    for frame in frames:
        latents = [end.decode(branch, size) for branch in frame.branches]
        if reconstruct and frame.kind is FrameKind.KEY:
            reference = end.key_frame(latents[0])
        elif reconstruct:
            if reference is None:
                raise StreamError(f"frame {frame.number} is a P frame without a frame before it")
            motion, residual = latents
            prediction = end.predict(motion, reference)
            reference = end.rebuild(motion, residual, prediction)
        trace = _trace(latents, reference if reconstruct else None, size)
        problem = next((latent.problem for latent in latents if latent.problem), "")
        if not problem and parameters_hash(latents) != frame.parameters_hash:
            problem = "the entropy parameters do not match the stream's hash"
        checks_picture = not problem and reconstruct and made.has_integer_pictures
        if checks_picture and symbol_hash(trace.array("picture")) != frame.picture_hash:
            problem = "the picture does not match the stream's hash"
        yield DecodedFrame(
            number=frame.number,
            trace=trace,
            problem=f"frame {frame.number}: {problem}" if problem else "",
        )


def _trace(
    latents: list[Latent],
    reference: Picture | None,
    size: tuple[int, int],
) -> Trace:
    """What the entropy coder is driven by and gives, by branch, and the picture last; the floats between are large."""
    found: dict[str, Picture] = {}
    for latent in latents:
        found |= latent.tensors()
    if reference is not None:
        found["picture"] = picture_of(reference, size)
    return Trace(
        tensors=tuple(TensorRecord.of(name, array) for name, array in found.items()),
        environment={},
    )
