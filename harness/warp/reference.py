"""The warp's specification, executed in numpy int64, one operation a function: the living definition.

Slow and obvious on purpose. The lowering must equal it, bit for bit. Pictures are [3, H, W] in here.
"""

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.warp.specification import (
    BLUR_SHIFT,
    BLUR_TAPS,
    ENLARGE_SHIFT,
    HALVE_SHIFT,
    LEVEL_FRACTION_BITS,
    LEVEL_MAX,
    LEVEL_OF_NO_SCALE,
    LEVELS,
    MOTION_HIGH,
    MOTION_LOW,
    PICTURE_MAX,
    POSITION_FRACTION_BITS,
    PREDICTION_SHIFT,
    WarpSpecification,
    check_sides,
)

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


def rounded(x: I64, shift: int) -> I64:
    """floor(x / 2^shift + 1/2).

    >>> rounded(np.array([1, 2, 3, -2, -3]), 2).tolist()
    [0, 1, 1, 0, -1]
    """
    return np.asarray((x + (1 << (shift - 1))) >> shift)


def blur(x: I64) -> I64:
    """11 taps down and 11 along, edges replicated, one rounding."""
    reach = len(BLUR_TAPS) // 2
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    down = np.zeros((len(x), height, width + 2 * reach), np.int64)
    for u, tap in enumerate(BLUR_TAPS):
        down += tap * padded[:, u : u + height]
    along = np.zeros_like(x)
    for v, tap in enumerate(BLUR_TAPS):
        along += tap * down[:, :, v : v + width]
    return rounded(along, BLUR_SHIFT)


def halve(x: I64) -> I64:
    """The mean of each 2 x 2 pixels."""
    return rounded(
        x[:, 0::2, 0::2] + x[:, 0::2, 1::2] + x[:, 1::2, 0::2] + x[:, 1::2, 1::2], HALVE_SHIFT
    )


def enlarge(x: I64) -> I64:
    """Twice as large, bilinear between pixel centres, edges replicated, one rounding."""
    for axis in (1, 2):
        indices = np.arange(x.shape[axis])
        before = x.take(np.maximum(indices - 1, 0), axis)
        after = x.take(np.minimum(indices + 1, indices[-1]), axis)
        pairs = np.stack([before + 3 * x, 3 * x + after], axis + 1)
        x = pairs.reshape([2 * n if a == axis else n for a, n in enumerate(x.shape)])
    return rounded(x, ENLARGE_SHIFT)


def volume(picture: I64) -> I64:
    """The six levels of a picture [3, H, W] as [3, 6, H, W]."""
    x = blur(picture)
    levels = [picture, x]
    for times in range(1, LEVELS - 1):
        x = blur(halve(x))
        level = x
        for _ in range(times):
            level = enlarge(level)
        levels.append(level)
    return np.stack(levels, axis=1)


def positions(flow: I64, axis: int, fraction_bits: int) -> I64:
    """Where the pixels of a plane [H, W] come from along an axis, in 1/32 pixel, by a flow that is clamped already."""
    size = flow.shape[axis]
    # flow * (size / 2) * 2^5 / 2^F.
    moved = rounded(flow * (size >> 1) << POSITION_FRACTION_BITS, fraction_bits)
    start = np.arange(size).reshape((-1, 1) if axis == 0 else (1, -1)) << POSITION_FRACTION_BITS
    return np.clip(start + moved, 0, (size - 1) << POSITION_FRACTION_BITS)


def level(scale: I64, fraction_bits: int) -> I64:
    """The level of each pixel, in 1/64, by a scale field that is clamped already."""
    moved = rounded(scale * (LEVELS >> 1) << LEVEL_FRACTION_BITS, fraction_bits)
    return np.clip(moved + LEVEL_OF_NO_SCALE, 0, LEVEL_MAX)


def neighbours(position: I64, fraction_bits: int, size: int) -> list[tuple[I64, I64]]:
    """The two indices, below `size`, that a position lies between, each with its weight."""
    near = position >> fraction_bits
    weight = position & ((1 << fraction_bits) - 1)
    return [(near, (1 << fraction_bits) - weight), (np.minimum(near + 1, size - 1), weight)]


def sample(stack: I64, z: I64, y: I64, x: I64) -> I64:
    """The pixels [3, H, W] of a volume [3, 6, H, W] at positions [H, W], trilinear, one rounding."""
    _, levels, height, width = stack.shape
    total = np.zeros_like(stack[:, 0])
    for z_at, z_weight in neighbours(z, LEVEL_FRACTION_BITS, levels):
        for y_at, y_weight in neighbours(y, POSITION_FRACTION_BITS, height):
            for x_at, x_weight in neighbours(x, POSITION_FRACTION_BITS, width):
                total += z_weight * y_weight * x_weight * stack[:, z_at, y_at, x_at]
    return rounded(total, PREDICTION_SHIFT)


def predict(specification: WarpSpecification, reference: I32, motion: I32) -> I32:
    """The prediction int32 [1, 3, H, W] in [0, 16320] of a `reference` and a `motion`, both int32 [1, 3, H, W].

    Raises UserError for sides that are no multiples of 16, HarnessError for other types and shapes.
    """
    for name, value in (("reference", reference), ("motion", motion)):
        if value.dtype != np.int32 or value.shape[:2] != (1, 3) or value.shape != reference.shape:
            raise HarnessError(
                f"{name} is int32 [1, 3, H, W], not {value.dtype}{list(value.shape)}"
            )
    check_sides(*reference.shape[2:])
    picture = np.clip(reference[0].astype(np.int64), 0, PICTURE_MAX)
    flow_x, flow_y, scale = np.clip(motion[0].astype(np.int64), MOTION_LOW, MOTION_HIGH)
    predicted = sample(
        volume(picture),
        level(scale, specification.scale_fraction_bits),
        positions(flow_y, 0, specification.flow_fraction_bits),
        positions(flow_x, 1, specification.flow_fraction_bits),
    )
    return predicted.astype(np.int32)[None]
