"""What a network does over real inputs: its activations and their ranges. The one place that runs it for calibration."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from harness.calibration import Calibration, ChannelRange
from harness.errors import UserError
from harness.network import F32, Abs, Convolution, Gdn, Layer, LeakyRelu, Network, QRelu, Relu


def forward(network: Network, x: F32) -> dict[str, F32]:
    """Every layer's output, by name, float32 [1, C, H, W], computed by torch in layer order."""
    outputs: dict[str, F32] = {}
    value = torch.from_numpy(x)
    with torch.inference_mode():
        for layer in network.layers:
            value = _apply(layer, value)
            outputs[layer.name] = value.numpy()
    return outputs


def _apply(layer: Layer, x: torch.Tensor) -> torch.Tensor:  # noqa: PLR0911 - one a kind of layer
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
        case QRelu():
            return x.clamp(0, layer.highest)
        case LeakyRelu():
            return F.leaky_relu(x, layer.slope)
        case Abs():
            return x.abs()
        case Gdn():
            norm = F.conv2d(
                x * x, torch.from_numpy(layer.gamma)[:, :, None, None], torch.from_numpy(layer.beta)
            )
            return x * norm.sqrt() if layer.inverse else x / norm.sqrt()


def activations(network: Network, inputs: Iterable[F32]) -> Iterator[dict[str, F32]]:
    """The input and every layer's output, by name, for each of `inputs`, float32 [1, C, H, W].

    UserError if there is none, or one of another shape, or one with NaN or infinity.
    """
    number = -1
    for number, x in enumerate(inputs):
        if x.ndim != 4 or x.shape[1] != network.in_channels:  # noqa: PLR2004 - N, C, H, W
            raise UserError(
                f"calibration input of shape {list(x.shape)}: {network.name} takes "
                f"[1, {network.in_channels}, H, W]"
            )
        if not np.isfinite(x).all():
            raise UserError(
                f"calibration input {number} of {network.name} contains NaN or infinity"
            )
        yield {network.input: x, **forward(network, x)}
    if number < 0:
        raise UserError(
            f"no calibration inputs for {network.name}: give a folder of training images"
        )


def observe(network: Network, inputs: Iterable[F32]) -> Calibration:
    """Min-max ranges of the input and of every layer over `inputs`, each float32 [1, C, H, W]."""
    lows: dict[str, F32] = {}
    highs: dict[str, F32] = {}
    samples = 0
    for found in activations(network, inputs):
        samples += 1
        for name, value in found.items():
            low, high = value.min(axis=(0, 2, 3)), value.max(axis=(0, 2, 3))
            lows[name] = np.minimum(lows[name], low) if name in lows else low
            highs[name] = np.maximum(highs[name], high) if name in highs else high
    return Calibration(
        calibrator="min-max",
        samples=samples,
        tensors={
            n: ChannelRange(low=lows[n].astype(np.float64), high=highs[n].astype(np.float64))
            for n in lows
        },
    )
