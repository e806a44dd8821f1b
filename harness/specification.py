"""The integer-only specification of a decoder network: the values that define it, and nothing that makes or runs them.

It is a function from integers to integers: h_s takes z symbols and gives sigma and means in fixed point and CDF indexes,
g_s takes y_hat in fixed point and gives 8-bit pixels. Weights, biases and accumulators are integers, every
requantization is `floor((accumulator + bias) * multiplier / 2**shift + 1/2)` clamped (half up), indexes come from
comparisons with integer thresholds, square roots from a table. `reference.py` executes it and so defines it.
"""

import hashlib
import math
from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

# z symbols are clamped to 16 bits. Medians are part of what both ends must agree on, so they are integers too: units of
# 2^-8 of a hyper-latent step.
SYMBOL_LIMIT = 2**15 - 1
MEDIAN_FRACTION_BITS = 8
# Sigma leaves as unsigned 16 bits, means as signed 16 bits.
SIGMA_MAX = 2**16 - 1
MEAN_MAX = 2**15 - 1
PIXEL_MAX = 255
# Inside the inverse GDN: x is signed 16 bits, x^2 is rounded to unsigned 16 bits, the norm has 22 bits.
GDN_X_MAX = 2**15 - 1
GDN_SQUARE_MAX = 2**16 - 1
GDN_NORM_MAX = 2**22 - 1
# The root of norms beyond 16 bits is looked up without their lowest 6; roots have 4 fraction bits.
ROOT_COARSE_SHIFT = 6
ROOT_FRACTION_BITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantization:
    """clamp(floor((x + bias) * multiplier / 2**shift + 1/2), low, high), all int64 [C], shift >= 1."""

    bias: I64
    multiplier: I64
    shift: I64
    low: I64
    high: I64


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerLayer:
    """An integer (transposed) convolution, its requantization, and an optional leaky rectifier.

    `weight` int32 [out, in, k, k]. Inputs lie in [input_low, input_high]; real zero is 0, so borders are padded with 0. `leaky`, where given, requantizes the requantized value r once more: the output is
    max(r, leaky(r)). `bounds` int64 [out]: proven largest |accumulator + bias|.

    `high_products`: the product of the low bytes is left out by definition, as wide multipliers of DSPs do: with weights
    256*wh + wl (wl in [-128, 127]) the accumulator is the sum of a*wh + (a >> 8)*wl, about 2^-8 of the full one.
    """

    name: str
    weight: I32
    stride: int
    padding: int
    transposed: bool
    output_padding: int
    input_low: int
    input_high: int
    high_products: bool
    requantize: Requantization
    leaky: Requantization | None
    bounds: I64


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerGdn:
    """An inverse GDN, y = x * sqrt(beta + gamma x^2), on x in [-32767, 32767].

    u = square(x * x); n = the 1x1 convolution `norm` of u, in [0, 2^22); y = scale(x * root(n)), where root(n) is
    sqrt(n) with 4 fraction bits, rounded, of n itself below 2^16 and of n with its lowest 6 bits cleared above.
    """

    name: str
    square: Requantization
    norm: IntegerLayer
    scale: Requantization


@dataclass(frozen=True, kw_only=True)
class IntegerNet:
    """The integer-only specification of one network.

    Inputs are clamped to +-`input_limit` and multiplied by 2**`input_shift`, then requantized by `entry`, then the layers
    follow. h_s: the last layer gives sigma in [0, 65535] with `sigma_fraction_bits` and, after it, means with
    `mean_fraction_bits`; indexes = number of `thresholds` (int64 [63]) below sigma. g_s: it gives pixels in [0, 255] and
    there are no thresholds.
    """

    name: str
    precision: str
    input: str
    outputs: tuple[str, ...]
    input_limit: int
    input_shift: int
    entry: Requantization
    layers: tuple[IntegerLayer | IntegerGdn, ...]
    sigma_fraction_bits: int
    mean_fraction_bits: int
    thresholds: I64

    @property
    def convolutions(self) -> tuple[IntegerLayer, ...]:
        """Every layer that multiplies by weights, in order."""
        return tuple(
            layer.norm if isinstance(layer, IntegerGdn) else layer for layer in self.layers
        )

    @property
    def output_channels(self) -> int:
        """Channels of each output."""
        last = self.layers[-1]
        assert isinstance(last, IntegerLayer)
        return int(last.weight.shape[0]) // len(self.outputs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every integer of the specification."""
        digest = hashlib.sha256()
        _feed(digest, self)
        return digest.hexdigest()


@cache
def root_tables() -> tuple[I64, I64]:
    """Rounded square roots with 4 fraction bits, of 0..65535 and of 64 * (0..65535)."""

    def root(n: int) -> int:
        scaled = n << (2 * ROOT_FRACTION_BITS)
        floor = math.isqrt(scaled)
        return floor + (scaled > floor * (floor + 1))  # above (floor + 1/2)^2

    coarse = range(0, GDN_NORM_MAX + 1, 1 << ROOT_COARSE_SHIFT)
    fine = range(len(coarse))
    return (
        np.array([root(n) for n in fine], np.int64),
        np.array([root(n) for n in coarse], np.int64),
    )


def _feed(digest: "hashlib._Hash", value: object) -> None:
    if isinstance(value, np.ndarray):
        digest.update(
            f"{list(value.shape)}".encode() + np.ascontiguousarray(value, "<i8").tobytes()
        )
    elif isinstance(value, (Requantization, IntegerLayer, IntegerGdn, IntegerNet)):
        digest.update(type(value).__name__.encode())
        for field in fields(value):
            digest.update(f"{field.name}:".encode())
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{value};".encode())
