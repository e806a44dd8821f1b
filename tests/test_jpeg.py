"""The JPEG anchor: real files, the curve between them, and what a point is beside it."""

import io

import numpy as np
import pytest
from PIL import Image

from harness import rd
from harness.errors import UserError
from harness.jpeg import against_jpeg, jpeg_curve, jpeg_psnr_at, jpeg_sweep
from tests.rd_points import JPEG, make_point


def test_jpeg_is_linear_in_log_bpp_and_ends_where_the_sweep_does() -> None:
    assert [jpeg_psnr_at(p.bpp, JPEG[::-1]) for p in JPEG] == pytest.approx([22, 25, 28, 31])
    assert jpeg_psnr_at(0.5 * 2**0.25, JPEG) == pytest.approx(25.75)
    assert jpeg_psnr_at(0.2499, JPEG) is None
    assert jpeg_psnr_at(2.0001, JPEG) is None


@pytest.mark.parametrize(
    ("bpp", "psnr", "verdict", "margin"),
    [
        (0.5, 26.5, rd.ABOVE, 1.5),
        (0.5, 25.0, rd.ABOVE, 0.0),
        (0.5, 24.5, rd.BELOW, -0.5),
        (0.1, 22.0, rd.ABOVE, None),  # JPEG takes more bits to be no better
        (0.1, 21.9, rd.NO_JPEG, None),
        (3.0, 30.9, rd.BELOW, None),  # JPEG takes fewer bits and is better
        (3.0, 31.0, rd.NO_JPEG, None),
    ],
)
def test_a_point_beside_jpeg(bpp: float, psnr: float, verdict: str, margin: float | None) -> None:
    row = against_jpeg(make_point(1, bpp, psnr), JPEG)
    assert row.verdict == verdict
    assert row.margin == pytest.approx(margin)


def test_the_container_counts_in_the_file_margin() -> None:
    row = against_jpeg(make_point(1, 0.5, 26.5, container=2500), JPEG)  # as large again
    assert row.file_margin == pytest.approx(26.5 - 28)


def test_the_sweep_measures_whole_jpeg_files() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    sweep = jpeg_sweep("noise.png", pixels)
    assert len(sweep) == 94
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    assert sweep[-1].file_bytes == len(buffer.getvalue())
    assert sweep[-1].psnr > sweep[0].psnr
    curve = jpeg_curve([sweep, sweep])
    assert [point.quality for point in curve] == list(range(2, 96))
    assert (curve[0].bpp, curve[0].psnr) == (sweep[0].bpp, sweep[0].psnr)


def test_a_picture_without_error_has_no_mean() -> None:
    grey = np.full((16, 16, 3), 128, np.uint8)
    with pytest.raises(UserError, match=r"'grey.png' comes back without any error"):
        jpeg_sweep("grey.png", grey)
