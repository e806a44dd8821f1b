"""Explanations: each mechanism by its bits, from recorded traces and from independent formulas; and nothing that is not shown."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from harness.bisect.find import bisect
from harness.bisect.sides import Live, on_platform
from harness.dsp.profile import ArithmeticProfile
from harness.dsp.rounding import RULES
from harness.errors import PlatformUnavailable
from harness.explain import product
from harness.explain.base import MECHANISMS, Evidence, Site
from harness.explain.changed import changed
from harness.explain.evaluate import evaluate
from harness.explain.fma import fused_multiply_add
from harness.explain.interventions import one_option_apart, parse_switch, restored
from harness.explain.naming import FLIPPED_BIT, OTHER_TENSORS, Explanation, explain
from harness.explain.operators import byte_product
from harness.explain.report import to_lines, to_report
from harness.explain.shown import explain_found
from harness.explain.sums import sums_of
from harness.lowerings.functions import requantize
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.taps import Array, Graph
from harness.trace import TensorRecord, Trace
from tests.divergences import recorded
from tests.lint.graphs import model

REPRODUCED, WITHIN_BOUND = Evidence.REPRODUCED, Evidence.WITHIN_BOUND
LIVE = {
    "pair-saturation": ("torch-quantized", "torch-quantized-avx2"),
    "qdq-tie": ("ort-cpu", "ort-cpu-noopt"),
    "bf16-by-default": ("openvino-f32", "openvino"),
    "isa-reorder": ("torch", "torch-sse41"),
}
RECORDED = {
    "pair-saturation": ("pair saturation", REPRODUCED),
    "qdq-tie": ("fused QDQ", REPRODUCED),
    "bf16-by-default": ("low precision", REPRODUCED),
    "isa-reorder": ("summation order", WITHIN_BOUND),
    "flipped-weight-bit": (FLIPPED_BIT, REPRODUCED),
}
RNG = np.random.default_rng(5)
INF = np.float32(np.inf)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


def from_record(name: str, spoil: Callable[[Array], Array] | None = None) -> Explanation:
    """Explain a recorded divergence, perhaps with the second side's first differing tensor spoilt."""
    a, b = recorded(name)
    if spoil is not None:
        output = bisect(a, b).b
        assert output is not None
        record = output.tensors[0]
        bad = TensorRecord.of(record.name, spoil(record.array()))
        tensors = tuple(bad if t.name == bad.name else t for t in b.trace.tensors)
        b = replace(b, trace=replace(b.trace, tensors=tensors))
    found = explain_found(bisect(a, b))
    assert found is not None
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_divergence_has_its_mechanism(name: str) -> None:
    found = from_record(name)
    assert (found.mechanisms, found.evidence) == ((RECORDED[name][0],), RECORDED[name][1])


def test_the_recorded_details() -> None:
    assert "int16 sums of pairs" in str(from_record("pair-saturation").b)
    assert "bfloat16 inputs and bias and results" in str(from_record("bf16-by-default").b)
    tie = from_record("qdq-tie")
    assert "exact integer sums, float32 rescale, half to even" in str(tie.a)
    assert str(tie.b).startswith("quantization tie")
    assert tie.b.accounts[0].evidence is WITHIN_BOUND
    (flip,) = from_record("flipped-weight-bit").changed
    assert (flip.tensor, flip.elements, flip.bit) == ("h_s.2_0_0.0.weight", 1, 6)
    assert flip.digest_a != flip.digest_b


def one_off(array: Array) -> Array:
    """One element a step or an ULP away."""
    made = array.copy()
    bits = made.reshape(-1).view(f"u{array.dtype.itemsize}")
    bits[7] ^= bits.dtype.type(1)
    return made


def noise(array: Array) -> Array:
    moved = RNG.integers(1, 9, array.shape)
    if array.dtype.kind == "f":
        return (array * (1 + moved * 2.0**-9)).astype(array.dtype)
    return (array.astype(np.int64) + moved).astype(array.dtype)


@pytest.mark.parametrize(
    "name", ["pair-saturation", "qdq-tie", "bf16-by-default", "flipped-weight-bit"]
)
def test_all_but_one_element_is_not_enough(name: str) -> None:
    """In bf16 a last bit of float32 is no bf16 number any more, and too far from the float32 sums."""
    found = from_record(name, one_off)
    assert (found.mechanisms, found.evidence, found.headline) == ((), None, "unknown")


