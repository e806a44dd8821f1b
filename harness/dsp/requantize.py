"""`Requantize` under a profile: (accumulator + bias) * multiplier / divisor, rounded, clamped."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.dsp.rounding import RULES
from harness.errors import Unsupported
from harness.graph_node import Array

I32 = NDArray[np.int32]
Requantize = Callable[[I32], I32]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Of one call: int32 scalars, or one number a channel (the last axis of the accumulator)."""

    bias: I32
    multiplier: I32
    divisor: I32
    low: I32
    high: I32

    @classmethod
    def of(cls, *values: Array) -> "Parameters":
        """From the inputs of `crosscheck::Requantize` after the accumulator, in order."""
        if any(value.dtype != np.int32 for value in values):
            raise Unsupported(f"Requantize takes int32, got {[v.dtype.name for v in values]}")
        bias, multiplier, divisor, low, high = (value.astype(np.int32) for value in values)
        return cls(bias=bias, multiplier=multiplier, divisor=divisor, low=low, high=high)


def requantizer(parameters: Parameters, rounding: str) -> Requantize:
    """Compute once what does not depend on the accumulator."""
    if rounding == "half-up":
        return _half_up_int32(parameters)
    rule, shift = RULES[rounding], _shifts(parameters.divisor)
    multiplier = parameters.multiplier.astype(np.int64)

    def requantize(accumulator: I32) -> I32:
        # The sum is an int32, and wraps like one.
        x = np.add(accumulator, parameters.bias).astype(np.int64)
        clamped = np.clip(rule(x, multiplier, shift), parameters.low, parameters.high)
        return clamped.astype(np.int32)

    return requantize


def _half_up_int32(parameters: Parameters) -> Requantize:
    """The specification's rule in int32: the exporter proves that no step leaves int32.

    (a + bias) * m + half is a * m + (bias * m + half), which leaves one product and one addition.
    """
    m, shift = parameters.multiplier, _shifts(parameters.divisor)
    half = np.int64(1) << (shift - 1)
    # Sums modulo 2^32 are exact if the result fits, which is proven: wrapping here does no harm.
    added = np.asarray(parameters.bias.astype(np.int64) * m + half).astype(np.int32)
    down = shift.astype(np.int32)
    one = bool((m == 1).all())

    def requantize(accumulator: I32) -> I32:
        x = np.add(accumulator, added) if one else np.add(accumulator * m, added)
        x = np.right_shift(x, down, out=np.asarray(x))
        np.maximum(x, parameters.low, out=x)
        np.minimum(x, parameters.high, out=x)
        return x

    return requantize


def _shifts(divisor: I32) -> NDArray[np.int64]:
    mantissa, exponent = np.frexp(divisor.astype(np.float64))
    if not (np.all(mantissa == 0.5) and np.all(exponent > 1)):  # noqa: PLR2004 - a power of two
        raise Unsupported(f"Requantize needs divisors 2**shift with shift >= 1, got {divisor}")
    return np.asarray(exponent, np.int64) - 1
