"""MS-SSIM against an independent computation of its definition, and where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.ms_ssim import decibels, ms_ssim

F64 = NDArray[np.float64]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)
    return np.clip(128 + 90 * waves, 0, 255).astype(np.uint8)


def noisy(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(7).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def blurred(channel: F64) -> F64:
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    for _ in range(2):
        channel = np.apply_along_axis(np.convolve, 0, channel, window, "valid").T
    return channel


def defined(a: F64, b: F64) -> float:
    """Wang, Simoncelli and Bovik 2003, of one channel whose sides halve evenly."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    product = 1.0
    for level, weight in enumerate(WEIGHTS):
        mean_a, mean_b = blurred(a), blurred(b)
        variance_a, variance_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
        covariance = blurred(a * b) - mean_a * mean_b
        term = (2 * covariance + c2) / (variance_a + variance_b + c2)
        if level == len(WEIGHTS) - 1:
            term = term * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        product *= float(term.mean()) ** weight
        a, b = (x.reshape(x.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for x in (a, b))
    return product


@pytest.mark.parametrize("sigma", [1.0, 12.0])
def test_it_is_what_the_paper_defines(sigma: float) -> None:
    a = picture(192, 224)
    b = noisy(a, sigma)
    channels = [
        defined(a[..., c].astype(np.float64), b[..., c].astype(np.float64)) for c in range(3)
    ]
    found = ms_ssim(a, b)
    assert found == pytest.approx(np.mean(channels), abs=3e-6)  # it is in float32
    assert found is not None
    assert 0.5 < found < 1


def test_more_noise_is_less_similar_and_none_is_1() -> None:
    a = picture(161, 170)
    worse = [ms_ssim(a, noisy(a, sigma)) for sigma in (0.5, 2.0, 8.0)]
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert worse == sorted(worse, key=lambda value: -(value or 0))


@pytest.mark.parametrize("shape", [(160, 400), (400, 160), (16, 16)])
def test_a_small_picture_has_none(shape: tuple[int, int]) -> None:
    a = picture(*shape)
    assert ms_ssim(a, a) is None


def test_pictures_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(HarnessError, match="no MS-SSIM between"):
        ms_ssim(picture(170, 170), picture(170, 171))
    with pytest.raises(HarnessError, match="no MS-SSIM between"):
        ms_ssim(picture(170, 170).astype(np.int16), picture(170, 170).astype(np.int16))  # type: ignore[arg-type]


def test_decibels() -> None:
    assert decibels(0.999) == pytest.approx(30)
    assert decibels(0.0) == 0
    assert decibels(None) is None
    assert decibels(1.0) is None
