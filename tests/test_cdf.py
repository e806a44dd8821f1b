"""Tables: every rule that makes a CDF valid, digests, thresholds against CompressAI, the file."""

import io
import math
import re
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import harness.compressai_import  # isort: skip
from compressai.entropy_models import GaussianConditional  # isort: skip
import harness.cdf
from harness.cdf import (
    CdfTables,
    fixed_thresholds,
    index_table,
    indexes_from_scales,
    load_tables,
    save_tables,
    scale_thresholds,
)
from harness.errors import UserError

I32 = NDArray[np.int32]
CDF = np.array([[0, 1, 65535, 65536, 0], [0, 10, 20, 30, 65536], [0, 9, 65536, 0, 0]], np.int32)
LENGTH = np.array([4, 5, 3], np.int32)
OFFSET = np.array([-1, 0, 5], np.int32)
# What CompressAI's get_scale_table computes, give or take an ULP: 64 scales from 0.11 to 256.
SCALES = np.exp(np.linspace(math.log(0.11), math.log(256), 64)).astype(np.float32)
SCALES[0] = np.float32(0.11)


def tables(cdf: I32 = CDF, length: I32 = LENGTH, offset: I32 = OFFSET) -> CdfTables:
    return CdfTables(cdf=cdf, length=length, offset=offset)


def changed(array: I32, place: tuple[int, ...], value: int) -> I32:
    copy = array.copy()
    copy[place] = value
    return copy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tables(CDF.astype(np.int64)), r"int32 array of 2 axes, got int64\[3, 5\]"),
        (lambda: tables(CDF[0]), r"2 axes, got int32\[5\]"),
        (lambda: tables(CDF.tolist()), "2 axes, got list"),
        (lambda: tables(length=LENGTH.astype(np.float32)), "length must be an int32"),
        (lambda: tables(offset=OFFSET[:, None]), "offset must be an int32 array of 1"),
        (lambda: tables(CDF[:0], LENGTH[:0], OFFSET[:0]), "K >= 1"),
        (lambda: tables(length=LENGTH[:2]), r"\[K, L\], \[K\] and \[K\]"),
        (lambda: tables(offset=OFFSET[:2]), r"\[K, L\], \[K\] and \[K\]"),
        (lambda: tables(CDF[:, :0]), "length must be in 3..L; row 0"),
        (lambda: tables(length=changed(LENGTH, (1,), 6)), "length must be in 3..L; row 1"),
        (lambda: tables(length=changed(LENGTH, (1,), 2)), "length must be in 3..L; row 1"),
        (lambda: tables(length=changed(LENGTH, (1,), -(2**31))), "length must be in 3..L; row 1"),
        (lambda: tables(offset=changed(OFFSET, (2,), 2**24 + 1)), "offset .* row 2"),
        (lambda: tables(offset=changed(OFFSET, (2,), -(2**31))), "offset .* row 2"),
        (lambda: tables(changed(CDF, (1, 0), 1)), "start with 0; row 1"),
        (lambda: tables(changed(CDF, (1, 0), -1)), "start with 0; row 1"),
        (lambda: tables(changed(CDF, (0, 4), 1)), "0 after its length; row 0"),
        (lambda: tables(changed(CDF, (2, 4), -1)), "0 after its length; row 2"),
        (lambda: tables(changed(CDF, (1, 4), 65535)), "end with 65536; row 1"),
        (lambda: tables(changed(CDF, (1, 2), 10)), "increase strictly; row 1"),
        (lambda: tables(changed(CDF, (1, 2), 9)), "increase strictly; row 1"),
        (lambda: tables(changed(CDF, (1, 2), 2**31 - 1)), "increase strictly; row 1"),
        (lambda: tables(changed(CDF, (1, 1), -(2**31))), "increase strictly; row 1"),
        (lambda: tables(changed(CDF, (2, 1), 65536)), "increase strictly; row 2"),
    ],
)
def test_an_invalid_table_is_refused_with_its_row(
    make: Callable[[], CdfTables], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_tables_cannot_change_after_they_were_checked() -> None:
    mine = CDF.copy()
    made = tables(mine)
    before = made.digest
    mine[1, 1] = 0
    assert made.cdf[1, 1] == 10
    assert made.digest == before == tables().digest
    with pytest.raises(ValueError, match="read-only"):
        made.cdf[0, 0] = 1


def test_digest_is_of_the_values_not_of_the_layout() -> None:
    fortran = tables(np.asfortranarray(CDF), LENGTH[::-1].copy()[::-1], OFFSET.copy())
    assert fortran.digest == tables().digest
    assert fortran == tables()
    assert hash(fortran) == hash(tables())
    assert fortran != CDF.tolist()
    # Pinned: a digest names shipped tables, so a new version must compute the same one.
    assert tables().digest == "0a852ef851d204ff1b5a2e7e722cca213d5b20fe56a6dc65b036148f4d50e93a"


def test_digest_changes_with_every_entry() -> None:
    seen = {tables().digest}
    for row, column in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (2, 1)]:
        entry = int(CDF[row, column])
        other = entry + 1 if entry < 65535 else entry - 1
        seen.add(tables(changed(CDF, (row, column), other)).digest)
    for row in range(3):
        seen.add(tables(offset=changed(OFFSET, (row,), 77)).digest)
    seen.add(tables(np.pad(CDF, ((0, 0), (0, 1)))).digest)
    seen.add(tables(CDF[[1, 0, 2]], LENGTH[[1, 0, 2]], OFFSET).digest)
    assert len(seen) == 12


