"""Refit and round the weights of one layer against its quantized inputs. Knows matrices, no codec."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from harness.calibration import F64
from harness.grid import Folded, Grid, Target, grid
from harness.network import Convolution
from harness.specification import I32

DAMPING = 0.01
CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Taps:
    """The kernel positions that reach one output phase of a (transposed) convolution, and where they read the input."""

    kernel: tuple[tuple[int, int], ...]
    offsets: tuple[tuple[int, int], ...]
    phase: tuple[int, int]


def tap_groups(convolution: Convolution) -> list[Taps]:
    """Output pixel s*i + r takes input i + (r + p - u) / s wherever that is whole; one group if not transposed."""
    k, s, p = convolution.weight.shape[2], convolution.stride, convolution.padding
    if not convolution.transposed:
        kernel = tuple((u, v) for u in range(k) for v in range(k))
        return [Taps(kernel=kernel, offsets=tuple((u - p, v - p) for u, v in kernel), phase=(0, 0))]
    axis = {r: [(u, (r + p - u) // s) for u in range(k) if (r + p - u) % s == 0] for r in range(s)}
    return [
        Taps(
            kernel=tuple((u, v) for u, _ in axis[r] for v, _ in axis[c]),
            offsets=tuple((i, j) for _, i in axis[r] for _, j in axis[c]),
            phase=(r, c),
        )
        for r in range(s)
        for c in range(s)
    ]


def patches(x: Tensor, taps: Taps, stride: int) -> Tensor:
    """Input values under the taps of every output pixel of the phase, [pixels, taps * C], of x [1, C, H, W]."""
    reach = max(max(abs(i), abs(j)) for i, j in taps.offsets)
    wide = F.pad(x, (reach,) * 4)
    height, width = x.shape[2:]
    windows = [
        wide[0, :, reach + i : reach + i + height : stride, reach + j : reach + j + width : stride]
        for i, j in taps.offsets
    ]
    return torch.stack(windows).flatten(2).flatten(0, 1).T


class Regression:
    """Sums over samples of what a layer reads (quantized) and what it should give (floats), group by group of taps."""

    def __init__(self, convolution: Convolution) -> None:
        self.convolution = convolution
        self.groups = tap_groups(convolution)
        self.squares: list[Tensor] = []
        self.products: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.wanted: list[Tensor] = []
        self.samples: list[int] = []

    def add(self, x: Tensor, wanted: Tensor) -> None:
        """`x` [1, C, H, W] quantized inputs, `wanted` [1, out, H', W'] outputs of the float layer, bias and all."""
        convolution = self.convolution
        enlarge = convolution.stride if convolution.transposed else 1
        shrink = 1 if convolution.transposed else convolution.stride
        for number, taps in enumerate(self.groups):
            a = patches(x, taps, shrink)
            r, c = taps.phase
            y = wanted[0, :, r::enlarge, c::enlarge].flatten(1).T
            found = (a.T @ a, a.T @ y, a.sum(0), y.sum(0))
            sums = (self.squares, self.products, self.sums, self.wanted)
            for total, value in zip(sums, found, strict=True):
                if number == len(total):
                    total.append(torch.zeros_like(value))
                total[number] += value
            if number == len(self.samples):
                self.samples.append(0)
            self.samples[number] += len(a)


@dataclass(frozen=True, kw_only=True, eq=False)
class Refitted:
    """Integer weights int32 [out, in, k, k], the clip that led to their steps, and the bias that goes with them."""

    weights: I32
    clips: F64
    bias: F64


def refit(folded: Folded, target: Target, regression: Regression) -> Refitted:
    """Integer weights whose outputs on the quantized inputs are nearest to the float layer's."""
    clips, found = _clips(folded, target, regression)
    out = len(folded.weight)
    weights = np.zeros(folded.weight.shape, np.int32)
    step = torch.from_numpy(found.step)
    bias_sum = torch.zeros(out, dtype=torch.float64)
    for number, taps in enumerate(regression.groups):
        start = _columns(folded.weight, taps)
        fitted = _least_squares(regression, number, start, torch.from_numpy(folded.bias))
        integers = _round(
            fitted / step[:, None], _damped(regression.squares[number]), folded.levels
        )
        for column, (u, v) in enumerate(taps.kernel):
            inputs = folded.weight.shape[1]
            weights[:, :, u, v] = integers[:, column * inputs : (column + 1) * inputs].numpy()
        given = (integers * step[:, None]) @ regression.sums[number]
        bias_sum += regression.wanted[number] - given
    bias = (bias_sum / sum(regression.samples)).numpy()
    return Refitted(weights=weights, clips=clips, bias=bias)


def _columns(weight: F64, taps: Taps) -> Tensor:
    """[out, taps * in] of the kernel positions of a group."""
    return torch.from_numpy(np.concatenate([weight[:, :, u, v] for u, v in taps.kernel], axis=1))


def _damped(squares: Tensor) -> Tensor:
    damping = DAMPING * float(squares.diagonal().mean()) + 1e-9
    return squares + damping * torch.eye(len(squares), dtype=torch.float64)


def _least_squares(regression: Regression, number: int, start: Tensor, bias: Tensor) -> Tensor:
    """The weights nearest to `start` [out, K] that make up for the error of the quantized inputs."""
    squares = regression.squares[number]
    residual = regression.products[number] - torch.outer(regression.sums[number], bias)
    residual -= squares @ start.T
    correction: Tensor = torch.linalg.solve(_damped(squares), residual)
    return start + correction.T


def _clips(folded: Folded, target: Target, regression: Regression) -> tuple[F64, Grid]:
    """Per output channel, the clip whose nearest weights leave the least error of the outputs."""
    out = len(folded.weight)
    best = np.full(out, np.inf)
    clips = np.ones(out)
    for clip in CLIPS:
        found = grid(folded, target, np.full(out, clip))
        error = np.zeros(out)
        for number, taps in enumerate(regression.groups):
            columns = _columns(folded.weight, taps).numpy()
            scaled = np.floor(columns / found.step[:, None] + 0.5)
            left = np.clip(scaled, -folded.levels, folded.levels) * found.step[:, None] - columns
            error += np.einsum(
                "ok,kl,ol->o", left, regression.squares[number].numpy(), left, optimize=True
            )
        better = error < best
        best, clips = np.where(better, error, best), np.where(better, clip, clips)
    return clips, grid(folded, target, clips)


def _round(scaled: Tensor, squares: Tensor, levels: int) -> Tensor:
    """Round [out, K] column by column, the largest diagonal first, each error passed on to the columns left (GPTQ)."""
    order = torch.argsort(squares.diagonal(), descending=True)
    left = scaled[:, order].clone()
    inverse = torch.linalg.inv(squares[order][:, order])
    upper = torch.linalg.cholesky(inverse, upper=True)
    rounded = torch.zeros_like(left)
    for column in range(left.shape[1]):
        value = torch.floor(left[:, column] + 0.5).clamp(-levels, levels)
        rounded[:, column] = value
        error = (left[:, column] - value) / upper[column, column]
        left[:, column:] -= torch.outer(error, upper[column, column:])
    result = torch.zeros_like(rounded)
    result[:, order] = rounded
    return result
