"""Train the codecs that ship: RD loss, half-precision weights, resumable. Knows models and images, nothing later.

A recipe (TOML) names a family, its widths and its rate points; a point may start from another one's weights.
Each finished point is a `.safetensors` file of half-precision weights (the half-rounded weights *are* the codec)
with a `.json` beside it that says where they come from.
"""

import hashlib
import io
import json
import math
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save

from harness.codecs.base import Family
from harness.compressai_import import CompressionModel
from harness.errors import UserError
from harness.files import write_file
from harness.widen import widen

# Half precision convolutions are twice as fast on CPUs with AVX512-BF16; the last part of a run is float32
# with larger crops, so that what ships has seen its own arithmetic and a realistic share of picture borders.
FINISH_SHARE = 0.15
FINISH_CROP = 256
# Steps between two states that an interrupted run can go on from.
RESUME_EVERY = 1000
Report = Callable[["Progress"], None]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One rate point of a recipe. `lmbda` weighs 255^2 * MSE against bits per pixel, `m` is its own width.

    A point that does not ship is a start for others.
    """

    quality: int
    m: int
    lmbda: float
    steps: int
    learning_rate: float
    start_from: int | None = None
    ships: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    family: str
    n: int
    seed: int
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands; means over the steps since the last report."""

    quality: int
    step: int
    steps: int
    loss: float
    bpp: float
    psnr: float
    seconds_left: float


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; a wrong or missing field is a UserError that names it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        points = tuple(Point(**point) for point in raw.pop("points"))
        recipe = Recipe(points=points, **raw)
        for point in points:
            _check_fields(point)
        _check_fields(recipe)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"recipe {path}: {error}") from error
    known: set[int] = set()
    for point in recipe.points:
        if point.quality in known:
            raise UserError(f"recipe {path}: there are two points q{point.quality}")
        if point.start_from is not None and point.start_from not in known:
            raise UserError(
                f"recipe {path}: q{point.quality} starts from q{point.start_from}, which is not before it"
            )
        known.add(point.quality)
    return recipe


def _check_fields(part: Recipe | Point) -> None:
    """Numbers are numbers of their kind and not below 1 (a rate above 0, a quality and a seed from 0)."""
    kinds = {"family": str, "points": tuple, "ships": bool, "start_from": int | None}
    kinds |= dict.fromkeys(("lmbda", "learning_rate"), int | float)
    for name, value in vars(part).items():
        is_truth = isinstance(value, bool)
        right = isinstance(value, kinds.get(name, int)) and is_truth == (name == "ships")
        if not right or value == ():
            raise TypeError(f"{name} cannot be {value!r}")
        if name in {"n", "m", "steps", "lmbda", "learning_rate"} and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")


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


def _autocast_networks(model: CompressionModel, enabled: list[bool]) -> None:
    """Run the four transforms in bfloat16 while `enabled[0]`; the entropy models stay in float32."""
    for name in ("g_a", "g_s", "h_a", "h_s"):
        network = getattr(model, name)

        def forward(
            x: torch.Tensor, inner: Callable[[torch.Tensor], torch.Tensor] = network.forward
        ) -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled[0]):
                return inner(x).float()

        network.forward = forward


def _learning_rate(point: Point, step: int) -> float:
    """Linear warm-up over 200 steps, then a half cosine down to 1 % of the peak."""
    warm = min(1.0, (step + 1) / 200)
    return (
        point.learning_rate
        * warm
        * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / point.steps)))
    )


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


