"""The forms that integer lowerings are made of: proven exact, with the conditions they have and no others."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.lint.findings import Verdict
from tests.lint.graphs import at, bounds, judged, model, rules
from tests.lint.machines import FREE, PLAIN, run

I8, U8, I32, U32, F32 = np.int8, np.uint8, np.int32, np.uint32, np.float32
REQUANTIZE = """
<domain: "crosscheck", opset_import: ["" : 19]>
Requantize (accumulator, bias, multiplier, divisor, low, high) => (result) {
  two = Constant <value = int32 {2}> ()
  zero = Constant <value = int32 {0}> ()
  half = Div (divisor, two)
  floor_part = Mul (low, divisor)
  rounding = Sub (half, floor_part)
  scaled_bias = Mul (bias, multiplier)
  offset = Add (scaled_bias, rounding)
  span = Sub (high, low)
  product = Mul (accumulator, multiplier)
  shifted = Add (product, offset)
  dividend = Max (shifted, zero)
  quotient = Div (dividend, divisor)
  limited = Min (quotient, span)
  result = Add (limited, low)
}
"""
PRODUCT = """g (uint8[rows, 3] x) => (int32[rows, 2] y) {
  acc = MatMulInteger (x, w, a_zero, w_zero)
  y = crosscheck.Requantize (acc, bias, multiplier, divisor, low, high)
}""" + REQUANTIZE  # fmt: skip
RULE = {
    "bias": np.array([100, -7], I32), "multiplier": np.array([3, 255], I32), "divisor": np.array([256, 2**14], I32),
    "low": np.array(-128, I32), "high": np.array(127, I32),
}  # fmt: skip
WEIGHTS = np.array([[1, -127], [-5, 127], [127, 3]])
ZEROS = {"a_zero": np.array(128, U8), "w_zero": np.array(128, U8)}


def test_requantize_of_u8u8_products_is_exact() -> None:
    analysis = judged(PRODUCT, w=(WEIGHTS + 128).astype(U8), **ZEROS, **RULE)
    assert analysis.report.verdict is Verdict.CONDITIONAL
    assert rules(analysis) == {"rten-8bit", "wasm-relaxed-simd"}
    # The bounds come from the real weights: 128 times the sum of those of one sign and 127 of the other.
    acc = analysis.values["acc"].range
    assert acc.low.tolist() == [-128 * 128 - 5 * 127, -127 * 127 - 128 * 130]
    assert acc.high.tolist() == [127 * 128 + 5 * 128, 127 * 130 + 128 * 127]
    assert bounds(analysis, "y") == (-128, 127)
    inside = {f.call for f in analysis.report.findings}
    assert inside == {""}


def test_findings_inside_a_function_name_the_call() -> None:
    wide = RULE | {"multiplier": np.array([2**20, 1], I32)}
    analysis = judged(PRODUCT, w=(WEIGHTS + 128).astype(U8), **ZEROS, **wide)
    assert analysis.report.verdict is Verdict.ORDER_DEPENDENT
    found = next(f for f in analysis.report.findings if f.rule == "integer-overflow")
    assert (found.node, found.operator, found.call) == ("y/product", "Mul", "y")
    assert found.bound == 2**20 * (127 * 128 + 5 * 128)
    assert found.limit == 2**31 - 1


@pytest.mark.parametrize(
    ("w", "zero", "extra"),
    [
        ((WEIGHTS + 128).astype(U8), np.array(128, U8), set()),
        (np.clip(WEIGHTS, -64, 63).astype(I8), np.array(0, I8), set()),
        (WEIGHTS.astype(I8), np.array(0, I8), {"pair-saturation"}),
    ],
    ids=["u8u8", "u8s8 within 64", "u8s8"],
)
def test_which_8_bit_products_saturate(w: np.ndarray, zero: np.ndarray, extra: set[str]) -> None:
    analysis = judged(PRODUCT, w=w, a_zero=np.array(0, U8), w_zero=zero, **RULE)
    assert rules(analysis) - {"rten-8bit", "wasm-relaxed-simd"} == extra
    for finding in analysis.report.findings:
        if finding.rule == "pair-saturation":
            assert finding.bound == 255 * (127 + 3)
            assert "33,150 > 32,767" in finding.message


def test_small_activations_never_saturate() -> None:
    analysis = judged(PRODUCT, ranges={"x": (0, 127)}, w=WEIGHTS.astype(I8), a_zero=np.array(0, U8), w_zero=np.array(0, I8), **RULE)  # fmt: skip
    assert "pair-saturation" not in rules(analysis)


def test_signed_products_are_safe_too() -> None:
    text = PRODUCT.replace("uint8[rows, 3]", "int8[rows, 3]")
    analysis = judged(text, w=WEIGHTS.astype(I8), a_zero=np.array(0, I8), w_zero=np.array(0, I8), **RULE)  # fmt: skip
    assert rules(analysis) == {"rten-8bit", "wasm-relaxed-simd"}


FLOAT_RULE = """g (int32[rows, 2] acc) => (uint8[rows, 2] y) {
  real = Cast <to = 1> (acc)
  scaled = Mul (real, scale)
  value = Add (scaled, offset)
  y = QuantizeLinear (value, one, zero)
}"""


def float_rule(bias: int, shift: int, nudge: float = 0.5) -> dict[str, np.ndarray]:
    """`nudge` of half a step before QuantizeLinear, of half a unit before Floor."""
    return {
        "scale": np.array(2.0**-shift, F32), "offset": np.array((bias + nudge) * 2.0**-shift, F32),
        "one": np.array(1, F32), "zero": np.array(0, U8),
    }  # fmt: skip


def test_float_requantization_has_no_ties() -> None:
    analysis = judged(FLOAT_RULE, ranges={"acc": (-(2**22), 2**22)}, **float_rule(100, 7))
    assert at(analysis, "condition") == {"float-carrier"}
    assert at(analysis, "deviation") == {"unpromised-rounding", "openvino-bf16"}
    carried = [f for f in analysis.report.findings if f.rule == "float-carrier"]
    assert max(f.bound or 0 for f in carried) == 24
    assert bounds(analysis, "y") == (0, 255)


def test_without_the_half_step_it_may_tie() -> None:
    constants = float_rule(0, 7) | {"offset": np.array(3 * 2.0**-7, F32)}
    assert "openvino-quantize" in rules(
        judged(FLOAT_RULE, ranges={"acc": (-999, 999)}, **constants)
    )


def test_what_is_clamped_later_may_be_rounded_before() -> None:
    """Beyond 2^24 the sums are rounded, but QuantizeLinear saturates long before."""
    analysis = judged(FLOAT_RULE, ranges={"acc": (-(2**30), 2**30)}, **float_rule(100, 7))
    assert at(analysis, "condition") == {"rounded-then-clamped"}
    assert analysis.report.verdict is Verdict.CONDITIONAL
    # It does not where a step is so coarse that 2^24 of them are in reach.
    wide = judged(FLOAT_RULE.replace("uint8[rows, 2] y", "uint16[rows, 2] y"), ranges={"acc": (-(2**30), 2**30)},
                  **float_rule(100, 1) | {"scale": np.array(2.0**-9, F32), "zero": np.array(0, np.uint16)})  # fmt: skip
    assert wide.report.verdict is Verdict.ORDER_DEPENDENT
    assert at(wide, "inexact") == {"float-rounding"}


CLAMPED = """g (int32[rows, 2] acc) => (int32[rows, 2] y) {
  real = Cast <to = 1> (acc)
  scaled = Mul (real, scale)
  value = Add (scaled, offset)
  positive = Max (value, low)
  limited = Min (positive, high)
  y = Cast <to = 6> (limited)
}"""


@pytest.mark.parametrize(
    ("high", "exact"), [(255, True), (2**15 - 1, True), (2**17 - 9, True), (2**17 + 9, False)]
)
def test_a_clamp_restores_what_it_discards(high: int, exact: bool) -> None:
    """2^-7 is the unit, half of it after the Add: 2^24 / 2^8 = 2^16 steps are exact each way... and no more."""
    constants = float_rule(0, 6) | {"low": np.array(0, F32), "high": np.array(high, F32)}
    analysis = judged(CLAMPED, ranges={"acc": (-(2**31), 2**31 - 1)}, **{k: v for k, v in constants.items() if k not in {"one", "zero"}})  # fmt: skip
    assert (analysis.report.verdict is Verdict.CONDITIONAL) == exact
    if exact:
        assert at(analysis, "condition") == {"rounded-then-clamped", "fractional-cast"}


LEAKY = """g (int32[rows, 2] acc) => (uint8[rows, 2] y) {
  real = Cast <to = 1> (acc)
  scaled = Mul (real, scale)
  value = Add (scaled, offset)
  rounded = Floor (value)
  sloped = Mul (rounded, slope)
  untied = Add (sloped, sliver)
  rectified = Max (rounded, untied)
  y = QuantizeLinear (rectified, one, zero)
}"""
SLOPE = {"slope": np.array(41 / 4096, F32), "sliver": np.array(2.0**-13, F32)}


def test_leaky_relu_between_roundings_is_exact() -> None:
    constants = float_rule(5, 6, 32) | SLOPE | {"zero": np.array(128, U8)}
    analysis = judged(LEAKY, ranges={"acc": (-30000, 30000)}, **constants)
    assert at(analysis, "condition") == {"float-carrier"}
    assert "openvino-quantize" not in rules(analysis)
    tied = judged(
        LEAKY, ranges={"acc": (-30000, 30000)}, **constants | {"sliver": np.array(0, F32)}
    )
    assert "openvino-quantize" in rules(tied)


@pytest.mark.parametrize("text", [FLOAT_RULE, LEAKY], ids=["relu", "leaky"])
def test_float_requantization_is_the_specification(text: str) -> None:
    """On every machine, for every accumulator: floor((acc + bias) / 2^shift + 1/2), clamped."""
    bias, shift = 37, 5
    nudge = 0.5 if text is FLOAT_RULE else 2.0 ** (shift - 1)
    constants = float_rule(bias, shift, nudge) | (SLOPE if text is LEAKY else {})
    constants["zero"] = np.array(128, U8)
    made = model(text, **constants)
    acc = np.arange(-(2**14), 2**14, dtype=I32).reshape(-1, 2)
    wanted = (acc.astype(np.int64) + bias + (1 << (shift - 1))) >> shift
    if text is LEAKY:
        wanted = np.maximum(wanted, (wanted * 41 + 2048) >> 12)
    for machine in (PLAIN, *FREE):
        got = run(made, {"acc": acc}, machine)["y"]
        assert (got.astype(int) - 128).tolist() == np.clip(wanted, -128, 127).tolist()


MIDDLE = """g (int32[rows, 2] v) => (uint8[rows, 2] high, uint8[rows, 2] low, uint8[rows, 2] both) {
  narrow = Cast <to = 2> (v)
  real = Cast <to = 1> (v)
  scaled = Mul (real, unit)
  high = Cast <to = 2> (scaled)
  taken = Mul (high, radix)
  low = Sub (narrow, taken)
  both = Add (high, low)
}"""


def test_parts_of_six_bits_are_what_is_left() -> None:
    """Low = v - 64 * (v / 64) in uint8 that wraps: bounds alone would say 255."""
    constants = {"unit": np.array(1 / 64, F32), "radix": np.array(64, U8)}
    analysis = judged(MIDDLE, ranges={"v": (0, 4095)}, **constants)
    assert bounds(analysis, "high") == (0, 63)
    assert bounds(analysis, "low") == (0, 63)
    assert bounds(analysis, "both") == (0, 126)
    assert at(analysis, "condition") == {
        "cast-wraps",
        "fractional-cast",
        "float-carrier",
        "unsigned-wrap",
    }
    assert analysis.report.verdict is Verdict.CONDITIONAL
    v = np.arange(4096, dtype=I32).reshape(-1, 2)
    got = run(model(MIDDLE, **constants), {"v": v}, PLAIN)
    assert got["low"].tolist() == (v % 64).tolist()


@pytest.mark.parametrize(
    "body",
    [
        "h = Div (v, d) t = Mul (h, d) y = Sub (v, t)",
        "h = Div (v, d) t = Mul (d, h) y = Sub (v, t)",
        "y = Mod (v, d)",
    ],
)
def test_remainders_in_int32(body: str) -> None:
    text = f"g (int32[n] v) => (int32[n] y) {{ {body} }}"
    assert bounds(judged(text, ranges={"v": (0, 65535)}, d=np.array(256, I32)), "y") == (0, 255)


@pytest.mark.parametrize(
    "body",
    [
        "h = Div (v, d) t = Mul (h, e) y = Sub (v, t)",  # another factor
        "h = Div (v, d) t = Mul (h, d) y = Sub (t, v)",  # the other way round
        "h = Div (w, d) t = Mul (h, d) y = Sub (v, t)",  # another number
        "s = Slice (v, a, b) h = Div (s, d) t = Mul (h, d) y = Sub (v, t)",  # other elements
    ],
)
def test_what_only_looks_like_a_remainder(body: str) -> None:
    text = f"g (int32[n] v, int32[n] w) => (int32[n] y) {{ {body} }}"
    constants = {
        "d": np.array(256, I32),
        "e": np.array(255, I32),
        "a": np.array([0]),
        "b": np.array([1]),
    }
    found = judged(text, ranges={"v": (0, 65535), "w": (0, 65535)}, **constants)
    assert bounds(found, "y") != (0, 255)


def test_a_number_that_may_be_negative_has_no_such_remainder() -> None:
    text = "g (int32[n] v) => (int32[n] y) { h = Div (v, d) t = Mul (h, d) y = Sub (v, t) }"
    low, high = bounds(judged(text, ranges={"v": (-5, 65535)}, d=np.array(256, I32)), "y")
    assert low <= -5
    assert high >= 255


def test_limbs_recombine_in_int32() -> None:
    """256 hh + (hl + lh) + floor((ll + lift) / 256), the floor by an unsigned shift."""
    text = """g (uint16[rows, 3] u) => (int32[rows, 2] y) {
      wide = Cast <to = 12> (u)
      high_wide = BitShift <direction = "RIGHT"> (wide, eight)
      low_wide = Mod (wide, radix)
      high = Cast <to = 2> (high_wide)
      low = Cast <to = 2> (low_wide)
      hh = MatMulInteger (high, wh)
      hl = MatMulInteger (high, wl)
      lh = MatMulInteger (low, wh)
      ll = MatMulInteger (low, wl)
      top = Mul (hh, whole)
      middle = Add (hl, lh)
      lifted = Add (ll, lift)
      natural = Cast <to = 12> (lifted)
      shifted = BitShift <direction = "RIGHT"> (natural, eight)
      floor = Cast <to = 6> (shifted)
      some = Add (top, middle)
      y = Add (some, floor)
    }"""
    weights = np.array([[7, -100], [100, 64], [-64, 3]])
    analysis = judged(
        text, wh=weights.astype(I8), wl=weights[::-1].astype(I8), eight=np.array(8, U32), radix=np.array(256, U32),
        whole=np.array(256, I32), lift=np.array(2**16, I32),
    )  # fmt: skip
    assert at(analysis, "inexact") == set()
    assert at(analysis, "condition") == set()
    assert bounds(analysis, "high") == bounds(analysis, "low") == (0, 255)


@pytest.mark.parametrize(
    ("kind", "limit"), [("float", 2**24), ("double", 2**53), ("float16", 2**11), ("bfloat16", 2**8)]
)
def test_products_carried_in_floats(kind: str, limit: int) -> None:
    """Sums of integers, exact up to the carrier's last integer and not a step beyond."""
    text = f"g ({kind}[rows, 4] x) => ({kind}[rows, 1] y) {{ y = MatMul (x, w) }}"
    number = {"float": 1, "double": 11, "float16": 10, "bfloat16": 16}[kind]
    made = model(text)
    made.graph.initializer.append(helper.make_tensor("w", number, [4, 1], [1.0, -1.0, 1.0, 1.0]))
    assert isinstance(made.graph.initializer[0], TensorProto)
    within = judged(made, ranges={"x": (-limit / 4, limit / 4, 1)})
    assert at(within, "inexact") == set()
    assert "float-carrier" in at(within, "condition")
    beyond = judged(made, ranges={"x": (-limit / 4, limit / 4 + 1, 1)})
    assert at(beyond, "inexact") == {"accumulator-overflow"}
    (found,) = [f for f in beyond.report.findings if f.rule == "accumulator-overflow"]
    assert found.bound == limit + 3 or kind == "double"  # float64 bounds are rounded outward
    assert found.limit == limit


