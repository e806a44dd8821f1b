"""Quantization that runtimes round their own way."""

import numpy as np

from harness.lint.deviations.base import Evidence, deviation
from harness.lint.site import Site, span
from harness.lint.transfer.convert import may_tie
from harness.lint.values import Value


@deviation(
    "openvino-quantize",
    "openvino",
    title="QuantizeLinear on ties in OpenVINO",
    why="OpenVINO multiplies by the reciprocal of the scale; it adds the zero point before it rounds (2026.4.1: an odd one turns ties around), or rounds halves away from zero (earlier). ONNX rounds halves to even, then adds.",
    remedy="Add half a step of the finest input before, so that no value can lie halfway.",
    source="measured: OpenVINO CPU plugin, QuantizeLinear",
)
def openvino_quantize(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "QuantizeLinear" or not may_tie(site):
        return None
    return Evidence(message=f"values in {span(site.operand(0))} may lie halfway between two steps")


@deviation(
    "onnx-reference-qlinear",
    "onnx-reference",
    title="zero point added before rounding in ONNX's ReferenceEvaluator",
    why="With an odd zero point ties go the other way: 8 of 16 elements differ from onnxruntime.",
    remedy="Take an even zero point, or do not take the reference evaluator as the golden.",
    source="measured: onnx 1.23 ReferenceEvaluator, QLinearConv",
)
def onnx_reference(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator not in {"QLinearConv", "QLinearMatMul"}:
        return None
    zero = site.operand(7).number()
    if zero is not None and not (zero.astype(np.int64) % 2).any():
        return None
    return Evidence(
        message=f"the output's zero point lies in {span(site.operand(7))} and may be odd"
    )


@deviation(
    "unpromised-rounding",
    "qnn",
    "coreml",
    "xnnpack",
    "litert",
    title="quantization that NPU and mobile back ends round their own way",
    why="QNN, CoreML and XNNPACK promise no bit-exact rounding; LiteRT's XNNPACK and built-in kernels differ by up to 2 steps in one process.",
    remedy="Requantize with integer operators, and check on the device.",
    source="documented: no bit-exactness promised; measured: LiteRT, XNNPACK against built-in kernels",
)
def unpromised(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator not in {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return None
    return Evidence(message=f"{site.operator} rounds")


@deviation(
    "tract-dequantize-axis",
    "tract",
    title="per-channel DequantizeLinear in tract",
    why="tract takes the first channel's scale and zero point for every channel.",
    remedy="Quantize weights with one scale a tensor, or take an integer lowering; tract 0.23.9 has it right.",
    source="measured: tract 0.20 to 0.23.7, DequantizeLinear of int8 and int32 with a scale for each channel",
)
def tract_axis(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "DequantizeLinear" or site.operand(1).size == 1:
        return None
    return Evidence(message=f"{site.operand(1).size or 'some'} scales along one axis")
