"""Between networks and the entropy coder: rounding latents, coding symbols, y_hat. Exact by construction.

Integer arithmetic, single IEEE operations, table look-ups: the same on every machine.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness import coder
from harness.cdf import CdfTables
from harness.errors import StreamError
from harness.trace import TensorRecord

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]

# Garbage after a desynchronisation reaches 2^31; real symbols are far below this.
SYMBOL_LIMIT = 2**20


def round_symbols(residual: F32) -> I32:
    """Nearest integers, ties to even; NaN (a broken encoder) becomes 0."""
    rounded = np.rint(np.nan_to_num(residual, nan=0.0, posinf=SYMBOL_LIMIT, neginf=-SYMBOL_LIMIT))
    return np.clip(rounded, -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int32)


def channel_indexes(shape: tuple[int, ...]) -> I32:
    """The entropy bottleneck has one table a channel: int32 of `shape`, [1, C, H, W]."""
    channels = np.arange(shape[1], dtype=np.int32)[None, :, None, None]
    return np.ascontiguousarray(np.broadcast_to(channels, shape))


def checked_indexes(indexes: NDArray[np.generic], tables: CdfTables) -> I32:
    """CDF indexes as int32; StreamError for any that the tables do not have."""
    found = indexes.astype(np.int32, copy=False)
    lowest, highest = int(found.min()), int(found.max())
    if not 0 <= lowest <= highest < len(tables.cdf):
        raise StreamError(
            f"h_s gave CDF indexes from {lowest} to {highest}; the tables have {len(tables.cdf)} rows"
        )
    return found


# Symbols of a latent that are coded once for all who ask: those of a large clip would only fill the memory.
MOST_REMEMBERED = 1 << 18


# The platforms of one run mostly code the same symbols with the same indexes: code those once.
@lru_cache(maxsize=64)
def _encode_once(symbols: TensorRecord, indexes: TensorRecord, tables: CdfTables) -> bytes:
    return coder.encode(_int32(symbols), _int32(indexes), tables)


@lru_cache(maxsize=64)
def _decode_once(payload: bytes, indexes: TensorRecord, tables: CdfTables) -> I32:
    symbols = coder.decode(payload, _int32(indexes), tables)
    symbols.flags.writeable = False
    return symbols


def _int32(record: TensorRecord) -> I32:
    return record.array().astype(np.int32, copy=False)


def encode_symbols(symbols: I32, indexes: I32, tables: CdfTables) -> bytes:
    if symbols.size > MOST_REMEMBERED:
        return coder.encode(symbols, indexes, tables)
    return _encode_once(
        TensorRecord.of("symbols", symbols), TensorRecord.of("indexes", indexes), tables
    )


def decode_symbols(payload: bytes, indexes: I32, tables: CdfTables) -> I32:
    """The symbols; StreamError where the payload ends too early."""
    if indexes.size > MOST_REMEMBERED:
        return coder.decode(payload, indexes, tables)
    return _decode_once(payload, TensorRecord.of("indexes", indexes), tables)


def float_means(means: NDArray[np.generic], fraction_bits: int | None) -> F32:
    """Means as float32, exactly: fixed-point ones (of `fraction_bits`; None: floats already) have at most 16 bits."""
    if fraction_bits is None:
        return np.asarray(means, np.float32)
    return np.ldexp(means.astype(np.float64), -fraction_bits).astype(np.float32)


def fixed_y_hat(symbols: I32, means: NDArray[np.generic] | None, fraction_bits: int) -> I32:
    """Symbol + mean, int32 with `fraction_bits`."""
    limit = 2 ** (30 - fraction_bits)
    fixed: I32 = np.clip(symbols, -limit, limit) << np.int32(fraction_bits)
    return fixed if means is None else fixed + means.astype(np.int32, copy=False)


def float_y_hat(symbols: I32, means: F32 | np.float32) -> F32:
    """Symbol + mean, by one float32 addition."""
    limit = 2**30
    summed: F32 = np.clip(symbols, -limit, limit).astype(np.float32) + means
    return summed