@pytest.mark.parametrize("name", RECORDED)
def test_noise_is_unknown(name: str) -> None:
    assert from_record(name, noise).headline == "unknown"


@pytest.mark.platform
@pytest.mark.parametrize("name", LIVE)
def test_the_live_platforms_give_the_same_answer(name: str, pool: Pool) -> None:
    a, _ = recorded(name)
    for platform in LIVE[name]:
        try:
            pool.child(platform).environment()
        except PlatformUnavailable as error:
            pytest.skip(str(error))
    one, other = (
        Live(name=p, graph=a.graph, feeds=a.feeds, run=on_platform(pool, p)) for p in LIVE[name]
    )
    found = bisect(one, other)
    if found.identical:
        pytest.skip("this processor lacks the instructions that make the two differ")
    why = explain_found(found)
    assert why is not None
    assert why.mechanisms == (RECORDED[name][0],)


def test_what_is_too_large_is_explained_on_the_least_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (uint8[1, 4, 16, 16] x) => (int32[1, 4, 16, 16] y) { y = ConvInteger <pads = [1, 1, 1, 1]> (x, w) }"
    w = RNG.integers(100, 128, (4, 4, 3, 3)).astype(np.int8)
    x = RNG.integers(200, 256, (1, 4, 16, 16)).astype(np.uint8)
    graph = Graph.of(model(text, w=w).SerializeToString(), "large")

    def run(profile: ArithmeticProfile) -> Callable[..., Trace]:
        def made(onnx_model: bytes, feeds: dict[str, Array]) -> Trace:
            cut = Graph.of(onnx_model, "cut")
            given = byte_product(
                Site(graph=cut, feeds=feeds, output="y", got=np.zeros(0, np.int32))
            )
            array = given.product.fold(sums_of(given, profile))
            return Trace(tensors=(TensorRecord.of("y", array),), environment={})

        return made

    a, b = (
        Live(name=n, graph=graph, feeds={"x": x}, run=run(ArithmeticProfile(pair_saturation=wrong)))
        for n, wrong in (("a", False), ("b", True))
    )
    found = bisect(a, b)
    whole = explain_found(found)
    assert whole is not None
    assert (whole.mechanisms, whole.least) == (("pair saturation",), False)
    monkeypatch.setattr(product, "MOST_ELEMENTS", 1000)
    least = explain_found(found)
    assert least is not None
    assert least.least
    assert "pair saturation" in least.headline
    assert least.headline.endswith("on the least input alone)")


# Single nodes: what a back end would do, by formulas of its own.


def site(text: str, feeds: dict[str, Array], got: Array, **weights: Array) -> Site:
    graph = Graph.of(model(text, **weights).SerializeToString(), "node")
    return Site(graph=graph, feeds=feeds, output=graph.outputs[0], got=got)


def named(text: str, feeds: dict[str, Array], a: Array, b: Array, **weights: Array) -> Explanation:
    return explain(site(text, feeds, a, **weights), site(text, feeds, b, **weights))


QUANTIZE = "g (float[n] x) => (uint8[n] y) { y = QuantizeLinear (x, s, z) }"
# 5 is odd: adding it before rounding turns ties around.
SCALE = {"s": np.array(0.5, np.float32), "z": np.array(5, np.uint8)}


@pytest.mark.parametrize(
    ("how", "rounding"),
    [
        ("half away", lambda q: np.copysign(np.floor(np.abs(q) + 0.5), q) + 5),
        ("half up", lambda q: np.floor(q + 0.5) + 5),
        ("floor", lambda q: np.floor(q) + 5),
        ("zero point added before rounding", lambda q: np.rint(q + 5)),
    ],
)
def test_quantize_by_another_rule(how: str, rounding: Callable[[Array], Array]) -> None:
    x = (np.arange(-8, 40, dtype=np.float32) / 4).astype(np.float32)
    quotient = x.astype(np.float64) / 0.5
    right = np.clip(np.rint(quotient) + 5, 0, 255).astype(np.uint8)
    wrong = np.clip(rounding(quotient), 0, 255).astype(np.uint8)
    assert (right != wrong).any()
    found = named(QUANTIZE, {"x": x}, right, wrong, **SCALE)
    assert (found.mechanisms, found.evidence) == (("rounding",), REPRODUCED)
    assert how in str(found.b)
    wrong[3] ^= 1
    assert not named(QUANTIZE, {"x": x}, right, wrong, **SCALE).mechanisms


