"""Integer arithmetic that runtimes do in another type."""

from harness.lint.deviations.base import Evidence, deviation
from harness.lint.kinds import INT32, INT64, KINDS
from harness.lint.site import Site, number, span
from harness.lint.values import Value

UINT32 = KINDS["uint32"]
# Integers up to this many are exact in float32, which some runtimes compute them in.
FLOAT32_INTEGERS = 2.0**24
ARITHMETIC = {
    "Abs", "Add", "CumSum", "Div", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "ReduceSum", "Sub", "Sum"
}  # fmt: skip


@deviation(
    "ort-int64-minmax",
    "onnxruntime",
    title="int64 Max, Min, Clip and Sign on x86",
    why="The vectorised kernel compares the low words as signed: Max(2^31, 0) is 0.",
    remedy="Compute in int32, or prove the values to lie in the range of int32.",
    source="measured: onnxruntime 1.31.1, x86-64 (exact within int32, wrong beyond); github.com/microsoft/onnxruntime/pull/25280",
)
def int64_minmax(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator not in {"Max", "Min", "Clip", "Sign", "Relu"}:
        return None
    wide = [
        v for v in site.given() if v.kind is INT64 and not v.range.within(INT32.low, INT32.high)
    ]
    if not wide:
        return None
    return Evidence(
        message=f"{site.operator} of int64 in {span(wide[0])}, beyond int32",
        bound=float(wide[0].range.magnitude.max()),
        limit=INT32.high,
    )


@deviation(
    "openvino-int64",
    "openvino",
    title="int64 arithmetic that OpenVINO does in int32",
    why="OpenVINO's CPU plugin turns int64 into int32, and saturates what does not fit.",
    remedy="Compute in int32, or in uint32, or in float64 below 2^53.",
    source="measured: OpenVINO CPU plugin (docs.openvino.ai lists i32 as its one integer type)",
)
def openvino_int64(site: Site, results: list[Value]) -> Evidence | None:
    if site.operator not in ARITHMETIC:
        return None
    wide = [
        v
        for v in (*site.given(), *results)
        if v.kind is INT64 and not v.range.within(INT32.low, INT32.high)
    ]
    if not wide:
        return None
    worst = float(max(v.range.magnitude.max() for v in wide))
    return Evidence(
        message=f"{site.operator} of int64 up to {number(worst)}", bound=worst, limit=INT32.high
    )


def _beyond_float32(site: Site, what: str) -> Evidence | None:
    worst = float(site.operand(0).range.magnitude.max())
    if worst <= FLOAT32_INTEGERS:
        return None
    return Evidence(
        message=f"{what} of {span(site.operand(0))}: beyond 2^24",
        bound=worst,
        limit=FLOAT32_INTEGERS,
    )


@deviation(
    "openvino-int32-div",
    "openvino",
    title="int32 Div above 2^24 in OpenVINO",
    why="OpenVINO's CPU plugin divides int32 in float32, which holds integers up to 2^24.",
    remedy="Keep dividends below 2^24, or requantize in the float32 carrier.",
    source="measured: OpenVINO CPU plugin, int32 Div with dividends above 2^24",
)
def openvino_div(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "Div" or site.operand(0).kind is not INT32:
        return None
    return _beyond_float32(site, "int32 Div")


@deviation(
    "openvino-uint32-shift",
    "openvino",
    title="uint32 BitShift above 2^24 in OpenVINO",
    why="OpenVINO's CPU plugin shifts uint32 inexactly above 2^24.",
    remedy="Shift by Div of non-negative numbers below 2^24.",
    source="measured: OpenVINO CPU plugin, uint32 BitShift above 2^24",
)
def openvino_shift(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "BitShift" or site.operand(0).kind is not UINT32:
        return None
    return _beyond_float32(site, "uint32 BitShift")
