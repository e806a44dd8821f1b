"""Long chains of P frames to learn from: references that have the errors of many predictions in them.

Some chains run side by side. A step takes the next one and learns from its next few P frames; the last picture that it decodes
is where that chain goes on, so that every frame is both learned from and a step further away from the key frame. (This is
backpropagation through time, truncated, with states that are kept.) Chains of three or four frames alone teach nothing about the
errors that a decoder gathers over 96: measured, they bled all colour out of a clip by frame 70.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.compressai_import import CompressionModel
from harness.training.scenes import Layer, Mask, Scene
from harness.training.stills import rate_and_distortion

CHAINS, FRAMES = 12, 3
# Every fourth is wider, so that hyper-latents have an inside.
SIZE, WIDE_SIZE, WIDE_EVERY = (256, 256), (256, 384), 4
# The chance that a patch of a reference is a picture of something else, as when much appears at once.
IS_WRONG = 0.15


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Where a chain stands: its scene's seed, its next frame, the frame it ends at, and its reference [1, 3, H, W]."""

    seed: int
    frame: int
    end: int
    reference: torch.Tensor


class Chains:
    """Chains over scenes made of `images` (8-bit RGB [h, w, 3])."""

    def __init__(self, images: list[NDArray[np.uint8]]) -> None:
        self._images = images
        self._chains: dict[int, Chain] = {}

    def step(
        self, model: CompressionModel, rng: np.random.Generator, *, step: int, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits per pixel and MSE of the next `FRAMES` P frames of the chain whose turn it is; chains have `length` of them."""
        place = step % CHAINS
        size = WIDE_SIZE if place % WIDE_EVERY == 0 else SIZE
        chain = self._chains.get(place)
        if chain is None or chain.frame >= chain.end:
            # The first ones end early, each at another frame: from then on there are frames of all ages.
            end = length if chain else 1 + length * (place + 1) // CHAINS
            chain = Chain(seed=int(rng.integers(2**31)), frame=0, end=end, reference=torch.empty(0))
        scene = Scene.random(self._images, np.random.default_rng(chain.seed), size)
        reference = chain.reference
        if chain.frame == 0:
            with torch.no_grad():
                key, _ = model.forward_keyframe(scene.frames(range(1), rng))
            reference = key.clamp(0, 1)
        if rng.random() < IS_WRONG:
            pixels = scene.pixels
            other = Layer.random(self._images, rng, still=1).frames(range(1), pixels)
            reference = torch.lerp(
                reference, other, Mask.random(rng, size).frames(range(1), pixels)
            )
        first = max(1, chain.frame)
        clip = scene.frames(range(first, first + FRAMES), rng)
        rate, error, last = inter_rate_and_distortion(model, clip[:, None], reference)
        self._chains[place] = Chain(
            seed=chain.seed, frame=first + FRAMES, end=chain.end, reference=last.detach()
        )
        return rate, error

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All chains, for a training that is resumed."""
        state = {}
        for place, chain in self._chains.items():
            state[f"{place}.numbers"] = torch.tensor([chain.seed, chain.frame, chain.end])
            state[f"{place}.reference"] = chain.reference
        return state

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on with the chains of `state`; without any, with new ones."""
        self._chains = {}
        for name, numbers in state.items():
            place, _, part = name.partition(".")
            if part == "numbers":
                seed, frame, end = numbers.tolist()
                self._chains[int(place)] = Chain(
                    seed=seed, frame=frame, end=end, reference=state[f"{place}.reference"]
                )


def inter_rate_and_distortion(
    model: CompressionModel, clip: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bits per pixel and MSE, means over the P frames of `clip` [frames, N, 3, H, W], and the last one decoded."""
    rates, errors = [], []
    for frame in clip:
        x = frame.contiguous(memory_format=torch.channels_last)
        x_hat, likelihoods = model.forward_inter(x, reference)
        reference = x_hat.clamp(0, 1)
        parts = {f"{b}/{n}": v for b, tensors in likelihoods.items() for n, v in tensors.items()}
        rate, error = rate_and_distortion({"x_hat": x_hat, "likelihoods": parts}, x)
        rates.append(rate)
        errors.append(error)
    return torch.stack(rates).mean(), torch.stack(errors).mean(), reference