def test_steps_finer_than_one_count_as_well() -> None:
    text = "g (float[rows, 2] x) => (float[rows, 1] y) { y = MatMul (x, w) }"
    w = np.array([[0.25], [3.0]], F32)
    assert at(judged(text, ranges={"x": (0, 2**19, 0.5)}, w=w), "inexact") == set()
    assert at(judged(text, ranges={"x": (0, 2**21, 0.5)}, w=w), "inexact") == {"float-reduction"}


def test_tables_give_what_is_in_them() -> None:
    """An integer square root by table, then a product: the bounds come from the table, as far as the index reaches."""
    table = np.floor(np.sqrt(np.arange(65536))).astype(I32)
    text = """g (int32[n] x) => (int32[n] y, int32[n] z) {
      square = Mul (x, x)
      inside = Min (square, last)
      root = GatherElements <axis = 0> (table, inside)
      y = Mul (root, x)
      short = Min (square, ten)
      z = GatherElements <axis = 0> (table, short)
    }"""
    analysis = judged(
        text,
        ranges={"x": (-300, 300)},
        table=table,
        last=np.array(65535, I32),
        ten=np.array(10, I32),
    )
    assert rules(analysis) == set()
    assert analysis.report.verdict is Verdict.EXACT
    assert bounds(analysis, "square") == (0, 90000)
    assert bounds(analysis, "root") == (0, 255)
    assert bounds(analysis, "z") == (0, 3)
    beyond = judged(
        text,
        ranges={"x": (-300, 300)},
        table=table[:100],
        last=np.array(65535, I32),
        ten=np.array(10, I32),
    )
    assert at(beyond, "condition") == {"index-out-of-range"}


