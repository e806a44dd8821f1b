"""Measure a video codec on clips: rate points, what precisions cost, P frames beside all-intra, drift between platforms."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.clip_rd import (
    ClipPoint,
    Drift,
    DriftFrame,
    FrameSample,
    IntraShare,
    Mismatch,
)
from harness.endpoints import Run
from harness.errors import StreamError
from harness.footage.base import Clip
from harness.images import psnr
from harness.rd import ANCHOR, Variant
from harness.trace import Trace
from harness.video.build import VideoBuild
from harness.video.endpoints import CodedFrame, DecodedFrame, decode, encode
from harness.video_stream import Branch

U8 = NDArray[np.uint8]
Tick = Callable[[], None]
# P frames of the outermost rate points lie beyond all-intra coding's curve: dB that it may be extended by.
FARTHEST = 2.0


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What is coded: a build of one variant, and one clip; `mirroring`: how the clip was mirrored."""

    made: VideoBuild
    variant: Variant
    clip: Clip
    mirroring: int = 0


def measure(coding: Coding, run: Run, tick: Tick, *, intra: bool = False) -> ClipPoint:
    """A rate point: every frame through the real encoder, actual payload bytes, 8-bit pictures."""
    made, clip = coding.made, coding.clip
    frames = []
    for original, coded in zip(clip, encode(made, clip, run, intra=int(intra)), strict=True):
        frames.append(
            sample_of(coded.frame.number, coded.frame.branches, original, _picture(coded.trace))
        )
        tick()
    return point_of(coding, frames, intra=intra)


def sample_of(number: int, branches: Iterable[Branch], original: U8, picture: U8) -> FrameSample:
    """Of one coded frame: its payload bits by branch, and PSNR of its 8-bit picture [H, W, 3] against the `original`."""
    return FrameSample(
        number=number,
        bits={branch.name: 8 * branch.payload_bytes for branch in branches},
        psnr=psnr(original, picture),
    )


def point_of(coding: Coding, frames: Sequence[FrameSample], *, intra: bool = False) -> ClipPoint:
    """The rate point that the samples of all frames of a clip make."""
    made, clip = coding.made, coding.clip
    return ClipPoint(
        family=made.codec.family,
        quality=made.codec.quality,
        clip=clip.name,
        variant=coding.variant,
        pixels=clip.height * clip.width,
        frames=tuple(frames),
        calibrator=made.calibrator,
        intra=intra,
        mirroring=coding.mirroring,
    )


def intra_shares(points: Sequence[ClipPoint]) -> list[IntraShare]:
    """Of each fp32 point, its P frames' rate and the rate of all-intra coding at the same PSNR, log-linear between points."""
    found = []
    for clip in dict.fromkeys(point.clip for point in points):
        own = [p for p in points if p.clip == clip and p.variant == ANCHOR]
        intra = sorted((p for p in own if p.intra), key=lambda p: p.psnr)
        for point in sorted((p for p in own if not p.intra), key=lambda p: p.quality):
            inter = [f for f in point.frames if not f.is_key]
            if not inter or point.inter_bpp is None:
                continue
            quality = float(np.mean([f.psnr for f in inter]))
            rate, beyond = _rate_at(intra, quality)
            found.append(
                IntraShare(
                    quality=point.quality,
                    clip=clip,
                    inter_bpp=point.inter_bpp,
                    psnr=quality,
                    intra_bpp=rate,
                    beyond=beyond,
                )
            )
    return found


