"""8-bit products: who adds them in 16 bits, and who takes the second factor for 7 bits."""

import numpy as np
from numpy.typing import NDArray

from harness.lint.deviations.base import Evidence, deviation
from harness.lint.site import Product, Site, number
from harness.lint.values import Value

# Weights are looked through in pieces of about this many.
_PIECE = 2**22
INT8_PAIR, INT8_PAIR_LOW = 2.0**15 - 1, 2.0**15
INT8_MIN = -128.0


def _eight_bit(value: Value) -> bool:
    return value.kind.name in {"int8", "uint8"}


def _mixed(product: Product) -> tuple[Value, tuple[int, ...], Value] | None:
    """The signed operand with its summed axes, and the unsigned one; None if both are alike."""
    pair = (product.left, product.left_axes), (product.right, product.right_axes)
    by_name = {value.kind.name: (value, axes) for value, axes in pair}
    if set(by_name) != {"int8", "uint8"}:
        return None
    return (*by_name["int8"], by_name["uint8"][0])


@deviation(
    "pair-saturation",
    "onnxruntime",
    "torch",
    title="8-bit products that saturate without VNNI",
    why="x86 with AVX2 or AVX-512 but no VNNI adds two u8 x s8 products in 16 bits (vpmaddubsw), and saturates.",
    remedy="Multiply u8 x u8 (weights +128, zero point 128) or s8 x s8, keep |w| <= 64 or activations <= 127, or set session.x64quantprecision=1.",
    source="measured: onnxruntime 1.31.1 under QEMU -cpu Haswell, torch 2.13 with ONEDNN_MAX_CPU_ISA=AVX2; github.com/microsoft/onnxruntime/pull/12088",
)
def pair_saturation(site: Site, _: list[Value]) -> Evidence | None:
    for product in site.products:
        mixed = _mixed(product)
        if mixed is None:
            continue
        signed, axes, unsigned = mixed
        top, bottom = worst_pair(signed, axes)
        most = unsigned.range.highest
        if most * top <= INT8_PAIR and most * bottom <= INT8_PAIR_LOW:
            continue
        pair = max(most * top, most * bottom)
        widest = float(signed.range.magnitude.max())
        return Evidence(
            message=f"a pair of products reaches {number(pair)} > 32,767: uint8 up to {number(most)}, |int8| up to {number(widest)}",
            bound=pair,
            limit=INT8_PAIR,
        )
    return None


def worst_pair(weights: Value, axes: tuple[int, ...]) -> tuple[float, float]:
    """Largest sum of two weights of one output, and of two negated: whichever the kernel puts side by side."""
    known = weights.number()
    if known is None or known.ndim < 2 or not known.size:  # noqa: PLR2004
        low, high = weights.range.lowest, weights.range.highest
        return 2 * max(high, 0.0), 2 * max(-low, 0.0)
    summed = {axis % known.ndim for axis in axes if -known.ndim <= axis < known.ndim}
    if not summed:
        return max(float(known.max()), 0.0), max(-float(known.min()), 0.0)
    kept = [axis for axis in range(known.ndim) if axis not in summed]
    columns = np.moveaxis(known, kept, range(len(kept))).reshape(
        int(np.prod([known.shape[axis] for axis in kept])), -1
    )
    top = bottom = 0.0
    step = max(1, _PIECE // max(columns.shape[1], 1))
    for start in range(0, len(columns), step):
        piece = columns[start : start + step].astype(np.int16)
        top, bottom = max(top, _two_largest(piece)), max(bottom, _two_largest(-piece))
    return top, bottom


def _two_largest(rows: NDArray[np.int16]) -> float:
    """The largest sum of two positive entries of a row."""
    best = np.partition(rows, -2, axis=1)[:, -2:] if rows.shape[1] > 1 else rows
    return float(np.maximum(best, 0).sum(axis=1).max(initial=0))


@deviation(
    "neon-pair-wrap",
    "onnxruntime",
    title="8-bit products whose pairs wrap on ARM without dot products",
    why="MLAS's NEON kernel for int8 weights adds products k and k + 8 in 16 bits: 2 * (-128 * -128) wraps to -32,768. It takes 128 from uint8 activations first, so their 0 counts as -128.",
    remedy="Keep int8 weights above -128, or multiply by uint8 weights (+128, zero point 128), or run where the processor has dot products (ARMv8.2 and later).",
    source="measured: onnxruntime 1.31.1 under QEMU -cpu cortex-a72; right under -cpu neoverse-n1 and max",
)
def neon_pair_wrap(site: Site, _: list[Value]) -> Evidence | None:
    for product in site.products:
        weights, activations = product.right, product.left
        if product.convolution:
            weights, activations = product.left, product.right
        if weights.kind.name != "int8" or not _eight_bit(activations):
            continue
        least = activations.range.lowest - (128 if activations.kind.name == "uint8" else 0)
        if least > INT8_MIN or weights.range.lowest > INT8_MIN:
            continue
        return Evidence(
            message="two products of -128 and -128 reach 32,768 > 32,767",
            bound=INT8_PAIR_LOW,
            limit=INT8_PAIR,
        )
    return None


@deviation(
    "rten-8bit",
    "rten",
    title="8-bit products that rten shifts into u8 x s8",
    why="rten turns every 8-bit combination into u8 x s8 by shifting values and zero points, so u8 x u8 can saturate without VNNI too.",
    remedy="Run rten on CPUs with VNNI only, or take a lowering with int32 or float carriers.",
    source="documented: github.com/robertknight/rten/pull/1208",
)
def rten(site: Site, _: list[Value]) -> Evidence | None:
    for product in site.products:
        if _eight_bit(product.left) and _eight_bit(product.right):
            most, widest = _shifted(product.left), _centred(product.right)
            if 2 * most * widest > INT8_PAIR:
                pair = number(2 * most * widest)
                return Evidence(
                    message=f"shifted to u8 x s8, a pair of products reaches {pair} > 32,767",
                    bound=2 * most * widest,
                    limit=INT8_PAIR,
                )
    return None


def _shifted(value: Value) -> float:
    """The largest value once it is unsigned."""
    return value.range.highest + (128 if value.kind.name == "int8" else 0)


def _centred(value: Value) -> float:
    """The largest magnitude once it is signed."""
    offset = 128 if value.kind.name == "uint8" else 0
    return max(abs(value.range.lowest - offset), abs(value.range.highest - offset))


@deviation(
    "wasm-relaxed-simd",
    "onnxruntime-web",
    title="8-bit products under WebAssembly relaxed SIMD",
    why="relaxed_dot_i8x16_i7x16 lets the engine choose for a second operand outside [-64, 63]; ORT Web's kernel brings all 8-bit weights to int8 first.",
    remedy="Keep weights (less 128 if uint8) in [-64, 63], or run ORT Web without env.wasm.relaxedSimd.",
    source="documented: github.com/microsoft/onnxruntime/pull/22794 (qgemm_kernel_wasmrelaxedsimd.cpp)",
)
def relaxed_simd(site: Site, _: list[Value]) -> Evidence | None:
    for product in site.products:
        if not (_eight_bit(product.left) and _eight_bit(product.right)):
            continue
        weights = (
            product.left
            if product.convolution and product.left.constant is not None
            else product.right
        )
        offset = 128 if weights.kind.name == "uint8" else 0
        low, high = weights.range.lowest - offset, weights.range.highest - offset
        if low < -64 or high > 63:  # noqa: PLR2004
            worst = low if -low > high else high
            return Evidence(
                message=f"weights as int8 lie in [{number(low)}, {number(high)}]",
                bound=worst,
                limit=63.0,
            )
    return None
