"""Start a rate point from another one's weights with finer or coarser quantization: latents times a gain, all else as it was.

Rounding is to integers, so that a latent times g has a quantization step of 1/g. The networks before it make it g times as
large, those behind it take it back; without rounding nothing would change. At high rates distortion goes with the step's
square, so that lambda times r asks for a gain of about sqrt(r).
"""

from collections.abc import Mapping

import torch

from harness.errors import UserError


def scale_latents(
    weights: Mapping[str, torch.Tensor], powers: Mapping[str, int], gain: float
) -> dict[str, torch.Tensor]:
    """`powers`: of the gain, for every parameter that it changes. UserError where there are none and the gain is not 1."""
    if gain != 1 and not powers:
        raise UserError("this family's recipes take no gain")
    return {
        name: weight.float() * gain ** powers[name] if name in powers else weight
        for name, weight in weights.items()
    }
