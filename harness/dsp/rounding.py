"""Requantization rules of real back ends: x * multiplier / 2**shift to an integer, unclamped.

Each rule is a pure function of int64 arrays that broadcast: x = accumulator + bias (an int32), 0 <=
multiplier < 2^31, shift in 1..31, and a result that fits int32. The specification is `half_up`; the
others are what hardware and runtimes do. "Recalled" marks what was not read in a source.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
Rule = Callable[[I64, I64, I64], I64]

ONE = np.int64(1)
# From here on a multiplier rounded to 16 bits would be 2^15, which int16 does not hold.
NEAR_ONE = 0x7FFF0000


def half_up(x: I64, multiplier: I64, shift: I64) -> I64:
    """floor(v + 1/2): the specification. Also Hexagon HVX's vasr:rnd (recalled).

    >>> half_up(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-1, 0, 1, 2]
    """
    result: I64 = (x * multiplier + (ONE << (shift - 1))) >> shift
    return result


def half_even(x: I64, multiplier: I64, shift: I64) -> I64:
    """Ties to even, exactly: what a float rescale with unlimited precision would do.

    >>> half_even(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-2, 0, 0, 2]
    """
    product = x * multiplier
    half = ONE << (shift - 1)
    quotient = product >> shift
    rest = product - (quotient << shift)
    up = (rest > half) | ((rest == half) & (quotient & 1 == 1))
    result: I64 = quotient + up
    return result


def half_away(x: I64, multiplier: I64, shift: I64) -> I64:
    """Ties away from zero: OpenVINO's QuantizeLinear, AIMET's C++ quantizer.

    >>> half_away(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-2, -1, 1, 2]
    """
    product = x * multiplier
    result: I64 = np.sign(product) * ((np.abs(product) + (ONE << (shift - 1))) >> shift)
    return result


def floor(x: I64, multiplier: I64, shift: I64) -> I64:
    """A plain arithmetic right shift, toward minus infinity: a DSP without a rounding shift.

    >>> floor(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-2, -1, 0, 1]
    """
    result: I64 = (x * multiplier) >> shift
    return result


def single_rounding(x: I64, multiplier: I64, shift: I64) -> I64:
    """(x * M + 2^(30 + r)) >> (31 + r): TFLite with single rounding.

    M is our multiplier times a power of two: this is half up in another form, a positive control.

    >>> single_rounding(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-1, 0, 1, 2]
    """
    mantissa, right = normalised(multiplier, shift)
    total = 31 + right
    result: I64 = (x * mantissa + (ONE << (total - 1))) >> total
    return result


def double_rounding(x: I64, multiplier: I64, shift: I64) -> I64:
    """SQRDMULH with M, then a rounding right shift, ties away from zero.

    gemmlowp's fixedpoint, TFLite's int8 reference, CMSIS-NN. The first step rounds ties up: it adds
    2^30 to a product >= 0, else 1 - 2^30, and divides by 2^31 truncating.

    >>> double_rounding(np.array([-3, -1, 1, 3]), ONE, ONE).tolist()
    [-1, 0, 1, 2]
    >>> double_rounding(np.array([1, 5]), ONE, ONE + 1).tolist()  # 0.25 -> 0.5 -> 1
    [1, 2]
    """
    mantissa, right = normalised(multiplier, shift)
    # A scale of 1 or more is shifted left first.
    product = (x << np.maximum(-right, 0)) * mantissa
    nudge = np.where(product >= 0, ONE << 30, 1 - (ONE << 30))
    high = _divide_truncating(product + nudge, 31)
    down = np.maximum(right, 0)
    half = np.where(down > 0, ONE << np.maximum(down - 1, 0), 0)
    result: I64 = np.sign(high) * ((np.abs(high) + half) >> down)
    return result


def int16_multiplier(x: I64, multiplier: I64, shift: I64) -> I64:
    """The multiplier reduced to 16 bits, half up: TFLite and TFLM with int16 activations.

    >>> int16_multiplier(np.array([2**20]), np.array([2**17 + 1]), np.array([18])).tolist()
    [524288]
    >>> half_up(np.array([2**20]), np.array([2**17 + 1]), np.array([18])).tolist()
    [524292]
    """
    mantissa, right = normalised(multiplier, shift)
    reduced = np.where(mantissa >= NEAR_ONE, 0x7FFF, (mantissa + (ONE << 15)) >> 16)
    total = 15 + right
    result: I64 = (x * reduced + (ONE << (total - 1))) >> total
    return result


def float32_rescale(x: I64, multiplier: I64, shift: I64) -> I64:
    """round-half-even(float32(x) * float32(scale)): ONNX Runtime's MLAS on x86, ONNX QLinear*.

    >>> float32_rescale(np.array([2**24 + 1, 3]), ONE, ONE).tolist()
    [8388608, 2]
    """
    scale = (multiplier / (ONE << shift)).astype(np.float32)
    result: I64 = np.rint(x.astype(np.float32) * scale).astype(np.int64)
    return result


def reciprocal(x: I64, multiplier: I64, shift: I64) -> I64:
    """As `float32_rescale`, by the reciprocal of the output's step: OpenVINO CPU's QuantizeLinear.

    The step is float32(2**shift / multiplier); its reciprocal is rounded once more.
    """
    step = ((ONE << shift) / np.maximum(multiplier, 1)).astype(np.float32)
    scale = np.where(multiplier > 0, np.float32(1) / step, np.float32(0)).astype(np.float32)
    result: I64 = np.rint(x.astype(np.float32) * scale).astype(np.int64)
    return result


def normalised(multiplier: I64, shift: I64) -> tuple[I64, I64]:
    """M in [2^30, 2^31) and right shift r with multiplier / 2**shift = M / 2**31 / 2**r, exactly.

    >>> normalised(np.array([3]), np.array([4]))
    (array([1610612736]), array([2]))
    """
    # frexp's exponent is the bit length; 31 bits are exact in float64.
    length = np.frexp(np.asarray(multiplier, np.float64))[1].astype(np.int64)
    return multiplier << (31 - length), shift - length


def _divide_truncating(value: I64, bits: int) -> I64:
    result: I64 = np.sign(value) * (np.abs(value) >> bits)
    return result


RULES: Mapping[str, Rule] = {
    "half-up": half_up,
    "half-even": half_even,
    "half-away": half_away,
    "floor": floor,
    "single-rounding": single_rounding,
    "double-rounding": double_rounding,
    "int16-multiplier": int16_multiplier,
    "float32-rescale": float32_rescale,
    "reciprocal": reciprocal,
}
