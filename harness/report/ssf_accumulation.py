"""Does what quantization changes add up from frame to frame? Every variant's frames against fp32's, rate point by rate point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.clip_rd import ClipPoint, ClipStudy, FrameSample
from harness.errors import HarnessError
from harness.rd import ANCHOR, Variant

PER_FRAMES = 100
# A loss that is steeper than this, in dB per `PER_FRAMES` frames, counts as accumulation.
STEEPEST_LOSS = -0.1
# Frames that a clip has at least for its slope to mean anything: of ten, a single frame's chance difference tilts it.
LEAST_FRAMES = 12


@dataclass(frozen=True, kw_only=True)
class Accumulation:
    """A rate point against fp32's, PSNR less PSNR in dB: of its first, middle and last frame, and how it goes from there.

    `slope`: dB per 100 frames, by least squares over all frames; None of fewer than `LEAST_FRAMES`. `early_bits`, `late_bits`: what
    the first and the second half of the P frames take beyond fp32's, in percent; None where there are fewer than two.
    """

    clip: str
    quality: int
    variant: Variant
    calibrator: str
    differences: tuple[float, ...]
    slope: float | None
    early_bits: float | None
    late_bits: float | None

    @property
    def first(self) -> float:
        return self.differences[0]

    @property
    def middle(self) -> float:
        return self.differences[len(self.differences) // 2]

    @property
    def last(self) -> float:
        return self.differences[-1]


def accumulations(study: ClipStudy) -> list[Accumulation]:
    """Of every rate point that has one of fp32 beside it; all-intra coding has no loop to accumulate in."""
    anchors = {(p.clip, p.quality): p for p in study.points if p.variant == ANCHOR and not p.intra}
    return [
        _accumulation(point, anchors[point.clip, point.quality])
        for point in study.points
        if point.variant != ANCHOR and not point.intra and (point.clip, point.quality) in anchors
    ]


def _accumulation(point: ClipPoint, anchor: ClipPoint) -> Accumulation:
    numbers = [frame.number for frame in point.frames]
    if numbers != [frame.number for frame in anchor.frames]:
        raise HarnessError(
            f"{point.clip}, q{point.quality}: {point.variant.label} and {ANCHOR.label} were measured on other frames"
        )
    differences = tuple(
        ours.psnr - theirs.psnr for ours, theirs in zip(point.frames, anchor.frames, strict=True)
    )
    halves = [_halves(each.frames) for each in (point, anchor)]
    (early, late), (early_anchor, late_anchor) = halves
    return Accumulation(
        clip=point.clip,
        quality=point.quality,
        variant=point.variant,
        calibrator=point.calibrator,
        differences=differences,
        slope=None
        if len(numbers) < LEAST_FRAMES
        else PER_FRAMES * float(np.polyfit(numbers, differences, 1)[0]),
        early_bits=_beyond(early, early_anchor),
        late_bits=_beyond(late, late_anchor),
    )


def _halves(frames: Sequence[FrameSample]) -> tuple[int, int]:
    """Bits of the first and of the second half of the P frames; the one in the middle belongs to neither."""
    bits = [frame.total_bits for frame in frames if not frame.is_key]
    half = len(bits) // 2
    return sum(bits[:half]), sum(bits[len(bits) - half :])


def _beyond(bits: int, of_anchor: int) -> float | None:
    return 100 * (bits / of_anchor - 1) if of_anchor else None


def _sloping(found: Sequence[Accumulation]) -> list[Accumulation]:
    return [each for each in found if each.slope is not None]


def steepest(found: Sequence[Accumulation]) -> Accumulation | None:
    """The one that loses PSNR fastest."""
    return min(_sloping(found), key=lambda each: each.slope or 0.0, default=None)


def accumulation_sentence(found: Sequence[Accumulation]) -> str:
    """Whether any rate point loses PSNR against fp32 faster than `STEEPEST_LOSS`."""
    worst = steepest(found)
    if worst is None or worst.slope is None:
        return f"Accumulation: cannot be said. No variant has {LEAST_FRAMES} frames beside {ANCHOR.label}'s."
    where = f"{worst.variant.label}, {worst.clip}, q{worst.quality}"
    sloping = _sloping(found)
    count = sum((each.slope or 0.0) < STEEPEST_LOSS for each in sloping)
    lengths = sorted({len(each.differences) for each in sloping})
    frames = " to ".join(str(n) for n in dict.fromkeys([lengths[0], lengths[-1]]))
    limit = f"{-STEEPEST_LOSS:g} dB per {PER_FRAMES} frames"
    word = (
        f"{count} of {len(sloping)} rate points lose"
        if count
        else f"none of {len(sloping)} rate points loses"
    )
    return (
        f"Accumulation over {frames} frames: {word} more than {limit} against {ANCHOR.label};"
        f" the steepest slope is {worst.slope:+.4f} dB ({where})."
    )


def mean_of(values: Sequence[float | None]) -> float | None:
    """None where any is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
