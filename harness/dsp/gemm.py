"""The integer matrix product of a simulated back end: activations [P, K] times weights [K, N].

Exact sums ride in floats: the sum of any subset of a column's products lies between bounds that are
proven from the weights and the activations' range, so that a float32 (2^24) or float64 (2^53) BLAS
cannot round, whatever its order. Overflow is simulated only in columns whose bounds allow it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.dsp.profile import ArithmeticProfile
from harness.errors import Unsupported
from harness.graph_node import Integers

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Signed = NDArray[np.signedinteger[Any]]

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
INT32_LIMIT = 2**31
INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1
INT8_MIN, INT8_MAX = -(2**7), 2**7 - 1
# Rows simulated at a time: two tiles of a wide layer stay in the cache.
TILE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Weights int64 [K, N], their zero point taken out, with what is computed of them only once."""

    values: I64

    @classmethod
    def of(cls, weights: Integers, zero_point: Integers | None = None) -> "Weights":
        zero = np.int64(0) if zero_point is None else zero_point.astype(np.int64)
        return cls(values=weights.astype(np.int64) - zero)

    @cached_property
    def float32(self) -> NDArray[np.float32]:
        return self.values.astype(np.float32)

    @cached_property
    def float64(self) -> NDArray[np.float64]:
        return self.values.astype(np.float64)

    @cached_property
    def positive(self) -> I64:
        return np.asarray(np.maximum(self.values, 0).sum(axis=0))

    @cached_property
    def negative(self) -> I64:
        return np.asarray(np.minimum(self.values, 0).sum(axis=0))

    @cached_property
    def column_sums(self) -> I32:
        return np.asarray(self.values.sum(axis=0), np.int64).astype(np.int32)

    def bounds(self, least: int, most: int) -> tuple[I64, I64]:
        """Bounds of every column's subset sums, for activations in [least, most], 0 included."""
        low = least * self.positive + most * self.negative
        high = most * self.positive + least * self.negative
        return low, high


def multiply(
    a: Integers, weights: Weights, profile: ArithmeticProfile, zero_point: Integers | None = None
) -> I32:
    """(a - zero_point) times the weights under `profile`.

    `zero_point` is a scalar or one number a row; its contribution is taken out at 32 bits,
    wrapping, after the accumulator was read, and so is the 128 that makes int8 activations unsigned
    for the pair unit.
    """
    least, most = _range(a)
    offset = 0
    if profile.pair_saturation:
        _check_pair_unit(a, weights)
        offset = -least
        least, most = 0, most + offset
    low, high = weights.bounds(least, most)
    bound = max(int(high.max(initial=0)), -int(low.min(initial=0)))
    sums = _exact(a, offset, weights, bound)
    overflows = np.flatnonzero((high >= profile.limit) | (low < -profile.limit))
    if profile.overflow == "wrap":
        if profile.pair_saturation:
            sums = sums + _pair_excess(_wide(a, offset), weights.values)
        if overflows.size:
            sums = wrap(sums, profile.accumulator_bits)
    else:
        if profile.pair_saturation:
            overflows = np.arange(weights.values.shape[1])
        if overflows.size:
            some = weights.values[:, overflows]
            sums[:, overflows] = _saturated(_wide(a, offset), some, profile)
    result = sums.astype(np.int32, copy=False)
    if offset:
        result = result - np.int32(offset) * weights.column_sums
    if zero_point is not None and zero_point.any():
        result = result - zero_point.astype(np.int32).reshape(-1, 1) * weights.column_sums
    return result


def wrap(sums: Signed, bits: int) -> Signed:
    """The low `bits` of exact sums, as signed numbers: wrapping does not depend on the order.

    >>> wrap(np.array([32767, 32768, -32769]), 16).tolist()
    [32767, -32768, 32767]
    """
    spare = 8 * sums.dtype.itemsize - bits
    return np.right_shift(np.left_shift(sums, spare), spare)


def _range(a: Integers) -> tuple[int, int]:
    """Of 8-bit types the type's range, of wider ones what is really there; 0 is always in it."""
    if a.dtype.itemsize == 1:
        limits = np.iinfo(a.dtype)
        return int(limits.min), int(limits.max)
    return int(a.min(initial=0)), int(a.max(initial=0))


def _check_pair_unit(a: Integers, weights: Weights) -> None:
    inside = weights.values.min(initial=0) >= INT8_MIN and weights.values.max(initial=0) <= INT8_MAX
    if a.dtype.itemsize != 1 or not inside:
        raise Unsupported("the pair unit multiplies 8-bit activations by int8 weights")


def _exact(a: Integers, offset: int, weights: Weights, bound: int) -> Signed:
    """The sums of products of offset activations; int32 if the bound allows it, else int64."""
    if bound >= FLOAT64_EXACT:
        raise Unsupported(f"a sum of products may reach {bound}, which no carrier holds exactly")
    matrix = weights.float32 if bound < FLOAT32_EXACT else weights.float64
    x = a.astype(matrix.dtype)
    if offset:
        np.add(x, offset, out=x)
    sums = np.matmul(x, matrix)
    return np.asarray(sums).astype(np.int32 if bound < INT32_LIMIT else np.int64)


def _wide(a: Integers, offset: int) -> I64:
    return a.astype(np.int64) + offset


def _saturated(x: I64, w: I64, profile: ArithmeticProfile) -> I64:
    """Accumulate in the order of K, by products or by pair sums, clamping after each addition."""
    addend = _pair if profile.pair_saturation else _product
    width = 2 if profile.pair_saturation else 1
    out = np.zeros((x.shape[0], w.shape[1]), np.int64)
    for top in range(0, x.shape[0], TILE):
        rows, tile = x[top : top + TILE], out[top : top + TILE]
        for k in range(0, w.shape[0], width):
            tile += addend(rows, w, k)
            # Two ufuncs: np.clip takes five times as long on a tile.
            np.minimum(tile, profile.limit - 1, out=tile)
            np.maximum(tile, -profile.limit, out=tile)
    return out


def _product(x: I64, w: I64, k: int) -> I64:
    return np.multiply(x[:, k, None], w[k])


def _pair(x: I64, w: I64, k: int) -> I64:
    """The saturated sum of the products k and k + 1; a missing last one is 0."""
    total = _product(x, w, k)
    if k + 1 < w.shape[0]:
        total += _product(x, w, k + 1)
    return np.clip(total, INT16_MIN, INT16_MAX)


def _pair_excess(x: I64, w: I64) -> I64:
    """What pair saturation adds to the exact sums: only weights that can saturate are looked at."""
    excess = np.zeros((x.shape[0], w.shape[1]), np.int64)
    paired = w[: w.shape[0] // 2 * 2]
    high = 255 * np.maximum(paired, 0)
    low = 255 * np.minimum(paired, 0)
    risky = (high[0::2] + high[1::2] > INT16_MAX) | (low[0::2] + low[1::2] < INT16_MIN)
    for pair in np.flatnonzero(risky.any(axis=1)):
        columns = np.flatnonzero(risky[pair])
        some = w[2 * pair : 2 * pair + 2, columns]
        total = _product(x[:, 2 * pair :], some, 0) + _product(x[:, 2 * pair :], some, 1)
        excess[:, columns] += np.clip(total, INT16_MIN, INT16_MAX) - total
    return excess
