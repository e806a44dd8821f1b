"""The specification executed by torch in float64: exact, since every value stays below 2^53, and fast. For calibration.

`reference.py` defines the specification; this is an independent computation of it that tests compare with it.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray

from harness.grid import split
from harness.network import Convolution
from harness.specification import (
    GDN_NORM_MAX,
    I32,
    ROOT_COARSE_SHIFT,
    ROOT_FRACTION_BITS,
    IntegerGdn,
    IntegerLayer,
    IntegerNet,
    Requantization,
)

Tensor = torch.Tensor


def requantize(x: Tensor, rule: Requantization) -> Tensor:
    """clamp(floor((x + bias) * multiplier / 2**shift + 1/2), low, high) of [1, C, H, W]."""
    bias, multiplier, shift, low, high = (
        torch.from_numpy(v.astype(np.float64)).view(1, -1, 1, 1)
        for v in (rule.bias, rule.multiplier, rule.shift, rule.low, rule.high)
    )
    rounded = torch.floor((x + bias) * multiplier * torch.exp2(-shift) + 0.5)
    return torch.minimum(torch.maximum(rounded, low), high)


def entry(net: IntegerNet, symbols: I32) -> Tensor:
    """The quantized input, float64 [1, C, H, W]."""
    x = torch.from_numpy(symbols.astype(np.float64)).clamp(-net.input_limit, net.input_limit)
    return requantize(x * 2**net.input_shift, net.entry)


def convolve(x: Tensor, weight: NDArray[np.generic], layer: IntegerLayer | Convolution) -> Tensor:
    kernel = torch.from_numpy(weight.astype(np.float64))
    if layer.transposed:
        return F.conv_transpose2d(
            x,
            kernel.transpose(0, 1).contiguous(),
            None,
            layer.stride,
            layer.padding,
            layer.output_padding,
        )
    return F.conv2d(x, kernel, None, layer.stride, layer.padding)


def accumulate(x: Tensor, layer: IntegerLayer) -> Tensor:
    """Accumulators of one layer."""
    if not layer.high_products:
        return convolve(x, layer.weight, layer)
    high, low = split(layer.weight)
    return convolve(x, high, layer) + convolve(torch.floor(x / 256), low, layer)


def apply(x: Tensor, layer: IntegerLayer | IntegerGdn) -> Tensor:
    """One layer, float64 integers in and out."""
    if isinstance(layer, IntegerGdn):
        norm = requantize(
            accumulate(requantize(x * x, layer.square), layer.norm), layer.norm.requantize
        )
        kept = torch.floor(norm / 2**ROOT_COARSE_SHIFT) * 2**ROOT_COARSE_SHIFT
        fine = (GDN_NORM_MAX + 1) >> ROOT_COARSE_SHIFT
        # The root is irrational or at least half a step from the next half: float64 rounds it right.
        root = torch.floor(
            torch.sqrt(torch.where(norm < fine, norm, kept)) * 2**ROOT_FRACTION_BITS + 0.5
        )
        return requantize(x * root, layer.scale)
    x = requantize(accumulate(x, layer), layer.requantize)
    return x if layer.leaky is None else torch.maximum(x, requantize(x, layer.leaky))


def run(net: IntegerNet, symbols: I32) -> dict[str, I32]:
    """Outputs by name, int32 [1, C, H', W'], with `indexes` of h_s."""
    with torch.inference_mode():
        x = entry(net, symbols)
        for layer in net.layers:
            x = apply(x, layer)
    parts = np.split(x.numpy().astype(np.int64), len(net.outputs), axis=1)
    found = dict(zip(net.outputs, parts, strict=True))
    if len(net.thresholds):
        found["indexes"] = np.searchsorted(net.thresholds, found["scales_hat"], side="left")
    return {name: value.astype(np.int32) for name, value in found.items()}
