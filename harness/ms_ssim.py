"""MS-SSIM of two 8-bit pictures. Knows pixels only.

Wang, Simoncelli and Bovik 2003: five scales, Gaussian window of 11 x 11 with sigma 1.5, K1 0.01, K2 0.03, as the package
pytorch-msssim computes it, which CompressAI evaluates with: in float32, so the sixth digit may differ between machines.
Mean over the three colour channels.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

U8 = NDArray[np.uint8]
Similarity = Callable[[U8, U8], float | None]
# A window of 11 must fit after four halvings.
TOO_SMALL = 160


def ms_ssim(a: U8, b: U8) -> float | None:
    """MS-SSIM, 0 to 1, of two pictures uint8 [H, W, 3]; None where the smaller side is at most `TOO_SMALL` pixels."""
    if a.dtype != np.uint8 or a.shape[2:] != (3,) or (a.dtype, a.shape) != (b.dtype, b.shape):
        raise HarnessError(
            f"no MS-SSIM between {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        )
    if min(a.shape[:2]) <= TOO_SMALL:
        return None
    import torch  # noqa: PLC0415 - seconds
    from pytorch_msssim import ms_ssim as measure  # noqa: PLC0415

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two take ten times as long
    try:
        with torch.inference_mode():
            x, y = (torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32)) for p in (a, b))
            return float(measure(x, y, data_range=255))
    finally:
        torch.set_num_threads(threads)


def decibels(value: float | None) -> float | None:
    """-10 log10(1 - MS-SSIM), the scale on which BD-rates by MS-SSIM are computed; None at 1, and of None.

    >>> round(decibels(0.99), 9)
    20.0
    """
    return None if value is None or value >= 1 else -10 * math.log10(1 - value)
