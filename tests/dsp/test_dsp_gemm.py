"""The matrix product of the simulated DSP against scalar Python."""

from collections.abc import Iterator

import numpy as np
import pytest

from harness.dsp.gemm import Weights, multiply
from harness.dsp.profile import ArithmeticProfile
from harness.errors import Unsupported, UserError

EXACT = ArithmeticProfile()
PROFILES = [
    ArithmeticProfile(accumulator_bits=bits, overflow=overflow, pair_saturation=pair)
    for bits in (16, 24, 32)
    for overflow in ("wrap", "saturate")
    for pair in (False, True)
]
IDS = [f"{p.accumulator_bits}-{p.overflow}{'-pair' * p.pair_saturation}" for p in PROFILES]


def wrapped(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def clamped(value: int, bits: int) -> int:
    return min(max(value, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)


def addends(a: list[int], w: list[int], profile: ArithmeticProfile) -> Iterator[int]:
    products = [x * y for x, y in zip(a, w, strict=True)]
    if not profile.pair_saturation:
        yield from products
        return
    products += [0] * (len(products) % 2)
    for first, second in zip(products[::2], products[1::2], strict=True):
        yield clamped(first + second, 16)


def scalar(a: np.ndarray, w: np.ndarray, zero: int, profile: ArithmeticProfile) -> list[list[int]]:
    """One accumulator at a time, as the profile's docstring says."""
    offset = 128 if profile.pair_saturation and a.dtype == np.int8 else 0
    fit = wrapped if profile.overflow == "wrap" else clamped
    result = []
    for row in a.tolist():
        line = []
        for column in w.T.tolist():
            accumulator = 0
            for addend in addends([x + offset for x in row], column, profile):
                accumulator = fit(accumulator + addend, profile.accumulator_bits)
            line.append(wrapped(accumulator - (zero + offset) * sum(column), 32))
        result.append(line)
    return result


def vectors(dtype: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows: all-min, all-max, alternating, one-hot, random. Columns: the same of int8 weights."""
    rng = np.random.default_rng(k)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max

    def rows(least: int, most: int) -> np.ndarray:
        one_hot = np.zeros(k, np.int64)
        one_hot[k // 2] = most
        edges = [np.full(k, least), np.full(k, most), np.resize([least, most], k), one_hot]
        return np.stack([*edges, *rng.integers(least, most, (4, k), endpoint=True)])

    return rows(low, high).astype(dtype), rows(-128, 127).T.astype(np.int8)


@pytest.mark.parametrize("k", [1, 2, 7, 32])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
def test_product_is_the_scalar_simulation(profile: ArithmeticProfile, dtype: str, k: int) -> None:
    a, w = vectors(dtype, k)
    zero = 3
    got = multiply(a, Weights.of(w), profile, np.array(zero, dtype))
    assert got.dtype == np.int32
    assert got.tolist() == scalar(a, w.astype(np.int64), zero, profile)


def test_24_bits_overflow_where_k_is_long() -> None:
    a, w = vectors("uint8", 600)
    for overflow in ("wrap", "saturate"):
        profile = ArithmeticProfile(accumulator_bits=24, overflow=overflow)
        got = multiply(a, Weights.of(w), profile)
        assert got.tolist() == scalar(a, w.astype(np.int64), 0, profile)
        assert got.tolist() != multiply(a, Weights.of(w), EXACT).tolist()


@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
def test_every_profile_is_exact_where_its_bounds_hold(profile: ArithmeticProfile) -> None:
    a = vectors("uint8", 16)[0]
    w = np.random.default_rng(1).integers(-8, 8, (16, 5))  # 16 * 255 * 8 < 2^15; pairs < 2^13
    assert multiply(a, Weights.of(w), profile).tolist() == (a.astype(np.int64) @ w).tolist()


@pytest.mark.parametrize(
    ("profile", "specified", "got"),
    [
        (PROFILES[0], 255 * 127 * 2, 255 * 127 * 2 - 65536),
        (PROFILES[2], 255 * 127 * 2, 32767),
        (ArithmeticProfile(pair_saturation=True), 255 * 127 * 2, 32767),
    ],
    ids=["16-wrap", "16-sat", "pair"],
)
def test_crafted_vector(profile: ArithmeticProfile, specified: int, got: int) -> None:
    a, w = np.full((1, 2), 255, np.uint8), Weights.of(np.full((2, 1), 127, np.int8))
    assert multiply(a, w, EXACT).tolist() == [[specified]]
    assert multiply(a, w, profile).tolist() == [[got]]


def test_saturation_depends_on_the_order() -> None:
    profile = ArithmeticProfile(accumulator_bits=16, overflow="saturate")
    a = np.full((1, 3), 255, np.uint8)
    up_first = multiply(a, Weights.of(np.array([[127], [127], [-127]])), profile)
    down_first = multiply(a, Weights.of(np.array([[-127], [127], [127]])), profile)
    assert up_first.tolist() == [[32767 - 32385]]
    assert down_first.tolist() == [[32385]]


def test_pairs_are_adjacent_and_the_odd_one_is_alone() -> None:
    profile = ArithmeticProfile(pair_saturation=True)
    a = np.full((1, 3), 255, np.uint8)
    assert multiply(a, Weights.of(np.array([[127], [0], [127]])), profile).tolist() == [[64770]]
    assert multiply(a, Weights.of(np.array([[127], [127], [0]])), profile).tolist() == [[32767]]


def test_seven_bit_weights_or_activations_never_saturate_a_pair() -> None:
    profile = ArithmeticProfile(pair_saturation=True)
    a, w = vectors("uint8", 32)
    for left, right in ((a, np.clip(w, -64, 64)), (a // 2, w)):
        weights = Weights.of(right)
        assert multiply(left, weights, profile).tolist() == multiply(left, weights, EXACT).tolist()


@pytest.mark.parametrize("zero", [0, 1, 128, 255])
def test_zero_points_of_both_operands(zero: int) -> None:
    a = vectors("uint8", 9)[0]
    b = np.random.default_rng(2).integers(0, 256, (9, 4)).astype(np.uint8)
    zeros_b = np.array([0, 128, 127, 255], np.uint8)
    expected = (a.astype(np.int64) - zero) @ (b.astype(np.int64) - zeros_b)
    got = multiply(a, Weights.of(b, zeros_b), EXACT, np.array(zero, np.uint8))
    assert got.tolist() == expected.tolist()


def test_a_zero_point_a_row() -> None:
    a, w = vectors("int8", 5)
    zeros = np.arange(-4, 4).astype(np.int8)
    expected = (a.astype(np.int64) - zeros[:, None]) @ w.astype(np.int64)
    assert multiply(a, Weights.of(w), EXACT, zeros).tolist() == expected.tolist()


@pytest.mark.parametrize("magnitude", [2**24, 2**30, 2**40 - 1], ids=["f32", "i32", "f64"])
def test_carriers_are_exact_on_both_sides_of_their_limits(magnitude: int) -> None:
    """Sums that need every bit: +-1 around a power of two, then cancelled to leave the last one."""
    for delta in (-1, 0, 1):
        big = magnitude // 4 + delta
        w = np.array([[2], [2], [1], [-2], [-2]])
        a = np.array([[big, big, 1, big, big]], np.int64)
        assert multiply(a, Weights.of(w), EXACT).tolist() == [[1]]
        assert multiply(a, Weights.of(np.abs(w)), EXACT).tolist() == [[wrapped(8 * big + 1, 32)]]


def test_int32_accumulators_wrap_and_saturate() -> None:
    a, w = np.array([[2**30, 2**30, -5]], np.int32), Weights.of(np.ones((3, 1), np.int64))
    saturating = ArithmeticProfile(overflow="saturate")
    assert multiply(a, w, EXACT).tolist() == [[-(2**31) - 5 + 2**32]]
    assert multiply(a, w, saturating).tolist() == [[2**31 - 1 - 5]]


def test_what_no_carrier_holds_is_refused() -> None:
    a, w = np.array([[2**31 - 1]], np.int32), Weights.of(np.array([[2**23]]))
    with pytest.raises(Unsupported, match="no carrier"):
        multiply(a, w, EXACT)


def test_the_pair_unit_refuses_wider_operands() -> None:
    profile = ArithmeticProfile(pair_saturation=True)
    with pytest.raises(Unsupported, match="pair unit"):
        multiply(np.ones((1, 1), np.int32), Weights.of(np.ones((1, 1), np.int8)), profile)
    with pytest.raises(Unsupported, match="pair unit"):
        multiply(np.ones((1, 1), np.uint8), Weights.of(np.full((1, 1), 200)), profile)


def test_a_profile_names_what_exists() -> None:
    with pytest.raises(UserError, match="bits"):
        ArithmeticProfile(accumulator_bits=20)
    with pytest.raises(UserError, match="half-down"):
        ArithmeticProfile(rounding="half-down")
