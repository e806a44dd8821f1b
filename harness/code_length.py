"""How many bits the coder spends on symbols, without coding them."""

import numpy as np
from numpy.typing import NDArray

from harness.cdf import PRECISION, CdfTables

I32 = NDArray[np.int32]
# An escaped symbol is followed by its magnitude in groups of this many bits, and a count of the groups.
BYPASS_BITS = 4


def code_length(symbols: I32, indexes: I32, tables: CdfTables) -> float:
    """Bits of symbols coded with the CDF rows `indexes` (same shape).

    What rANS really writes is at most a few dozen bits more.
    """
    return float(code_lengths(symbols, indexes, tables).sum())


def code_lengths(symbols: I32, indexes: I32, tables: CdfTables) -> NDArray[np.float64]:
    """Bits of each symbol, same shape: -log2 of its frequency, and what it costs to escape."""
    rows = np.asarray(indexes)
    frequencies = np.diff(tables.cdf, axis=1).clip(1)
    bits = PRECISION - np.log2(frequencies)
    position = symbols - tables.offset[rows]
    escape = tables.length[rows] - 2
    escaped = (position < 0) | (position >= escape)
    lengths: NDArray[np.float64] = bits[rows, np.where(escaped, escape, position)]
    beyond = np.where(position < 0, -2 * position - 1, 2 * (position - escape))[escaped]
    groups = -(-np.frexp(beyond.astype(np.float64))[1] // BYPASS_BITS)
    lengths[escaped] += BYPASS_BITS * (groups + 1)
    return lengths
