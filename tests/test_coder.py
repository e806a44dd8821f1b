"""The coder: round trips over random tables, what it refuses, and payloads meant to break it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import harness.compressai_import  # noqa: F401  # isort: skip
from compressai.ans import RansDecoder, RansEncoder  # isort: skip
from harness.cdf import CdfTables
from harness.coder import (
    MAX_SYMBOLS,
    decode,
    encode,
    words_read_at_most,
    words_written_at_most,
)
from harness.errors import StreamError, UserError

I32 = NDArray[np.int32]
LARGEST = 2**24 - 1


def table(*rows: list[int], offset: int = 0) -> CdfTables:
    cdf = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for k, row in enumerate(rows):
        cdf[k, : len(row)] = row
    length = np.array([len(row) for row in rows], np.int32)
    return CdfTables(cdf=cdf, length=length, offset=np.full(len(rows), offset, np.int32))


def i32(*values: int) -> I32:
    return np.array(values, np.int32)


# Rows with an escape of probability 1/2, almost 1, and 1/65536.
TABLES = table([0, 16384, 32768, 65536], [0, 1, 65536], [0, 65535, 65536])


@st.composite
def random_tables(draw: st.DrawFn) -> CdfTables:
    inner = st.sets(st.integers(1, 65535), min_size=1, max_size=12)
    rows = draw(st.lists(inner.map(lambda s: [0, *sorted(s), 65536]), min_size=1, max_size=5))
    offsets = st.integers(-(2**24), 2**24) | st.integers(-20, 20)
    made = table(*rows)
    values = draw(st.lists(offsets, min_size=len(rows), max_size=len(rows)))
    return CdfTables(cdf=made.cdf, length=made.length, offset=i32(*values))


@st.composite
def problems(draw: st.DrawFn) -> tuple[I32, I32, CdfTables]:
    """Symbols in, near and far outside of the row that each is coded with."""
    tables = draw(random_tables())
    rows = st.integers(0, len(tables.cdf) - 1)
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=4))
    count = int(np.prod(shape, dtype=int))
    indexes = draw(st.lists(rows, min_size=count, max_size=count))
    near = draw(st.lists(st.integers(-3, 16), min_size=count, max_size=count))
    far = draw(st.lists(st.integers(-LARGEST, LARGEST), min_size=count, max_size=count))
    use_far = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    places = np.array(indexes, int)
    values = np.where(use_far, np.array(far, int), tables.offset[places] + np.array(near, int))
    symbols = np.clip(values, -LARGEST, LARGEST).astype(np.int32)
    return symbols.reshape(shape), np.array(indexes, np.int32).reshape(shape), tables


@given(problems())
@settings(max_examples=200, deadline=None)
def test_decode_of_encode_is_the_symbols(problem: tuple[I32, I32, CdfTables]) -> None:
    symbols, indexes, tables = problem
    payload = encode(symbols, indexes, tables)
    back = decode(payload, indexes, tables)
    assert back.dtype == np.int32
    assert back.shape == symbols.shape
    assert back.tolist() == symbols.tolist()
    assert len(payload) % 4 == 0
    assert len(payload) <= 4 * words_written_at_most(symbols.size)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("symbol", [0, 1, 2, -1, LARGEST, -LARGEST])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_few_symbols_at_the_edges(count: int, symbol: int, row: int) -> None:
    symbols, indexes = np.full(count, symbol, np.int32), np.full(count, row, np.int32)
    payload = encode(symbols, indexes, TABLES)
    assert decode(payload, indexes, TABLES).tolist() == symbols.tolist()
    assert (payload == b"") == (count == 0)


def test_the_dearest_symbols_stay_within_what_decode_accepts() -> None:
    """The rarest escape (16 bits) of the most distant value (8 nibbles) is the bound, 48 bits."""
    tables = table([0, 65534, 65535, 65536], offset=2**24)
    for count in (1, 2, 3, 4, 101, 1000):
        symbols, indexes = np.full(count, -LARGEST, np.int32), np.zeros(count, np.int32)
        payload = encode(symbols, indexes, tables)
        assert 4 * words_written_at_most(count) - 4 <= len(payload)
        assert len(payload) <= 4 * words_written_at_most(count)
        assert decode(payload, indexes, tables).tolist() == symbols.tolist()


def test_payload_is_compressais() -> None:
    rng = np.random.default_rng(3)
    symbols = rng.integers(-5, 6, 500).astype(np.int32)
    indexes = rng.integers(0, 3, 500).astype(np.int32)
    lists = symbols.tolist(), indexes.tolist()
    theirs = RansEncoder().encode_with_indexes(*lists, *TABLES.lists)
    assert encode(symbols, indexes, TABLES) == theirs
    assert RansDecoder().decode_with_indexes(theirs, lists[1], *TABLES.lists) == lists[0]


def test_order_is_c_whatever_the_layout_and_the_integer_dtype() -> None:
    symbols, indexes = np.arange(24, dtype=np.int32).reshape(2, 3, 4), np.ones((2, 3, 4), np.int32)
    payload = encode(symbols, indexes, TABLES)
    assert encode(np.asfortranarray(symbols), indexes, TABLES) == payload
    assert encode(symbols.reshape(-1), indexes.reshape(-1), TABLES) == payload
    for dtype in (np.int64, np.uint8, np.uint64, np.dtype(">i4")):
        assert encode(symbols.astype(dtype), indexes.astype(dtype), TABLES) == payload
        back = decode(payload, indexes.astype(dtype), TABLES)
        assert back.dtype == np.int32
        assert back.tolist() == symbols.tolist()


@pytest.mark.parametrize(
    ("symbols", "indexes", "says"),
    [
        (np.zeros(3), i32(0, 0, 0), "symbols must be an array of integers, got float64"),
        (np.zeros(3, bool), i32(0, 0, 0), "symbols must be an array of integers, got bool"),
        (np.zeros(3, object), i32(0, 0, 0), "symbols must be an array of integers, got object"),
        ([0, 0, 0], i32(0, 0, 0), "symbols must be an array of integers, got list"),
        (i32(0, 0, 0), np.zeros(3, np.float32), "indexes must be .* got float32"),
        (i32(0, 0, 0), i32(0, 0), r"symbols \[3\] and indexes \[2\]"),
        (i32(0, 0), i32(0, 0)[:, None], r"symbols \[2\] and indexes \[2, 1\]"),
        (i32(0, 0, 0), i32(0, 3, 0), "indexes from 0 to 3; the tables have 3 rows"),
        (i32(0, 0, 0), i32(0, -1, 0), "indexes from -1 to 0"),
        (i32(0, 0), np.array([0, 2**63], np.uint64), "indexes from 0 to 9223372036854775808"),
        (i32(0, 2**24), i32(0, 0), "from 0 to 16777216; magnitudes must be below"),
        (i32(0, -(2**24)), i32(0, 0), "from -16777216 to 0"),
        (i32(0, -(2**31)), i32(0, 0), "from -2147483648 to 0"),
        (np.array([0, 2**32], np.int64), i32(0, 0), "from 0 to 4294967296"),
        (np.zeros(MAX_SYMBOLS + 1, np.int8), np.zeros(MAX_SYMBOLS + 1, np.int8), "8388609 symbols"),
    ],
)  # fmt: skip
def test_what_is_not_symbols_is_refused(symbols: I32, indexes: I32, says: str) -> None:
    with pytest.raises(UserError, match=f"^coder: [^\n]*{says}[^\n]*$"):
        encode(symbols, indexes, TABLES)


def test_decode_checks_its_indexes_too() -> None:
    payload = encode(i32(0, 1, 2), i32(0, 0, 0), TABLES)
    for indexes, says in ((i32(0, 0, 3), "3 rows"), (np.zeros(3), "float64")):
        with pytest.raises(UserError, match=says):
            decode(payload, indexes, TABLES)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a payload is bytes, got bytearray"):
        decode(bytearray(payload), i32(0, 0, 0), TABLES)  # type: ignore[arg-type]


STATE = (2**31).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        (b"", 1), (b"\0" * 4, 1), (STATE[:7], 5), (STATE + b"\1", 5), (STATE, 0), (b"\0", 0),
        (bytes(8), 5), ((2**31 - 1).to_bytes(8, "little"), 5), ((2**63).to_bytes(8, "little"), 5),
        (b"\xff" * 8, 5), (STATE + bytes(4 * 8), 5), (STATE + bytes(4 * 4 + 4), 1),
    ],
)  # fmt: skip
def test_a_payload_that_no_encoder_makes_is_a_stream_error(payload: bytes, count: int) -> None:
    with pytest.raises(StreamError, match=r"^payload is damaged: [^\n]*$"):
        decode(payload, np.zeros(count, np.int32), TABLES)


def test_the_least_and_the_longest_payload_are_decoded() -> None:
    for payload in (STATE, STATE + bytes(4 * 7), (2**63 - 1).to_bytes(8, "little") + b"\xff" * 28):
        assert decode(payload, np.zeros(5, np.int32), TABLES).shape == (5,)


def model(payload: bytes, indexes: list[int], tables: CdfTables) -> tuple[list[int | None], int]:
    """rANS64 with CompressAI's bypass mode, over zeros after the payload: symbols and words read.

    Written from the definition. A value whose bypass has more than 8 nibbles is None: undefined.
    """
    rows, lengths, offsets = tables.lists
    words, symbols = np.frombuffer(payload, "<u4").tolist(), list[int | None]()
    state, read = words[0] | words[1] << 32, 2

    def refill() -> None:
        nonlocal state, read
        if state < 2**31:
            state = state << 32 | (words[read] if read < len(words) else 0)
            read += 1
        assert 2**31 <= state < 2**63

    def nibble() -> int:
        nonlocal state
        value: int = state & 15
        state >>= 4
        refill()
        return value

    for index in indexes:
        row, last = rows[index], lengths[index] - 2
        symbol = max(s for s in range(last + 1) if row[s] <= state & 0xFFFF)
        state = (row[symbol + 1] - row[symbol]) * (state >> 16) + (state & 0xFFFF) - row[symbol]
        refill()
        value: int | None = symbol
        if symbol == last:
            count = run = nibble()
            while run == 15:
                run = nibble()
                count += run
            raw = sum(nibble() << 4 * j for j in range(count))
            raw -= (raw & 2**31) << 1
            value = None if count > 8 else -(raw >> 1) - 1 if raw & 1 else (raw >> 1) + last
        symbols.append(None if value is None else value + offsets[index])
    return symbols, read


def hostile(rng: np.random.Generator, words: int) -> bytes:
    """Words of which many are ones, zeros or end in fifteens, after a state that is accepted."""
    kinds = rng.integers(0, 4, words)
    noise = rng.integers(0, 2**32, words)
    chosen = np.choose(
        kinds, [noise, np.full(words, 2**32 - 1), np.zeros(words, int), noise | 0xFFFF]
    )
    chosen[1] = (2**31 - 1, 0, 1, 2**15)[int(rng.integers(4))]
    chosen[0] |= 2**31
    return bytes(chosen.astype("<u4"))


@given(st.integers(0, 2**32 - 1), random_tables(), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
@example(0, TABLES, 40)
def test_reads_stay_within_the_bound(seed: int, tables: CdfTables, count: int) -> None:
    """An independent decoder counts the words, and agrees with CompressAI's on what is defined."""
    rng = np.random.default_rng(seed)
    payload = hostile(rng, int(rng.integers(2, words_written_at_most(count) + 1)))
    indexes = rng.integers(0, len(tables.cdf), count).astype(np.int32)
    symbols, read = model(payload, indexes.tolist(), tables)
    assert read <= words_read_at_most(count, len(payload) // 4)
    for mine, theirs in zip(symbols, decode(payload, indexes, tables).tolist(), strict=True):
        assert mine is None or mine == theirs


def test_the_worst_payload_reads_far_beyond_itself() -> None:
    """The padding is needed: fifteens ask for nearly sixteen times the payload."""
    escape, words = table([0, 1, 65536]), words_written_at_most(30)
    payload = (2**63 - 1).to_bytes(8, "little") + b"\xff" * (4 * words - 8)
    _, read = model(payload, [0] * 30, escape)
    assert 14 * words < read <= words_read_at_most(30, words)


HOSTILE = """
import sys
import numpy as np
from tests.test_coder import TABLES, hostile, table
from harness.coder import decode, words_written_at_most
from harness.errors import StreamError
every = [TABLES, table([0, 1, 65536]), table([0, 1, 2, 65536], offset=2**24),
         table([*range(300), 65536])]
decoded = refused = 0
for seed in range(400):
    rng = np.random.default_rng(seed)
    tables = every[seed % 4]
    count = int(rng.integers(1, 3000))
    indexes = rng.integers(0, len(tables.cdf), count).astype(np.int32)
    words = int(rng.integers(2, words_written_at_most(count) + 1))
    good = hostile(rng, words)
    ones = good[:8] + b"\\xff" * (4 * words - 8)
    for payload in (good, ones, good[:8], good[:4 * (words // 2)], good[: len(good) // 2], b"",
                    rng.bytes(int(rng.integers(0, 9))), b"\\xff" * 4 * words, bytes(4 * words)):
        try:
            assert decode(payload, indexes, tables).shape == (count,)
            decoded += 1
        except StreamError:
            refused += 1
print("survived", decoded > 1000, refused > 1000)
"""


def test_hostile_payloads_neither_crash_nor_hang() -> None:
    """In a child, so that a crash is seen; glibc fills and checks what malloc hands out."""
    environment = {
        **os.environ,
        "MALLOC_PERTURB_": "85",
        "MALLOC_CHECK_": "3",
        "OMP_NUM_THREADS": "1",
    }
    child = subprocess.run(
        [sys.executable, "-B", "-c", HOSTILE], capture_output=True, text=True, timeout=120,
        check=False, cwd=Path(__file__).parents[1], env=environment,
    )  # fmt: skip
    assert (child.returncode, child.stdout) == (0, "survived True True\n"), child.stderr


def test_a_desync_decodes_to_garbage_of_the_right_shape() -> None:
    rng = np.random.default_rng(4)
    symbols = rng.integers(-2, 3, (2, 50, 10)).astype(np.int32)
    indexes = rng.integers(0, 3, symbols.shape).astype(np.int32)
    payload = encode(symbols, indexes, TABLES)
    wrong = indexes.copy()
    wrong[0, 10, 0] = (wrong[0, 10, 0] + 1) % 3
    back = decode(payload, wrong, TABLES)
    assert back[0, :10].tolist() == symbols[0, :10].tolist()
    assert np.count_nonzero(back[0, 11:] != symbols[0, 11:]) > 100
    assert back.shape == symbols.shape


def test_half_a_million_symbols_take_seconds() -> None:
    rng = np.random.default_rng(5)
    symbols = rng.integers(-2, 3, 500_000).astype(np.int32)
    indexes = rng.integers(0, 3, 500_000).astype(np.int32)
    start = time.perf_counter()
    payload = encode(symbols, indexes, TABLES)
    assert np.array_equal(decode(payload, indexes, TABLES), symbols)
    assert decode(payload[:8] + b"\xff" * (len(payload) - 8), indexes, TABLES).size == 500_000
    assert time.perf_counter() - start < 60  # it takes about one; the bound is against a quadratic
