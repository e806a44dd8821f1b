"""Small made-up things to test the harness with: a random codec, and an integer network that shows wrong arithmetic."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.case import rng
from harness.cdf import TOTAL, CdfTables, scale_thresholds
from harness.codecs.base import Codec
from harness.network import F32, Convolution, Gdn, Layer, LeakyRelu, Network
from harness.specification import (
    I32,
    MEDIAN_FRACTION_BITS,
    SYMBOL_LIMIT,
    IntegerLayer,
    IntegerNet,
    Requantization,
)

N, M = 8, 12
SCALES = 64
# Channels and kernel of the crafted network: 288 products, so that uint8 times 127 passes 2^23.
WIDE, KERNEL = 32, 3


def tiny_codec() -> Codec:
    """A random codec of the mean-scale hyperprior's shape, with N = 8 and M = 12; it codes, badly."""
    networks = {
        "g_a": _chain("g_a", "x", ("y",), [3, N, N, N, M], gain=4.0),
        "h_a": _chain("h_a", "y", ("z",), [M, N, N], gain=1.0),
        "h_s": _chain(
            "h_s", "z_hat", ("scales_hat", "means_hat"), [N, N, N, 2 * M], gain=1.5, up=2
        ),
        "g_s": _chain("g_s", "y_hat", ("x_hat",), [M, N, N, N, 3], gain=0.5, up=4),
    }
    table = np.linspace(0.125, 16, SCALES).astype(np.float32)
    return Codec(
        family="selftest",
        quality=0,
        networks=networks,
        provenance={},
        z_tables=_tables([8] * N),
        y_tables=_tables([1 + k for k in range(SCALES)]),
        scale_thresholds=scale_thresholds(table),
        medians=np.arange(-N, N, 2, dtype=np.int32),
    )


def tiny_picture() -> NDArray[np.uint8]:
    """Noise of 100 x 70 pixels: neither side is a multiple of anything."""
    return rng("selftest/picture").integers(0, 256, (100, 70, 3), dtype=np.uint8)


def tiny_hyper_latent() -> F32:
    """A z_hat to calibrate the tiny codec's h_s on: float32 [1, N, 4, 4]."""
    return rng("selftest/z_hat").integers(-8, 9, (1, N, 4, 4)).astype(np.float32)


def tiny_decoder() -> Network:
    """A g_s of the literature's shape: four transposed convolutions with inverse GDNs between, M channels to 3."""
    plain = _chain("g_s", "y_hat", ("x_hat",), [M, N, N, N, 3], gain=0.5, up=4)
    generator = rng("selftest/gdn")
    layers = [
        Gdn(
            name=layer.name,
            beta=generator.uniform(0.5, 2, N).astype(np.float32),
            gamma=(generator.uniform(0, 0.05, (N, N)) + 0.1 * np.eye(N)).astype(np.float32),
            inverse=True,
        )
        if isinstance(layer, LeakyRelu)
        else layer
        for layer in plain.layers
    ]
    return replace(plain, layers=tuple(layers))


def _chain(
    name: str, reads: str, outputs: tuple[str, ...], widths: list[int], *, gain: float, up: int = 0
) -> Network:
    """Convolutions 5x5 of stride 2 (the first `up` are transposed), or 3x3 where the chain is longer than `up`."""
    layers: list[Layer] = []
    generator = rng(f"selftest/{name}")
    for i, (c_in, c_out) in enumerate(pairwise(widths)):
        last, shrinks, grows = i == len(widths) - 2, up == 0, i < up
        k = 5 if shrinks or grows else 3
        weight = generator.standard_normal((c_out, c_in, k, k)) * gain / (k * c_in**0.5)
        layers.append(
            Convolution(
                name=f"{name}.{2 * i}",
                weight=weight.astype(np.float32),
                bias=generator.standard_normal(c_out).astype(np.float32),
                stride=2 if k == 5 else 1,  # noqa: PLR2004
                padding=k // 2,
                transposed=grows,
                output_padding=int(grows),
            )
        )
        if not last:
            layers.append(LeakyRelu(name=f"{name}.{2 * i + 1}", slope=0.01))
    return Network(name=name, input=reads, outputs=outputs, layers=tuple(layers))


def _tables(reach: list[int]) -> CdfTables:
    """One row a reach r: the symbols -r..r and the escape, all about equally likely."""
    rows = [np.arange(2 * r + 3, dtype=np.int64) * TOTAL // (2 * r + 2) for r in reach]
    cdf = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, values in zip(cdf, rows, strict=True):
        row[: len(values)] = values
    return CdfTables(
        cdf=cdf,
        length=np.array([len(row) for row in rows], np.int32),
        offset=-np.array(reach, np.int32),
    )


def crafted_net() -> IntegerNet:
    """One layer that a conforming back end computes exactly, and each wrong one wrongly.

    Its channels, in both outputs:
    0. 288 weights of 127: sums pass 16 and 24 bits, pairs of products pass int16.
    1. x / 2: every odd x is a tie, of either sign.
    2. x / 4: 0.25 becomes 0.5 and then 1 when rounded twice.
    3. x * (3 * 2^16 - 1) / 2^19: a tie only once the multiplier is cut to 16 bits.
    """
    weight = np.zeros((8, WIDE, KERNEL, KERNEL), np.int32)
    for first in (0, 4):
        weight[first] = 127
        for channel in (1, 2, 3):
            weight[first + channel, channel, 1, 1] = 1
    reach = np.abs(weight).reshape(len(weight), -1).sum(axis=1, dtype=np.int64) * 128
    # Sigma is never negative: its accumulators are lifted above 0.
    bias = np.where(np.arange(8) < 4, np.maximum(reach, 256), 0)  # noqa: PLR2004 - the first half is sigma
    rule = Requantization(
        bias=bias,
        multiplier=np.array([1, 1, 1, 3 * 2**16 - 1] * 2),
        shift=np.array([8, 1, 2, 19] * 2),
        low=np.array([0] * 4 + [-32767, -128, -64, -64]),
        high=np.array([65535] * 4 + [32767] * 4),
    )
    layer = IntegerLayer(
        name="h_s.0",
        weight=weight,
        stride=1,
        padding=1,
        transposed=False,
        output_padding=0,
        input_low=-128,
        input_high=127,
        high_products=False,
        requantize=rule,
        leaky=None,
        bounds=reach + bias,
    )
    wide = np.ones(WIDE, np.int64)
    entry = Requantization(
        bias=0 * wide, multiplier=wide, shift=8 * wide, low=-128 * wide, high=127 * wide
    )
    return IntegerNet(
        name="h_s",
        precision="w8a8",
        input="z_symbols",
        input_limit=SYMBOL_LIMIT,
        input_shift=MEDIAN_FRACTION_BITS,
        outputs=("scales_hat", "means_hat"),
        entry=entry,
        layers=(layer,),
        sigma_fraction_bits=0,
        mean_fraction_bits=0,
        thresholds=np.arange(32, 95, dtype=np.int64),
    )


def crafted_symbols() -> I32:
    """Every int8 once in every channel, beside a block of the largest: int32 [1, 32, 16, 20]."""
    every = np.arange(-128, 128, dtype=np.int32).reshape(16, 16)
    plane = np.concatenate([every, np.full((16, 4), 127, np.int32)], axis=1)
    return np.ascontiguousarray(np.broadcast_to(plane, (1, WIDE, *plane.shape)))
