"""Requantization rules against exact fractions and scalar transcriptions of their sources."""

from collections.abc import Callable
from fractions import Fraction
from math import floor

import numpy as np
import pytest

from harness.dsp import rounding
from harness.dsp.requantize import Parameters, requantizer
from harness.dsp.rounding import RULES
from harness.errors import Unsupported

HALF = Fraction(1, 2)


def half_even(v: Fraction) -> int:
    return round(v)


def half_away(v: Fraction) -> int:
    return floor(v + HALF) if v >= 0 else -floor(-v + HALF)


def half_up(v: Fraction) -> int:
    return floor(v + HALF)


def mantissa(multiplier: int, shift: int) -> tuple[int, int]:
    """M in [2^30, 2^31) and r, bit by bit."""
    while multiplier < 2**30:
        multiplier *= 2
        shift += 1
    return multiplier, shift - 31


def truncated(a: int, b: int) -> int:
    return abs(a) // b * (1 if a >= 0 else -1)


def gemmlowp(x: int, multiplier: int, shift: int) -> int:
    m, r = mantissa(multiplier, shift)
    product = (x << max(-r, 0)) * m
    high = truncated(product + (2**30 if product >= 0 else 1 - 2**30), 2**31)
    r = max(r, 0)
    # RoundingDivideByPOT: remainder, threshold.
    mask = (1 << r) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> r) + (1 if (high & mask) > threshold else 0)


def tflite_int16(x: int, multiplier: int, shift: int) -> int:
    m, r = mantissa(multiplier, shift)
    reduced = (m + 2**15) >> 16 if m < 0x7FFF0000 else 0x7FFF
    return (x * reduced + (1 << (14 + r))) >> (15 + r)


def mlas(x: int, multiplier: int, shift: int) -> int:
    return int(np.rint(np.float32(x) * np.float32(multiplier / 2**shift)))


def openvino(x: int, multiplier: int, shift: int) -> int:
    step = np.float32(2**shift / multiplier)
    return int(np.rint(np.float32(x) * (np.float32(1) / step)))


ORACLES: dict[str, Callable[[int, int, int], int]] = {
    "half-up": lambda x, m, s: half_up(Fraction(x * m, 2**s)),
    "half-even": lambda x, m, s: half_even(Fraction(x * m, 2**s)),
    "half-away": lambda x, m, s: half_away(Fraction(x * m, 2**s)),
    "floor": lambda x, m, s: floor(Fraction(x * m, 2**s)),
    "single-rounding": lambda x, m, s: half_up(Fraction(x * m, 2**s)),
    "double-rounding": gemmlowp,
    "int16-multiplier": tflite_int16,
    "float32-rescale": mlas,
    "reciprocal": openvino,
}
SCALES = [(1, 1), (1, 2), (1, 7), (3, 4), (41, 12), (127, 9), (255, 15), (5, 2), (2**17 + 1, 18)]
EDGES = [0, 1, -1, 2**15 - 1, -(2**15), 2**20 + 1, 2**23 - 1, -(2**23), 2**24 + 1, -(2**24) - 1]
X = np.concatenate([np.arange(-1030, 1031), EDGES]).astype(np.int64)


def apply(rule: str, x: np.ndarray, multiplier: int, shift: int) -> list[int]:
    return RULES[rule](x, np.array([multiplier]), np.array([shift])).tolist()


def test_every_rule_has_an_oracle() -> None:
    assert list(RULES) == list(ORACLES)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_rule_is_its_definition(rule: str, scale: tuple[int, int]) -> None:
    expected = [ORACLES[rule](int(x), *scale) for x in X]
    assert apply(rule, X, *scale) == expected


@pytest.mark.parametrize("rule", RULES)
def test_channels_have_their_own_scales(rule: str) -> None:
    multipliers, shifts = np.array(SCALES).T
    together = RULES[rule](X[:, None], multipliers, shifts)
    apart = [apply(rule, X, m, s) for m, s in SCALES]
    assert together.T.tolist() == apart


