"""Ranges of the activations of a network over real inputs. Knows networks and inputs, nothing of integers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray

from harness.errors import UserError
from harness.network import F32, Abs, Convolution, Gdn, Layer, LeakyRelu, Network, Relu

F64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelRange:
    """Smallest and largest value of every channel, float64 [C] (exact float32 values)."""

    low: F64
    high: F64


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Per channel ranges of a network's input and of each layer's output, by the layer's name."""

    estimator: str
    samples: int
    tensors: Mapping[str, ChannelRange]

    def __getitem__(self, name: str) -> ChannelRange:
        if name not in self.tensors:
            raise UserError(f"no calibrated range for {name!r}: the ranges are of another network")
        return self.tensors[name]

    def to_json(self) -> str:
        tensors = {
            name: {"low": r.low.tolist(), "high": r.high.tolist()}
            for name, r in self.tensors.items()
        }
        return (
            json.dumps({"estimator": self.estimator, "samples": self.samples, "tensors": tensors})
            + "\n"
        )

    @classmethod
    def from_json(cls, path: Path) -> "Ranges":
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            tensors = {
                str(name): ChannelRange(
                    low=np.asarray(r["low"], np.float64), high=np.asarray(r["high"], np.float64)
                )
                for name, r in raw["tensors"].items()
            }
            ranges = cls(
                estimator=str(raw["estimator"]), samples=int(raw["samples"]), tensors=tensors
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"cannot read calibrated ranges {path}: {error}") from error
        for name, r in ranges.tensors.items():
            if r.low.ndim != 1 or r.low.shape != r.high.shape or not (r.low <= r.high).all():
                raise UserError(
                    f"calibrated ranges {path}: {name} has no valid low <= high per channel"
                )
        return ranges


def forward(network: Network, x: F32) -> dict[str, F32]:
    """Every layer's output, by name, float32 [1, C, H, W], computed by torch in layer order."""
    outputs: dict[str, F32] = {}
    value = torch.from_numpy(x)
    with torch.inference_mode():
        for layer in network.layers:
            value = _apply(layer, value)
            outputs[layer.name] = value.numpy()
    return outputs


def _apply(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    match layer:
        case Convolution(transposed=True):
            weight = torch.from_numpy(np.ascontiguousarray(layer.weight.swapaxes(0, 1)))
            return F.conv_transpose2d(
                x,
                weight,
                torch.from_numpy(layer.bias),
                layer.stride,
                layer.padding,
                layer.output_padding,
            )
        case Convolution():
            return F.conv2d(
                x,
                torch.from_numpy(layer.weight),
                torch.from_numpy(layer.bias),
                layer.stride,
                layer.padding,
            )
        case Relu():
            return F.relu(x)
        case LeakyRelu():
            return F.leaky_relu(x, layer.slope)
        case Abs():
            return x.abs()
        case Gdn():
            norm = F.conv2d(
                x * x, torch.from_numpy(layer.gamma)[:, :, None, None], torch.from_numpy(layer.beta)
            )
            return x * norm.sqrt() if layer.inverse else x / norm.sqrt()


def observe(network: Network, inputs: Iterable[F32]) -> Ranges:
    """Min-max ranges of the input and of every layer over `inputs`, each float32 [1, C, H, W]."""
    lows: dict[str, F32] = {}
    highs: dict[str, F32] = {}
    samples = 0
    for x in inputs:
        if x.ndim != 4 or x.shape[1] != network.in_channels:  # noqa: PLR2004 - N, C, H, W
            raise UserError(
                f"calibration input of shape {list(x.shape)}: {network.name} takes "
                f"[1, {network.in_channels}, H, W]"
            )
        if not np.isfinite(x).all():
            raise UserError(
                f"calibration input {samples} of {network.name} contains NaN or infinity"
            )
        samples += 1
        for name, value in {network.input: x, **forward(network, x)}.items():
            low, high = value.min(axis=(0, 2, 3)), value.max(axis=(0, 2, 3))
            lows[name] = np.minimum(lows[name], low) if name in lows else low
            highs[name] = np.maximum(highs[name], high) if name in highs else high
    if not samples:
        raise UserError(
            f"no calibration inputs for {network.name}: give a folder of training images"
        )
    return Ranges(
        estimator="min-max",
        samples=samples,
        tensors={
            n: ChannelRange(low=lows[n].astype(np.float64), high=highs[n].astype(np.float64))
            for n in lows
        },
    )