def requantizing(x: Array) -> tuple[Graph, dict[str, Array]]:
    """Two channels: x / 2, where every odd x is a tie, and a scale that 16 bits do not hold."""
    text = "g (int32[n, 2] x) => (int32[n, 2] y) { y = crosscheck.Requantize (x, b, m, d, l, h) }"
    weights = {"b": 0, "m": [1, 3 * 2**16 - 1], "d": [2, 2**19], "l": -(2**15), "h": 2**15}
    made = model(text, **{name: np.array(value, np.int32) for name, value in weights.items()})
    made.functions.append(requantize())
    feeds = {"x": np.stack([x, x], axis=1)}
    return Graph.of(made.SerializeToString(), "requantize"), feeds


# Single rounding is half up in another form.
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"half-up", "single-rounding"}))
def test_requantize_by_each_rule(rule: str) -> None:
    graph, feeds = requantizing(np.arange(-(2**14), 2**14, dtype=np.int32))
    outputs = [
        evaluate(graph, feeds, ArithmeticProfile(rounding=r))["y"] for r in ("half-up", rule)
    ]
    a, b = (Site(graph=graph, feeds=feeds, output="y", got=got) for got in outputs)
    found = explain(a, b)
    assert found.mechanisms == ("rounding",)
    assert rule in str(found.b)


PRODUCT = "g (uint8[4, 64] x) => (int32[4, 3] y) { y = MatMulInteger (x, w) }"


@pytest.mark.parametrize(
    ("mechanism", "how", "narrow"),
    [
        ("accumulator width", "16 bits, wrapping", lambda s: s.astype(np.int16).astype(np.int32)),
        ("accumulator width", "24 bits, wrapping", lambda s: (s << 8) >> 8),
        ("pair saturation", "int16 sums of pairs", None),
    ],
)
def test_integer_products(
    mechanism: str, how: str, narrow: Callable[[Array], Array] | None
) -> None:
    x = RNG.integers(128, 256, (4, 64)).astype(np.uint8)
    w = RNG.integers(100, 128, (64, 3)).astype(np.int8)
    if "24" in how:
        # 24 bits hold 64 such products: more of them do not fit.
        x, w = np.full((4, 1024), 255, np.uint8), np.full((1024, 3), 127, np.int8)
    exact = x.astype(np.int32) @ w.astype(np.int32)
    pairs = x.astype(np.int64)[:, :, None] * w.astype(np.int64)
    sums = np.clip(pairs[:, 0::2] + pairs[:, 1::2], -(2**15), 2**15 - 1).sum(1).astype(np.int32)
    wrong = sums if narrow is None else narrow(exact)
    text = PRODUCT.replace("64", str(x.shape[1]))
    found = named(text, {"x": x}, exact, wrong, w=w)
    assert (found.mechanisms, found.evidence) == ((mechanism,), REPRODUCED)
    assert how in str(found.b)
    assert not named(text, {"x": x}, exact, exact + 1, w=w).mechanisms
    # One side that is a riddle leaves the whole unknown, though the other one is accounted for.
    riddle = named(text, {"x": x}, exact + 1, wrong, w=w)
    assert (riddle.mechanisms, len(riddle.b.accounts)) == ((), 1)


MATMUL = "g (float[8, 96] x) => (float[8, 5] y) { y = MatMul (x, w) }"


def float_operands() -> tuple[Array, Array]:
    x, w = RNG.standard_normal((8, 96)), RNG.standard_normal((96, 5))
    return x.astype(np.float32), w.astype(np.float32)


def in_order(x: Array, w: Array, order: Array) -> Array:
    """float32 sums, one product after the other."""
    total = np.zeros((len(x), w.shape[1]), np.float32)
    for k in order:
        total = total + x[:, k, None] * w[k]
    return total


