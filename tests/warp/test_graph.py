"""The warp's graphs: the integer one equals the reference bit for bit on every platform, the float one is a control."""

import hashlib
from collections.abc import Iterable
from functools import cache

import numpy as np
import onnx
import pytest
import torch

import harness.compressai_import  # noqa: F401  # isort: skip
from compressai.models.utils import gaussian_kernel2d  # isort: skip

from harness.errors import FellBack, Unsupported
from harness.lint.analyse import Options, lint
from harness.lint.findings import Level, Verdict
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Child
from harness.suite import load
from harness.trace import TensorRecord
from harness.warp import float_graph
from harness.warp.graph import (
    MOTION,
    NETWORK,
    PREDICTION,
    REFERENCE,
    lower_float,
    lower_integer,
)
from harness.warp.reference import predict
from harness.warp.specification import WarpSpecification
from tests.platforms.prepared import child_of
from tests.warp.inputs import SPECIFICATIONS, called, motions, pictures
from tests.warp.test_reference import compressai

USUAL = SPECIFICATIONS[1]
SIZES = [(16, 16), (32, 48)]
TORCH = ["torch", "torch-nomkldnn", "torch-avx2", "torch-sse41"]
CPU = ["ort-cpu", "ort-cpu-noopt", *TORCH, "onnx-reference", "dsp-exact32"]
OTHERS = ["jax", "opencv-dnn", "ort-node", "ort-web-wasm", "tract"]
# Of the others that do not list the float warp: what they say of it. onnx-reference has no fault but its minute.
REFUSALS = {
    "dsp-exact32": "Pad",
    "jax": "Pad",
    "ncnn": "CumSum",
    "openvino-f32": "GridSample",
    "ort-node-webgpu": "GridSample",
    "tract": "GridSample",
}


def with_float_warp(names: Iterable[str]) -> list[str]:
    return [name for name in names if NETWORK in PLATFORMS[name].networks]


def run(child: Child, artifact: Artifact, reference: np.ndarray, motion: np.ndarray) -> np.ndarray:
    feeds = [TensorRecord.of(REFERENCE, reference), TensorRecord.of(MOTION, motion)]
    trace = child.run(artifact.sha256, artifact.onnx_model, feeds)
    (record,) = trace.tensors
    assert record.name == PREDICTION
    return record.array()


@cache
def cases(specification: WarpSpecification) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """What, reference, motion and prediction, of every edge."""
    found = []
    for size in SIZES if specification == USUAL else SIZES[:1]:
        of_size = pictures(*size)
        for name, motion in motions(specification, *size).items():
            picture = of_size["beyond" if name == "beyond" else "random"]
            found.append((f"{name} {size}", picture, motion))
        found.append((f"checks {size}", of_size["checks"], motion))
    return [(what, p, m, predict(specification, p, m)) for what, p, m in found]


def assert_exact(child: Child, specification: WarpSpecification) -> None:
    artifact = lower_integer(specification)
    for what, reference, motion, want in cases(specification):
        got = run(child, artifact, reference, motion)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.tobytes() == want.tobytes(), what


@pytest.mark.parametrize("platform", CPU)
def test_the_integer_graph_equals_the_reference(platform: str) -> None:
    with child_of(platform) as child:
        for specification in SPECIFICATIONS:
            assert_exact(child, specification)


@pytest.mark.parametrize("platform", OTHERS)
def test_it_equals_the_reference_where_another_runtime_is_prepared(platform: str) -> None:
    with child_of(platform) as child:
        _, reference, motion, want = cases(USUAL)[-1]
        got = run(child, lower_integer(USUAL), reference, motion)
        assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("platform", ["dsp-half-even", "dsp-floor"])
def test_another_rounding_shows(platform: str) -> None:
    """The simulated DSP rounds in its own way wherever the graph says that something is rounded."""
    ties = [case for case in cases(USUAL) if case[0].startswith("ties")]
    with child_of(platform) as child:
        for _, reference, motion, want in ties:
            got = run(child, lower_integer(USUAL), reference, motion)
            assert got.tobytes() != want.tobytes()
    assert len(ties) == len(SIZES)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=called)
def test_the_linter_finds_the_integer_graph_exact(specification: WarpSpecification) -> None:
    """But for OpenVINO, whose int32 is float32 beyond 2^24: blurs and the prediction have 30 bits."""
    report = lint(lower_integer(specification).onnx_model)
    assert report.verdict is Verdict.CONDITIONAL
    assert {f.runtime for f in report.findings} == {"openvino"}
    assert {f.level for f in report.findings} == {Level.DEVIATION}


def test_the_linter_finds_the_float_graph_order_dependent() -> None:
    report = lint(lower_float().onnx_model)
    assert report.verdict is Verdict.ORDER_DEPENDENT
    inexact = {(f.rule, f.operator) for f in report.at_level(Level.INEXACT)}
    assert {("float-reduction", "Conv"), ("interpolation", "GridSample")} <= inexact