def test_positions_computed_from_shapes_are_sizes() -> None:
    """The index machinery of our lowerings, with a picture of any size."""
    text = """g (int32[1, 3, h, w] x) => (int32[n] y) {
      size = Shape <start = 2> (x)
      a = Gather (size, zero)
      b = Gather (size, one)
      count = Mul (a, b)
      end = Add (count, one)
      all = Range (one, end, one)
      y = Cast <to = 6> (all)
    }"""
    analysis = judged(text, zero=np.array(0), one=np.array(1))
    assert rules(analysis) == set()
    assert analysis.report.assumptions == (
        "sizes and positions computed from shapes stay below 2^31",
    )


def test_counting_on_the_device_is_a_size_too() -> None:
    text = """g (int32[1, 3, h, w] x) => (int32[n] y, int32[m] z) {
      flat = Reshape (x, line)
      nothing = Mul (flat, zero)
      ones = Add (nothing, one)
      y = CumSum (ones, axis)
      twice = Mul (y, two)
      z = Sub (twice, one)
    }"""
    constants = {"line": np.array([-1]), "axis": np.array(0)}
    constants |= {
        name: np.array(value, I32) for name, value in (("zero", 0), ("one", 1), ("two", 2))
    }
    assert rules(judged(text, **constants)) == set()
    data = text.replace("Mul (flat, zero)", "Mul (flat, one)")
    assert at(judged(data, **constants), "inexact") >= {"accumulator-overflow"}


