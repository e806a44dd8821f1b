"""Every rule finds the hazard that is planted for it, at the node where it is, and leaves the harmless twin alone."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.lint.deviations import DEVIATIONS, runtimes
from harness.lint.findings import Level, Verdict
from harness.lint.formats import rules_text
from harness.lint.rules import RULES, Rule, register
from tests.lint.graphs import judged, rules

I8, U8, I32, U32, F32 = np.int8, np.uint8, np.int32, np.uint32, np.float32
FLAT = "g ({kind}[n] x) => ({out}[n] y) {{ {body} }}"


@dataclass
class Plant:
    """A graph with the hazard at the node that makes y, and one without it."""

    hazard: str
    harmless: str
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    twin: dict[str, np.ndarray] = field(default_factory=dict)
    ranges: dict[str, tuple[float, ...]] = field(default_factory=dict)
    harmless_ranges: dict[str, tuple[float, ...]] | None = None
    providers: tuple[str, ...] = ()
    opset: int = 19


def flat(body: str, kind: str = "float", out: str | None = None) -> str:
    return FLAT.format(kind=kind, out=out or kind, body=body)


def product(a: str, b: str) -> str:
    return f"g ({a}[rows, 3] x) => (int32[rows, 2] y) {{ y = MatMulInteger (x, {b}) }}"


CONV = "g (float[1, 1, h, w] x) => (float[1, 1, p, q] y) { y = Conv (x, w) }"
MATMUL = "g (float[rows, 3] x) => (float[rows, 2] y) { y = MatMul (x, w) }"
EIGHT = np.array([[100, -100], [100, -100], [1, 1]])
QUANTIZE = flat("y = QuantizeLinear (x, s, z)", out="uint8")
DEQUANTIZE = (
    "g (int8[rows, 2] x) => (float[rows, 2] y) { y = DequantizeLinear <axis = 1> (x, s, z) }"
)
QLINEAR = (
    "g (uint8[rows, 2] x) => (uint8[rows, 2] y) { y = QLinearMatMul (x, s, z, w, s, z, s, z) }"
)
PLANTS = {
    "float-reduction": Plant(MATMUL, MATMUL, {"w": np.full((3, 2), 0.1, F32)}, {"w": np.ones((3, 2), F32)}, {"x": (-9, 9, 1)}),
    "float-rounding": Plant(flat("y = Div (x, c)"), flat("y = Div (x, c)"), {"c": np.array(3, F32)}, {"c": np.array(4, F32)}, {"x": (-9, 9, 1)}),
    "transcendental": Plant(flat("y = Exp (x)"), flat("y = Relu (x)")),
    "float-rescale": Plant(
        QUANTIZE, QUANTIZE, {"s": np.array(0.1, F32), "z": np.array(0, U8)}, {"s": np.array(0.5, F32), "z": np.array(0, U8)},
    ),
    "interpolation": Plant(
        "g (float[1, 1, h, w] x) => (float[1, 1, p, q] y) { y = Resize <mode = \"linear\"> (x, , s) }",
        "g (float[1, 1, h, w] x) => (float[1, 1, p, q] y) { y = Resize <coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"> (x, , s) }",
        {"s": np.array([1, 1, 2, 2], F32)}, {"s": np.array([1, 1, 2, 2], F32)},
    ),
    "accumulator-overflow": Plant(MATMUL, MATMUL, {"w": np.full((3, 2), 2**22 - 1, F32)}, {"w": np.ones((3, 2), F32)}, {"x": (-9, 9, 1)}),
    "integer-overflow": Plant(flat("y = Mul (x, x)", "int32"), flat("y = Mul (x, x)", "int32"), harmless_ranges={"x": (-46340, 46340)}),
    "cast-out-of-range": Plant(flat("y = Cast <to = 2> (x)", out="uint8"), flat("y = Cast <to = 2> (x)", out="uint8"),
                               ranges={"x": (-1, 255, 1)}, harmless_ranges={"x": (0, 255, 1)}),
    "undefined-arithmetic": Plant(flat("y = Div (c, x)", "int32"), flat("y = Div (c, x)", "int32"), {"c": np.array(7, I32)}, {"c": np.array(7, I32)},
                                  {"x": (0, 9)}, {"x": (1, 9)}),
    "random": Plant(flat("y = RandomNormalLike (x)"), flat("y = Identity (x)")),
    "unknown-operator": Plant(flat("y = crosscheck.Mystery (x)"), flat("y = Identity (x)")),
    "float-carrier": Plant(flat("y = Mul (x, c)"), flat("y = Mul (x, c)", "int32"), {"c": np.array(3, F32)}, {"c": np.array(3, I32)},
                           {"x": (-9, 9, 1)}, {"x": (-9, 9)}),
    "rounded-then-clamped": Plant(
        flat("f = Cast <to = 1> (x) y = Clip (f, l, h)", "int32", "float"), flat("f = Cast <to = 1> (x) y = Clip (f, l, h)", "int32", "float"),
        {"l": np.array(0, F32), "h": np.array(255, F32)}, {"l": np.array(0, F32), "h": np.array(255, F32)}, {}, {"x": (0, 2**24)},
    ),
    "unsigned-wrap": Plant(flat("y = Mul (x, c)", "uint8"), flat("y = Mul (x, c)", "uint8"), {"c": np.array(2, U8)}, {"c": np.array(1, U8)}),
    "cast-wraps": Plant(flat("y = Cast <to = 2> (x)", "int32", "uint8"), flat("y = Cast <to = 2> (x)", "int32", "uint8"), harmless_ranges={"x": (0, 255)}),
    "fractional-cast": Plant(flat("y = Cast <to = 6> (x)", out="int32"), flat("f = Floor (x) y = Cast <to = 6> (f)", out="int32"), ranges={"x": (-9, 9)}),
    "index-out-of-range": Plant(
        flat("y = GatherElements (t, x)", "int32", "uint8"), flat("y = GatherElements (t, x)", "int32", "uint8"),
        {"t": np.arange(10, dtype=U8)}, {"t": np.arange(10, dtype=U8)}, {"x": (0, 10)}, {"x": (-10, 9)},
    ),
    "scatter-duplicates": Plant(
        flat("y = ScatterElements (x, i, u)"), flat("y = ScatterElements (x, i, u)"),
        {"i": np.array([1, 1]), "u": np.zeros(2, F32)}, {"i": np.array([1, 2]), "u": np.zeros(2, F32)},
    ),
    "signed-zero": Plant(flat("y = Max (x, c)"), flat("y = Max (x, c)"), {"c": np.array(0, F32)}, {"c": np.array(1, F32)}),
    "provider-fallback": Plant(product("uint8", "w"), product("int8", "w"), {"w": EIGHT.astype(U8)}, {"w": EIGHT.astype(I8)}, providers=("cuda",)),
    "rare-type": Plant(flat("y = Max (x, x)", "uint32"), flat("y = Max (x, x)", "int32")),
    "missing-kernel": Plant(flat("y = Max (x, x)", "int16"), flat("y = Max (x, x)", "int8")),
    "pair-saturation": Plant(product("uint8", "w"), product("uint8", "w"), {"w": EIGHT.astype(I8)}, {"w": (EIGHT // 2).astype(I8)}),
    "neon-pair-wrap": Plant(product("uint8", "w"), product("uint8", "w"), {"w": np.full((3, 2), -128, I8)}, {"w": np.full((3, 2), -127, I8)}),
    "rten-8bit": Plant(product("uint8", "w"), product("uint8", "w"), {"w": np.abs(EIGHT).astype(U8)}, {"w": (128 + EIGHT // 2).astype(U8)}),
    "wasm-relaxed-simd": Plant(product("uint8", "w"), product("uint8", "w"), {"w": EIGHT.astype(I8)}, {"w": (EIGHT // 2).astype(I8)}),
    "ort-int64-minmax": Plant(flat("y = Max (x, x)", "int64"), flat("y = Max (x, x)", "int64"), harmless_ranges={"x": (-(2**31), 2**31 - 1)}),
    "openvino-int64": Plant(flat("y = Mul (x, c)", "int64"), flat("y = Mul (x, c)", "int64"), {"c": np.array(2)}, {"c": np.array(2)},
                            {"x": (0, 2**31 - 1)}, {"x": (0, 2**30 - 1)}),
    "openvino-int32-div": Plant(flat("y = Div (x, c)", "int32"), flat("y = Div (x, c)", "int32"), {"c": np.array(7, I32)}, {"c": np.array(7, I32)},
                                {"x": (0, 2**24 + 1)}, {"x": (0, 2**24)}),
    "openvino-uint32-shift": Plant(
        flat('y = BitShift <direction = "RIGHT"> (x, c)', "uint32"), flat('y = BitShift <direction = "RIGHT"> (x, c)', "uint32"),
        {"c": np.array(7, U32)}, {"c": np.array(7, U32)}, {"x": (0, 2**24 + 1)}, {"x": (0, 2**24)},
    ),
    "openvino-int32-mod": Plant(flat("y = Mod (x, c)", "int32"), flat("y = Mod (x, c)", "int32"), {"c": np.array(7, I32)}, {"c": np.array(7, I32)},
                                {"x": (0, 2**24 + 1)}, {"x": (0, 2**24)}),
    "openvino-int32-fused": Plant(flat("y = Mul (x, c)", "int32"), flat("y = Mul (x, c)", "int32"), {"c": np.array(97, I32)}, {"c": np.array(97, I32)},
                                  {"x": (0, 1280000)}, {"x": (0, 2**24 // 97)}),
    "openvino-int32-sums": Plant(flat("y = MatMulInteger (x, w)", "uint8", "int32").replace("[n] x", "[2, 600] x").replace("[n] y", "[2, 2] y"),
                                 product("uint8", "w"), {"w": np.full((600, 2), 127, I8)}, {"w": EIGHT.astype(I8)}),
    "openvino-float64": Plant(flat("y = Mul (x, c)", "double"), flat("y = Mul (x, c)", "double"), {"c": np.array(4.0)}, {"c": np.array(4.0)},
                              {"x": (0, 2**24 + 1, 1)}, {"x": (0, 2**24, 1)}),
    "openvino-offset-inside": Plant(flat("y = Mul (x, c)"), flat("y = Mul (x, c)"), {"c": np.array(1.375, F32)}, {"c": np.array(4, F32)}, {"x": (0, 255, 1)}),
    "tract-dequantize-axis": Plant(DEQUANTIZE, DEQUANTIZE, {"s": np.array([1, 2], F32), "z": np.zeros(2, I8)}, {"s": np.array(1, F32), "z": np.array(0, I8)}),
    "openvino-quantize": Plant(
        QUANTIZE, QUANTIZE, {"s": np.array(2, F32), "z": np.array(0, U8)}, {"s": np.array(1, F32), "z": np.array(0, U8)}, {"x": (0, 99, 1)},
    ),
    "openvino-bf16": Plant(flat("y = Mul (x, c)"), flat("y = Mul (x, c)"), {"c": np.array(4, F32)}, {"c": np.array(4, F32)}, {"x": (0, 257, 1)}, {"x": (0, 256, 1)}),
    "onnx-reference-qlinear": Plant(
        QLINEAR, QLINEAR, {"w": np.eye(2, dtype=U8), "s": np.array(0.3, F32), "z": np.array(3, U8)},
        {"w": np.eye(2, dtype=U8), "s": np.array(0.3, F32), "z": np.array(4, U8)},
    ),
    "unpromised-rounding": Plant(QUANTIZE, flat("y = Floor (x)"), {"s": np.array(1, F32), "z": np.array(0, U8)}),
    "cuda-tf32": Plant(MATMUL, MATMUL, {"w": np.ones((3, 2), F32)}, {"w": np.ones((3, 2), F32)}, {"x": (0, 2**11 + 1, 1)}, {"x": (0, 2**11, 1)}),
    "winograd": Plant(CONV, CONV, {"w": np.ones((1, 1, 3, 3), F32)}, {"w": np.ones((1, 1, 1, 1), F32)}, {"x": (0, 9, 1)}),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_planted_hazard_is_found(rule: Rule) -> None:
    plant = PLANTS[rule.name]
    analysis = judged(
        plant.hazard,
        ranges=plant.ranges,
        providers=plant.providers,
        opset=plant.opset,
        **plant.constants,
    )
    found = [f for f in analysis.report.findings if f.rule == rule.name]
    assert found, f"{rule.name} is not among {rules(analysis)}"
    for finding in found:
        assert finding.level is rule.level
        assert finding.message
        assert finding.remedy == rule.remedy
        assert finding.output in analysis.values
    if rule.name != "rounded-then-clamped":
        assert found[-1].output == "y"
    wanted = {
        Level.INEXACT: {Verdict.ORDER_DEPENDENT},
        Level.CONDITION: {Verdict.CONDITIONAL, Verdict.ORDER_DEPENDENT},
        Level.DEVIATION: {Verdict.CONDITIONAL, Verdict.ORDER_DEPENDENT},
        Level.NOTE: set(Verdict),
    }
    assert analysis.report.verdict in wanted[rule.level]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_harmless_twin_is_left_alone(rule: Rule) -> None:
    plant = PLANTS[rule.name]
    ranges = plant.ranges if plant.harmless_ranges is None else plant.harmless_ranges
    analysis = judged(
        plant.harmless, ranges=ranges, providers=plant.providers, opset=plant.opset, **plant.twin
    )
    assert rule.name not in rules(analysis)


def test_no_plant_outlives_its_rule() -> None:
    assert set(PLANTS) == set(RULES)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_counts_in_full_once_its_runtime_is_named(name: str) -> None:
    plant = PLANTS[name]
    rule = DEVIATIONS[name].rule
    analysis = judged(
        plant.hazard,
        ranges=plant.ranges,
        runtimes=rule.runtimes[:1],
        opset=plant.opset,
        **plant.constants,
    )
    found = [f for f in analysis.report.findings if f.rule == name]
    assert {f.level for f in found} == {Level.INEXACT}
    assert analysis.report.verdict is Verdict.ORDER_DEPENDENT
    assert rule.runtimes[0] in found[0].runtime


@pytest.mark.parametrize("name", DEVIATIONS)
def test_every_deviation_has_a_source_that_says_how_it_is_known(name: str) -> None:
    rule = DEVIATIONS[name].rule
    assert rule.source.startswith(("measured:", "documented"))
    assert set(rule.runtimes) <= set(runtimes())
    assert rule.level is Level.DEVIATION


def test_the_list_of_rules_tells_all() -> None:
    text = rules_text()
    for rule in RULES.values():
        assert rule.name in text
        assert rule.remedy in text
        assert rule.source in text


def test_a_rule_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register(RULES["random"])


MORE = {
    # What else must be found: one graph an operator that is exact nowhere.
    "Softmax": "transcendental", "Tanh": "transcendental", "Sigmoid": "transcendental", "Log": "transcendental", "Erf": "transcendental",
    "Sin": "transcendental", "Gelu": "transcendental", "Sqrt": "float-rounding", "Reciprocal": "float-rounding", "HardSwish": "float-rounding",
    "ReduceSum": "float-reduction", "ReduceMean": "float-reduction", "GlobalAveragePool": "float-reduction", "LpNormalization": "float-reduction",
}  # fmt: skip


@pytest.mark.parametrize("operator", MORE)
def test_operators_that_are_exact_nowhere(operator: str) -> None:
    text = f"g (float[2, 3, 4, 5] x) => (float[a, b, c, d] y) {{ y = {operator} (x) }}"
    assert MORE[operator] in rules(judged(text, opset=20))


@pytest.mark.parametrize(
    ("operator", "kind"),
    [("BitShift", "uint8"), ("Relu", "float"), ("MatMulInteger", "uint8"), ("Pad", "int32"), ("ConvInteger", "uint8"), ("BitwiseAnd", "int32")],
)  # fmt: skip
def test_cuda_leaves_these_to_the_cpu(operator: str, kind: str) -> None:
    attributes = '<direction = "LEFT">' if operator == "BitShift" else ""
    arguments = {"Relu": "x", "Pad": "x, p"}.get(operator, "x, x")
    text = f"g ({kind}[2, 2, 2, 2] x) => ({kind}[a, b, c, d] y) {{ y = {operator} {attributes} ({arguments}) }}"
    analysis = judged(text, providers=("cuda",), p=np.zeros(8, np.int64))
    fallbacks = [f for f in analysis.report.findings if f.rule == "provider-fallback"]
    assert bool(fallbacks) == (operator != "Relu")
    assert all(f.message.endswith("documented, not run") for f in fallbacks)
    assert {f.runtime for f in fallbacks} <= {"cuda"}


def test_webgpu_takes_the_larger_of_integers_and_a_remainder_is_told_another_way() -> None:
    text = (
        "g (int32[n] x, int32[n] z) => (int32[n] m, int32[n] y) { m = Max (x, z) y = Mod (x, z) }"
    )
    ranges = {"x": (0, 99), "z": (1, 99)}
    found = judged(text, providers=("webgpu",), ranges=ranges).report.findings
    said = [f.message for f in found if f.rule == "provider-fallback"]
    assert len(said) == 1
    assert said[0].startswith(
        "webgpu has no Mod; x - Floor(x / m) * m in float32, below 2^24 will do"
    )