def train_point(
    model: CompressionModel, point: Point, crops: Crops, *, seed: int, work: Path, report: Report
) -> float:
    """Train `model` in place for one rate point and return the mean loss of its last steps.

    Loss = lmbda * 255^2 * MSE + bpp, an auxiliary loss for the quantiles of the entropy bottleneck (both as in
    CompressAI's training example), Adam, gradient norm clipped to 1. Resumes from `work` if it was interrupted.
    """
    state_file = work / f"q{point.quality}.resume.pt"
    bfloat16 = [True]
    _autocast_networks(model, bfloat16)
    model = model.to(memory_format=torch.channels_last)
    quantiles = [p for name, p in model.named_parameters() if name.endswith("quantiles")]
    weights = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    optimizer = torch.optim.Adam(weights, lr=point.learning_rate)
    aux_optimizer = torch.optim.Adam(quantiles, lr=1e-3)
    start = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        torch.nn.Module.load_state_dict(model, state["model"])
        optimizer.load_state_dict(state["optimizer"])
        aux_optimizer.load_state_dict(state["aux_optimizer"])
        start = state["step"]
    model.train()
    finish = int(point.steps * (1 - FINISH_SHARE))
    began, begun_at = time.monotonic(), start
    sums = np.zeros(4)
    last_loss = math.nan
    for step in range(start, point.steps):
        rng = np.random.default_rng([seed, point.quality, step])
        torch.manual_seed(int(rng.integers(2**31)))
        bfloat16[0] = step < finish
        x = crops.batch(rng, 128, 8) if step < finish else crops.batch(rng, FINISH_CROP, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(point, step)
        bpp, mse = rate_and_distortion(model(x), x)
        loss = point.lmbda * 255**2 * mse + bpp
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        aux_loss = model.aux_loss()
        aux_optimizer.zero_grad()
        aux_loss.backward()
        aux_optimizer.step()
        sums += (loss.item(), bpp.item(), mse.item(), 1)
        done = step + 1
        if done % 100 == 0 or done == point.steps:
            mean = sums / sums[3]
            sums[:] = 0
            last_loss = float(mean[0])
            if not math.isfinite(last_loss):
                raise UserError(
                    f"training of q{point.quality} diverged at step {done}: lower its learning_rate"
                )
            left = (time.monotonic() - began) / (done - begun_at) * (point.steps - done)
            psnr = -10 * math.log10(max(float(mean[2]), 1e-10))
            report(
                Progress(
                    quality=point.quality,
                    step=done,
                    steps=point.steps,
                    loss=last_loss,
                    bpp=float(mean[1]),
                    psnr=psnr,
                    seconds_left=left,
                )
            )
        if done % RESUME_EVERY == 0:
            _save_state(state_file, model, optimizer, aux_optimizer, done)
    return last_loss


def _save_state(
    path: Path,
    model: CompressionModel,
    optimizer: torch.optim.Optimizer,
    aux_optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    """What a resumed training goes on from."""
    buffer = io.BytesIO()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "aux_optimizer": aux_optimizer.state_dict(),
        "step": step,
    }
    torch.save(state, buffer)
    write_file(path, buffer.getvalue())


def half_weights(model: CompressionModel) -> dict[str, torch.Tensor]:
    """The parameters that define the codec, rounded to half precision; tables are made elsewhere."""
    return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}


def train(
    recipe: Recipe,
    family: Family,
    data: Path,
    out: Path,
    *,
    work: Path,
    report: Report,
    scale_steps: float = 1.0,
) -> list[Path]:
    """Train every point of `recipe` that is not there yet; returns the weight files that ship, in order."""
    crops = Crops(data)
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    files: dict[int, Path] = {}
    for listed in recipe.points:
        point = replace(listed, steps=max(1, int(listed.steps * scale_steps)))
        target = (out if point.ships else work) / f"q{point.quality}.safetensors"
        files[point.quality] = target
        if target.exists():
            continue
        torch.manual_seed(recipe.seed)
        model = family.build(recipe.n, point.m)
        if point.start_from is not None:
            fresh = dict(model.named_parameters())
            weights = widen(load_file(files[point.start_from]), fresh, len(family.h_s_outputs))
            # Not CompressAI's own method: that one also asks for the CDF tables, which are made later.
            torch.nn.Module.load_state_dict(model, weights, strict=False)
        loss = train_point(model, point, crops, seed=recipe.seed, work=work, report=report)
        provenance = {
            "family": recipe.family,
            "n": recipe.n,
            **asdict(point),
            "seed": recipe.seed,
            "final_loss": round(loss, 5),
            "images": len(crops.images),
            "data_sha256": crops.digest.hexdigest(),
            "data": data.name,
            "loss": "lmbda * 255^2 * MSE + bpp",
            "torch": torch.__version__.partition("+")[0],
        }
        text = json.dumps(provenance, indent=2, sort_keys=True) + "\n"
        write_file(target.with_suffix(".json"), text.encode())
        write_file(target, save(half_weights(model)))
        (work / f"q{point.quality}.resume.pt").unlink(missing_ok=True)
    return [files[point.quality] for point in recipe.points if point.ships]
