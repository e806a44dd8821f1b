"""Rate points and studies that the tests of rate and distortion share."""

from collections.abc import Sequence

from harness import rd
from harness.rd_study import study

W8 = rd.Variant(precision="w8a8")
W4 = rd.Variant(precision="w4a4")
JPEG = [rd.JpegPoint(quality=q, bpp=0.25 * 2**q, psnr=22.0 + 3 * q) for q in range(4)]  # to 2 bpp
WIDTHS = {"z_q": "s8", "h_s.0.weight": "s8 per channel", "scales_hat": "u16"}


def make_point(
    quality: int,
    bpp: float,
    psnr: float,
    *,
    family: str = "mbt2018-mean",
    variant: rd.Variant = rd.ANCHOR,
    container: int = 100,
    ms_ssim: float | None = 0.95,
) -> rd.Point:
    """Two pictures of 40000 pixels, one 1 dB above the mean and one 1 dB below."""
    payload = round(bpp * 40_000 / 8)
    samples = tuple(
        rd.Sample(
            image=image,
            pixels=40_000,
            payload_bytes=payload,
            file_bytes=payload + container,
            psnr=psnr + offset,
            ms_ssim=ms_ssim,
        )
        for image, offset in (("a.png", 1.0), ("b.png", -1.0))
    )
    return rd.Point(
        family=family,
        quality=quality,
        lmbda=0.0125,
        variant=variant,
        samples=samples,
        calibrator="none" if variant == rd.ANCHOR else "min-max",
        widths={} if variant == rd.ANCHOR else WIDTHS,
    )


def make_curve(
    variant: rd.Variant = rd.ANCHOR, gain: float = 1.0, decibel: float = 0.0
) -> list[rd.Point]:
    """Four rate points, from 0.3 to 1.2 bpp and each above `JPEG`; MS-SSIM from 10 dB on, 2 dB a step."""
    given = [(1, 0.3, 27.0), (2, 0.5, 29.0), (3, 0.8, 31.0), (4, 1.2, 33.0)]
    return [
        make_point(
            quality,
            bpp * gain,
            psnr + decibel,
            variant=variant,
            ms_ssim=1 - 10 ** -(0.8 + quality / 5),
        )
        for quality, bpp, psnr in given
    ]


def make_study(points: Sequence[rd.Point] | None = None, method: str = "pchip") -> rd.Study:
    return study(points or make_curve() + make_curve(W8, 1.02), JPEG, method)