def test_what_only_a_shape_is_read_of_cannot_hurt() -> None:
    text = """g (int32[h, w] x, float[h, w] f) => (int64[k] y) {
      narrow = Cast <to = 2> (x)
      wild = Exp (f)
      image = Unsqueeze (narrow, axes)
      like = Expand (image, target)
      y = Shape (like)
    }"""
    analysis = judged(text, axes=np.array([0]), target=np.array([3, 1, 1]))
    assert rules(analysis) == set()
    assert analysis.report.dead == 1


def test_sizes_in_float_are_assumed_to_fit() -> None:
    """What exporters make of an interpolation: a size, scaled in float."""
    text = """g (float[1, 3, h, w] x) => (int64[2] y) {
      size = Shape <start = 2> (x)
      real = Cast <to = 1> (size)
      twice = Mul (real, two)
      whole = Floor (twice)
      y = Cast <to = 7> (whole)
    }"""
    analysis = judged(text, two=np.array(2, F32))
    assert at(analysis, "inexact") == set()
    assert any("2^24" in line for line in analysis.report.assumptions)


def test_what_the_shape_depends_on_counts() -> None:
    text = (
        "g (float[n] x) => (int64[1] y) { t = Exp (x) u = Floor (t) v = NonZero (u) y = Shape (v) }"
    )
    assert "transcendental" in rules(judged(text))


