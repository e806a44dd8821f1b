"""Each requantizing function, in the graph, against exact fractions: random rules, and inputs at every edge of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.errors import UserError
from harness.lowerings.base import INT32, GraphBuilder
from harness.lowerings.functions import FUNCTIONS
from harness.lowerings.requantize import activate, activate_u8, requantize, settled
from harness.platforms.base import PLATFORMS
from harness.specification import Requantization

CHANNELS, ROWS = 128, 800
PRODUCT_LIMIT = 2**30
KINDS = ["int32", "float32", "uint8", "leaky", "leaky-uint8"]
FUNCTION_OF = {
    "int32": "Requantize", "float32": "RequantizeF32", "uint8": "RequantizeU8", "leaky-uint8": "RequantizeLeakyU8",
}  # fmt: skip


def exact(x: int, rule: Requantization, c: int) -> int:
    """The specification in fractions."""
    scaled = Fraction((x + int(rule.bias[c])) * int(rule.multiplier[c]), 2 ** int(rule.shift[c]))
    return min(max(math.floor(scaled + Fraction(1, 2)), int(rule.low[c])), int(rule.high[c]))


def rules(kind: str, rng: np.random.Generator) -> tuple[Requantization, np.ndarray]:
    """Random rules and bounds that the kind of function is made for, one a channel."""
    small = kind in ("uint8", "leaky-uint8")
    high = np.full(CHANNELS, 255 if small else 2**15 - 1)
    low = np.zeros(CHANNELS, np.int64) if kind != "float32" else np.full(CHANNELS, -(2**15) + 1)
    if kind == "leaky-uint8":
        low = np.full(CHANNELS, -12900)
        high = np.full(CHANNELS, 127)
    if kind == "leaky":
        low, high = np.full(CHANNELS, -(2**21)), np.full(CHANNELS, 2**12)
    most = {"int32": 29, "float32": 8, "uint8": 14, "leaky-uint8": 9, "leaky": 8}[kind]
    shift = rng.integers(1, most + 1, CHANNELS)
    multiplier = rng.integers(1, 256, CHANNELS)
    bias = rng.integers(-(2**13), 2**13, CHANNELS)
    bounds = np.minimum(PRODUCT_LIMIT // multiplier - 1, rng.integers(2**14, 2**29, CHANNELS))
    return Requantization(bias=bias, multiplier=multiplier, shift=shift, low=low, high=high), bounds


def edges(rule: Requantization, bounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int32 [ROWS, channels]: the bounds, both sides of both clamps, ties, 0, then random within and around the clamps."""
    columns = []
    for c in range(len(bounds)):
        m, unit, bias = int(rule.multiplier[c]), 2 ** int(rule.shift[c]), int(rule.bias[c])
        b = int(bounds[c])
        at = [-b, b, 0, 1, -1]
        for level in {int(rule.low[c]), int(rule.high[c]), 0, 1, -1}:
            # x whose product is next to a tie below or above `level`.
            tie = Fraction((2 * level - 1) * unit, 2 * m)
            at += [math.floor(tie) + d for d in (-2, -1, 0, 1, 2)]
        inside = rng.integers(-3 * unit // m - 2, 3 * unit // m + 3, (ROWS - len(at)) // 2)
        span = int(max(-rule.low[c], rule.high[c]) + 2) * unit // m
        around = rng.integers(-span, span + 1, ROWS - len(at) - len(inside))
        sums = np.array([*at, *inside, *around])
        columns.append(np.clip(sums, -b, b) - bias)
    return np.stack(columns, axis=1).astype(np.int32)


def model(make: Callable[[GraphBuilder], str], kind: int) -> bytes:
    graph = GraphBuilder(name="one")
    graph.node("Identity", [make(graph)], "y")
    value = helper.make_tensor_value_info
    return graph.model(
        inputs=[value("x", INT32, ["pixels", None])],
        outputs=[value("y", kind, ["pixels", None])],
        metadata={},
    )


def run(onnx_model: bytes, x: np.ndarray, platform: str = "ort-cpu") -> np.ndarray:
    return np.asarray(PLATFORMS[platform].open().load(onnx_model).run({"x": x})["y"])


def slope(high: int, low: int) -> Requantization:
    like = np.ones(CHANNELS, np.int64)
    return Requantization(
        bias=0 * like, multiplier=41 * like, shift=12 * like, low=low * like, high=high * like
    )


def called(onnx_model: bytes) -> set[str]:
    graph = onnx.load_model_from_string(onnx_model).graph
    return {node.op_type for node in graph.node if node.domain}


@pytest.mark.parametrize("platform", ["ort-cpu", "ort-cpu-noopt", "torch", "dsp-exact32"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_exact_fraction(kind: str, platform: str) -> None:
    """About 10^5 numbers a kind."""
    rng = np.random.default_rng(11)
    rule, bounds = rules(kind, rng)
    x = edges(rule, bounds, rng)
    leaky = slope(int(rule.high[0]), -128) if kind.startswith("leaky") else None
    base = 0 if leaky is None else -128

    def make(graph: GraphBuilder) -> str:
        if kind.endswith("uint8"):
            return activate_u8(graph, "n", "n", "x", rule, leaky, bounds, base) or "refused"
        return activate(graph, "n", "n", "x", rule, leaky, bounds, floats=kind != "int32")

    onnx_model = model(make, TensorProto.UINT8 if kind.endswith("uint8") else INT32)
    if kind in FUNCTION_OF:
        assert called(onnx_model) == {FUNCTION_OF[kind]}
    got = run(onnx_model, x, platform).astype(np.int64) + (base if kind.endswith("uint8") else 0)
    want = np.empty_like(got)
    for c in range(CHANNELS):
        values = [exact(v, rule, c) for v in x[:, c].tolist()]
        want[:, c] = values if leaky is None else [max(r, exact(r, leaky, c)) for r in values]
    assert got.tolist() == want.tolist()
    # Clamped at both ends and not always.
    assert len(np.unique(want)) > 200


@pytest.mark.parametrize("near", [0.5, 0.99, 1.0, 1.01, 2.0])
@pytest.mark.parametrize("largest", ["clamp", "bias", "both"])
@pytest.mark.parametrize("to_uint8", [False, True], ids=["int32", "uint8"])
def test_float32_is_taken_only_where_it_is_exact(to_uint8: bool, largest: str, near: float) -> None:
    """Clamps or biases next to what 24 bits hold: whichever function is taken, the result is the fraction."""
    rng = np.random.default_rng(3)
    taken = set()
    for shift in (15, 16) if to_uint8 else (1, 4, 7, 8):
        like = np.ones(16, np.int64)
        multiplier = rng.choice([1, 2, 3, 64, 97, 255], 16)
        edge = 127 if to_uint8 else int(near * 2**23) >> shift
        high = (min(edge, 255) if largest == "bias" else edge) * like
        bias = rng.integers(-9, 10, 16)
        if largest != "clamp":
            bias = (rng.choice([-1, 1], 16) * int(near * 2**23)) // multiplier
        low = -high
        if largest == "both" and not to_uint8:
            low, high = 0 * like, 2 * high
        rule = Requantization(
            bias=bias, multiplier=multiplier, shift=shift * like, low=low, high=high
        )
        if to_uint8 and largest == "clamp":
            rule = replace(rule, shift=(shift + round(np.log2(near))) * like)
        bounds = (PRODUCT_LIMIT - 1) // multiplier
        x = edges(rule, bounds, rng)
        base = int(rule.low[0])

        def make(
            graph: GraphBuilder,
            rule: Requantization = rule,
            bounds: np.ndarray = bounds,
            base: int = base,
        ) -> str:
            direct = None
            if to_uint8:
                direct = activate_u8(graph, "n", "n", "x", rule, None, bounds, base)
            return direct or requantize(graph, "n", "n", "x", rule, bounds, floats=True)

        graph = GraphBuilder(name="")
        make(graph)
        function = next(node.op_type for node in graph.nodes if node.domain)
        taken.add(function)
        narrow = function == "RequantizeU8"
        got = run(model(make, TensorProto.UINT8 if narrow else INT32), x).astype(np.int64)
        want = np.array([[exact(v, rule, c) for c, v in enumerate(row)] for row in x.tolist()])
        assert (got + (base if narrow else 0)).tolist() == want.tolist(), function
    if near == 0.5:
        assert taken & {"RequantizeU8", "RequantizeF32"}
    if near == 2.0:
        assert taken & {"Requantize", "RequantizeF32"}


def test_uint8_starts_at_its_base_only_where_the_clamp_does() -> None:
    """A clamp at 3 is no clamp at 0, unless nothing reaches either."""
    like = np.ones(4, np.int64)
    rule = Requantization(
        bias=100 * like, multiplier=like, shift=2 * like, low=3 * like, high=200 * like
    )
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", rule, None, 2**18 * like, 0) is None
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", rule, None, 2**18 * like, 3)
    near = replace(rule, low=-3 * like)
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", near, None, 9 * like, -1) is None
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", near, None, 9 * like, -100)


def test_the_clamp_before_a_leaky_rectifier_stays_where_it_matters() -> None:
    """At -200 the slope has only reached -2: without that clamp it would go on to -128."""
    like = np.ones(4, np.int64)
    rule = Requantization(
        bias=0 * like, multiplier=like, shift=2 * like, low=-200 * like, high=127 * like
    )
    leaky, bounds = (
        replace(slope(127, -128), **{k: v[:4] for k, v in vars(slope(127, -128)).items()}),
        2**20 * like,
    )
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", rule, leaky, bounds, -128) is None
    deep = replace(rule, low=-12900 * like)
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", deep, leaky, bounds, -128)
    # Nor does it matter where nothing reaches it.
    assert activate_u8(GraphBuilder(name=""), "n", "n", "x", rule, leaky, 700 * like, -128)


EVERY_INT8 = np.arange(-128, 128, dtype=np.int32)
# Multiplier, shift and bias: ties, signs, clamps.
SMALL_RULES = [
    (multiplier, shift, bias)
    for shift in (1, 2, 3, 8, 13, 21, 29)
    for multiplier in (1, 2, 3, 127, 255, 256)
    for bias in (0, 1, -1, 1000, -1000)
]


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127), (0, 15), (-8, 7), (-5, 250)])
def test_every_int8_through_every_rule(low: int, high: int) -> None:
    """Both forms that int32 and uint8 rows take; which function that is depends on the numbers."""
    multiplier, shift, bias = (np.array(v, np.int64) for v in zip(*SMALL_RULES, strict=True))
    like = np.ones(len(bias), np.int64)
    rule = Requantization(
        bias=bias, multiplier=multiplier, shift=shift, low=low * like, high=high * like
    )
    bounds = 128 + np.abs(bias)
    x = np.repeat(EVERY_INT8[:, None], len(bias), axis=1)
    want = [[exact(int(v), rule, c) for c in range(len(bias))] for v in EVERY_INT8]
    for floats in (False, True):
        plain = model(
            lambda graph, floats=floats: requantize(
                graph, "n", "n", "x", rule, bounds, floats=floats
            ),
            INT32,
        )
        assert run(plain, x).tolist() == want
    # One channel a graph: any one that float32 cannot carry makes all of them int32.
    direct = 0
    for c in range(len(bias)):
        one = Requantization(**{k: v[c : c + 1] for k, v in vars(rule).items()})

        def make(graph: GraphBuilder, one: Requantization = one, c: int = c) -> str:
            return activate_u8(graph, "n", "n", "x", one, None, bounds[c : c + 1], low) or "x"

        narrow = model(make, TensorProto.UINT8) if make(GraphBuilder(name="")) != "x" else b""
        if narrow and c % 7 == 0:
            direct += 1
            got = run(narrow, x[:, c : c + 1]).astype(int) + low
            assert got[:, 0].tolist() == [row[c] for row in want], SMALL_RULES[c]
    assert direct > 10