def test_another_order_of_additions_lies_in_the_bound_and_more_does_not() -> None:
    x, w = float_operands()
    one = in_order(x, w, np.arange(96))
    other = in_order(x, w, RNG.permutation(96))
    assert (one != other).any()
    found = named(MATMUL, {"x": x}, one, other, w=w)
    assert (found.mechanisms, found.evidence) == (("summation order",), WITHIN_BOUND)
    outside = other.copy()
    outside[2, 2] *= np.float32(1.01)
    assert named(MATMUL, {"x": x}, one, outside, w=w).headline == "unknown"
    nothing = other.copy()
    nothing[0, 0] = np.nan
    assert named(MATMUL, {"x": x}, one, nothing, w=w).headline == "unknown"


def bf16(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def tf32(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("bfloat16", bf16),
        ("TF32", tf32),
        ("float16", lambda x: x.astype(np.float16).astype(np.float32)),
    ],
)
def test_inputs_of_lower_precision(name: str, lower: Callable[[Array], Array]) -> None:
    x, w = float_operands()
    a = in_order(x, w, np.arange(96))
    b = in_order(lower(x), lower(w), RNG.permutation(96))
    found = named(MATMUL, {"x": x}, a, b, w=w)
    # In some order of float32 sums: shown by the bound, and said so.
    assert (found.mechanisms, found.evidence) == (("low precision",), WITHIN_BOUND)
    assert name in str(found.b)
    exact = (lower(x).astype(np.float64) @ lower(w).astype(np.float64)).astype(np.float32)
    assert named(MATMUL, {"x": x}, a, exact, w=w).evidence is REPRODUCED


def test_integers_carried_in_floats_beyond_their_reach() -> None:
    x = RNG.integers(-(2**13), 2**13, (8, 96)).astype(np.float32)
    w = RNG.integers(-(2**9), 2**9, (96, 5)).astype(np.float32)
    exact = (x.astype(np.float64) @ w.astype(np.float64)).astype(np.float32)
    found = named(MATMUL, {"x": x}, exact, in_order(x, w, np.arange(96)), w=w)
    assert found.mechanisms == ("float carrier",)
    assert found.evidence is WITHIN_BOUND
    small, light = (np.sign(part) for part in (x, w))
    right = in_order(small, light, np.arange(96))
    assert named(MATMUL, {"x": small}, right, right + 1, w=light).headline == "unknown"


def test_float64_that_was_summed_in_float32() -> None:
    x = RNG.integers(-(2**13), 2**13, (8, 96)).astype(np.float64)
    w = RNG.integers(-(2**9), 2**9, (96, 5)).astype(np.float64)
    text = MATMUL.replace("float", "double")
    got = in_order(x.astype(np.float32), w.astype(np.float32), np.arange(96)).astype(np.float64)
    assert (got != x @ w).any()
    found = named(text, {"x": x}, x @ w, got, w=w)
    # Products below 2^24 are exact: a chain of FMAs is a chain of additions.
    assert (found.mechanisms, found.evidence) == (("float carrier",), REPRODUCED)
    assert named(text, {"x": x}, x @ w, got + 0.25, w=w).headline == "unknown"


def elementwise(operator: str, dtype: str, **attributes: str) -> str:
    given = f" <{', '.join(f'{k} = {v}' for k, v in attributes.items())}>" if attributes else ""
    return f"g ({dtype}[n] x) => ({dtype}[n] y) {{ y = {operator}{given} (x, c) }}"


def test_int64_in_32_bits() -> None:
    x = RNG.integers(2**31, 2**33, 64)
    right = x * 3
    wrong = (x.astype(np.int32) * np.int32(3)).astype(np.int64)
    text = elementwise("Mul", "int64")
    assert named(text, {"x": x}, right, wrong, c=np.array(3)).mechanisms == ("int64 truncation",)


def test_int64_compared_by_its_low_words() -> None:
    x = np.array([2**31, 2**31 + 5, 7, -3, 2**33 + 1], np.int64)
    right, wrong = np.maximum(x, 0), np.array([0, 0, 7, 0, 2**33 + 1], np.int64)
    found = named(elementwise("Max", "int64"), {"x": x}, right, wrong, c=np.array(0))
    assert found.mechanisms == ("int64 low words",)


