"""References and predictions of the P-frame loop: float32 in [0, 1], or int32 in 2^-6 of an 8-bit step."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.codecs.video import VIDEO_DOWNSAMPLING
from harness.images import pad_to_multiple, to_pixels, to_tensor, unpad
from harness.warp.specification import (
    MOTION_HIGH,
    MOTION_LOW,
    PICTURE_FRACTION_BITS,
    PICTURE_MAX,
    WarpSpecification,
)

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
# float32 in a float codec, int32 where pictures are integers.
Picture = NDArray[Any]


def clamped(picture: Picture, *, integer: bool) -> Picture:
    """A sum as the next reference."""
    if integer:
        return np.clip(picture.astype(np.int32, copy=False), 0, PICTURE_MAX)
    # A broken decoder's NaN becomes black, as in `to_pixels`.
    return np.clip(np.nan_to_num(picture.astype(np.float32, copy=False), nan=0.0), 0, 1)


def as_float(picture: Picture) -> F32:
    """As float networks read it, in [0, 1]."""
    if picture.dtype == np.int32:
        return (picture.astype(np.float32) / np.float32(PICTURE_MAX)).astype(np.float32)
    return picture.astype(np.float32, copy=False)


def as_fixed(picture: F32) -> I32:
    """A picture in [0, 1] as the integer warp reads it, rounded half up."""
    return np.asarray(np.floor(picture.astype(np.float64) * PICTURE_MAX + 0.5), np.int32)


def motion_as_fixed(motion: F32, specification: WarpSpecification) -> I32:
    """Flow and scale [1, 3, H, W] of a float decoder as the integer warp reads them, rounded half up, clamped."""
    flow, scale = specification.flow_fraction_bits, specification.scale_fraction_bits
    units = np.ldexp(1.0, np.array([flow, flow, scale]))[:, None, None]
    rounded = np.floor(np.nan_to_num(motion.astype(np.float64), nan=0.0) * units + 0.5)
    return np.asarray(np.clip(rounded, MOTION_LOW + 1, MOTION_HIGH), np.int32)


def padded(pixels: U8) -> F32:
    """A picture [H, W, 3] as encoders read it: float32 [1, 3, H', W'] in [0, 1], sides multiples of 128."""
    return to_tensor(pad_to_multiple(pixels, VIDEO_DOWNSAMPLING))


def picture_of(reference: Picture, size: tuple[int, int]) -> U8:
    """The 8-bit picture [H, W, 3] of a reference: rounded half up if it is in integers."""
    if reference.dtype == np.int32:
        half = np.int32(1 << (PICTURE_FRACTION_BITS - 1))
        pixels = ((reference + half) >> np.int32(PICTURE_FRACTION_BITS)).astype(np.uint8)
        return unpad(np.ascontiguousarray(pixels[0].transpose(1, 2, 0)), *size)
    return unpad(to_pixels(reference.astype(np.float32, copy=False)), *size)
