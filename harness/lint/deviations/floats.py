"""Float carriers that runtimes compute in fewer bits, or by another algorithm."""

import numpy as np

from harness.lint import grids as g
from harness.lint.deviations.base import Evidence, deviation
from harness.lint.kinds import FLOAT32, KINDS
from harness.lint.site import Product, Site
from harness.lint.transfer.settle import NARROWEST, bits_needed
from harness.lint.values import Value

FLOAT64 = KINDS["float64"]


def _exact_floats(results: list[Value]) -> bool:
    return bool(results) and results[0].kind is FLOAT32 and bool(results[0].grids)


@deviation(
    "openvino-bf16",
    "openvino",
    title="float32 that OpenVINO computes in bf16",
    why="On CPUs with AVX512-BF16 or AMX, OpenVINO's default inference precision is bf16, with 8 significand bits.",
    remedy="Compile with inference precision f32.",
    source="measured: OpenVINO default on AVX512-BF16; docs.openvino.ai, CPU device",
)
def openvino_bf16(site: Site, results: list[Value]) -> Evidence | None:
    if not (site.carries and results[0].kind is FLOAT32):
        return None
    bits = max([*site.carries, *(_factor_bits(product) for product in site.products)])
    if bits <= NARROWEST:
        return None
    return Evidence(
        message=f"{site.operator} takes {bits} bits", bound=float(bits), limit=float(NARROWEST)
    )


def _factor_bits(product: Product) -> int:
    factors = (product.left, product.right)
    return max(bits_needed(f.range.magnitude, g.unit(f.grids)) for f in factors)


@deviation(
    "cuda-tf32",
    "onnxruntime-cuda",
    "torch-cuda",
    title="float32 products that CUDA computes in TF32",
    why="TF32 keeps 11 significand bits of each factor; ORT's CUDA provider uses it unless told not to.",
    remedy="Set the provider option use_tf32=0, or keep the factors within 11 bits.",
    source="documented: onnxruntime.ai, CUDA execution provider, use_tf32 (default 1)",
)
def tf32(site: Site, results: list[Value]) -> Evidence | None:
    if not _exact_floats(results):
        return None
    for product in site.products:
        bits = _factor_bits(product)
        if bits > 11:  # noqa: PLR2004
            return Evidence(message=f"a factor takes {bits} bits", bound=float(bits), limit=11.0)
    return None


@deviation(
    "winograd",
    "ncnn",
    "mnn",
    "openvino",
    "onnxruntime-cuda",
    title="convolution that may run as Winograd or FFT",
    why="Transformed kernels are no integers any more: what is exact as a sum of products is rounded.",
    remedy="Switch Winograd off, or gather the patches and multiply by MatMul.",
    source="measured: ncnn and MNN defaults; documented: OpenVINO on aarch64, cuDNN algorithm search",
)
def winograd(site: Site, results: list[Value]) -> Evidence | None:
    if not _exact_floats(results) or not any(p.convolution for p in site.products):
        return None
    kernel = site.operand(1).shape
    if kernel is not None and all(n == 1 for n in kernel[2:]):
        return None
    return Evidence(
        message=f"{site.operator} with a kernel of {list(kernel[2:]) if kernel else '?'}"
    )


@deviation(
    "openvino-float64",
    "openvino",
    title="float64 that OpenVINO computes in float32",
    why="OpenVINO's CPU plugin has no float64: 2^24 + 1 comes back as 2^24.",
    remedy="Take an integer lowering, or the float32 carrier.",
    source="measured: OpenVINO 2026.4.1 CPU plugin, float64 Add and MatMul",
)
def openvino_float64(site: Site, results: list[Value]) -> Evidence | None:
    if not (site.carries and results[0].kind is FLOAT64):
        return None
    bits = max([*site.carries, *(_factor_bits(product) for product in site.products)])
    if bits <= FLOAT32.digits:
        return None
    return Evidence(
        message=f"{site.operator} takes {bits} bits",
        bound=float(bits),
        limit=float(FLOAT32.digits),
    )


@deviation(
    "openvino-offset-inside",
    "openvino",
    title="an offset that OpenVINO moves inside a scale",
    why="Behind an 8-bit product, its low-precision transformations turn x * scale + offset into (x + offset / scale) * scale, which rounds.",
    remedy="Compile with LP_TRANSFORMS_MODE=NO, or scale by powers of two.",
    source="measured: OpenVINO 2026.4.1 CPU plugin; the rewritten formula gives its bits, LP_TRANSFORMS_MODE=NO those of ONNX",
)
def openvino_offset_inside(site: Site, results: list[Value]) -> Evidence | None:
    if site.operator != "Mul" or not (site.carries and results[0].kind is FLOAT32):
        return None
    for value in site.given():
        scale = value.number()
        if scale is not None and (np.frexp(np.abs(scale))[0] != 0.5).any():  # noqa: PLR2004 - the mantissa of a power of two
            return Evidence(message="the scale is no power of two, and an offset may follow")
    return None
