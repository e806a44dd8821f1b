"""What video codecs are trained on: clips made of photographs by camera and object motion, occlusion and exposure.

Every clip is a function of its random generator: a background photograph under a moving camera, up to two patches of
other photographs that cross it on paths of their own, a drifting exposure, sensor noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from harness.codecs import ssf2020
from harness.codecs.video import BRANCHES
from harness.compressai_import import CompressionModel
from harness.training.initialise import initialise
from harness.training.recipe import Point
from harness.training.stills import Crops, rate_and_distortion

# Hyper-latents are 128 times smaller than pictures: crops of 128 pixels train networks that see nothing but borders (twice
# the bits on pictures of 256 pixels were measured). Every fourth clip is larger still.
CROP, WIDE_CROP, WIDE_EVERY, FRAMES = 256, 384, 4, 3
# Share of a run from nothing that trains the key-frame stage alone: motion against noise teaches nothing.
KEY_SHARE = 0.5
MAX_OBJECTS = 2
# Chances that exposure drifts and that there is noise.
DRIFTS, IS_NOISY = 0.25, 0.5


@dataclass(frozen=True, kw_only=True)
class Path2d:
    """A smooth movement: position [2] in pixels, angle and log-scale, each with a speed (per frame) and a turn."""

    start: NDArray[np.float64]
    speed: NDArray[np.float64]
    turn: float
    angle: float
    spin: float
    zoom: float

    @classmethod
    def random(
        cls, rng: np.random.Generator, start: NDArray[np.float64], *, still: float
    ) -> "Path2d":
        """`still`: the chance of not moving at all."""
        moves = rng.random() >= still
        pace = moves * min(float(rng.exponential(3.0)), 14.0)
        heading = rng.uniform(0, 2 * math.pi)
        return cls(
            start=start,
            speed=pace * np.array([math.cos(heading), math.sin(heading)]),
            turn=moves * float(rng.normal(0, 0.03)),
            angle=float(rng.normal(0, 0.2)),
            spin=moves * float(rng.normal(0, 0.006)),
            zoom=moves * float(rng.normal(0, 0.005)),
        )

    def at(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position [2] and the matrix [2, 2] of rotation and zoom."""
        turned = [self.speed @ _rotation(self.turn * f).T for f in range(frame)]
        position = self.start + np.sum(turned, axis=0) if turned else self.start
        return position, math.exp(self.zoom * frame) * _rotation(self.angle + self.spin * frame)