def float_feeds() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    motion = (rng.random((1, 3, 32, 48)) - 0.5) * np.array([0.4, 0.4, 2.4])[:, None, None]
    return rng.random((1, 3, 32, 48), np.float32), motion.astype(np.float32)


@pytest.mark.parametrize("platform", with_float_warp([*CPU, *OTHERS]))
def test_the_float_graph_is_compressais_prediction(platform: str) -> None:
    """Not to the bit, nor need it be; on every required platform that lists it, and others where they are prepared."""
    feeds = float_feeds()
    want = compressai(*feeds)
    with child_of(platform) as child:
        got = run(child, lower_float(), *feeds)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert np.abs(got - want).max() < 2e-5


@pytest.mark.parametrize("platform", REFUSALS)
def test_who_does_not_list_the_float_warp_cannot_run_it(platform: str) -> None:
    assert with_float_warp([platform]) == []
    with (
        child_of(platform) as child,
        pytest.raises((FellBack, Unsupported), match=REFUSALS[platform]),
    ):
        run(child, lower_float(), *float_feeds())


def test_every_required_platform_runs_the_float_warp_or_borrows_it_from_one_that_does() -> None:
    required = load("default").required
    assert set(required) <= set(CPU)
    assert with_float_warp(required) == ["ort-cpu", "ort-cpu-noopt", *TORCH]
    lenders = {PLATFORMS[name].borrows_from for name in PLATFORMS.names()}
    assert with_float_warp(lenders) == list(lenders)


def test_nothing_of_the_float_graph_is_left_to_a_cpu_beside_cuda() -> None:
    """Neither an operator without a kernel nor arithmetic on shapes; WebGPU shows that the first would be seen."""
    onnx_model = lower_float().onnx_model
    fallbacks = {}
    for provider in ("cuda", "webgpu"):
        report = lint(onnx_model, options=Options(providers=(provider,)))
        fallbacks[provider] = {f.operator for f in report.findings if f.rule == "provider-fallback"}
    assert fallbacks == {"cuda": set(), "webgpu": {"GridSample"}}
    assert long_tensors(onnx_model) == {"columns.size", "rows.size"}


def test_the_float_graph_depends_on_who_runs_it() -> None:
    feeds = float_feeds()
    model = lower_float().onnx_model
    seen = set()
    for platform in ("ort-cpu", "ort-cpu-noopt", "torch", "torch-nomkldnn"):
        session = PLATFORMS[platform].open().load(model)
        got = session.run({REFERENCE: feeds[0], MOTION: feeds[1]})[PREDICTION]
        seen.add(hashlib.sha256(got.tobytes()).hexdigest())
    assert len(seen) > 1


def test_the_kernel_is_compressais() -> None:
    want = gaussian_kernel2d(11, 1.5, torch.device("cpu"), torch.float32).numpy()
    # Its exponentials are the machine's: within a few units in the last place.
    assert np.abs(float_graph.kernel()[0, 0] / want - 1).max() < 1e-6


@pytest.mark.parametrize("artifact", [lower_integer(USUAL, codec="ssf/q1"), lower_float()])
def test_the_artifact_says_what_it_is(artifact: Artifact) -> None:
    model = onnx.load_model_from_string(artifact.onnx_model)
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["crosscheck.network"] == artifact.network == "warp"
    assert told["crosscheck.specification"] == artifact.specification
    assert told["crosscheck.codec"] == ("ssf/q1" if artifact.integer else "")
    assert [value.name for value in model.graph.input] == [REFERENCE, MOTION]
    assert tuple(value.name for value in model.graph.output) == artifact.outputs
    assert all(node.name for node in model.graph.node)


def test_equal_specifications_give_equal_bytes() -> None:
    assert lower_integer(USUAL).onnx_model == lower_integer(USUAL).onnx_model
    assert lower_float().onnx_model == lower_float().onnx_model
    assert lower_integer(USUAL).specification == USUAL.digest
    assert lower_integer(SPECIFICATIONS[0]).sha256 != lower_integer(USUAL).sha256


def test_the_integer_graph_has_plain_int32_operators_only() -> None:
    model = onnx.load_model_from_string(lower_integer(USUAL).onnx_model)
    operators = {node.op_type for node in model.graph.node}
    operators |= {node.op_type for function in model.functions for node in function.node}
    assert operators == {
        "Add", "Concat", "Constant", "CumSum", "Div", "Gather", "Max", "Min", "Mul", "Requantize", "Reshape",
        "RoundingShift", "Shape", "Slice", "Squeeze", "Sub", "Unsqueeze",
    }  # fmt: skip
    assert long_tensors(lower_integer(USUAL).onnx_model) == {"x.size", "y.size"}


def long_tensors(onnx_model: bytes) -> set[str]:
    """Which tensors are int64: shapes as they are, where nothing computes with them."""
    model = onnx.load_model_from_string(onnx_model)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    return {name for name, kind in kinds.items() if kind == onnx.TensorProto.INT64}
