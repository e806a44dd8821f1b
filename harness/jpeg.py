"""The JPEG anchor: what JPEG gives at the same rate. Knows pictures and points, no codec, platform or report."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from harness.errors import UserError
from harness.images import Pixels
from harness.rd import ABOVE, BELOW, NO_JPEG, JpegPoint, Point, Row, Sample, sample

JPEG_QUALITIES = range(2, 96)
JPEG_SETTINGS = "Pillow JPEG as Image.save makes it (4:2:0, standard Huffman tables), whole files"


def jpeg_sweep(image: str, pixels: Pixels) -> list[Sample]:
    """The picture as a JPEG file of every quality of `JPEG_QUALITIES`, in that order; by PSNR alone."""
    found = []
    for quality in JPEG_QUALITIES:
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
        except OSError as error:
            raise UserError(f"{image!r} cannot be a JPEG: {error}; crop it") from error
        size = buffer.tell()
        with Image.open(buffer, formats=["JPEG"]) as decoded:
            picture = np.asarray(decoded.convert("RGB"))
        found.append(
            sample(image, pixels, picture, payload_bytes=size, file_bytes=size, ms_ssim=None)
        )
    return found


def jpeg_curve(sweeps: Sequence[Sequence[Sample]]) -> tuple[JpegPoint, ...]:
    """Mean rate and mean PSNR of each quality over the pictures' sweeps."""
    return tuple(
        JpegPoint(
            quality=quality,
            bpp=float(np.mean([s.file_bpp for s in samples])),
            psnr=float(np.mean([s.psnr for s in samples])),
        )
        for quality, samples in zip(JPEG_QUALITIES, zip(*sweeps, strict=True), strict=True)
    )


def jpeg_psnr_at(bpp: float, jpeg: Sequence[JpegPoint]) -> float | None:
    """JPEG's PSNR at `bpp`, linear in log bpp between its points; None outside of them.

    >>> curve = [JpegPoint(quality=2, bpp=0.25, psnr=24.0), JpegPoint(quality=9, bpp=1.0, psnr=30.0)]
    >>> jpeg_psnr_at(0.5, curve)
    27.0
    """
    curve = {point.bpp: point.psnr for point in sorted(jpeg, key=lambda p: (p.bpp, p.psnr))}
    rates = list(curve)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), list(curve.values())))


def against_jpeg(point: Point, jpeg: Sequence[JpegPoint]) -> Row:
    """Beyond either end of JPEG's curve a point is judged only where one of the two is better in both respects."""
    at_payload, at_file = (jpeg_psnr_at(rate, jpeg) for rate in (point.bpp, point.file_bpp))
    lowest, highest = (pick(jpeg, key=lambda p: p.bpp) for pick in (min, max))
    if at_payload is not None:
        verdict = BELOW if point.psnr < at_payload else ABOVE
    elif point.bpp < lowest.bpp and point.psnr >= lowest.psnr:
        verdict = ABOVE
    elif point.bpp > highest.bpp and point.psnr < highest.psnr:
        verdict = BELOW
    else:
        verdict = NO_JPEG
    return Row(
        point=point,
        jpeg_psnr=at_payload,
        margin=None if at_payload is None else point.psnr - at_payload,
        file_margin=None if at_file is None else point.psnr - at_file,
        verdict=verdict,
    )
