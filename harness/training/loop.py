"""Train the codecs that ship: RD loss, half-precision weights, resumable. Knows models and images, nothing later.

A recipe (TOML) names a family, its widths and its rate points; a point may start from another one's weights.
Each finished point is the files of a codec that ships: half-precision weights and where they come from.
"""

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from harness.codecs.checkpoint import read_checkpoint
from harness.codecs.store import CodecFiles
from harness.compressai_import import CompressionModel
from harness.errors import UserError
from harness.files import write_file
from harness.training.gain import scale_latents
from harness.training.optimizers import ADAM
from harness.training.optimizers import optimizer as make_optimizer
from harness.training.recipe import Point, Recipe
from harness.training.widen import widen

# Half precision convolutions are twice as fast on CPUs with AVX512-BF16; the last part of a run is float32
# with larger crops, so that what ships has seen its own arithmetic and a realistic share of picture borders.
FINISH_SHARE = 0.15
# Steps between two states that an interrupted run can go on from.
RESUME_EVERY = 1000
Report = Callable[["Progress"], None]


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


class Subject(Protocol):
    """What is trained, and on what. `record` goes into the provenance of the weights.

    `networks`: dotted names of the parts that may run in bfloat16. `stacked`: parameters that stack tensors, see `widen`;
    `gains`: powers of a gain of the latents, see `scale_latents`.
    """

    @property
    def networks(self) -> tuple[str, ...]: ...

    @property
    def stacked(self) -> Mapping[str, int]: ...

    @property
    def gains(self) -> Mapping[str, int]: ...

    @property
    def record(self) -> Mapping[str, object]: ...

    def build(self, n: int, m: int) -> CompressionModel: ...

    def step(
        self,
        model: CompressionModel,
        rng: np.random.Generator,
        *,
        point: Point,
        step: int,
        finish: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits per pixel and MSE (of pixels in [0, 1]) of a batch that `rng` chooses; `finish` in the last part of a run."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a step leaves for those behind it."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from `state`; where it is empty, from nothing."""
        ...


def _autocast_networks(
    model: CompressionModel, names: tuple[str, ...], enabled: list[bool]
) -> None:
    """Run these networks in bfloat16 while `enabled[0]`; the rest (entropy models, warping) stays in float32."""
    for name in names:
        network = reduce(getattr, name.split("."), model)

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


def train_point(
    model: CompressionModel,
    point: Point,
    subject: Subject,
    *,
    kind: str = ADAM,
    seed: int,
    work: Path,
    report: Report,
) -> float:
    """Train `model` in place for one rate point and return the mean loss of its last steps.

    Loss = lmbda * 255^2 * MSE + bpp, an auxiliary loss for the quantiles of the entropy bottleneck (both as in
    CompressAI's training example), the optimizer `kind`, gradient norm clipped to 1. Resumes from `work` if it was interrupted.
    """
    state_file = work / f"q{point.quality}.resume.pt"
    bfloat16 = [True]
    _autocast_networks(model, subject.networks, bfloat16)
    model = model.to(memory_format=torch.channels_last)
    learns = _freeze(model, point)
    quantiles = [p for name, p in learns.items() if name.endswith("quantiles")]
    weights = [p for name, p in learns.items() if not name.endswith("quantiles")]
    optimizer = make_optimizer(kind, model, weights)
    aux_optimizer = torch.optim.Adam(quantiles, lr=1e-3)
    parts = {
        "model": model,
        "optimizer": optimizer,
        "aux_optimizer": aux_optimizer,
        "subject": subject,
    }
    start = _resume(state_file, parts)
    model.train()
    finish = int(point.steps * (1 - FINISH_SHARE))
    began, begun_at = time.monotonic(), start
    sums = np.zeros(4)
    last_loss = math.nan
    for step in range(start, point.steps):
        rng = np.random.default_rng([seed, point.quality, step])
        torch.manual_seed(int(rng.integers(2**31)))
        bfloat16[0] = step < finish
        optimizer.set_rate(_learning_rate(point, step))
        bpp, mse = subject.step(model, rng, point=point, step=step, finish=step >= finish)
        loss = point.lmbda * 255**2 * mse + bpp
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        aux_loss = _aux_loss(model)
        aux_optimizer.zero_grad()
        aux_loss.backward()  # type: ignore[no-untyped-call]
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
            _save_state(state_file, parts, done)
    return last_loss


def _freeze(model: CompressionModel, point: Point) -> dict[str, torch.nn.Parameter]:
    """Hold what `point` freezes and return what learns, by name."""
    for prefix in point.frozen:
        if not any(name.startswith(prefix) for name, _ in model.named_parameters()):
            raise UserError(f"q{point.quality} freezes {prefix!r}: no parameter begins with that")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(point.frozen))
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _aux_loss(model: CompressionModel) -> torch.Tensor:
    """Of all its entropy bottlenecks: CompressAI's video models give a list of them."""
    losses = model.aux_loss()
    return torch.stack(losses).sum() if isinstance(losses, list) else losses


def _save_state(path: Path, parts: Mapping[str, Any], step: int) -> None:
    """What a resumed training goes on from."""
    buffer = io.BytesIO()
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save(state | {"step": step}, buffer)
    write_file(path, buffer.getvalue())


def _resume(path: Path, parts: Mapping[str, Any]) -> int:
    """The step to go on from: 0 where nothing was saved, and then the subject begins anew too."""
    if not path.exists():
        parts["subject"].load_state_dict({})
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        # Not CompressAI's own method of a model: see `train`.
        load = torch.nn.Module.load_state_dict if name == "model" else type(part).load_state_dict
        load(part, state[name])
    return int(state["step"])


def half_weights(model: CompressionModel) -> dict[str, torch.Tensor]:
    """The parameters that define the codec, rounded to half precision; tables are made elsewhere."""
    return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}


def train(
    recipe: Recipe,
    subject: Subject,
    out: Path,
    *,
    work: Path,
    report: Report,
    scale_steps: float = 1.0,
) -> list[CodecFiles]:
    """Train every point of `recipe` that is not there yet; returns the files of those that ship, in order."""
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    files: dict[int, CodecFiles] = {}
    for listed in recipe.points:
        point = replace(listed, steps=max(1, int(listed.steps * scale_steps)))
        target = files[point.quality] = CodecFiles(out if point.ships else work, point.quality)
        if target.weights.exists():
            continue
        torch.manual_seed(recipe.seed)
        model = subject.build(recipe.n, point.m)
        if point.start_from is not None:
            fresh = dict(model.named_parameters())
            start = read_checkpoint(files[point.start_from].weights)
            start = scale_latents(start, subject.gains, point.gain)
            for prefix, other in point.parts_from.items():
                parts = read_checkpoint(files[other].weights)
                start |= {name: t for name, t in parts.items() if name.startswith(prefix)}
            weights = widen(start, fresh, subject.stacked)
            # Not CompressAI's own method: that one also asks for the CDF tables, which are made later.
            torch.nn.Module.load_state_dict(model, weights, strict=False)
        loss = train_point(
            model, point, subject, kind=recipe.optimizer, seed=recipe.seed, work=work, report=report
        )
        provenance = {
            "family": recipe.family,
            "n": recipe.n,
            **asdict(point),
            "seed": recipe.seed,
            "optimizer": recipe.optimizer,
            "final_loss": round(loss, 5),
            **subject.record,
            "loss": "lmbda * 255^2 * MSE + bpp",
            "torch": torch.__version__.partition("+")[0],
        }
        target.write_record(provenance)
        target.write_weights(half_weights(model))
        (work / f"q{point.quality}.resume.pt").unlink(missing_ok=True)
    return [files[point.quality] for point in recipe.points if point.ships]
