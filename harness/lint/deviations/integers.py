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
    why="OpenVINO's CPU plugin turns int64 into int32: feeds and results wrap, constants saturate; Div and Mod go on in float32.",
    remedy="Compute in int32, or in uint32, or in float64 below 2^53.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, int64 Add, Mul, Max, Div and Mod of numbers beyond int32; docs.openvino.ai lists i32 as its one integer type",
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
    worst = float(site.operand(0).range.magnitude.max(initial=0.0))
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
    source="measured: OpenVINO 2026.4.1 CPU plugin, int32 Div with dividends above 2^24",
)
def openvino_div(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "Div" or site.operand(0).kind is not INT32:
        return None
    return _beyond_float32(site, "int32 Div")


@deviation(
    "openvino-uint32-shift",
    "openvino",
    title="uint32 BitShift above 2^24 in OpenVINO",
    why="OpenVINO's CPU plugin takes uint32 for int32 and divides by a power of two in float32: 2^31 + 129 shifted by 3 has its high bits set.",
    remedy="Shift by Div of non-negative numbers below 2^24.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, uint32 BitShift above 2^24",
)
def openvino_shift(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "BitShift" or site.operand(0).kind is not UINT32:
        return None
    return _beyond_float32(site, "uint32 BitShift")


@deviation(
    "openvino-int32-mod",
    "openvino",
    title="int32 Mod above 2^24 in OpenVINO",
    why="OpenVINO's CPU plugin takes int32 remainders in float32, as x - floor(x / y) * y: 1,073,741,825 mod 7 is 0 there, not 2.",
    remedy="Keep dividends below 2^24.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, int32 Mod above 2^24",
)
def openvino_mod(site: Site, _: list[Value]) -> Evidence | None:
    if site.operator != "Mod" or site.operand(0).kind is not INT32:
        return None
    return _beyond_float32(site, "int32 Mod")


@deviation(
    "openvino-int32-fused",
    "openvino",
    title="int32 Mul and Add that OpenVINO fuses into a product in float32",
    why="Behind a MatMulInteger, Mul and Add by constants become part of a float32 kernel, the factor in its weights: 1,280,000 * 97 + 1 is 124,160,000.",
    remedy="Keep what is scaled below 2^24, or requantize in the float32 carrier.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, MatMulInteger, Mul, Add; executed as one brgemm_avx512_f32",
)
def openvino_fused(site: Site, results: list[Value]) -> Evidence | None:
    if site.operator not in {"Mul", "Add"} or results[0].kind is not INT32:
        return None
    # Sizes and positions follow no product, and neither does what may be anything.
    whole = [v.range.lowest <= INT32.low and v.range.highest >= INT32.high for v in site.given()]
    constant = any(value.number() is not None for value in site.given())
    if results[0].extent or any(whole) or not constant:
        return None
    worst = float(results[0].range.magnitude.max(initial=0.0))
    if worst <= FLOAT32_INTEGERS:
        return None
    return Evidence(
        message=f"int32 {site.operator} by a constant reaches {number(worst)}: beyond 2^24",
        bound=worst,
        limit=FLOAT32_INTEGERS,
    )


@deviation(
    "openvino-int32-sums",
    "openvino",
    title="integer products that OpenVINO adds in float32",
    why="OpenVINO's CPU plugin runs MatMulInteger and int32 MatMul as float32 products (brgemm_avx512_f32): exact up to 2^24.",
    remedy="Keep the sums below 2^24, or take fewer bits.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, int32 MatMul 4097 * 4097 = 16,785,408; MatMulInteger u8 x s8 and u8 x u8",
)
def openvino_sums(site: Site, results: list[Value]) -> Evidence | None:
    if not site.products or results[0].kind is not INT32:
        return None
    worst = float(results[0].range.magnitude.max(initial=0.0))
    if worst <= FLOAT32_INTEGERS:
        return None
    return Evidence(
        message=f"sums of products reach {number(worst)}: beyond 2^24",
        bound=worst,
        limit=FLOAT32_INTEGERS,
    )
