"""Open loop: every variant predicts from the anchor's references, and from nothing else."""

from harness.clip_rd import ClipPoint
from harness.video import study
from harness.video.open_loop import open_loop
from tests.video import tiny
from tests.video.test_study import CLIP, FRAMES, coding


def opened(anchor: str, *codings: study.Coding) -> list[ClipPoint]:
    return open_loop(tiny.built(anchor), codings, tiny.run, lambda: None)


def closed(one: study.Coding) -> ClipPoint:
    return study.measure(one, tiny.run, lambda: None)


def test_the_anchor_itself_is_what_it_is_in_its_own_loop() -> None:
    (same,) = opened("fp32", coding("fp32"))
    assert same == closed(coding("fp32"))


def test_a_variant_has_its_own_key_frame_and_the_anchors_references() -> None:
    codings = [coding("w4a4"), coding("w8a8"), coding("w8a8", "decoder")]
    points = opened("fp32", *codings)
    assert [p.variant for p in points] == [c.variant for c in codings]
    assert [p.calibrator for p in points] == [c.made.calibrator for c in codings]
    for point, one in zip(points, codings, strict=True):
        in_its_loop = closed(one)
        assert [f.number for f in point.frames] == list(range(FRAMES))
        assert point.frames[0] == in_its_loop.frames[0]
        assert point.frames[1:] != in_its_loop.frames[1:]
        elsewhere = opened("w4a4", one)[0]
        assert elsewhere.frames[0] == point.frames[0]
        # Of the variant itself as the anchor it is the closed loop again.
        assert (elsewhere.frames == in_its_loop.frames) == (one is codings[0])


def test_every_frame_of_every_variant_is_told() -> None:
    ticks: list[int] = []
    open_loop(
        tiny.built("fp32"), [coding("w8a8"), coding("w4a4")], tiny.run, lambda: ticks.append(1)
    )
    assert len(ticks) == 2 * FRAMES
    assert CLIP.frames == FRAMES