def test_int32_divided_in_float32() -> None:
    x = RNG.integers(2**24, 2**31, 64).astype(np.int32)
    right = x // 7
    wrong = np.floor(x.astype(np.float32) / np.float32(7)).astype(np.int32)
    assert (right != wrong).any()
    found = named(elementwise("Div", "int32"), {"x": x}, right, wrong, c=np.array(7, np.int32))
    assert found.mechanisms == ("float32 arithmetic",)


def test_an_fma_rounds_once() -> None:
    x, y, z = (RNG.standard_normal(4000).astype(np.float32) for _ in range(3))
    # Cancellation, and addends far below and far above the product.
    z[:1000], z[1000:1500], z[1500:2000] = (
        -(x * y)[:1000],
        z[1000:1500] * 2.0**-30,
        z[1500:2000] * 2.0**30,
    )
    exact = [
        Fraction(a) * Fraction(b) + Fraction(c)
        for a, b, c in zip(*map(listed, (x, y, z)), strict=True)
    ]
    got = fused_multiply_add(x, y, z)
    for value, near in zip(exact, listed(got), strict=True):
        apart = abs(Fraction(near) - value)
        for neighbour in (np.nextafter(np.float32(near), side) for side in (-INF, INF)):
            assert apart <= abs(Fraction(float(neighbour)) - value)
    # Twice rounded is another number in some places.
    assert (got != x * y + z).any()


def listed(array: Array) -> list[float]:
    return [float(x) for x in array]


def test_mul_and_add_in_one_rounding() -> None:
    text = "g (float[n] x) => (float[n] y) { p = Mul (x, m) y = Add (p, o) }"
    x = RNG.standard_normal(64).astype(np.float32)
    m, o = np.array(1.7, np.float32), np.array(0.3, np.float32)
    found = named(text, {"x": x}, x * m + o, fused_multiply_add(x, m, o), m=m, o=o)
    assert (found.mechanisms, found.evidence) == (("fused multiply-add",), REPRODUCED)


