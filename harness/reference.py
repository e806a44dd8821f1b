"""The integer specification, executed in numpy int64, one operation a function: the living definition.

Slow and obvious on purpose. Every lowering must equal it, bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from harness.specification import (
    I64,
    MEDIAN_FRACTION_BITS,
    SYMBOL_LIMIT,
    IntegerLayer,
    IntegerNet,
    Requantization,
)


def requantize(x: I64, rule: Requantization, axis: int = 1) -> I64:
    """clamp(floor((x + bias) * multiplier / 2**shift + 1/2), low, high), per channel of `axis`; half up.

    >>> one = np.array([1], np.int32)
    >>> rule = Requantization(bias=0 * one, multiplier=one, shift=one, low=-8 * one, high=7 * one)
    >>> requantize(np.array([[3, -3, 5, 99]]), rule, axis=0).tolist()
    [[2, -1, 3, 7]]
    """
    shape = [1] * x.ndim
    shape[axis] = -1
    bias, multiplier, shift, low, high = (
        v.astype(np.int64).reshape(shape)
        for v in (rule.bias, rule.multiplier, rule.shift, rule.low, rule.high)
    )
    half = np.int64(1) << (shift - 1)
    rounded: I64 = ((x + bias) * multiplier + half) >> shift  # >> floors negatives too
    return np.clip(rounded, low, high)


def convolution(x: I64, layer: IntegerLayer) -> I64:
    """Accumulators [1, out, H', W'] of integers x [1, in, H, W]; borders are padded with 0."""
    return transposed_convolution(x, layer) if layer.transposed else direct_convolution(x, layer)


def direct_convolution(x: I64, layer: IntegerLayer) -> I64:
    """out[o, i, j] = sum over c, u, v of weight[o, c, u, v] * x[c, s i + u - p, s j + v - p]."""
    out_channels, _, k, _ = layer.weight.shape
    s, p = layer.stride, layer.padding
    padded = np.pad(x[0], ((0, 0), (p, p), (p, p)))
    height, width = ((n - k) // s + 1 for n in padded.shape[1:])
    out = np.zeros((1, out_channels, height, width), np.int64)
    for u in range(k):
        for v in range(k):
            window = padded[:, u : u + s * height : s, v : v + s * width : s]
            out[0] += np.tensordot(layer.weight[:, :, u, v].astype(np.int64), window, 1)
    return out


def transposed_convolution(x: I64, layer: IntegerLayer) -> I64:
    """out[o, s i + u - p, s j + v - p] += weight[o, c, u, v] * x[c, i, j], for every i, j, u, v."""
    out_channels, _, k, _ = layer.weight.shape
    s, p = layer.stride, layer.padding
    height, width = ((n - 1) * s + k + layer.output_padding for n in x.shape[2:])
    full = np.zeros((out_channels, height, width), np.int64)
    for u in range(k):
        for v in range(k):
            product = np.tensordot(layer.weight[:, :, u, v].astype(np.int64), x[0], 1)
            full[:, u : u + s * x.shape[2] : s, v : v + s * x.shape[3] : s][
                :, : x.shape[2], : x.shape[3]
            ] += product
    return full[None, :, p : height - p, p : width - p]


def run(net: IntegerNet, z_symbols: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
    """Execute the specification on z symbols int32 [1, N, H, W].

    Returns, in graph order, every intermediate activation by its layer's name, then `scales_hat`, `means_hat` (where
    there are any) and `indexes`, all int32 and [1, C, H', W'].
    """
    symbols = np.clip(z_symbols.astype(np.int64), -SYMBOL_LIMIT, SYMBOL_LIMIT)
    x = requantize(symbols << MEDIAN_FRACTION_BITS, net.entry)
    taps = {"z_q": x}
    for layer in net.layers:
        x = requantize(convolution(x, layer), layer.requantize)
        if layer.leaky is not None:
            x = np.maximum(x, requantize(x, layer.leaky))
        taps[layer.name] = x
    del taps[net.layers[-1].name]
    taps |= dict(zip(net.outputs, np.split(x, len(net.outputs), axis=1), strict=True))
    taps["indexes"] = (taps["scales_hat"][..., None] > net.thresholds).sum(axis=-1)
    return {name: value.astype(np.int32) for name, value in taps.items()}
