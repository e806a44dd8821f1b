"""Symbols to bytes and back: CompressAI's rANS coder behind a guard; only integers cross it.

Stands between `cdf` (tables) and `bitstream` (the container). Knows nothing of latents, networks or
files.

**Why the guard.** CompressAI 1.2.8's coder (`cpp_exts/rans/rans_interface.cpp`, rANS64 of ryg_rans)
checks no bounds. Its *decoder* reads past the end of a damaged or desynchronised payload. Its
*encoder* gives its buffer as many words as there are coded items, but flushing needs two more than
it saved: 0, 1 or 2 items write outside of it (0 symbols end in a segmentation fault, 2 in "double
free or corruption"). From 3 items on it is safe: an emission leaves a state below 2^47, from which
the next item cannot emit, so floor(n/2) + 2 <= n words are written. So `encode` repeats the last
symbol until there are 3 and gives b"" for none; rANS decodes forwards, so what follows the last
symbol is never read.

**How many words a decoder can read.** Let x be its state, b its bit length, a word 32 bits.

1. Every encoder starts at x = 2^31 and keeps 2^31 <= x < 2^63, so a payload is at least two words,
   its first 8 bytes are a state in that range, and it is a whole number of words. Anything else is
   refused. With it, the decoder too keeps 2^31 <= x < 2^63 for ever, *whatever words follow*:
     - a symbol makes x' = freq * (x >> 16) + (x mod 2^16 - start), the last term in 0..freq - 1: so
       x' <= x, and x' >= x >> 16, b' >= b - 16;
     - a bypass nibble makes x' = x >> 4, so b' = b - 4;
     - if then x' < 2^31 (it is at least 2^15, not 0), one word enters:
       x'' = x' * 2^32 + word < 2^63, so b'' = b' + 32.

   b stays within 32..63, so S symbols and N nibbles read R words with 32 R <= 31 + 16 S + 4 N.
2. An escaped symbol reads nibbles until one is not 15, n of them being 15; their sum is at most
   15 n + 14; then as many nibbles again as the sum says. Together at most 16 n + 15.
3. n is bounded although the state mixes freely: within the run nothing but x >>= 4 happens. At most
   8 nibbles come from the x at its start (then x < 2^31), and at most 8 from each word that enters,
   since x < 2^63. The nibble read right after a word enters is that word's lowest: 0 if it is
   padding, which ends the run. So each word that lets a run go on holds bytes of the payload; a
   word is read once, and two are read before: over all symbols, the n sum up to at most
   8 S + 8 (W - 2) for a payload of W words. Hence N <= 16 (8 S + 8 (W - 2)) + 15 S, which is
   143 S + 128 (W - 2).
4. R <= (31 + 588 S + 512 (W - 2)) / 32, and 2 + R words are read in all. `words_read_at_most` is
   that number; `decode` pads the payload with zero words up to it: about 74 bytes a symbol + 16
   times the payload.

W itself is bounded by S: a symbol below 2^24 in magnitude takes at most 16 bits and, escaped, 8
nibbles, 48 bits, so S symbols give at most 2 + 1.5 S words; a longer payload is refused. Memory and
time are linear in the number of symbols for every payload (at most 170 bytes and 335 nibbles a
symbol). What is decoded after a desync is whatever CompressAI computes: any int32, and not
necessarily the same on every machine (its shifts by more than 31 bits are undefined in C++). It is
garbage to look at, never to compare.
"""

import numpy as np
from numpy.typing import NDArray

import harness.compressai_import  # noqa: F401  # isort: skip  (the next import needs it)
from compressai.ans import RansDecoder, RansEncoder  # isort: skip
from harness.cdf import CdfTables
from harness.errors import StreamError, UserError

I32 = NDArray[np.int32]

MAX_MAGNITUDE = 1 << 24
# What one call may take: padding is then some 600 MB, or 1.4 GB for the longest payload accepted.
MAX_SYMBOLS = 1 << 23

_SAFE_ITEMS = 3
_STATE = range(1 << 31, 1 << 63)


