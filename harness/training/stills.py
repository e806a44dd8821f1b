"""What image codecs are trained on: crops of photographs."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.codecs.base import Family
from harness.compressai_import import CompressionModel
from harness.errors import UserError
from harness.training.recipe import Point

CROP, CROPS = 128, 8
FINISH_CROP, FINISH_CROPS = 256, 2


class Crops:
    """Random crops of a folder of photographs, all held in memory as 8-bit RGB."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(
            p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg"}
        )
        if not paths:
            raise UserError(
                f"no PNG or JPEG images below {folder}: give a folder of photographs with --data"
            )
        self.name = folder.name
        self.digest = hashlib.sha256()
        self.images: list[NDArray[np.uint8]] = []
        for path in paths:
            try:
                pixels = np.asarray(Image.open(path).convert("RGB"))
            except (OSError, SyntaxError, ValueError) as error:
                raise UserError(f"cannot read image {path}: {error}") from error
            if min(pixels.shape[:2]) >= FINISH_CROP:
                self.images.append(pixels)
                self.digest.update(pixels.tobytes())
        if not self.images:
            raise UserError(f"no image below {folder} is at least {FINISH_CROP}x{FINISH_CROP}")

    @property
    def record(self) -> dict[str, object]:
        return {
            "images": len(self.images),
            "data_sha256": self.digest.hexdigest(),
            "data": self.name,
        }

    def batch(self, rng: np.random.Generator, size: int, count: int) -> torch.Tensor:
        """`count` crops, float32 [count, 3, size, size] in [0, 1], half of them mirrored."""
        crops = np.empty((count, size, size, 3), np.uint8)
        for i in range(count):
            image = self.images[rng.integers(len(self.images))]
            top = rng.integers(image.shape[0] - size + 1)
            left = rng.integers(image.shape[1] - size + 1)
            crop = image[top : top + size, left : left + size]
            crops[i] = crop[:, ::-1] if rng.integers(2) else crop
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def rate_and_distortion(
    output: dict[str, object], x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimated bits per pixel and MSE (of pixels in [0, 1]) of a model's training-mode output."""
    likelihoods = output["likelihoods"]
    x_hat = output["x_hat"]
    assert isinstance(likelihoods, dict)
    assert isinstance(x_hat, torch.Tensor)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    bits = torch.stack([-torch.log2(values).sum() for values in likelihoods.values()]).sum()
    return bits / pixels, torch.mean((x_hat - x) ** 2)


class Stills:
    """Crops of photographs through an image codec; half of the loop's last part sees larger ones."""

    networks: tuple[str, ...] = ("g_a", "g_s", "h_a", "h_s")
    gains: Mapping[str, int] = MappingProxyType({})

    def __init__(self, family: Family, folder: Path) -> None:
        self._family = family
        self._crops = Crops(folder)
        self.stacked: Mapping[str, int] = {"h_s.4.": len(family.h_s_outputs)}
        self.record: Mapping[str, object] = self._crops.record

    def build(self, n: int, m: int) -> CompressionModel:
        return self._family.build(n, m)

    def step(
        self,
        model: CompressionModel,
        rng: np.random.Generator,
        *,
        point: Point,  # noqa: ARG002 - photographs are the same to every point and step
        step: int,  # noqa: ARG002
        finish: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        size, count = (FINISH_CROP, FINISH_CROPS) if finish else (CROP, CROPS)
        x = self._crops.batch(rng, size, count).contiguous(memory_format=torch.channels_last)
        return rate_and_distortion(model(x), x)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Every step stands by itself."""
