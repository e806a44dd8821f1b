"""Known deviations: which apply to which machine, and that a divergence which none covers is a line."""

from collections.abc import Mapping

import pytest

from harness.covered import (
    ONLY_WHERE,
    ORDER_DEPENDENT,
    End,
    Judgement,
    mistake,
    rules_for,
    runtime_of,
    uncovered,
)
from harness.lint.deviations import DEVIATIONS, runtimes
from harness.lint.findings import Verdict

ORT = {
    "runtime": "onnxruntime 1.31.1",
    "provider": "CPUExecutionProvider",
    "machine": "x86_64",
    "cpu_flags": "avx avx2 avx512_vnni",
}
HASWELL = {**ORT, "cpu_flags": "avx avx2 fma"}
SANDYBRIDGE = {**ORT, "cpu_flags": "avx sse4_1"}
A72 = {**ORT, "machine": "aarch64", "cpu_flags": "asimd"}
TORCH = {"runtime": "torch 2.13.0", "device": "cpu", "integer_kernel": "torch int32 matmul"}
OPENVINO = {"runtime": "openvino 2026.4.1", "inference_precision": "bf16", "options": "default"}
DSP = {"runtime": "crosscheck simulated DSP", "accumulator": "int32, wrap", "rounding": "half-up",
       "pair_saturation": "none"}  # fmt: skip
SATURATES = Judgement(
    verdict=Verdict.CONDITIONAL.value,
    deviations={
        "pair-saturation": ("onnxruntime", "torch"),
        "openvino-bf16": ("openvino",),
        "neon-pair-wrap": ("onnxruntime",),
        "openvino-int32-sums": ("openvino",),
    },
)
VARIANT = "c/q1/w8a8/hyperprior/mmi-u8s8"


def end(decoder: str, *, diverged: bool = True, variant: str = VARIANT) -> End:
    return End(
        case=f"{variant}/ort+{decoder}/x",
        variant=variant,
        encoder="ort",
        decoder=decoder,
        diverged=diverged,
    )


def test_every_condition_is_of_a_rule_that_there_is() -> None:
    assert set(ONLY_WHERE) <= set(DEVIATIONS)
    assert Verdict.ORDER_DEPENDENT.value == ORDER_DEPENDENT


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (ORT, "onnxruntime"),
        ({**ORT, "provider": "CUDAExecutionProvider"}, "onnxruntime-cuda"),
        ({"runtime": "onnxruntime-node 1.30.0", "provider": "cpu"}, "onnxruntime"),
        ({"runtime": "onnxruntime-web 1.30.0", "provider": "wasm"}, "onnxruntime-web"),
        (TORCH, "torch"),
        ({**TORCH, "device": "cuda"}, "torch-cuda"),
        ({"runtime": "onnx 1.23.2 ReferenceEvaluator"}, "onnx-reference"),
        (OPENVINO, "openvino"),
        ({"runtime": "ncnn 1.0"}, "ncnn"),
        ({"runtime": "tract 0.22.4"}, "tract"),
    ],
)
def test_platforms_have_the_names_that_the_table_knows(
    environment: Mapping[str, str], name: str
) -> None:
    assert runtime_of(environment) == name
    assert name in runtimes()


def test_some_runtimes_the_table_does_not_know() -> None:
    assert runtime_of({"runtime": "onnxruntime-node 1", "provider": "webgpu"}) not in runtimes()
    assert runtime_of({"unavailable": "no", "remedy": "yes"}) == ""


@pytest.mark.parametrize(
    ("environment", "rules"),
    [
        (ORT, ()),
        (HASWELL, ("pair-saturation",)),
        (SANDYBRIDGE, ()),
        (A72, ("neon-pair-wrap",)),
        ({**A72, "cpu_flags": "asimd asimddp"}, ()),
        (TORCH, ()),
        ({**TORCH, "integer_kernel": "torch oneDNN int8 convolution AVX2"}, ("pair-saturation",)),
        ({**TORCH, "integer_kernel": "torch oneDNN int8 convolution native"}, ()),
        (OPENVINO, ("openvino-bf16", "openvino-int32-sums")),
        ({**OPENVINO, "inference_precision": "f32"}, ("openvino-int32-sums",)),
        (DSP, ()),
        ({}, ()),
    ],
)
def test_rules_apply_where_their_mechanism_is(
    environment: Mapping[str, str], rules: tuple[str, ...]
) -> None:
    assert rules_for(SATURATES, environment) == rules


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"rounding": "single-rounding"}, ""),
        ({"rounding": "floor"}, "rounding floor"),
        ({"accumulator": "int16, wrap"}, "accumulator int16, wrap"),
        ({"pair_saturation": "int16"}, "pair_saturation int16"),
        ({"runtime": "onnxruntime 1", "rounding": "floor"}, ""),
    ],
)
def test_simulated_machines_tell_of_their_mistake(change: Mapping[str, str], said: str) -> None:
    assert mistake({**DSP, **change}) == said


def test_a_divergence_without_a_covering_rule_is_a_line() -> None:
    there = {"ort": ORT, "haswell": HASWELL, "sandybridge": SANDYBRIDGE, "openvino": OPENVINO,
             "dsp": DSP, "floor": {**DSP, "rounding": "floor"}}  # fmt: skip
    judged = {VARIANT: SATURATES}
    held = [end(name, diverged=False) for name in there]
    assert uncovered([*held, end("haswell"), end("openvino"), end("floor")], judged, there) == []
    (line,) = uncovered([*held, end("sandybridge")], judged, there)
    assert line.startswith(f"{VARIANT}/ort+sandybridge/x: diverged")
    assert "onnxruntime" in line
    (line,) = uncovered([*held, end("dsp")], judged, there)
    assert "crosscheck" in line


def test_what_is_order_dependent_is_no_claim_and_what_nobody_judged_is_one() -> None:
    judged = {VARIANT: Judgement(verdict=ORDER_DEPENDENT, deviations={})}
    assert uncovered([end("a")], judged, {"a": ORT, "ort": ORT}) == []
    (line,) = uncovered([end("a", diverged=False)], {}, {"a": ORT, "ort": ORT})
    assert "was not asked" in line