def encode(symbols: I32, indexes: I32, tables: CdfTables) -> bytes:
    """Code `symbols` int32 of any shape, each with the row of `tables` that `indexes` names.

    `indexes` int32 of the same shape; C order; other integer dtypes will do. Symbols outside of a
    row are escaped, never clipped. Gives a whole number of 32-bit words, at least two, or b"" for
    no symbols; CompressAI decodes them too. A dtype that is not an integer, other shapes, an index
    outside of the tables or a symbol of magnitude 2^24 or more is a UserError.
    """
    _check_indexes(indexes, tables)
    _check_integers("symbols", symbols)
    if symbols.shape != indexes.shape:
        raise UserError(
            f"coder: symbols {list(symbols.shape)} and indexes {list(indexes.shape)} differ"
        )
    if not symbols.size:
        return b""
    if int(symbols.min()) <= -MAX_MAGNITUDE or int(symbols.max()) >= MAX_MAGNITUDE:
        raise UserError(
            f"coder: symbols from {symbols.min()} to {symbols.max()}; magnitudes must be below 2^24"
        )
    values, rows = symbols.reshape(-1).tolist(), indexes.reshape(-1).tolist()
    missing = max(_SAFE_ITEMS - len(values), 0)
    payload: bytes = RansEncoder().encode_with_indexes(
        values + values[-1:] * missing, rows + rows[-1:] * missing, *tables.lists
    )
    return payload


def decode(payload: bytes, indexes: I32, tables: CdfTables) -> I32:
    """The symbols int32 of `payload` in the shape of `indexes` int32: what `encode` was given.

    rANS has no redundancy: a damaged payload or a wrong index gives garbage of the full int32 range
    and no error, but never reads out of bounds. A payload that no encoder can have made (length or
    initial state) is a StreamError; bad indexes are a UserError.
    """
    _check_indexes(indexes, tables)
    _check_payload(payload, indexes.size)
    if not indexes.size:
        return np.zeros(indexes.shape, dtype=np.int32)
    padding = 4 * words_read_at_most(indexes.size, len(payload) // 4) - len(payload)
    values = RansDecoder().decode_with_indexes(
        payload + bytes(padding), indexes.reshape(-1).tolist(), *tables.lists
    )
    return np.array(values, dtype=np.int32).reshape(indexes.shape)


def words_read_at_most(symbols: int, words: int) -> int:
    """How many 32-bit words decoding `symbols` can read of a payload of `words` (>= 2) and zeros.

    >>> 4 * words_read_at_most(500_000, 2)      # bytes
    36750008
    """
    return 2 + (31 + 588 * symbols + 512 * (words - 2)) // 32


def words_written_at_most(symbols: int) -> int:
    """How many 32-bit words `encode` can write for `symbols`: the state, and 48 bits for each."""
    return 2 + 3 * max(symbols, _SAFE_ITEMS) // 2 if symbols else 0


def _check_payload(payload: bytes, symbols: int) -> None:
    if not isinstance(payload, bytes):
        raise UserError(f"coder: a payload is bytes, got {type(payload).__name__}")
    words, rest = divmod(len(payload), 4)
    least, most = 2 if symbols else 0, words_written_at_most(symbols)
    if rest or not least <= words <= most:
        raise StreamError(
            f"payload is damaged: {len(payload)} bytes;"
            f" {symbols} symbols take {4 * least} to {4 * most}, a multiple of 4"
        )
    if symbols and int.from_bytes(payload[:8], "little") not in _STATE:
        raise StreamError(
            "payload is damaged: its first 8 bytes are not a state that an encoder ends in"
        )


def _check_indexes(indexes: I32, tables: CdfTables) -> None:
    _check_integers("indexes", indexes)
    if indexes.size > MAX_SYMBOLS:
        raise UserError(
            f"coder: {indexes.size} symbols; at most {MAX_SYMBOLS} are coded in one call"
        )
    rows = len(tables.cdf)
    if indexes.size and not 0 <= int(indexes.min()) <= int(indexes.max()) < rows:
        raise UserError(
            f"coder: indexes from {indexes.min()} to {indexes.max()}; the tables have {rows} rows"
        )


def _check_integers(name: str, array: I32) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise UserError(f"coder: {name} must be an array of integers, got {kind}")
