"""What a study of a video codec measures, on a codec of a few channels."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from harness.clip_rd import ClipPoint, FrameSample
from harness.codecs.video import SCALE
from harness.footage.base import Clip
from harness.images import psnr
from harness.rd import ANCHOR, Variant
from harness.video import study
from harness.video.cost import hyper_costs
from harness.video.endpoints import encode
from tests.video import tiny

FRAMES = 4
PICTURES = tiny.clip(FRAMES)
CLIP = Clip(
    name="soft", height=tiny.HEIGHT, width=tiny.WIDTH, frames=FRAMES, rate=Fraction(25), depth=8,
    source=lambda: iter(PICTURES),
)  # fmt: skip


def coding(precision: str, scope: str = "hyperprior") -> study.Coding:
    variant = Variant(precision=precision, scope=scope)
    return study.Coding(made=tiny.built(precision, scope), variant=variant, clip=CLIP)


def pair(decode: object = tiny.run) -> study.Pair:
    return study.Pair(encoder="a", decoder="b", encode=tiny.run, decode=decode)  # type: ignore[arg-type]


def test_a_rate_point_is_what_the_encoder_made() -> None:
    ticks: list[int] = []
    point = study.measure(coding("fp32"), tiny.run, lambda: ticks.append(1))
    coded = list(encode(tiny.built("fp32"), PICTURES, tiny.run))
    assert [f.total_bits for f in point.frames] == [8 * c.payload_bytes for c in coded]
    pictures = [c.trace.array("picture").astype(np.uint8) for c in coded]
    assert [f.psnr for f in point.frames] == [
        psnr(a, b) for a, b in zip(PICTURES, pictures, strict=True)
    ]
    assert [f.is_key for f in point.frames] == [True, False, False, False]
    assert len(ticks) == FRAMES
    pixels = tiny.HEIGHT * tiny.WIDTH
    assert point.bpp == sum(8 * c.payload_bytes for c in coded) / (FRAMES * pixels)
    intra = study.measure(coding("fp32"), tiny.run, lambda: None, intra=True)
    assert all(f.is_key for f in intra.frames)
    assert intra.inter_bpp is None


def test_integers_do_not_drift_and_a_wrong_index_does() -> None:
    same, mismatch = study.drift(coding("w8a8", "decoder"), pair(), lambda: None)
    assert same.is_identical
    assert (mismatch, same.first_damaged, same.first_flip) == (None, None, None)
    _, beside = study.drift(coding("w8a8", "decoder"), pair(), lambda: None, at=2)
    assert beside is not None
    assert (beside.frame, beside.residual.any()) == (2, False)
    assert not replace(same, frames=()).is_identical
    assert [f.psnr_between for f in same.frames] == [None] * FRAMES
    wrong = tiny.changed("res_hyper_decoder_scale", "indexes", tiny.one_more, since=1)
    broken, mismatch = study.drift(coding("w8a8"), pair(wrong), lambda: None)
    assert broken.first_flip == 2
    assert not broken.is_identical
    assert "frame 2" in broken.problem
    flips = [f.flips for f in broken.frames]
    assert flips[:2] == [0, 0]
    assert flips[2] == 1
    if mismatch is not None:
        assert mismatch.residual.any()
        assert mismatch.frame >= 2


def test_round_off_is_drift_without_a_flip() -> None:
    wrong = tiny.changed("img_decoder", "reconstruction", lambda x: x + np.float32(0.01))
    found, mismatch = study.drift(coding("w8a8"), pair(wrong), lambda: None)
    assert found.first_flip is None
    assert found.first_damaged is None
    assert not found.is_identical
    assert mismatch is not None
    assert found.frames[0].psnr_between is not None
    assert found.frames[0].psnr_between > 30


def points(
    scale: float, variant: Variant, clip: str = "c", *, intra: bool = False
) -> list[ClipPoint]:
    return [
        ClipPoint(
            family="ssf2020", quality=2 * n + 1, clip=clip, variant=variant, pixels=1000, intra=intra,
            frames=(
                FrameSample(number=0, bits={"img": int(4000 * scale * 2**n)}, psnr=30 + 2 * n),
                FrameSample(number=1, bits={"img": int(4000 * scale * 2**n)} if intra else {"motion": 100, "res": int(1000 * scale * 2**n)}, psnr=30 + 2 * n),
            ),
        )
        for n in range(5)
    ]  # fmt: skip


def test_p_frames_are_held_against_all_intra_at_their_psnr() -> None:
    both = points(1, ANCHOR) + points(2, ANCHOR, intra=True)
    shares = study.intra_shares(both)
    assert [share.quality for share in shares] == [1, 3, 5, 7, 9]
    middle = shares[2]
    assert middle.psnr == 34
    intra = next(p for p in both if p.intra and p.quality == 5)
    assert middle.intra_bpp == pytest.approx(intra.bpp)
    assert middle.share == pytest.approx(middle.inter_bpp / intra.bpp)
    assert [share.beyond for share in shares] == [0] * 5
    lower = [p for p in both if not p.intra or p.quality < 5]
    far = study.intra_shares(lower)
    assert (far[4].intra_bpp, far[4].beyond) == (None, pytest.approx(6))
    # Two dB beyond, along the line through the two outermost points: rates double every two dB.
    assert far[2].beyond == pytest.approx(2)
    assert far[2].intra_bpp == pytest.approx(intra.bpp)
    alone = [p for p in both if not p.intra or p.quality == 5]
    assert [share.intra_bpp for share in study.intra_shares(alone)][1:4] == [
        None,
        pytest.approx(intra.bpp),
        None,
    ]


def test_the_gate_wants_rising_curves_and_identical_integers() -> None:
    good = points(1, ANCHOR)
    same, _ = study.drift(coding("w8a8"), pair(), lambda: None)
    assert study.problems(good, [same]) == []
    flat = [*good[:3], replace(good[3], frames=good[2].frames), good[4]]
    (problem,) = study.problems(flat, [])
    assert "fp32: q7 is not above q5" in problem
    intra = points(1, ANCHOR, intra=True)
    flat = [*intra[:3], replace(intra[3], frames=intra[2].frames), intra[4]]
    (of_intra,) = study.problems([*good, *flat], [])
    assert "fp32, all-intra: q7 is not above q5" in of_intra
    wrong = tiny.changed("motion_hyper_decoder_scale", "indexes", tiny.one_more)
    broken, _ = study.drift(coding("w8a8"), pair(wrong), lambda: None)
    assert "not identical" in study.problems(good, [broken])[0]
    control, _ = study.drift(
        coding("fp32"),
        pair(tiny.changed("img_decoder", "reconstruction", lambda x: -x)),
        lambda: None,
    )
    assert study.problems(good, [control]) == []


def test_costs_are_counted_from_the_shapes() -> None:
    codec = tiny.built("fp32").codec
    costs = {
        (c.precision, c.branch): c for c in hyper_costs(codec, ["fp32", "w8a8", "w4a4"], (256, 128))
    }
    assert len(costs) == 9
    fp32, w8, w4 = (costs[p, "res"] for p in ("fp32", "w8a8", "w4a4"))
    # Six transposed 5x5 convolutions of 12 channels; of one z pixel 2 x 1, then 8, then 32.
    assert fp32.weights == 6 * 12 * 12 * 25
    assert fp32.macs == 2 * 12 * 12 * 25 * (2 + 8 + 32)
    assert (fp32.weight_bytes, w8.weight_bytes, w4.weight_bytes) == (
        4 * fp32.weights, fp32.weights, fp32.weights / 2,
    )  # fmt: skip
    assert fp32.bit_operations == 1024 * fp32.macs
    assert (w8.bit_operations, w4.bit_operations) == (64 * w8.macs, 16 * w4.macs)
    # The last layer reads 32 pixels and makes 128, of 12 channels: 8 bits in and 16 out, 32 both.
    assert w8.activation_bytes == 12 * (32 * 1 + 128 * 2)
    assert fp32.activation_bytes == 12 * (32 + 128) * 4
    first = codec.branches["res"].networks[SCALE].convolutions[0]
    assert first.weight.size == 12 * 12 * 25