def test_dead_nodes_do_no_harm() -> None:
    analysis = judged("g (float[n] x) => (float[n] y) { y = Floor (x) z = Exp (x) }")
    assert analysis.report.verdict is Verdict.EXACT
    assert (analysis.report.nodes, analysis.report.dead) == (1, 1)


def test_the_same_number_twice_is_a_square() -> None:
    text = "g (int32[n] x) => (int32[n] y) { y = Mul (x, x) }"
    assert bounds(judged(text, ranges={"x": (-9, 5)}), "y") == (0, 81)
    other = "g (int32[n] x, int32[n] z) => (int32[n] y) { y = Mul (x, z) }"
    assert bounds(judged(other, ranges={"x": (-9, 5), "z": (-9, 5)}), "y") == (-45, 81)


def test_branches_and_loops() -> None:
    branch = """g (bool c, int32[n] x) => (int32[n] y) {
      y = If (c) <then_branch = a () => (int32[n] p) { p = Add (x, one) }, else_branch = b () => (int32[n] q) { q = Mul (x, five) }>
    }"""
    constants = {"one": np.array(1, I32), "five": np.array(5, I32)}
    assert bounds(judged(branch, ranges={"x": (-3, 4)}, **constants), "y") == (-15, 20)
    hazard = branch.replace("Add (x, one)", "Max (x, one)")
    (found,) = judged(hazard, **constants).report.findings
    assert (found.rule, found.node, found.call) == (
        "integer-overflow",
        "y.else_branch/q",
        "y.else_branch",
    )


