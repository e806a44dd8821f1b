"""The integer-only specification of a hyper-synthesis h_s: the values that define it, and nothing that makes or runs them.

It is a function from integers (z symbols) to integers (sigma and means in fixed point, CDF indexes): weights, biases and
accumulators are integers, every requantization is `floor((accumulator + bias) * multiplier / 2**shift + 1/2)` clamped
(half up), and indexes come from comparisons with integer thresholds. `reference.py` executes it and so defines it.
"""

import hashlib
import re
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

# z symbols are clamped to 16 bits. Medians are part of what both ends must agree on, so they are integers too: units of
# 2^-8 of a hyper-latent step.
SYMBOL_LIMIT = 2**15 - 1
MEDIAN_FRACTION_BITS = 8
# Sigma leaves as unsigned 16 bits, means as signed 16 bits.
SIGMA_MAX = 2**16 - 1
MEAN_MAX = 2**15 - 1
_PRECISION = re.compile(r"w([1-9][0-9]?)a([1-9][0-9]?)")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits of the weights, and of z and every hidden activation (outputs are wider: 16 bits)."""

    name: str
    weight_bits: int
    activation_bits: int

    @classmethod
    def parse(cls, name: str) -> "Precision":
        """`w8a8` and the like, 2 to 16 bits each.

        >>> Precision.parse("w4a16").activation_bits
        16
        """
        match = _PRECISION.fullmatch(name)
        bits = [int(group) for group in match.groups()] if match else []
        if not bits or not all(2 <= b <= 16 for b in bits):  # noqa: PLR2004 - the range of the specification
            raise UserError(
                f"no precision {name!r}: integer precisions are w2a2 to w16a16, such as w8a8"
            )
        return cls(name=name, weight_bits=bits[0], activation_bits=bits[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantization:
    """clamp(floor((x + bias) * multiplier / 2**shift + 1/2), low, high), all int32 [C], shift >= 1."""

    bias: I32
    multiplier: I32
    shift: I32
    low: I32
    high: I32


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerLayer:
    """An integer (transposed) convolution, its requantization, and an optional leaky rectifier.

    `weight` int32 [out, in, k, k]. Inputs lie in [input_low, input_high]; real zero is 0, so padding pads 0.
    `leaky`, where given, requantizes the requantized value r once more: the output is max(r, leaky(r)).
    `bounds` int64 [out]: proven largest |accumulator + bias|.
    """

    name: str
    weight: I32
    stride: int
    padding: int
    transposed: bool
    output_padding: int
    input_low: int
    input_high: int
    requantize: Requantization
    leaky: Requantization | None
    bounds: I64


@dataclass(frozen=True, kw_only=True)
class IntegerNet:
    """The integer-only specification of one h_s.

    z_q = entry(symbol * 2^8); then the layers; the last one gives sigma in [0, 65535] with `sigma_fraction_bits` and,
    after it, means with `mean_fraction_bits`. indexes = number of `thresholds` (int64 [63]) below sigma.
    """

    name: str
    precision: str
    outputs: tuple[str, ...]
    entry: Requantization
    layers: tuple[IntegerLayer, ...]
    sigma_fraction_bits: int
    mean_fraction_bits: int
    thresholds: I64

    @property
    def latent_channels(self) -> int:
        return int(self.layers[-1].weight.shape[0]) // len(self.outputs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every integer of the specification."""
        digest = hashlib.sha256()
        _feed(digest, self)
        return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: object) -> None:
    if isinstance(value, np.ndarray):
        digest.update(
            f"{list(value.shape)}".encode() + np.ascontiguousarray(value, "<i8").tobytes()
        )
    elif isinstance(value, (Requantization, IntegerLayer, IntegerNet)):
        for field in fields(value):
            digest.update(f"{field.name}:".encode())
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{value};".encode())
