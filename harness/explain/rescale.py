"""From integer sums to 8 bits by scales in float: every rule that back ends are known to use."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.dsp.rounding import RULES
from harness.explain.operators import Rescale
from harness.graph_node import Array, Numbers

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
# The rules that take a multiplier of 31 bits, rather than a scale in float.
BY_MULTIPLIER = (
    "half-up",
    "half-even",
    "half-away",
    "floor",
    "single-rounding",
    "double-rounding",
    "int16-multiplier",
)


def half_up(x: Numbers) -> Numbers:
    return np.asarray(np.floor(x + x.dtype.type(0.5)))


def half_away(x: Numbers) -> Numbers:
    return np.asarray(np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x))


ROUNDINGS: Mapping[str, Callable[[Numbers], Numbers]] = {
    "half to even": lambda x: np.asarray(np.rint(x)),
    "half away from zero": half_away,
    "half up": half_up,
    "floor": lambda x: np.asarray(np.floor(x)),
}


def rescaled(sums: Array, rescale: Rescale) -> Iterator[tuple[str, Array]]:
    """Every rule's name and the output [P, N] of sums int32 [P, N]; the first is ONNX's."""
    x, w, y = (
        v.astype(np.float32).reshape(-1)
        for v in (rescale.x_scale, rescale.w_scale, rescale.y_scale)
    )
    zero = rescale.y_zero.reshape(-1)
    scales = {
        "": x * w / y,
        " (weight scale divided first)": x * (w / y),
        " (by the reciprocal of the output's scale)": x * w * (np.float32(1) / y),
    }
    floats = sums.astype(np.float32)
    for note, scale in scales.items():
        for rule, rounding in ROUNDINGS.items():
            yield f"float32 rescale, {rule}{note}", clamped(rounding(floats * scale), zero)
        early = np.rint(floats * scale + zero.astype(np.float32))
        yield (
            f"float32 rescale, zero point added before rounding{note}",
            clamped(early, np.zeros_like(zero)),
        )
    exact = x.astype(np.float64) * w.astype(np.float64) / y.astype(np.float64)
    multiplier, shift = _fixed(exact)
    for rule in BY_MULTIPLIER:
        with np.errstate(all="ignore"):
            yield (
                f"multiplier of 31 bits, {rule}",
                clamped(RULES[rule](sums.astype(np.int64), multiplier, shift), zero),
            )


def clamped(rounded: Array, zero: Array) -> Array:
    """Rounded values + zero point, saturated to the type of the zero point."""
    dtype = zero.dtype
    limits = np.iinfo(dtype.name)
    total = rounded.astype(np.float64) + zero.astype(np.float64)
    return np.asarray(np.clip(total, limits.min, limits.max)).astype(dtype)


def _fixed(scale: F64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The scale as multiplier / 2^shift with a multiplier of 31 bits, rounded half up, as TFLite's converter does."""
    mantissa, exponent = np.frexp(scale)
    multiplier = np.floor(mantissa * 2**31 + 0.5).astype(np.int64)
    full = multiplier == 2**31
    return np.where(full, 2**30, multiplier), (31 - exponent - full).astype(np.int64)