@pytest.mark.parametrize(
    ("rule", "x", "scale", "specified", "got"),
    [
        ("half-even", 1, (1, 1), 1, 0),
        ("half-even", -3, (1, 1), -1, -2),
        ("half-away", -1, (1, 1), 0, -1),
        ("floor", 1, (1, 1), 1, 0),
        ("floor", -1, (3, 2), -1, -1),
        ("double-rounding", 1, (1, 2), 0, 1),
        ("double-rounding", 5, (1, 2), 1, 2),
        ("int16-multiplier", 2**20, (2**17 + 1, 18), 524292, 524288),
        ("float32-rescale", 1, (1, 1), 1, 0),
        ("float32-rescale", 2**24 + 1, (1, 1), 2**23 + 1, 2**23),
        ("reciprocal", 1, (1, 1), 1, 0),
    ],
)
def test_crafted_vector(
    rule: str, x: int, scale: tuple[int, int], specified: int, got: int
) -> None:
    assert apply("half-up", np.array([x]), *scale) == [specified]
    assert apply(rule, np.array([x]), *scale) == [got]


@pytest.mark.parametrize("rule", ["half-even", "half-away", "float32-rescale", "reciprocal"])
def test_rules_that_round_to_nearest_agree_away_from_ties(rule: str) -> None:
    x = np.arange(-5000, 5000)
    x = x[(x * 5) % 8 != 4]
    assert apply(rule, x, 5, 3) == apply("half-up", x, 5, 3)


def test_reciprocal_differs_from_the_plain_float_rescale() -> None:
    x = np.array([66304])  # a tie for one of them
    assert apply("reciprocal", x, 13, 9) != apply("float32-rescale", x, 13, 9)


def test_a_multiplier_of_zero_gives_zero() -> None:
    for rule in RULES:
        assert apply(rule, np.array([-7, 0, 7]), 0, 3) == [0, 0, 0], rule


def test_normalised_is_exact_for_every_bit_length() -> None:
    for length in range(1, 32):
        for m in {1 << (length - 1), (1 << length) - 1}:
            big, right = rounding.normalised(np.array([m]), np.array([9]))
            assert 2**30 <= int(big[0]) < 2**31
            assert Fraction(int(big[0]), 2**31) / Fraction(2) ** int(right[0]) == Fraction(m, 2**9)


def parameters(low: int = -128, high: int = 127) -> Parameters:
    multipliers, shifts = np.array(SCALES[:8]).T
    values = (np.arange(-4, 4) * 100, multipliers, 2**shifts, np.array(low), np.array(high))
    return Parameters.of(*(np.asarray(v, np.int32) for v in values))


@pytest.mark.parametrize("rule", RULES)
def test_requantize_is_bias_rule_clamp(rule: str) -> None:
    p = parameters()
    x = np.concatenate([np.arange(-2000, 2000), [2**22, -(2**22)]]).astype(np.int32)[:, None]
    accumulator = np.broadcast_to(x, (len(x), 8)).astype(np.int32)
    shift = np.log2(p.divisor).astype(np.int64)
    x = (accumulator + p.bias).astype(np.int64)
    wide = RULES[rule](x, p.multiplier.astype(np.int64), shift)
    got = requantizer(p, rule)(accumulator)
    assert got.dtype == np.int32
    assert got.tolist() == np.clip(wide, -128, 127).tolist()


def test_requantize_leaves_its_input_alone() -> None:
    accumulator = np.arange(16, dtype=np.int32).reshape(2, 8)
    for rule in RULES:
        requantizer(parameters(), rule)(accumulator)
    assert accumulator.ravel().tolist() == list(range(16))


@pytest.mark.parametrize("divisor", [1, 3, 0, -2])
def test_divisors_are_powers_of_two_from_two_on(divisor: int) -> None:
    values = [np.array(v, np.int32) for v in (0, 1, divisor, 0, 9)]
    with pytest.raises(Unsupported, match="divisors"):
        requantizer(Parameters.of(*values), "half-up")
