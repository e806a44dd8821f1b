"""What the project ships, as the linter sees it: integer lowerings are exact, controls are not."""

import time
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import specimens
from harness.codecs import checkpoint
from harness.errors import UserError
from harness.library import Library
from harness.lint.analyse import Options, lint
from harness.lint.findings import Level, Report, Verdict
from harness.lowerings.base import LOWERINGS, Source

if not checkpoint.shipped():
    pytest.skip("no codec ships yet: make fixtures", allow_module_level=True)
# One codec of each end of the list: two families.
FIRST, *_, LAST = checkpoint.shipped()
INTEGER = [item.name for item in LOWERINGS if item.realises == "integer"]
CONTROLS = {
    "fp32": "float-reduction",
    "w8a8-qdq": "float-rescale",
    "w8a8-qoperator": "float-rescale",
}
PRECISIONS = ["w4a8", "w8a8", "w12a12", "w16a16"]
# Every precision of one family, the usual ones of the other (whose rectifier is leaky).
CASES = [*((FIRST, precision) for precision in PRECISIONS), (LAST, "w8a8"), (LAST, "w16a16")]


@cache
def library() -> Library:
    return Library()


@cache
def report(codec: str, precision: str, lowering: str | None, network: str) -> Report:
    artifact = library().build(codec, precision, lowering).artifacts[network]
    return lint(artifact.onnx_model, name=network)


@pytest.mark.parametrize("lowering", INTEGER)
@pytest.mark.parametrize(("codec", "precision"), CASES)
def test_integer_lowerings_are_exact(codec: str, precision: str, lowering: str) -> None:
    try:
        found = report(codec, precision, lowering, "h_s")
    except UserError as error:
        pytest.skip(f"not every lowering carries every precision: {error}")
    assert found.at_level(Level.INEXACT) == ()
    assert found.verdict in {Verdict.EXACT, Verdict.CONDITIONAL}
    assert found.nodes > 100


def test_which_lowerings_saturate_without_vnni_and_which_cuda_runs() -> None:
    """What the lowerings say of themselves, found in their graphs."""
    codec = FIRST
    saturating, native = set(), set()
    for lowering in INTEGER:
        artifact = library().build(codec, "w8a8", lowering).artifacts["h_s"]
        found = lint(artifact.onnx_model, options=Options(providers=("cuda",)))
        named = {finding.rule for finding in found.findings}
        saturating |= {lowering} if "pair-saturation" in named else set()
        native |= {lowering} if "provider-fallback" not in named else set()
    assert saturating <= {"mmi-u8s8"}
    assert "mmi-u8u8" not in native
    assert {"mmi-s8s8"} & set(INTEGER) <= native


@pytest.mark.parametrize("network", ["g_a", "h_a", "h_s", "g_s"])
@pytest.mark.parametrize("precision", CONTROLS)
@pytest.mark.parametrize("codec", [FIRST, LAST])
def test_controls_are_not(codec: str, precision: str, network: str) -> None:
    found = report(codec, precision, None, network)
    assert found.verdict is Verdict.ORDER_DEPENDENT
    wanted = CONTROLS[precision] if network == "h_s" else "float-reduction"
    assert wanted in {f.rule for f in found.at_level(Level.INEXACT)}


@pytest.mark.parametrize("lowering", INTEGER)
def test_the_crafted_net_is_exact_in_every_integer_lowering(lowering: str) -> None:
    """It saturates, ties and rounds twice wherever a back end can."""
    network = specimens.tiny_codec().networks["h_s"]
    source = Source(network=network, integer=specimens.crafted_net())
    found = lint(LOWERINGS[lowering].lower(source).onnx_model)
    assert found.at_level(Level.INEXACT) == ()


def chain(operator: str, megabytes: int) -> bytes:
    """Layers of 512 x 512: float MatMul, or u8 x s8 MatMulInteger with its requantization, to about this size."""
    rng = np.random.default_rng(0)
    nodes, tensors = [], []
    width = 512
    whole = operator == "MatMulInteger"
    count = megabytes * 2**20 // (width * width * (1 if whole else 4))
    now = "x"
    for i in range(count):
        weight = (
            rng.integers(-127, 128, (width, width)).astype(np.int8)
            if whole
            else rng.normal(size=(width, width)).astype(np.float32)
        )
        tensors.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node(operator, [now, f"w{i}"], [f"a{i}"]))
        if whole:
            tensors.append(numpy_helper.from_array(np.full(width, 2**16, np.int32), f"d{i}"))
            nodes.append(helper.make_node("Max", [f"a{i}", "zero"], [f"m{i}"]))
            nodes.append(helper.make_node("Div", [f"m{i}", f"d{i}"], [f"q{i}"]))
            nodes.append(helper.make_node("Min", [f"q{i}", "most"], [f"c{i}"]))
            nodes.append(helper.make_node("Cast", [f"c{i}"], [f"y{i}"], to=TensorProto.UINT8))
        else:
            nodes.append(helper.make_node("Relu", [f"a{i}"], [f"y{i}"]))
        now = f"y{i}"
    tensors += [
        numpy_helper.from_array(np.array(v, np.int32), n) for n, v in (("zero", 0), ("most", 255))
    ]
    kind = TensorProto.UINT8 if whole else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["n", width])],
        [helper.make_tensor_value_info(now, kind, ["n", width])], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("operator", "verdict"),
    [("MatMul", Verdict.ORDER_DEPENDENT), ("MatMulInteger", Verdict.CONDITIONAL)],
)
def test_twenty_megabytes_take_seconds(operator: str, verdict: Verdict) -> None:
    onnx_model = chain(operator, 20)
    assert len(onnx_model) > 20_000_000
    started = time.process_time()
    found = lint(onnx_model)
    assert time.process_time() - started < 10
    assert found.verdict is verdict
    assert len(found.findings) >= 20


def test_the_report_of_equal_bytes_is_equal() -> None:
    onnx_model = chain("MatMul", 1)
    assert lint(onnx_model) == lint(onnx_model)
    assert onnx.load_model_from_string(onnx_model).graph.node