def test_lists_are_trimmed_rows_of_plain_integers() -> None:
    rows, lengths, offsets = tables().lists
    assert rows == [[0, 1, 65535, 65536], [0, 10, 20, 30, 65536], [0, 9, 65536]]
    assert (lengths, offsets) == ([4, 5, 3], [-1, 0, 5])
    assert {type(n) for n in (*rows[0], *lengths, *offsets)} == {int}


def test_arrays_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tables.npz"
    other = tables(offset=OFFSET + 1)
    extra: dict[str, NDArray[np.generic]] = {
        "bits": scale_thresholds(SCALES),
        "none": np.zeros((2, 0), np.int64),
        "scalar": np.array(-3, np.int16),
        "wide": np.array([[2**64 - 1]], np.uint64),
    }
    arrays: dict[str, NDArray[np.generic]] = {
        **tables().to_arrays("y"),
        **other.to_arrays("z"),
        **extra,
    }
    save_tables(path, arrays)
    loaded = load_tables(path)
    assert list(loaded) == sorted(arrays)
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert loaded[name].tobytes() == array.tobytes()
        assert not loaded[name].flags.writeable
    assert CdfTables.from_arrays(loaded, "y") == tables()
    assert CdfTables.from_arrays(loaded, "z") == other
    assert [entry.name for entry in tmp_path.iterdir()] == ["tables.npz"]
    with np.load(path, allow_pickle=False) as numpys:
        assert numpys["y.cdf"].tolist() == CDF.tolist()


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    big_endian = {name: a.astype(">i4") for name, a in tables().to_arrays("y").items()}
    save_tables(tmp_path / "a", tables().to_arrays("y"))
    save_tables(tmp_path / "b", dict(reversed(big_endian.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ["y.cdf", "y.length", "y.offset"])
def test_a_missing_or_wrong_array_is_refused(name: str) -> None:
    arrays: dict[str, NDArray[np.generic]] = dict(tables().to_arrays("y"))
    with pytest.raises(UserError, match=rf"{name} must be an int32 array, got int64"):
        CdfTables.from_arrays({**arrays, name: arrays[name].astype(np.int64)}, "y")
    del arrays[name]
    with pytest.raises(UserError, match=rf"{name} must be an int32 array, got NoneType"):
        CdfTables.from_arrays(arrays, "y")


@pytest.mark.parametrize(
    "arrays",
    [{}, {"a": np.zeros(2)}, {"a": np.array([None])}, {"a": np.zeros(2, bool)}, {"../a": OFFSET},
     {"": OFFSET}, {"a": np.zeros(2**24, np.int32), "b": OFFSET}],
    ids=["none", "float", "object", "bool", "path", "nameless", "large"],
)  # fmt: skip
def test_what_is_not_named_integers_is_not_saved(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]]
) -> None:
    with pytest.raises(UserError, match="tables"):
        save_tables(tmp_path / "t.npz", arrays)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        save_tables(tmp_path / "missing" / "t.npz", tables().to_arrays("y"))
    with pytest.raises(UserError, match="No such file"):
        load_tables(tmp_path / "missing.npz")
    with pytest.raises(UserError, match="cannot read"):
        load_tables(tmp_path)


