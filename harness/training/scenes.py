"""Scenes made of photographs: camera and object motion, occlusion, exposure and noise, for as many frames as wanted.

Every scene is a function of its random generator: a background photograph under a moving camera, up to two patches of
other photographs that cross it on paths of their own, a drifting exposure, sensor noise.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

MAX_OBJECTS = 2
# Chances that exposure drifts and that there is noise.
DRIFTS, IS_NOISY = 0.25, 0.5
# However long it drifts, a picture stays one.
EXPOSURES = (0.6, 1.5)


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


def _sample(image: NDArray[np.uint8], places: NDArray[np.float64]) -> torch.Tensor:
    """Bicubic samples float32 [frames, 3, H, W] of an [h, w, 3] picture at (x, y) `places` [frames, H, W, 2]."""
    height, width = image.shape[:2]
    source = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    frames, rows, columns = places.shape[:3]
    grid = (2 * places + 1) / np.array([width, height]) - 1
    flat = torch.from_numpy(grid.astype(np.float32)).reshape(1, frames * rows, columns, 2)
    out = functional.grid_sample(source, flat, "bicubic", "reflection", align_corners=False)
    return out.reshape(3, frames, rows, columns).transpose(0, 1).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A photograph [h, w, 3] under a moving camera; `zoom` [2] of x and y, negative where it is mirrored."""

    image: NDArray[np.uint8]
    path: Path2d
    zoom: NDArray[np.float64]

    @classmethod
    def random(
        cls, images: list[NDArray[np.uint8]], rng: np.random.Generator, *, still: float
    ) -> "Layer":
        image = images[rng.integers(len(images))]
        middle = np.array([image.shape[1], image.shape[0]]) * rng.uniform(0.3, 0.7, 2)
        path = Path2d.random(rng, middle, still=still)
        zoom = rng.uniform(0.75, 1.35) * np.array([rng.choice([-1, 1]), 1])
        return cls(image=image, path=path, zoom=zoom)

    def frames(self, numbers: range, pixels: NDArray[np.float64]) -> torch.Tensor:
        places = []
        for position, matrix in map(self.path.at, numbers):
            places.append((pixels * self.zoom) @ matrix.T + position)
        return _sample(self.image, np.stack(places))


@dataclass(frozen=True, kw_only=True)
class Mask:
    """A superellipse with a soft edge on a path of its own; `radii` [2] in pixels."""

    path: Path2d
    radii: NDArray[np.float64]
    power: float
    softness: float

    @classmethod
    def random(cls, rng: np.random.Generator, size: tuple[int, int]) -> "Mask":
        span = np.array([size[1], size[0]])
        path = Path2d.random(rng, span * rng.uniform(-0.5, 0.5, 2), still=0.1)
        radii = span * rng.uniform(0.1, 0.45, 2)
        power = rng.uniform(1.5, 6)
        softness = rng.uniform(0.5, 2.5) / radii.min()
        return cls(path=path, radii=radii, power=power, softness=softness)

    def frames(self, numbers: range, pixels: NDArray[np.float64]) -> torch.Tensor:
        """Weights float32 [frames, 1, H, W] from 0 to 1."""
        masks = []
        for position, matrix in map(self.path.at, numbers):
            unit = np.abs((pixels - position) @ matrix / self.radii)
            distance = (unit**self.power).sum(-1) ** (1 / self.power)
            masks.append(1 / (1 + np.exp(np.clip((distance - 1) / self.softness, -30, 30))))
        return torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a clip shows: a background, objects before it, exposure that changes by `drift` a frame, `noise` (of 1)."""

    size: tuple[int, int]
    background: Layer
    objects: tuple[tuple[Layer, Mask], ...]
    drift: float
    noise: float

    @classmethod
    def random(
        cls,
        images: list[NDArray[np.uint8]],
        rng: np.random.Generator,
        size: tuple[int, int],
        *,
        noise: float = 2.0,
    ) -> "Scene":
        """`noise` is the largest deviation of its noise, of 255."""
        background = Layer.random(images, rng, still=0.25)
        objects = tuple(
            (Layer.random(images, rng, still=0.3), Mask.random(rng, size))
            for _ in range(rng.integers(MAX_OBJECTS + 1))
        )
        drift = rng.normal(0, 0.01) if rng.random() < DRIFTS else 0.0
        is_noisy = noise and rng.random() < IS_NOISY
        return cls(
            size=size,
            background=background,
            objects=objects,
            drift=float(drift),
            noise=rng.uniform(0, noise) / 255 if is_noisy else 0.0,
        )

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Pixel positions (x, y) around the middle, float64 [H, W, 2]."""
        height, width = self.size
        y, x = np.mgrid[:height, :width].astype(np.float64)
        return np.stack([x - (width - 1) / 2, y - (height - 1) / 2], axis=-1)

    def frames(self, numbers: range, rng: np.random.Generator) -> torch.Tensor:
        """Frames float32 [frames, 3, H, W] in [0, 1], of 8 bits; `rng` gives their noise."""
        pixels = self.pixels
        clip = self.background.frames(numbers, pixels)
        for content, mask in self.objects:
            clip = torch.lerp(clip, content.frames(numbers, pixels), mask.frames(numbers, pixels))
        if self.drift:
            exposure = np.clip(1 + self.drift * np.array(numbers), *EXPOSURES)
            clip = clip * torch.from_numpy(exposure.astype(np.float32))[:, None, None, None]
        if self.noise:
            grain = self.noise * rng.standard_normal(clip.shape, np.float32)
            clip = clip + torch.from_numpy(grain.astype(np.float32))
        return torch.round(clip.clamp(0, 1) * 255) / 255
