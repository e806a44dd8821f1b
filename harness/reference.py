"""The integer specification, executed in numpy int64, one operation a function: the living definition.

Slow and obvious on purpose. Every lowering must equal it, bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from harness.specification import (
    I64,
    ROOT_COARSE_SHIFT,
    IntegerGdn,
    IntegerLayer,
    IntegerNet,
    Requantization,
    root_tables,
)

LIMB = 8


def requantize(x: I64, rule: Requantization, axis: int = 1) -> I64:
    """clamp(floor((x + bias) * multiplier / 2**shift + 1/2), low, high), per channel of `axis`; half up.

    >>> one = np.array([1])
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
    one_kind = transposed_convolution if layer.transposed else direct_convolution
    weight = layer.weight.astype(np.int64)
    if not layer.high_products:
        return one_kind(x, weight, layer)
    low = ((weight + 2 ** (LIMB - 1)) & (2**LIMB - 1)) - 2 ** (LIMB - 1)
    high = (weight - low) >> LIMB
    return one_kind(x, high, layer) + one_kind(x >> LIMB, low, layer)


def direct_convolution(x: I64, weight: I64, layer: IntegerLayer) -> I64:
    """out[o, i, j] = sum over c, u, v of weight[o, c, u, v] * x[c, s i + u - p, s j + v - p]."""
    k, s, p = weight.shape[2], layer.stride, layer.padding
    padded = np.pad(x[0], ((0, 0), (p, p), (p, p)))
    height, width = ((n - k) // s + 1 for n in padded.shape[1:])
    out = np.zeros((1, len(weight), height, width), np.int64)
    for u in range(k):
        for v in range(k):
            window = padded[:, u : u + s * height : s, v : v + s * width : s]
            out[0] += np.tensordot(weight[:, :, u, v], window, 1)
    return out


def transposed_convolution(x: I64, weight: I64, layer: IntegerLayer) -> I64:
    """out[o, s i + u - p, s j + v - p] += weight[o, c, u, v] * x[c, i, j], for every i, j, u, v."""
    k, s, p = weight.shape[2], layer.stride, layer.padding
    height, width = ((n - 1) * s + k + layer.output_padding for n in x.shape[2:])
    full = np.zeros((len(weight), height, width), np.int64)
    for u in range(k):
        for v in range(k):
            product = np.tensordot(weight[:, :, u, v], x[0], 1)
            full[:, u : u + s * x.shape[2] : s, v : v + s * x.shape[3] : s][
                :, : x.shape[2], : x.shape[3]
            ] += product
    return full[None, :, p : height - p, p : width - p]


def inverse_gdn(x: I64, layer: IntegerGdn) -> I64:
    """The product x * sqrt(beta + gamma x^2) in integers, [1, C, H, W] to the same."""
    squares = requantize(x * x, layer.square)
    norm = requantize(convolution(squares, layer.norm), layer.norm.requantize)
    fine, coarse = root_tables()
    roots = np.where(
        norm < len(fine),
        fine[np.minimum(norm, len(fine) - 1)],
        coarse[norm >> ROOT_COARSE_SHIFT],
    )
    return requantize(x * roots, layer.scale)


def run(net: IntegerNet, symbols: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
    """Execute the specification on z symbols or y_hat, int32 [1, C, H, W].

    Returns, in graph order, the quantized input (`z_q` or `y_q`), every intermediate activation by its layer's name, then
    the outputs and, of h_s, `indexes`: all int32 and [1, C, H', W'].
    """
    clamped = np.clip(symbols.astype(np.int64), -net.input_limit, net.input_limit)
    x = requantize(clamped << net.input_shift, net.entry)
    taps = {f"{net.input[0]}_q": x}
    for layer in net.layers:
        if isinstance(layer, IntegerGdn):
            x = inverse_gdn(x, layer)
        else:
            x = requantize(convolution(x, layer), layer.requantize)
            if layer.leaky is not None:
                x = np.maximum(x, requantize(x, layer.leaky))
        taps[layer.name] = x
    del taps[net.layers[-1].name]
    taps |= dict(zip(net.outputs, np.split(x, len(net.outputs), axis=1), strict=True))
    if len(net.thresholds):
        taps["indexes"] = (taps["scales_hat"][..., None] > net.thresholds).sum(axis=-1)
    return {name: value.astype(np.int32) for name, value in taps.items()}
