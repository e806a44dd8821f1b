"""Entropy tables as data: CDF rows, scales as integer thresholds, the file that ships both.

Stands between the codecs (which read CompressAI's tables once) and `coder` (which uses them). Knows
numpy and integers only: a table is never regenerated, since even `exp` differs by an ULP between
CPU dispatch paths of one library.
"""

import io
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.files import write_file
from harness.trace import TensorRecord

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

PRECISION = 16
TOTAL = 1 << PRECISION
MIN_LENGTH = 3
MAX_OFFSET = 1 << 24
MAX_TABLE_BYTES = 64 << 20
TABLE_SIZES = range(2, 257)
FRACTION_BITS = range(-16, 33)
_INFINITY_BITS = 0x7F800000
# What zipfile raises at damage; RuntimeError (and NotImplementedError under it) is for encryption.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError, RuntimeError)
# What numpy writes for an integer array in C order, and nothing else: parsing it needs no eval.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<dtype>[<|][iu][1248])', "
    rb"'fortran_order': False, 'shape': \((?P<shape>(?:\d{1,12}(?:, \d{1,12}){0,7},?)?)\), \} *\n",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class CdfTables:
    """K rows of 16-bit cumulative frequencies; equal when their digests are.

    `cdf` int32 [K, L]: row k is 0 < ... < 65536 over its first `length[k]` entries and 0 after
    them. Its last symbol is the escape, as in CompressAI's `_quantized_cdf`. `length` int32 [K], 3
    <= length <= L. `offset` int32 [K]: the value of each row's first symbol, at most 2^24 in
    magnitude. The arrays are copied and read-only; anything else is a UserError. (Two symbols at
    least in a row, escape included: a frequency of 65536 does not fit the coder's uint16.)
    """

    cdf: I32
    length: I32
    offset: I32

    def __post_init__(self) -> None:
        for name, axes in (("cdf", 2), ("length", 1), ("offset", 1)):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != np.int32 or array.ndim != axes:
                raise UserError(
                    f"CDF tables: {name} must be an int32 array of {axes} axes, got {_kind(array)}"
                )
            frozen = np.array(array, dtype=np.int32, order="C")
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)
        rows, width = self.cdf.shape
        if rows < 1 or self.length.shape != (rows,) or self.offset.shape != (rows,):
            raise UserError(
                f"CDF tables: cdf {list(self.cdf.shape)}, length {list(self.length.shape)} and"
                f" offset {list(self.offset.shape)} must be [K, L], [K] and [K] with K >= 1"
            )
        _refuse_rows("length must be in 3..L", (self.length < MIN_LENGTH) | (self.length > width))
        _refuse_rows(
            "offset must be at most 2^24 in magnitude",
            (self.offset < -MAX_OFFSET) | (self.offset > MAX_OFFSET),
        )
        used = np.arange(width) < self.length[:, None]
        _refuse_rows("cdf must start with 0", self.cdf[:, 0] != 0)
        _refuse_rows("cdf must be 0 after its length", ((self.cdf != 0) & ~used).any(axis=1))
        _refuse_rows("cdf must end with 65536", self.cdf[np.arange(rows), self.length - 1] != TOTAL)
        # Compared, not subtracted: the difference of two int32 can wrap into a positive one.
        _refuse_rows(
            "cdf must increase strictly",
            ((self.cdf[:, 1:] <= self.cdf[:, :-1]) & used[:, 1:]).any(axis=1),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over name, dtype, shape and little-endian elements of the three arrays."""
        lines = [
            f"{name} {TensorRecord.of(name, array).digest}\n"
            for name, array in self.to_arrays("tables").items()
        ]
        return sha256("".join(lines).encode()).hexdigest()

    @cached_property
    def lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        """Trimmed rows, lengths, offsets as plain integers for the coder; made once, read only."""
        rows = [self.cdf[k, :n].tolist() for k, n in enumerate(self.length.tolist())]
        return rows, self.length.tolist(), self.offset.tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CdfTables) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_arrays(self, prefix: str) -> dict[str, I32]:
        """The arrays as `prefix.cdf`, `prefix.length` and `prefix.offset`, for `save_tables`."""
        return {
            f"{prefix}.cdf": self.cdf,
            f"{prefix}.length": self.length,
            f"{prefix}.offset": self.offset,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> "CdfTables":
        """What `to_arrays` gave; a missing name or a wrong array is a UserError."""
        found: dict[str, I32] = {}
        for name in ("cdf", "length", "offset"):
            array = arrays.get(f"{prefix}.{name}")
            if array is None or array.dtype != np.int32:
                raise UserError(
                    f"CDF tables: {prefix}.{name} must be an int32 array, got {_kind(array)}"
                )
            found[name] = array.astype(np.int32, copy=False)
        return cls(cdf=found["cdf"], length=found["length"], offset=found["offset"])


def scale_thresholds(scale_table: NDArray[np.float32]) -> I32:
    """The scale table float32 [64] (2 to 256 entries) as its int32 bit patterns, same shape.

    Positive IEEE 754 floats are ordered as their bit patterns are, so thresholds need no float.
    Entries must be float32, positive, finite and ascend strictly: UserError.
    """
    table = np.asarray(scale_table)
    if table.dtype != np.float32:
        raise UserError(f"scale table: must be float32, got {_kind(scale_table)}")
    return _checked(np.ascontiguousarray(table).view(np.int32))


def indexes_from_scales(scales_hat: NDArray[np.float32], thresholds_bits: I32) -> I32:
    """CDF indexes int32 of `scales_hat` float32: how many of `thresholds_bits[:-1]` lie below.

    Same shape. CompressAI's `GaussianConditional.build_indexes` (last index minus the count of
    `scale <= s`) on bit patterns: zeros and negatives give 0, +inf and every NaN (for which no `<=`
    holds) the last index. CompressAI first raises scales to its `scale_bound` 0.11; that changes no
    index as long as the table's first entry is not below it.
    """
    if not isinstance(scales_hat, np.ndarray) or scales_hat.dtype != np.float32:
        raise UserError(f"scales_hat must be a float32 array, got {_kind(scales_hat)}")
    bits = np.ascontiguousarray(scales_hat).view(np.int32).reshape(scales_hat.shape)
    indexes = np.searchsorted(_checked(thresholds_bits)[:-1], bits, side="left").astype(np.int32)
    not_a_number = (bits & 0x7FFFFFFF) > _INFINITY_BITS
    return np.where(not_a_number, np.int32(len(thresholds_bits) - 1), indexes).astype(np.int32)


def fixed_thresholds(bits: I32, fraction_bits: int) -> I64:
    """Thresholds for a fixed-point sigma: floor(s * 2^fraction_bits), exactly, of all but the last.

    An integer sigma is above s * 2^F when it is above the floor, so index = number of thresholds
    below sigma. `bits` int32 [64] from `scale_thresholds`; int64 [63]. fraction_bits in -16..32;
    beyond int64 is a UserError.

    >>> fixed_thresholds(scale_thresholds(np.array([0.11, 1.5, 256], np.float32)), 4).tolist()
    [1, 24]
    """
    if type(fraction_bits) is not int or fraction_bits not in FRACTION_BITS:
        raise UserError(
            f"thresholds: fraction bits must be an integer in -16..32, got {fraction_bits!r}"
        )
    scales = [Fraction(float(s)) for s in _checked(bits)[:-1].view(np.float32)]
    fixed = [math.floor(scale * Fraction(2) ** fraction_bits) for scale in scales]
    if fixed[-1] > np.iinfo(np.int64).max:
        raise UserError(
            f"thresholds: {float(scales[-1])} with {fraction_bits} fraction bits does not fit int64"
        )
    return np.array(fixed, dtype=np.int64)


def index_table(bits: I32, fraction_bits: int) -> NDArray[np.uint8]:
    """uint8 [65536]: the index of every u16 sigma of `fraction_bits`; see `fixed_thresholds`."""
    every_sigma = np.arange(65536, dtype=np.int64)
    thresholds = fixed_thresholds(bits, fraction_bits)
    return np.searchsorted(thresholds, every_sigma, side="left").astype(np.uint8)


def save_tables(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write named integer arrays as an .npz, equal bytes for equal arrays; none is a UserError."""
    buffer = io.BytesIO()
    if not arrays:
        raise UserError(f"cannot write tables {path}: no arrays")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
                raise UserError(
                    f"cannot write tables {path}: {name} is {_kind(array)}, not an integer array"
                )
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):
                raise UserError(f"cannot write tables {path}: {name!r} has more than A-Za-z0-9_.-")
            member = io.BytesIO()
            little = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
            np.save(member, little, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
        _cap(path, *(entry.file_size for entry in archive.infolist()))
    write_file(path, buffer.getvalue())


def load_tables(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read what `save_tables` wrote, at most 64 MiB (checked before unpacking); else a UserError.

    The arrays are read-only, in native byte order.
    """
    try:
        _cap(path, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            _cap(path, *(entry.file_size for entry in archive.infolist()))
            names = [entry.filename for entry in archive.infolist()]
            if not names or len(set(names)) != len(names):
                raise ValueError("needs at least one array and distinct names")
            return {name.removesuffix(".npy"): _array(name, archive.read(name)) for name in names}
    except OSError as error:
        raise UserError(f"cannot read tables {path}: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise UserError(f"cannot read tables {path}: {error}") from error


def _array(name: str, data: bytes) -> NDArray[np.generic]:
    """One .npy member, whose shape must match the bytes that are there; else a ValueError."""
    head = _NPY.match(data)
    if (
        not name.endswith(".npy")
        or head is None
        or head.end() != 10 + int.from_bytes(head["length"], "little")
    ):
        raise ValueError(f"{name} is not an .npy of integers in C order")
    dtype = np.dtype(head["dtype"].decode())
    shape = tuple(int(n) for n in head["shape"].decode().split(",") if n)
    if math.prod(shape) * dtype.itemsize != len(data) - head.end():
        raise ValueError(f"{name} holds {len(data) - head.end()} bytes for {list(shape)}")
    little = np.frombuffer(data, dtype, math.prod(shape), head.end()).reshape(shape)
    array = little.astype(dtype.newbyteorder("="))
    array.flags.writeable = False
    return array


def _cap(path: Path, *sizes: int) -> None:
    if sum(sizes) > MAX_TABLE_BYTES:
        raise UserError(f"tables {path} take {sum(sizes)} bytes, over {MAX_TABLE_BYTES}")


def _checked(bits: I32) -> I32:
    """Thresholds as given, if they are the bit patterns of ascending positive finite floats."""
    if (
        not isinstance(bits, np.ndarray)
        or bits.dtype != np.int32
        or bits.ndim != 1
        or bits.size not in TABLE_SIZES
    ):
        raise UserError(
            f"scale table: needs 2 to 256 thresholds as int32 bit patterns, got {_kind(bits)}"
        )
    if bits[0] <= 0 or bits[-1] >= _INFINITY_BITS or (bits[1:] <= bits[:-1]).any():
        raise UserError("scale table: entries must be positive, finite and ascend strictly")
    return bits


def _refuse_rows(rule: str, wrong: NDArray[np.bool_]) -> None:
    if wrong.any():
        raise UserError(
            f"CDF tables: {rule}; row {int(wrong.argmax())} does not ({int(wrong.sum())} in all)"
        )


def _kind(value: object) -> str:
    return (
        f"{value.dtype}{list(value.shape)}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
    )
