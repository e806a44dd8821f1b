"""What a precision costs by itself: every variant codes each frame from FP32's reference, not from its own.

In a closed loop one latent that is rounded the other way changes every frame behind it, and a rate point by some tenths of a
percent either way: more than wide integers cost. From the same reference each frame is coded once by every variant, and
what differs is the variant's own doing. What it does not see is whether errors add up: that is for the closed loop to say.
"""

from collections.abc import Sequence

from harness.clip_rd import ClipPoint, FrameSample
from harness.endpoints import Run
from harness.video.build import VideoBuild
from harness.video.end import End
from harness.video.pictures import Picture, as_fixed, padded, picture_of
from harness.video.study import Coding, Tick, point_of, sample_of


def open_loop(
    anchor: VideoBuild, codings: Sequence[Coding], run: Run, tick: Tick
) -> list[ClipPoint]:
    """A rate point of each of `codings`, all of one clip and of one codec: that of `anchor`, whose references they predict from."""
    leader = End(anchor, run)
    ends = [End(coding.made, run) for coding in codings]
    samples: list[list[FrameSample]] = [[] for _ in codings]
    reference: Picture | None = None
    for number, original in enumerate(codings[0].clip):
        size = (original.shape[0], original.shape[1])
        x = padded(original)
        for coding, end, found in zip(codings, ends, samples, strict=True):
            given = reference
            if given is not None and coding.made.has_integer_pictures:
                given = as_fixed(given)
            latents, picture = end.frame(x, given)
            branches = [latent.coded() for latent in latents]
            found.append(sample_of(number, branches, original, picture_of(picture, size)))
            tick()
        _, reference = leader.frame(x, reference)
    return [point_of(coding, found) for coding, found in zip(codings, samples, strict=True)]