def test_loops_are_run_until_they_settle() -> None:
    text = """g (int32[n] x) => (int32[n] y) {
      y = Loop (trips, more, x) <body = b (int64 i, bool c, int32[n] v) => (bool d, int32[n] u) {
        d = Identity (c)
        half = Div (v, two)
        u = BODY
      }>
    }"""
    constants = {
        "trips": np.array(5),
        "more": np.array(True),
        "two": np.array(2, I32),
        "one": np.array(1, I32),
    }
    settles = judged(text.replace("BODY", "Max (half, two)"), ranges={"x": (0, 100)}, **constants)
    assert rules(settles) == set()
    assert bounds(settles, "y") == (0, 100)
    grows = judged(text.replace("BODY", "Add (v, one)"), ranges={"x": (0, 100)}, **constants)
    assert at(grows, "inexact") == {"integer-overflow"}


def test_what_is_rounded_in_a_loop_is_not_exact_in_the_next_round() -> None:
    text = """g (float[n] x) => (float[n] y, int32[n] z) {
      y, z = Loop (trips, more, x, start) <body = b (int64 i, bool c, float[n] v, int32[n] k) => (bool d, float[n] u, int32[n] m) {
        d = Identity (c)
        m = Cast <to = 6> (v)
        s = Mul (v, third)
        t = Max (s, low)
        u = Min (t, high)
      }>
    }"""
    constants = {
        "trips": np.array(5),
        "more": np.array(True),
        "start": np.array(0, I32),
        "third": np.array(1 / 3, F32),
    }
    constants |= {"low": np.array(0, F32), "high": np.array(100, F32)}
    assert "float-rounding" in at(judged(text, ranges={"x": (0, 100, 1)}, **constants), "inexact")