def npy(array: NDArray[np.generic], *, pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickle)
    return buffer.getvalue()


INT32S = npy(np.arange(4, dtype=np.int32))


@pytest.mark.parametrize(
    ("member", "data"),
    [
        ("a.npy", npy(np.array([{}]), pickle=True)),
        ("a.npy", npy(np.zeros(3))),
        ("a.npy", npy(np.asfortranarray(np.zeros((2, 2), np.int32)))),
        ("a.npy", npy(np.zeros(3, ">i4"))),
        ("a.npy", INT32S[:-1]),
        ("a.npy", INT32S + b"\0"),
        ("a.npy", INT32S.replace(b"(4,)", b"(999999999999,)")),
        ("a.npy", INT32S.replace(b"(4,)", b"(-4,)")),
        ("a.npy", INT32S.replace(b"(4,)", b"((),)")),
        ("a.npy", b""),
        ("a.txt", INT32S),
    ],
)
def test_a_member_that_is_not_integers_is_refused(tmp_path: Path, member: str, data: bytes) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    with pytest.raises(UserError, match=rf"cannot read tables .*{re.escape(member)}"):
        load_tables(path)


def test_size_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1000))
        archive.writestr("b.npy", bytes(1000))
    monkeypatch.setattr(harness.cdf, "MAX_TABLE_BYTES", 1999)
    monkeypatch.setattr(zipfile.ZipFile, "read", pytest.fail)
    with pytest.raises(UserError, match="take 2000 bytes, over 1999"):
        load_tables(path)


def test_a_damaged_file_is_a_user_error_or_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    save_tables(path, {"a": np.arange(6, dtype=np.int32)})
    good, reader = path.read_bytes(), np.random.default_rng(1)
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(reader.integers(8))
        for data in (bytes(damaged), good[:place]):
            path.write_bytes(data)
            try:
                loaded = load_tables(path)
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:  # a zip has bytes that mean nothing here, such as times
                assert [a.tolist() for a in loaded.values()] == [[0, 1, 2, 3, 4, 5]]


def edge_scales() -> NDArray[np.float32]:
    zero, infinity = np.float32(0), np.float32(np.inf)
    tiny = np.array([1, 2, 0x007FFFFF, 0x00800000, 0x7F7FFFFF], np.int32).view(np.float32)
    nans = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF], np.int32)
    nans = np.concatenate((nans, nans | np.int32(-(2**31))))
    return np.concatenate((
        SCALES, np.nextafter(SCALES, zero), np.nextafter(SCALES, infinity), -SCALES, tiny, -tiny,
        nans.view(np.float32), np.array([0.0, -0.0, np.inf, -np.inf, 1e30, -1.0], np.float32),
    ))  # fmt: skip


def build_indexes(scales: NDArray[np.float32]) -> I32:
    conditional = GaussianConditional(None)
    conditional.scale_table = torch.from_numpy(SCALES)
    found: I32 = conditional.build_indexes(torch.from_numpy(scales)).numpy()
    return found


def test_indexes_are_compressais_at_every_edge() -> None:
    scales = edge_scales().reshape(1, 1, -1)
    indexes = indexes_from_scales(scales, scale_thresholds(SCALES))
    assert indexes.dtype == np.int32
    assert indexes.shape == scales.shape
    assert indexes.tolist() == build_indexes(scales).tolist()
    assert set(indexes.ravel().tolist()) == set(range(64))


def test_indexes_are_compressais_at_random_bit_patterns() -> None:
    rng = np.random.default_rng(2)
    anything = rng.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    likely = np.exp(rng.uniform(-3, 7, 20_000)).astype(np.float32)
    scales = np.concatenate((anything, likely))
    indexes = indexes_from_scales(scales, scale_thresholds(SCALES))
    assert indexes.tolist() == build_indexes(scales).tolist()