def _rotation(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _pixels(size: tuple[int, int]) -> NDArray[np.float64]:
    """Pixel positions (x, y) around the middle, float64 [H, W, 2]."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([x - (width - 1) / 2, y - (height - 1) / 2], axis=-1)


def _sample(image: NDArray[np.uint8], places: NDArray[np.float64]) -> torch.Tensor:
    """Bicubic samples float32 [frames, 3, H, W] of an [h, w, 3] picture at (x, y) `places` [frames, H, W, 2]."""
    height, width = image.shape[:2]
    source = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    frames, rows, columns = places.shape[:3]
    grid = (2 * places + 1) / np.array([width, height]) - 1
    flat = torch.from_numpy(grid.astype(np.float32)).reshape(1, frames * rows, columns, 2)
    out = functional.grid_sample(source, flat, "bicubic", "reflection", align_corners=False)
    return out.reshape(3, frames, rows, columns).transpose(0, 1).clamp(0, 1)


def make_clip(
    images: list[NDArray[np.uint8]],
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    noise: float = 2.0,
) -> torch.Tensor:
    """A clip, float32 [frames, 3, H, W] in [0, 1]; `noise` is the largest deviation of its noise, of 255."""
    pixels = _pixels(size)
    clip = _layer(_choose(images, rng), rng, pixels, frames, still=0.25)
    for _ in range(rng.integers(MAX_OBJECTS + 1)):
        content = _layer(_choose(images, rng), rng, pixels, frames, still=0.3)
        clip = torch.lerp(clip, content, _mask(rng, pixels, frames))
    if rng.random() < DRIFTS:
        drift = 1 + rng.normal(0, 0.01) * np.arange(frames)
        clip = clip * torch.from_numpy(drift.astype(np.float32))[:, None, None, None]
    if noise and rng.random() < IS_NOISY:
        deviation = rng.uniform(0, noise) / 255
        clip = clip + torch.from_numpy(
            (deviation * rng.standard_normal(clip.shape, np.float32)).astype(np.float32)
        )
    return torch.round(clip.clamp(0, 1) * 255) / 255


def calibration_clips(
    folder: Path, *, count: int = 16, frames: int = 4, size: int = 256
) -> list[list[NDArray[np.uint8]]]:
    """Clips of 8-bit RGB pictures [size, size, 3] made of a folder's photographs, the same at every call."""
    images = Crops(folder).images
    made = (
        make_clip(images, np.random.default_rng([7, number]), frames=frames, size=(size, size))
        for number in range(count)
    )
    return [
        [(frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for frame in clip]
        for clip in made
    ]


def _choose(images: list[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    return images[rng.integers(len(images))]


def _layer(
    image: NDArray[np.uint8],
    rng: np.random.Generator,
    pixels: NDArray[np.float64],
    frames: int,
    *,
    still: float,
) -> torch.Tensor:
    """A photograph under a moving camera."""
    middle = np.array([image.shape[1], image.shape[0]]) * rng.uniform(0.3, 0.7, 2)
    path = Path2d.random(rng, middle, still=still)
    zoom = rng.uniform(0.75, 1.35) * np.array([rng.choice([-1, 1]), 1])
    places = []
    for frame in range(frames):
        position, matrix = path.at(frame)
        places.append((pixels * zoom) @ matrix.T + position)
    return _sample(image, np.stack(places))


def _mask(rng: np.random.Generator, pixels: NDArray[np.float64], frames: int) -> torch.Tensor:
    """A superellipse with a soft edge on a path of its own, float32 [frames, 1, H, W]."""
    height, width = pixels.shape[:2]
    start = np.array([width, height]) * rng.uniform(-0.5, 0.5, 2)
    path = Path2d.random(rng, start, still=0.1)
    radii = np.array([width, height]) * rng.uniform(0.1, 0.45, 2)
    power = rng.uniform(1.5, 6)
    softness = rng.uniform(0.5, 2.5) / radii.min()
    masks = []
    for frame in range(frames):
        position, matrix = path.at(frame)
        unit = np.abs((pixels - position) @ matrix / radii)
        distance = (unit**power).sum(-1) ** (1 / power)
        masks.append(1 / (1 + np.exp(np.clip((distance - 1) / softness, -30, 30))))
    return torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))


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
        self.record = {
            **self._crops.record,
            "clips": "made of the images by harness/training/clips.py",
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
        if point.start_from is None and step < KEY_SHARE * point.steps:
            x = self._crops.batch(rng, CROP, 2).contiguous(memory_format=torch.channels_last)
            x_hat, likelihoods = model.forward_keyframe(x)
            return rate_and_distortion({"x_hat": x_hat, "likelihoods": likelihoods["keyframe"]}, x)
        wide = not finish and step % WIDE_EVERY == 0
        size = WIDE_CROP if wide else CROP
        # A key frame that learns nothing costs a third: there is time for another P frame.
        frames = FRAMES + bool(point.frozen and not wide)
        passed = int(rng.integers(point.rollout + 1)) if point.rollout else 0
        clip = make_clip(self._crops.images, rng, frames=frames + passed, size=(size, size))
        return clip_rate_and_distortion(model, clip[:, None], passed=passed)


def clip_rate_and_distortion(
    model: CompressionModel, clip: torch.Tensor, *, passed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits per pixel and MSE, means over the frames of `clip` [frames, N, 3, H, W]; references are clamped to [0, 1].

    No gradient flows from P frames into the key frame (as in the paper and in CompressAI). The first `passed` P frames do not
    count and give no gradient: those behind them learn from references that have errors of many predictions in them.
    """
    rates, errors = [], []
    reference: torch.Tensor | None = None
    for number, frame in enumerate(clip):
        x = frame.contiguous(memory_format=torch.channels_last)
        if reference is not None and number <= passed:
            with torch.no_grad():
                reference = model.forward_inter(x, reference)[0].clamp(0, 1)
            continue
        if reference is None:
            x_hat, likelihoods = model.forward_keyframe(x)
            reference = x_hat.detach().clamp(0, 1)
        else:
            x_hat, likelihoods = model.forward_inter(x, reference)
            reference = x_hat.clamp(0, 1)
        parts = {f"{b}/{n}": v for b, tensors in likelihoods.items() for n, v in tensors.items()}
        rate, error = rate_and_distortion({"x_hat": x_hat, "likelihoods": parts}, x)
        rates.append(rate)
        errors.append(error)
    return torch.stack(rates).mean(), torch.stack(errors).mean()