def test_the_order_of_rounded_values_is_not_trusted() -> None:
    """Two numbers beyond 2^24 may be rounded to one: who is the largest is then up to the rounding."""
    text = """g (int32[n, 4] x) => (int64[n, 1] y) {
      f = Cast <to = 1> (x)
      y = ArgMax <axis = 1> (f)
    }"""
    assert at(judged(text), "inexact") == {"float-rounding"}
    assert at(judged(text, ranges={"x": (0, 2**24)}), "inexact") == set()


def test_outputs_of_one_node_are_not_one_tensor() -> None:
    text = """g (int32[n, 2] x) => (int32[n, 1] y) {
      a, b = Split <axis = 1> (x)
      h = Div (a, d)
      t = Mul (h, d)
      y = Sub (b, t)
    }"""
    assert bounds(judged(text, ranges={"x": (0, 65535)}, d=np.array(256, I32)), "y") != (0, 255)


def test_a_call_may_leave_optional_inputs_out() -> None:
    text = """g (int32[n] x) => (int32[n] y) { y = crosscheck.Limit (x) }
    <domain: "crosscheck", opset_import: ["" : 19]>
    Limit (a, low, high) => (b) { b = Clip (a, low, high) }"""
    assert rules(judged(text)) == set()


def test_attributes_of_a_call_reach_the_body() -> None:
    text = """g (int32[n] x) => (uint8[n] y) { y = crosscheck.Narrow <to = 2> (x) }
    <domain: "crosscheck", opset_import: ["" : 19]>
    Narrow <to> (a) => (b) { b = Cast <to: int = @to> (a) }"""
    assert rules(judged(text, ranges={"x": (0, 255)})) == set()
    assert rules(judged(text, ranges={"x": (0, 256)})) == {"cast-wraps"}


def test_power_of_two_scales_make_exact_qdq() -> None:
    text = """g (uint8[rows, 3] q) => (uint8[rows, 2] y) {
      x = DequantizeLinear (q, s, z)
      w = DequantizeLinear (k, t, o)
      p = MatMul (x, w)
      y = QuantizeLinear (p, r, z)
    }"""
    constants = {
        "k": WEIGHTS.astype(I8), "s": np.array(0.25, F32), "t": np.array([2.0**-7, 2.0**-5], F32), "r": np.array(0.5, F32),
        "z": np.array(3, U8), "o": np.zeros(2, I8),
    }  # fmt: skip
    exact = judged(text, **constants)
    assert at(exact, "inexact") == set()
    assert {"pair-saturation", "openvino-quantize"} <= at(exact, "deviation")
    inexact = judged(text, **constants | {"s": np.array(0.3, F32)})
    assert {"float-rescale", "float-reduction"} <= at(inexact, "inexact")


def test_a_model_needs_no_function_to_be_inlined_by_hand() -> None:
    """Functions that call functions: the path names every call."""
    text = """g (int32[n] x) => (int32[n] y) { y = crosscheck.Outer (x) }
    <domain: "crosscheck", opset_import: ["" : 19, "crosscheck" : 1]>
    Outer (a) => (b) { b = crosscheck.Inner (a) }
    <domain: "crosscheck", opset_import: ["" : 19]>
    Inner (c) => (d) { d = Mul (c, c) }"""
    (found,) = judged(text).report.findings
    assert (found.node, found.call) == ("y/b/d", "y/b")
    assert onnx.checker.check_model(model(text)) is None