def test_indexes_keep_the_shape_of_scalars_views_and_nothing() -> None:
    bits = scale_thresholds(SCALES)
    assert indexes_from_scales(np.array(300, np.float32), bits).shape == ()
    assert indexes_from_scales(np.zeros((2, 0, 3), np.float32), bits).shape == (2, 0, 3)
    view = np.tile(SCALES, (2, 1)).T[::-3]
    assert indexes_from_scales(view, bits).tolist() == build_indexes(view.copy()).tolist()


@pytest.mark.parametrize("scales", [np.zeros(3), np.zeros(3, np.int32), [0.5]])
def test_scales_that_are_not_float32_are_refused(scales: NDArray[np.float32]) -> None:
    with pytest.raises(UserError, match="float32"):
        indexes_from_scales(scales, scale_thresholds(SCALES))


@pytest.mark.parametrize(
    "table",
    [SCALES.astype(np.float64), SCALES[::-1], np.append(SCALES, np.float32(np.inf)), SCALES[:1],
     np.append(np.float32(0), SCALES), np.append(SCALES, SCALES[-1]), SCALES[None], -SCALES,
     np.append(SCALES, np.float32(np.nan)), np.arange(1, 258, dtype=np.float32)],
)  # fmt: skip
def test_a_scale_table_that_does_not_ascend_is_refused(table: NDArray[np.float32]) -> None:
    with pytest.raises(UserError, match="scale table"):
        scale_thresholds(table)


@pytest.mark.parametrize("fraction_bits", [-16, -1, 0, 1, 7, 8, 10, 16, 32])
def test_fixed_thresholds_are_exact(fraction_bits: int) -> None:
    fixed = fixed_thresholds(scale_thresholds(SCALES), fraction_bits)
    assert fixed.dtype == np.int64
    assert fixed.shape == (63,)
    unit = Fraction(2) ** fraction_bits
    for scale, threshold in zip(SCALES[:-1].tolist(), fixed.tolist(), strict=True):
        assert threshold <= Fraction(scale) * unit < threshold + 1


@pytest.mark.parametrize("fraction_bits", [0, 6, 8, 14, 16])
def test_index_table_is_the_float_rule_on_every_u16(fraction_bits: int) -> None:
    bits = scale_thresholds(SCALES)
    every = (np.arange(65536) / 2**fraction_bits).astype(np.float32)  # exact: 16 bits fit float32
    table = index_table(bits, fraction_bits)
    assert table.dtype == np.uint8
    assert table.shape == (65536,)
    assert table.tolist() == indexes_from_scales(every, bits).tolist()
    thresholds = fixed_thresholds(bits, fraction_bits)
    for sigma in (0, 1, 255, 256, 65535):
        assert table[sigma] == np.count_nonzero(sigma > thresholds)


@pytest.mark.parametrize("fraction_bits", [-17, 33, 1.0, True])
def test_fraction_bits_are_a_small_integer(fraction_bits: int) -> None:
    with pytest.raises(UserError, match="fraction bits"):
        fixed_thresholds(scale_thresholds(SCALES), fraction_bits)


def test_thresholds_beyond_int64_are_refused() -> None:
    bits = scale_thresholds(np.array([1, 2.0**31, 2.0**32], np.float32))
    assert fixed_thresholds(bits, 31).tolist() == [2**31, 2**62]
    with pytest.raises(UserError, match="does not fit int64"):
        fixed_thresholds(bits, 32)


@given(st.lists(st.integers(1, 0x7F7FFFFF), min_size=2, max_size=256, unique=True))
@settings(max_examples=50, deadline=None)
def test_every_ascending_table_keeps_its_own_thresholds(patterns: list[int]) -> None:
    table = np.array(sorted(patterns), np.int32).view(np.float32)
    bits = scale_thresholds(table)
    assert bits.tolist() == sorted(patterns)
    assert indexes_from_scales(table, bits).tolist() == list(range(len(patterns)))
