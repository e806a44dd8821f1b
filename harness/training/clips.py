"""What video codecs are trained on: clips made of photographs, from their key frame on or far behind it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from harness.codecs import ssf2020
from harness.codecs.video import BRANCHES
from harness.compressai_import import CompressionModel
from harness.training.chains import Chains, inter_rate_and_distortion
from harness.training.initialise import initialise
from harness.training.recipe import Point
from harness.training.scenes import Scene
from harness.training.stills import Crops, rate_and_distortion

# Hyper-latents are 128 times smaller than pictures: crops of 128 pixels train networks that see nothing but borders (twice
# the bits on pictures of 256 pixels were measured). Every fourth clip is larger still.
CROP, WIDE_CROP, WIDE_EVERY, FRAMES = 256, 384, 4, 3
# Share of a run from nothing that trains the key-frame stage alone: motion against noise teaches nothing.
KEY_SHARE = 0.5
# Sport moves faster than what codecs are trained on: by ranges of slow clips alone W8A8 decoders saturate there, and a P frame
# of RaceHorses (832x480) lost 0.6 dB.
FAST = 6
# Where all of P frames is frozen there is no need to code any.
KEYS_ALONE = frozenset({"motion_", "res_"})


def make_clip(
    images: list[NDArray[np.uint8]],
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    noise: float = 2.0,
    pace: int = 1,
) -> torch.Tensor:
    """A clip, float32 [frames, 3, H, W] in [0, 1], at `pace` times a scene's speed.

    `noise` is the largest deviation of its noise, of 255.
    """
    numbers = range(0, frames * pace, pace)
    return Scene.random(images, rng, size, noise=noise).frames(numbers, rng)


def calibration_clips(
    folder: Path, *, count: int = 32, frames: int = 4, size: int = 256
) -> list[list[NDArray[np.uint8]]]:
    """Clips of 8-bit RGB pictures [size, size, 3] made of a folder's photographs, the same at every call; half of them fast."""
    images = Crops(folder).images
    made = (
        make_clip(
            images,
            np.random.default_rng([7, number]),
            frames=frames,
            size=(size, size),
            pace=FAST if number >= count // 2 else 1,
        )
        for number in range(count)
    )
    return [
        [(frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for frame in clip]
        for clip in made
    ]


class Clips:
    """Clips made of photographs through scale-space flow: a key frame, then P frames on clamped references."""

    networks: tuple[str, ...] = (
        *(f"{branch}_{part}" for branch in BRANCHES for part in ("encoder", "decoder")),
        *(
            f"{branch}_hyperprior.{part}"
            for branch in BRANCHES
            for part in ("hyper_encoder", "hyper_decoder_mean", "hyper_decoder_scale")
        ),
    )
    # The residual decoder reads the residual's latent and, after it, that of the motion.
    stacked: Mapping[str, int] = MappingProxyType({"res_decoder.0.weight": 2})
    gains: Mapping[str, int] = MappingProxyType(
        {
            f"{branch}_{name}": power
            for branch in BRANCHES
            for name, power in (
                ("encoder.6.weight", 1),
                ("encoder.6.bias", 1),
                ("hyperprior.hyper_encoder.0.weight", -1),
                ("hyperprior.hyper_decoder_mean.4.weight", 1),
                ("hyperprior.hyper_decoder_mean.4.bias", 1),
                ("hyperprior.hyper_decoder_scale.deconv3.weight", 1),
                ("hyperprior.hyper_decoder_scale.deconv3.bias", 1),
                ("decoder.0.weight", -1),
            )
        }
    )

    def __init__(self, folder: Path) -> None:
        self._crops = Crops(folder)
        self._chains = Chains(self._crops.images)
        self.record = {
            **self._crops.record,
            "clips": "made of the images by harness/training/scenes.py",
        }

    def build(self, n: int, m: int) -> CompressionModel:
        # Half of a model's weights are in its hyperpriors, and they need fewer channels than the latents they describe.
        model = ssf2020.build(n, m, m // 2)
        initialise(model)
        return model

    def step(
        self,
        model: CompressionModel,
        rng: np.random.Generator,
        *,
        point: Point,
        step: int,
        finish: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        begins = point.start_from is None and step < KEY_SHARE * point.steps
        if begins or set(point.frozen) >= KEYS_ALONE:
            x = self._crops.batch(rng, CROP, 2).contiguous(memory_format=torch.channels_last)
            x_hat, likelihoods = model.forward_keyframe(x)
            return rate_and_distortion({"x_hat": x_hat, "likelihoods": likelihoods["keyframe"]}, x)
        if point.chain:
            return self._chains.step(model, rng, step=step, length=point.chain)
        size = WIDE_CROP if not finish and step % WIDE_EVERY == 0 else CROP
        clip = make_clip(self._crops.images, rng, frames=FRAMES, size=(size, size))
        return clip_rate_and_distortion(model, clip[:, None])

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self._chains.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._chains.load_state_dict(state)


def clip_rate_and_distortion(
    model: CompressionModel, clip: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits per pixel and MSE, means over the frames of `clip` [frames, N, 3, H, W]; references are clamped to [0, 1].

    No gradient flows from P frames into the key frame (as in the paper and in CompressAI).
    """
    x = clip[0].contiguous(memory_format=torch.channels_last)
    x_hat, likelihoods = model.forward_keyframe(x)
    key = rate_and_distortion({"x_hat": x_hat, "likelihoods": likelihoods["keyframe"]}, x)
    if len(clip) == 1:
        return key
    *inter, _ = inter_rate_and_distortion(model, clip[1:], x_hat.detach().clamp(0, 1))
    share = 1 / len(clip)
    rate, error = (torch.lerp(all_p, first, share) for all_p, first in zip(inter, key, strict=True))
    return rate, error