def test_what_only_the_smallest_graph_shows_is_said_to_be_that() -> None:
    """In the whole graph the offset is moved inside; alone, Mul and Add become one FMA."""
    text = "g (float[n] x) => (float[n] y) { t = Add (x, z) p = Mul (t, m) y = Add (p, o) }"
    x = RNG.integers(-99, 99, 64).astype(np.float32)
    weights = {name: np.array(v, np.float32) for name, v in (("z", 0), ("m", 1.7), ("o", 0.3))}
    graph = Graph.of(model(text, **weights).SerializeToString(), "context")
    m, o = weights["m"], weights["o"]

    def run(whole: Callable[[Array], Array]) -> Callable[..., Trace]:
        def made(onnx_model: bytes, feeds: dict[str, Array]) -> Trace:
            cut = Graph.of(onnx_model, "cut")
            (given,) = feeds.values()
            values = {"t": given, "p": given * m, "y": given * m + o}
            if cut.outputs[-1] == "y":
                alone = {1: given + o, 2: fused_multiply_add(given, m, o)}
                values["y"] = alone.get(len(cut.steps), whole(given))
            records = tuple(TensorRecord.of(name, values[name]) for name in cut.outputs)
            return Trace(tensors=records, environment={})

        return made

    def right(onnx_model: bytes, feeds: dict[str, Array]) -> Trace:
        found = evaluate(Graph.of(onnx_model, "cut"), feeds)
        records = tuple(TensorRecord.of(name, array) for name, array in found.items())
        return Trace(tensors=records, environment={})

    a = Live(name="a", graph=graph, feeds={"x": x}, run=right)
    moved = explain_found(bisect(a, replace(a, name="b", run=run(lambda x: (x + o / m) * m))))
    assert moved is not None
    assert moved.mechanisms == ("offset inside a scale",)
    riddle = explain_found(bisect(a, replace(a, name="b", run=run(lambda x: x * m + o + 1))))
    assert riddle is not None
    assert riddle.headline == (
        "fused multiply-add (reproduced bit for bit, on the smallest graph alone, whose bits are not those of the whole graph)"
    )
    assert to_report(riddle, ("a", "b"))["shown_on"] == "smallest graph"


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        ("Div", lambda x: np.trunc(x.astype(np.int32).astype(np.float32) / np.float32(7))),
        ("Mul", lambda x: x.astype(np.int32).astype(np.float32) * np.float32(7)),
    ],
)
def test_int64_taken_for_int32_and_then_for_float32(
    operator: str, wrong: Callable[[Array], Array]
) -> None:
    x = RNG.integers(-(2**26), 2**26, 64) + 2**33
    right = {"Div": x // 7, "Mul": x * 7}[operator]
    got = wrong(x).astype(np.int64)
    found = named(elementwise(operator, "int64"), {"x": x}, right, got, c=np.array(7))
    assert found.mechanisms == ("float32 arithmetic",)
    assert "as int32" in str(found.b)


def test_other_weights_are_named_by_their_digests() -> None:
    x = np.arange(8, dtype=np.int32)
    text = elementwise("Add", "int32")
    sites = [site(text, {"x": x}, x + c, c=np.array(c, np.int32)) for c in (4, 7)]
    found = explain(*sites)
    assert found.mechanisms == (OTHER_TENSORS,)
    assert (found.changed[0].tensor, found.changed[0].bit) == ("c", -1)
    # The same weights with a result that neither gives: the difference of weights explains nothing.
    assert explain(sites[0], replace(sites[1], got=x)).headline == "unknown"
    flipped = [site(text, {"x": x}, x + c, c=np.array(c, np.int32)) for c in (4, 6)]
    assert explain(*flipped).mechanisms == (FLIPPED_BIT,)
    fed = {"x": x ^ np.array([0, 0, 8, 0, 0, 0, 0, 0], np.int32)}
    (bit,) = changed({"x": x}, fed)
    assert (bit.index, bit.bit, bit.a, bit.b) == ((2,), 3, "2", "10")


def test_every_mechanism_says_what_does_it() -> None:
    assert len(MECHANISMS.names()) >= 16
    assert all(mechanism.summary for mechanism in MECHANISMS)


# Interventions.


def test_platforms_that_are_one_option_apart() -> None:
    assert "ort-cpu-noopt" in {s.variant for s in one_option_apart("ort-cpu")}
    assert {"torch-nomkldnn", "torch-avx2"} <= {s.variant for s in one_option_apart("torch")}
    # Two fields apart, or on another host.
    assert "torch" not in {s.variant for s in one_option_apart("ort-cpu")}
    assert all(
        PLATFORMS[s.variant].host == PLATFORMS[s.platform].host for s in one_option_apart("ort-cpu")
    )
    assert one_option_apart("some.trace") == []
    # Of a profile or of options, what differs alone is said.
    said = {s.variant: s.what for p in ("dsp-exact32", "openvino-f32") for s in one_option_apart(p)}
    assert said["dsp-pairsat"] == "pair_saturation=True instead of False"
    assert said["openvino-f32-nolpt"] == "LP_TRANSFORMS_MODE=NO instead of none"
    assert parse_switch("a=b").variant == "b"


def test_what_a_switch_restores() -> None:
    a, b = recorded("isa-reorder")
    found = bisect(a, b).reproduction
    assert found is not None
    shown = found.whole
    switches = [parse_switch("one=two"), parse_switch("one=three"), parse_switch("other=two")]

    def on(variant: str) -> Callable[..., Trace]:
        return lambda *_: shown.b if variant == "two" else shown.a

    result = list(restored(shown, ("one", "other"), switches, on))
    assert [(r.switch.platform, r.switch.variant) for r in result] == [("one", "two")]
    why = explain_found(bisect(a, b))
    assert why is not None
    assert to_report(why, ("one", "other"), result)["restored_by"] == [str(result[0])]
    assert (
        to_lines(why, ("one", "other"), result)[0]
        == "mechanism: summation order (within the bound)"
    )
    # Where no simulation has the bits, the switch itself is what is known, and said to be that.
    unknown = from_record("isa-reorder", noise)
    assert to_lines(unknown, ("one", "other"))[0] == "mechanism: unknown"
    assert to_lines(unknown, ("one", "other"), result)[0] == (
        "mechanism: two restores identity (by intervention; no simulation has the bits)"
    )
    assert to_report(unknown, ("one", "other"), result)["evidence"] == "by intervention"
    assert to_report(unknown, ("one", "other"))["evidence"] == "unknown"
