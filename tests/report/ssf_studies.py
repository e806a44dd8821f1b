"""Made-up studies of a video codec that the tests of its report share: every number is chosen, none is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.bd_rate import Bd, bd_rate
from harness.clip_rd import (
    ClipBdRate,
    ClipPoint,
    ClipStudy,
    Drift,
    DriftFrame,
    FrameSample,
    HyperCost,
    IntraShare,
    Mismatch,
)
from harness.images import Pixels
from harness.rd import ANCHOR, Variant

FAMILY = "ssf2020"
PIXELS = 10_000_000
FRAMES = 12
CURVE = ((1, 0.1, 30.0), (3, 0.2, 32.0), (5, 0.4, 34.0), (7, 0.8, 36.0))
W4, W8, W12, W16 = (Variant(precision=name) for name in ("w4a4", "w8a8", "w12a12", "w16a16"))
W4_MSE = Variant(precision="w4a4", calibrator="mse")
DECODER = Variant(precision="w16a16", scope="decoder")
GAINS: Mapping[Variant, float] = {
    W4: 1.1,
    W8: 1.004,
    W12: 1.0004,
    W16: 1.0003,
    W4_MSE: 1.2,
    DECODER: 1.002,
}
CLIPS = ("harbour", "market")


def make_point(
    quality: int,
    bpp: float,
    psnr: float,
    *,
    clip: str = CLIPS[0],
    variant: Variant = ANCHOR,
    frames: int = FRAMES,
    drop: float = 0.0,
    intra: bool = False,
) -> ClipPoint:
    """A key frame of four times the bits of a P frame, whose motion takes a quarter; `drop`: dB lost from frame to frame."""
    share = bpp * PIXELS * frames / (4 * frames if intra else 3 + frames)
    key = {"img": round(4 * share)}
    inter = {"motion": round(share / 4), "res": round(3 * share / 4)}
    return ClipPoint(
        family=FAMILY,
        quality=quality,
        clip=clip,
        variant=variant,
        pixels=PIXELS,
        frames=tuple(
            FrameSample(number=n, bits=key if intra or n == 0 else inter, psnr=psnr - n * drop)
            for n in range(frames)
        ),
        calibrator="none" if variant == ANCHOR else variant.calibrator,
        intra=intra,
    )


def make_curve(
    variant: Variant = ANCHOR,
    gain: float = 1.0,
    *,
    clip: str = CLIPS[0],
    drop: float = 0.0,
    intra: bool = False,
) -> list[ClipPoint]:
    """Four rate points, `gain` times the bits."""
    return [
        make_point(q, bpp * gain, psnr, clip=clip, variant=variant, drop=drop, intra=intra)
        for q, bpp, psnr in CURVE
    ]


def make_rates(points: Sequence[ClipPoint], method: str = "pchip") -> list[ClipBdRate]:
    """Of every variant on every clip, and the mean."""
    found = []
    for variant in dict.fromkeys(p.variant for p in points if p.variant != ANCHOR):
        bds = {}
        for clip in dict.fromkeys(p.clip for p in points):
            anchor, test = (
                [
                    (p.bpp, p.psnr)
                    for p in points
                    if (p.clip, p.variant, p.intra) == (clip, v, False)
                ]
                for v in (ANCHOR, variant)
            )
            bds[clip] = bd_rate(anchor, test, method)
        percents = [bd.percent for bd in bds.values() if bd.percent is not None]
        bds["mean"] = (
            Bd(percent=sum(percents) / len(percents), overlap=1.0, note="")
            if len(percents) == len(bds)
            else Bd.none("a clip has none")
        )
        found += [
            ClipBdRate(
                clip=clip,
                variant=variant,
                calibrator=f"used-{variant.calibrator}",
                method=method,
                psnr=bd,
            )
            for clip, bd in bds.items()
        ]
    return found


def make_drift(
    variant: Variant,
    between: Sequence[float | None],
    *,
    lowering: str = "u8",
    decoder: str = "torch",
    flips: int = 0,
    problem: str = "",
    quality: int = 5,
) -> Drift:
    """A frame for each of `between`; from the third on, `flips` indexes and ten times the symbols are wrong in each."""
    return Drift(
        family=FAMILY,
        quality=quality,
        clip=CLIPS[0],
        variant=variant,
        lowering=lowering,
        encoder="ort-cpu",
        decoder=decoder,
        problem=problem,
        coded=len(between),
        frames=tuple(
            DriftFrame(
                number=number,
                flips=flips * (number >= 2),
                indexes=1000,
                wrong_symbols=10 * flips * (number >= 2),
                symbols=1000,
                differing_samples=0 if psnr is None else 7,
                samples=3000,
                psnr_between=psnr,
                psnr_encoder=34.0,
                psnr_decoder=34.0 if psnr is None else 30.0,
            )
            for number, psnr in enumerate(between)
        ),
    )


def make_picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> Pixels:
    picture: Pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return picture


def make_mismatch(
    variant: Variant = ANCHOR, *, by: int = 5, frame: int = 7, quality: int = 5
) -> Mismatch:
    """A tenth of the rows differ by `by` steps in every channel."""
    original = make_picture()
    encoder = (original // 2 + 20).astype(np.uint8)
    decoder = encoder.copy()
    decoder[: len(decoder) // 10] += np.uint8(by)
    return Mismatch(
        family=FAMILY, quality=quality, clip=CLIPS[0], variant=variant, encoder="ort-cpu", decoder="torch",
        frame=frame, original=original, encoder_picture=encoder, decoder_picture=decoder,
    )  # fmt: skip


def make_cost(precision: str, bits: int, branch: str = "res", quality: int = 1) -> HyperCost:
    weights, macs = 1_000_000, 50_000_000
    return HyperCost(
        family=FAMILY, quality=quality, precision=precision, branch=branch, size=(240, 416), weights=weights,
        weight_bytes=weights * bits / 8, activation_bytes=4096 * bits / 8, macs=macs,
        bit_operations=macs * bits * bits,
    )  # fmt: skip


def make_study(
    points: Sequence[ClipPoint] | None = None,
    *,
    problems: Sequence[str] = (),
    method: str = "pchip",
) -> ClipStudy:
    """Of `points` alone; given none, of everything there is."""
    if points is not None:
        return ClipStudy(
            points=tuple(points), bd_rates=tuple(make_rates(points, method)), intra_shares=(), drifts=(),
            mismatches=(), costs=(), problems=tuple(problems), notes=(),
        )  # fmt: skip
    every: list[ClipPoint] = []
    for clip in CLIPS:
        every += make_curve(clip=clip)
        for variant, gain in GAINS.items():
            every += make_curve(variant, gain, clip=clip, drop=0.002 if variant == W4 else 0.0)
    rates = make_rates(every)
    every += [p for clip in CLIPS for p in make_curve(gain=3.0, clip=clip, intra=True)]
    anchors = [p for p in every if p.variant == ANCHOR and not p.intra]
    opened = [p for clip in CLIPS for p in make_curve(W16, 1.0001, clip=clip)]
    return ClipStudy(
        points=tuple(every),
        bd_rates=tuple(rates),
        intra_shares=tuple(
            IntraShare(quality=q, clip=CLIPS[0], inter_bpp=0.2 * q, psnr=30.0 + q, intra_bpp=each)
            for q, each in ((1, 0.5), (3, 1.0), (5, None))
        ),
        drifts=(
            make_drift(ANCHOR, [None, 60.0, 20.0, 11.5], lowering="float32", flips=2),
            make_drift(W8, [None, None, 90.0, 88.0]),
            make_drift(DECODER, [None] * 4),
            make_drift(DECODER, [None] * 4, decoder="openvino"),
        ),
        mismatches=(make_mismatch(), make_mismatch(DECODER, by=0)),
        costs=(make_cost("fp32", 32), make_cost("w8a8", 8), make_cost("fp32", 32, quality=3)),
        problems=tuple(problems),
        notes=("the clip is short",),
        open_points=tuple(opened),
        open_bd_rates=tuple(make_rates([*anchors, *opened])),
        mirrored_points=tuple(
            replace(p, mirroring=n) for n in (1, 2) for p in make_curve(W16, 1.001) + make_curve()
        ),
        mirrored_bd_rates=tuple(
            replace(rate, error=0.0123) for rate in rates if rate.variant == W16
        ),
    )