def test_a_rule_may_need_all_of_int32() -> None:
    """Products next to 2^30 in both directions and a shift so long that the clamp's offset would pass 2^31: GDN's."""
    like = np.ones(30, np.int64)
    rule = Requantization(
        bias=0 * like, multiplier=like, shift=np.arange(1, 31), low=-(2**15) * like, high=2**15 * like
    )  # fmt: skip
    bounds = (2**30 - 2**15) * like
    x = np.array([-bounds, bounds, bounds - 1, 0 * like, -1 << rule.shift - 1, 1 << rule.shift - 1])
    x = np.concatenate([x, x - 1, x + 1]).clip(-bounds, bounds).astype(np.int32)
    for c in range(30):
        one = Requantization(**{k: v[c : c + 1] for k, v in vars(rule).items()})
        made = model(
            lambda graph, one=one, c=c: requantize(
                graph, "n", "n", "x", one, bounds[c : c + 1], floats=True
            ),
            INT32,
        )
        want = [exact(v, rule, c) for v in x[:, c].tolist()]
        assert run(made, x[:, c : c + 1])[:, 0].tolist() == want, int(rule.shift[c])


def test_what_int32_cannot_divide_is_refused() -> None:
    one = np.ones(1, np.int64)
    rule = Requantization(
        bias=0 * one, multiplier=3 * one, shift=28 * one, low=-4 * one, high=4 * one
    )
    with pytest.raises(UserError, match="requantization n: a dividend may reach"):
        requantize(GraphBuilder(name=""), "n", "n", "x", rule, one * (2**30 // 3), floats=True)


def test_shifts_beyond_int32_vanish_or_are_refused() -> None:
    one = np.ones(1, np.int64)
    rule = Requantization(bias=7 * one, multiplier=one, shift=40 * one, low=-4 * one, high=4 * one)
    assert settled(rule, one << 38).multiplier.tolist() == [0]
    with pytest.raises(UserError, match="does not vanish"):
        settled(rule, one << 40)


def test_settling_changes_no_result() -> None:
    """The clamp may move where nothing reaches it; it never swallows or frees a value."""
    rng = np.random.default_rng(2)
    for low, high in [(-3, 5), (0, 2**16 - 1), (-(2**15), 2**15 - 1), (7, 9), (-9, -7)]:
        rule, bounds = rules("int32", rng)
        like = np.ones_like(bounds)
        rule = replace(rule, low=low * like, high=high * like)
        bounds = np.minimum(bounds, rng.integers(1, 2**20, CHANNELS))
        narrowed = settled(rule, bounds)
        assert (narrowed.low <= narrowed.high).all()
        for c in range(0, CHANNELS, 5):
            b = int(bounds[c])
            for x in (-b, b, 0, b // 2, -b // 3, 1, -1):
                shifted = x - int(rule.bias[c])
                assert exact(shifted, narrowed, c) == exact(shifted, rule, c)


def test_functions_agree_on_their_leading_inputs() -> None:
    """An integer back end that intercepts them reads the same five parameters of each."""
    for name, make in FUNCTIONS.items():
        function = make()
        assert function.name == name
        assert list(function.input[:6]) == [
            "accumulator", "bias", "multiplier", "divisor", "low", "high",
        ]  # fmt: skip