def _rate_at(curve: Sequence[ClipPoint], quality: float) -> tuple[float | None, float]:
    """The rate of a curve at a PSNR, and the dB beyond its ends; None where that is more than `FARTHEST`."""
    beyond = max(curve[0].psnr - quality, quality - curve[-1].psnr, 0.0) if curve else math.inf
    if not curve or beyond > FARTHEST:
        return None, beyond
    if curve[0] is curve[-1]:
        return None if beyond else curve[0].bpp, beyond
    inside = sum(point.psnr <= quality for point in curve)
    last = min(max(inside, 1), len(curve) - 1)
    low, high = curve[last - 1], curve[last]
    share = (quality - low.psnr) / (high.psnr - low.psnr)
    return math.exp((1 - share) * math.log(low.bpp) + share * math.log(high.bpp)), beyond


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Who encodes and who decodes."""

    encoder: str
    decoder: str
    encode: Run
    decode: Run


def drift(
    coding: Coding, pair: Pair, tick: Tick, *, at: int | None = None
) -> tuple[Drift, Mismatch | None]:
    """A clip from one platform to another; the pictures of frame `at`, or else of the one that drifted farthest, if any."""
    made, clip = coding.made, coding.clip
    frames: list[DriftFrame] = []
    worst: tuple[float, Mismatch] | None = None
    problem = ""
    try:
        for original, sent, got in _both(coding, pair):
            frame = _compare(original, sent, got)
            frames.append(frame)
            problem = problem or got.problem
            tick()
            between = frame.psnr_between
            is_worst = between is not None and (worst is None or between < worst[0])
            if frame.number == at if at is not None else is_worst:
                worst = (between or 0.0, _mismatch(coding, pair, sent, got, original))
    except StreamError as error:
        problem = problem or f"frame {len(frames)}: {error}"
    found = Drift(
        family=made.codec.family,
        quality=made.codec.quality,
        clip=clip.name,
        variant=coding.variant,
        lowering=made.lowering,
        encoder=pair.encoder,
        decoder=pair.decoder,
        coded=sum(1 for _ in clip) if clip.frames is None else clip.frames,
        frames=tuple(frames),
        problem=problem,
    )
    return found, worst[1] if worst else None


def _both(coding: Coding, pair: Pair) -> Iterator[tuple[U8, CodedFrame, DecodedFrame]]:
    """Both ends in step, so that neither has to keep its frames."""
    made, clip = coding.made, coding.clip
    sent: list[CodedFrame] = []

    def frames() -> Iterator[CodedFrame]:
        for coded in encode(made, clip, pair.encode):
            sent.append(coded)
            yield coded

    coded = (each.frame for each in frames())
    received = decode(made, coded, (clip.height, clip.width), pair.decode)
    for original, got in zip(clip, received, strict=True):
        yield original, sent.pop(), got


def _compare(original: U8, sent: CodedFrame, got: DecodedFrame) -> DriftFrame:
    ours, theirs = _picture(sent.trace), _picture(got.trace)
    flips, indexes = _differing(sent.trace, got.trace, "indexes")
    wrong, symbols = _differing(sent.trace, got.trace, "y_symbols")
    different = int((ours != theirs).sum())
    return DriftFrame(
        number=got.number,
        flips=flips,
        indexes=indexes,
        wrong_symbols=wrong,
        symbols=symbols,
        differing_samples=different,
        samples=int(ours.size),
        psnr_between=psnr(ours, theirs) if different else None,
        psnr_encoder=psnr(original, ours),
        psnr_decoder=psnr(original, theirs),
    )


def _differing(ours: Trace, theirs: Trace, kind: str) -> tuple[int, int]:
    names = [t.name for t in ours.tensors if t.name.rpartition(".")[2] == kind]
    different = sum(int((ours.array(n) != theirs.array(n)).sum()) for n in names)
    return different, sum(ours[n].values for n in names)


def _mismatch(
    coding: Coding, pair: Pair, sent: CodedFrame, got: DecodedFrame, original: U8
) -> Mismatch:
    return Mismatch(
        family=coding.made.codec.family,
        quality=coding.made.codec.quality,
        clip=coding.clip.name,
        variant=coding.variant,
        encoder=pair.encoder,
        decoder=pair.decoder,
        frame=got.number,
        original=original,
        encoder_picture=_picture(sent.trace),
        decoder_picture=_picture(got.trace),
    )


def _picture(trace: Trace) -> U8:
    return trace.array("picture").astype(np.uint8, copy=False)


def problems(points: Sequence[ClipPoint], drifts: Sequence[Drift]) -> list[str]:
    """What the gate has against a study: a curve that does not rise, an integer cell that is not identical."""
    found = []
    curves: dict[tuple[str, Variant, bool], list[ClipPoint]] = {}
    for point in sorted(points, key=lambda p: p.quality):
        curves.setdefault((point.clip, point.variant, point.intra), []).append(point)
    for (clip, variant, intra), curve in curves.items():
        name = f"{clip} {variant.label}{', all-intra' if intra else ''}"
        for low, high in pairwise(curve):
            if not (low.bpp < high.bpp and low.psnr < high.psnr):
                found.append(
                    f"{name}: q{high.quality} is not above q{low.quality}"
                    f" ({low.bpp:.4f} bpp, {low.psnr:.2f} dB; {high.bpp:.4f} bpp, {high.psnr:.2f} dB)"
                )
    for one in drifts:
        if not _is_claim(one):
            continue
        flips = sum(frame.flips + frame.wrong_symbols for frame in one.frames)
        pictures = one.variant.scope == "decoder" and not one.is_identical
        if flips or one.problem or pictures:
            found.append(
                f"{one.clip} {one.variant.label} {one.encoder}+{one.decoder}: not identical; {one.problem}"
            )
    return found


def _is_claim(one: Drift) -> bool:
    """Integer precisions claim to be identical; fp32 and the quantized controls do not."""
    is_float = one.variant.precision == ANCHOR.precision
    return not is_float and not one.variant.precision.endswith(("-qdq", "-qoperator"))
