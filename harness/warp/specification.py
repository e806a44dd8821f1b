"""The scale-space warp of SSF in integers: predict a picture from the one before it, by a flow and a blur a pixel.

CompressAI's `ScaleSpaceFlow.forward_prediction` stacks the reference picture and five blurred copies of it and samples
that volume by `grid_sample`: float32 arithmetic, whose last bits depend on who runs it, and which every later picture
inherits. This is the same prediction as a function from integers to integers; `reference.py` executes it and so defines
it. All numbers are int32, all divisions floor and their dividends are not negative, and a value is rounded (half up) once
a step.

**Inputs.** `reference` int32 [1, 3, H, W]: the picture P in units of 2^-6 of an 8-bit step, clamped to [0, 255 * 2^6] (14
bits: enough that six roundings on the way to the coarsest level stay far below a step, and few enough for the products
below). H and W are multiples of 16, as four halvings need, and at most 16384. `motion` int32 [1, 3, H, W], clamped to
signed 16 bits: the flow along x and along y in units of 2^-F of half the picture's width and height (`grid_sample`'s own),
F = `flow_fraction_bits`, and the scale field in units of 2^-S, S = `scale_fraction_bits`.

**Where.** Displacements are rounded to 1/32 pixel, and positions stay in the picture (`padding_mode="border"`,
`align_corners=False`):

    dx = floor(flow_x * (W / 2) * 2^5 / 2^F + 1/2)    px = clamp(32 x + dx, 0, 32 (W - 1))    x0 = px >> 5    wx = px & 31

and alike for y; the other neighbour is x1 = min(x0 + 1, W - 1), of weight 0 where that is x0. As 32 x is whole, px is one
rounding of the exact flow_x * (W / 16) + x * 2^(F - 3), by 2^(F - 8): F >= 9 keeps a rounding there.

**Which level.** Of six levels, in 1/64: z = clamp(floor(scale * 3 * 2^6 / 2^S + 1/2) + 160, 0, 320), z0 = z >> 6,
wz = z & 63, z1 = min(z0 + 1, 5); S >= 7 keeps a rounding. Scale 0 lies between levels 2 and 3, as in `grid_sample`; +-5/6
reach both ends, and S <= 15 lets 16 bits hold them.

The weights of a corner have 16 bits in all (5 + 5 + 6), as many as the prediction's sums below have room for. Of all ways
to share them this one is closest to CompressAI's prediction: 62 to 67 dB on photographs, 6 + 6 + 4 bits 57 to 62.

**The volume**, in the order of CompressAI's `gaussian_volume`: level 0 is P and level 1 is x = blur(P); then four times
x = blur(halve(x)), and level k + 1 is x enlarged k times.

* blur: 11 x 11 taps, separable, edges replicated; (sum + 2^15) >> 16, one rounding for both passes. The taps are the
  Gaussian of sigma 1.5 times 256, rounded: 0 2 9 28 55 68 55 28 9 2 0, which sum to 256 as they are (the outermost is 0.26).
* halve: (a + b + c + d + 2) >> 2 of each 2 x 2 pixels.
* enlarge: twice as large, bilinear between pixel centres: each axis weighs (1, 3) / 4, edges replicated; (sum + 8) >> 4.

**Prediction** int32 [1, 3, H, W] in [0, 255 * 2^6]: (sum of wz' wy' wx' V over the 8 corners + 2^15) >> 16, where w' is w
at the farther and 32 - w (64 - w for the level) at the nearer corner: the weights sum to 2^16, and there is one rounding.

**Bounds.** With V <= 16320 < 2^14, sides <= 2^14 and F <= 18 (beyond that flow would be finer than 1/32 pixel in every
picture), nothing reaches 2^31:

    positions     2^15 * 2^10 + 2^14 * 2^15 + 2^9     < 2^30
    level         3 * 2^15 + 160 * 2^9 + 2^8          < 2^18
    blur          2^16 * 16320 + 2^15                 < 2^30    (after one pass 2^8 * 16320 < 2^22)
    enlarge       16 * 16320 + 8                      < 2^18
    prediction    2^16 * 16320 + 2^15                 < 2^30
    place in the volume, 6 H W                        < 2^31

Only blur's and the prediction's sums reach 2^24 at every size, the places beyond 2.7 megapixels.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from harness.errors import UserError

PICTURE_FRACTION_BITS = 6
PICTURE_MAX = 255 << PICTURE_FRACTION_BITS
MOTION_LOW, MOTION_HIGH = -(2**15), 2**15 - 1
SIDE_MULTIPLE = 16
SIDE_MAX = 2**14
POSITION_FRACTION_BITS = 5
LEVEL_FRACTION_BITS = 6
LEVELS = 6
# Scale 0 in units of a level: (LEVELS - 1) / 2.
LEVEL_OF_NO_SCALE = (LEVELS - 1) << (LEVEL_FRACTION_BITS - 1)
LEVEL_MAX = (LEVELS - 1) << LEVEL_FRACTION_BITS
BLUR_TAPS = (0, 2, 9, 28, 55, 68, 55, 28, 9, 2, 0)
BLUR_SHIFT = 16
HALVE_SHIFT = 2
ENLARGE_SHIFT = 4
PREDICTION_SHIFT = 2 * POSITION_FRACTION_BITS + LEVEL_FRACTION_BITS

FLOW_FRACTION_BITS = range(9, 19)
SCALE_FRACTION_BITS = range(7, 16)


@dataclass(frozen=True, kw_only=True)
class WarpSpecification:
    """The units of the motion tensor; everything else of the warp is fixed.

    Raises UserError for bits outside FLOW_FRACTION_BITS and SCALE_FRACTION_BITS.
    """

    flow_fraction_bits: int
    scale_fraction_bits: int

    def __post_init__(self) -> None:
        for what, bits, allowed in (
            ("flow", self.flow_fraction_bits, FLOW_FRACTION_BITS),
            ("scale", self.scale_fraction_bits, SCALE_FRACTION_BITS),
        ):
            if bits not in allowed:
                raise UserError(
                    f"{what} with {bits} fraction bits: the warp takes {allowed[0]} to {allowed[-1]}"
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every constant of the specification."""
        constants = (
            ("picture", PICTURE_FRACTION_BITS, PICTURE_MAX),
            ("motion", MOTION_LOW, MOTION_HIGH),
            ("sides", SIDE_MULTIPLE, SIDE_MAX),
            ("flow", self.flow_fraction_bits),
            ("scale", self.scale_fraction_bits),
            ("position", POSITION_FRACTION_BITS),
            ("level", LEVEL_FRACTION_BITS, LEVELS, LEVEL_OF_NO_SCALE),
            ("blur", *BLUR_TAPS, BLUR_SHIFT),
            ("halve", HALVE_SHIFT),
            ("enlarge", 1, 3, ENLARGE_SHIFT),
            ("prediction", PREDICTION_SHIFT),
        )
        return hashlib.sha256(f"scale-space warp 1 {constants}".encode()).hexdigest()


def check_sides(height: int, width: int) -> None:
    """Raises UserError for a picture that the warp is not defined for."""
    if not all(0 < n <= SIDE_MAX and n % SIDE_MULTIPLE == 0 for n in (height, width)):
        raise UserError(
            f"a picture of {width}x{height}: the warp takes sides that are multiples of"
            f" {SIDE_MULTIPLE}, up to {SIDE_MAX}; pad it"
        )
