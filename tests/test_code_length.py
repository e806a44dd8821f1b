"""The bits that symbols are said to cost, against the bytes that the coder writes."""

import numpy as np
import pytest

from harness import coder
from harness.code_length import code_length
from harness.specimens import tiny_codec

TABLES = tiny_codec().y_tables


@pytest.mark.parametrize("reach", [1, 10, 300, 100_000])
def test_the_length_is_what_the_coder_writes(reach: int) -> None:
    """A rANS payload ends with a few bytes of state; escapes (symbols beyond a row) are counted too."""
    rng = np.random.default_rng(reach)
    shape = (1, 4, 40, 40)
    symbols = rng.integers(-reach, reach + 1, shape, dtype=np.int32)
    indexes = rng.integers(0, len(TABLES.cdf), shape, dtype=np.int32)
    written = 8 * len(coder.encode(symbols, indexes, TABLES))
    assert abs(code_length(symbols, indexes, TABLES) - written) < 0.01 * written + 64


def test_a_certain_symbol_costs_less() -> None:
    flat, peaked = np.full((1, 1, 8, 8), len(TABLES.cdf) - 1), np.zeros((1, 1, 8, 8), int)
    symbols = np.zeros((1, 1, 8, 8), np.int32)
    assert code_length(symbols, peaked.astype(np.int32), TABLES) < code_length(
        symbols, flat.astype(np.int32), TABLES
    )
