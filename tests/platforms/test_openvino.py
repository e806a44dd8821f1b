"""OpenVINO: the precision that it declares is the one that ran; what it does wrong with integers is in the linter's table."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from harness.errors import FellBack, Unsupported
from harness.lint.analyse import Options, Range, examine
from harness.platforms.base import PLATFORMS
from harness.platforms.openvino import HOST, PRECISION, _reason
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, integer_convolution, node, run

I32, F32, F64, U8, I8 = np.int32, np.float32, np.float64, np.uint8, np.int8


@pytest.fixture(scope="module")
def exact() -> Iterator[Child]:
    with child_of("openvino-f32") as child:
        yield child


@pytest.mark.platform
def test_float32_is_asked_for_and_taken(exact: Child) -> None:
    found = exact.environment()
    version = dict(each.split("==") for each in HOST.requirements)["openvino"]
    assert found["runtime"] == f"openvino {version}"
    assert found["inference_precision"] == "f32"
    assert (found["threads"], found["streams"], found["provider"]) == ("1", "1", "CPU")
    assert found["options"] == "INFERENCE_PRECISION_HINT=f32"
    assert "bf16" not in found["float_kernel"]
    # A product of integers is no integer kernel there.
    assert found["integer_kernel"].endswith("f32")


@pytest.mark.platform
def test_the_default_is_bf16_where_the_processor_has_it(exact: Child) -> None:
    x = np.linspace(0, 1, 1 * 16 * 16 * 16, dtype=F32).reshape(1, 16, 16, 16)
    w = np.linspace(-1, 1, 16 * 16, dtype=F32).reshape(16, 16, 1, 1)
    model = graph([node("Conv", "x w", "y")], {"x": x}, {"y": F32}, w=w)
    with child_of("openvino") as child:
        found = child.environment()
        narrow = bool({"avx512_bf16", "amx_bf16"} & set(found["cpu_flags"].split()))
        got, want = run(child, model, {"x": x})["y"], run(exact, model, {"x": x})["y"]
    assert found["options"] == "default"
    assert found["inference_precision"] == ("bf16" if narrow else "f32")
    assert ("bf16" in found["float_kernel"]) is narrow
    # And it is not only said: the numbers are those of fewer bits.
    assert (got.tobytes() != want.tobytes()) is narrow


@pytest.mark.platform
def test_integers_in_a_float32_convolution_are_exact(exact: Child) -> None:
    model, feeds, want = integer_convolution(np.random.default_rng(1))
    assert run(exact, model, feeds)["y"].tobytes() == want.tobytes()


def wide(name: str) -> tuple[bytes, dict, np.ndarray]:
    """The smallest graph that shows a deviation, its feeds, and what ONNX has for it."""
    match name:
        case "openvino-int32-sums":
            x, w = np.array([[4097, 1]], I32), np.array([[4097], [0]], I32)
            return graph([node("MatMul", "x w", "y")], {"x": x}, {"y": I32}, w=w), {"x": x}, x @ w
        case "openvino-int32-fused":
            x, w = np.full((1, 64), 200, U8), np.full((64, 1), 100, I8)
            nodes = [
                node("MatMulInteger", "x w", "s"),
                node("Mul", "s m", "p"),
                node("Add", "p o", "y"),
            ]
            m, o = np.array([97], I32), np.array([1], I32)
            want = np.array([[200 * 100 * 64 * 97 + 1]], I32)
            return graph(nodes, {"x": x}, {"y": I32}, w=w, m=m, o=o), {"x": x}, want
        case "openvino-int32-div" | "openvino-int32-mod":
            x, c = np.array([2**30 + 1, 2**24 + 1, 26128383], I32), np.array([7], I32)
            operator, want = ("Div", x // c) if name.endswith("div") else ("Mod", x % c)
            return graph([node(operator, "x c", "y")], {"x": x}, {"y": I32}, c=c), {"x": x}, want
        case "openvino-float64":
            x, c = np.array([2.0**24 + 1]), np.array([0.0])
            return graph([node("Add", "x c", "y")], {"x": x}, {"y": F64}, c=c), {"x": x}, x
        case "openvino-offset-inside":
            # The transformations run where a graph quantizes.
            x, w = np.array([[255, 173]], F32), np.array([[127], [8]], I8)
            nodes = [
                node("QuantizeLinear", "x one zero", "q"),
                node("MatMulInteger", "q w", "s"),
                node("Cast", "s", "f", to=1),
                node("Mul", "f m", "p"),
                node("Add", "p o", "y"),
            ]
            constants = {"one": np.array(1, F32), "zero": np.array(0, U8), "w": w}
            constants |= {"m": np.array([0.0859375], F32), "o": np.array([106.9765625], F32)}
            want = np.array([[3009.0]], F32)
            return graph(nodes, {"x": x}, {"y": F32}, **constants), {"x": x}, want
    raise AssertionError(name)


SHOWN = [
    "openvino-float64",
    "openvino-int32-div",
    "openvino-int32-fused",
    "openvino-int32-mod",
    "openvino-int32-sums",
    "openvino-offset-inside",
]


@pytest.mark.platform
@pytest.mark.parametrize("rule", SHOWN)
def test_a_deviation_of_the_table_is_real(rule: str, exact: Child) -> None:
    model, feeds, want = wide(rule)
    got = run(exact, model, feeds)["y"]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() != want.tobytes()


@pytest.mark.parametrize("rule", SHOWN)
def test_the_linter_names_it_in_the_same_graph(rule: str) -> None:
    model, _, want = wide(rule)
    assert want.dtype.kind in "if"
    ranges = {"x": Range(low=0, high=2**24 + 1, step=1)} if rule == "openvino-float64" else {}
    report = examine(model, options=Options(runtimes=("openvino",), ranges=ranges)).report
    assert rule in {finding.rule for finding in report.findings}


@pytest.mark.platform
def test_without_low_precision_transformations_the_offset_stays_outside() -> None:
    model, feeds, want = wide("openvino-offset-inside")
    with child_of("openvino-f32-nolpt") as child:
        assert "LP_TRANSFORMS_MODE=NO" in child.environment()["options"]
        assert run(child, model, feeds)["y"].tobytes() == want.tobytes()


@pytest.mark.platform
def test_a_graph_that_it_refuses_is_unsupported_by_its_operator(exact: Child) -> None:
    x = np.zeros((1, 4), F32)
    model = graph([node("Mystery", "x", "y")], {"x": x}, {"y": F32})
    with pytest.raises(Unsupported, match=r"OpenVINO refuses the graph: .*Mystery") as caught:
        run(exact, model, {"x": x})
    assert "\n" not in str(caught.value)


def test_a_precision_that_was_not_taken_is_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    took = SimpleNamespace(to_string=lambda: "bf16")
    compiled = SimpleNamespace(get_property=lambda name: {PRECISION: took}[name])
    core = SimpleNamespace(read_model=lambda _: None, compile_model=lambda *_: compiled)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=lambda: core))
    x = np.zeros(1, F32)
    model = graph([node("Relu", "x", "y")], {"x": x}, {"y": F32})
    with pytest.raises(FellBack, match="asked for inference precision f32, got bf16"):
        PLATFORMS["openvino-f32"].open().load(model)


def test_the_reason_is_the_line_that_names_the_operator() -> None:
    assert _reason("Exception\n\nCheck 'false' failed\n-- QLinearConv-19 with a message:\n no") == (
        "QLinearConv-19"
    )
    assert _reason("Exception from core\nCheck 'a' failed at b") == "Check 'a' failed at b"
    assert _reason("") == "it does not say why"
