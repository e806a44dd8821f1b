"""Operators in place of the ONNX evaluator's own: one that it refuses, and two that take nearly all of its time.

Those two give the evaluator's bits. MatMulInteger stays int32 arithmetic, in numpy's loops and in no BLAS, so that the
platform remains a witness of its own: sums modulo 2^32 do not depend on their order. ConvTranspose takes the same float
product and adds the same numbers in the same order, a plane at a time instead of an element at a time.
"""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx.reference.op_run import OpRun

# Operands of any type that ONNX allows.
Operand = NDArray[Any]
MATRIX = PLANE = 2


def replacements() -> "list[type[OpRun]]":
    """The operators, for the evaluator's `new_ops`."""
    return [_gather_elements(), _matmul_integer(), _conv_transpose()]


def _gather_elements() -> "type[OpRun]":
    """GatherElements as the specification has it: the evaluator's own (numpy.choose) refuses tables over 32 entries."""
    from onnx.reference.op_run import OpRun

    class GatherElements(OpRun):
        op_domain = ""

        def _run(self, data: Operand, indices: Operand, axis: int = 0) -> tuple[Operand]:
            return (np.take_along_axis(data, indices.astype(np.int64), axis),)

    return GatherElements


def _matmul_integer() -> "type[OpRun]":
    """MatMulInteger of two matrices along rows; numpy's int32 matmul goes down columns, out of the cache."""
    from onnx.reference.ops.op_matmul_integer import MatMulInteger as Own

    class MatMulInteger(Own):
        op_domain = ""

        def _run(self, a: Operand, b: Operand, *zero_points: Operand | None) -> tuple[Operand]:
            if a.ndim != MATRIX or b.ndim != MATRIX:
                own: tuple[Operand] = super()._run(a, b, *zero_points)  # type: ignore[no-untyped-call]
                return own
            factors = [a.astype(np.int32), b.astype(np.int32)]
            for i, zero_point in enumerate(zero_points):
                if zero_point is not None:
                    factors[i] -= zero_point
            # Not `optimize`: it may hand the product to another kernel.
            return (np.einsum("ij,jk->ik", *factors, dtype=np.int32, optimize=False),)

    return MatMulInteger


def _conv_transpose() -> "type[OpRun]":
    """ConvTranspose in the plane, in one group, with explicit pads; the rest is left to the evaluator's own."""
    from onnx.reference.ops.op_conv_transpose import ConvTranspose as Own

    class ConvTranspose(Own):
        op_domain = ""

        def _run(  # type: ignore[override]
            self, x: Operand, w: Operand, bias: Operand | None = None, **attributes: Any
        ) -> tuple[Operand]:
            if not _is_plain(x, attributes):
                own: tuple[Operand] = super()._run(x, w, bias, **attributes)  # type: ignore[no-untyped-call]
                return own
            images = [_image(image, w, bias, attributes) for image in x]
            return (np.stack(images).astype(x.dtype, copy=False),)

    return ConvTranspose


def _is_plain(x: Operand, attributes: dict[str, Any]) -> bool:
    strides, padding = attributes["strides"], attributes["output_padding"] or [0, 0]
    return (
        x.ndim == 2 + PLANE
        and len(x) > 0
        and attributes["group"] == 1
        and attributes["output_shape"] is None
        and attributes["pads"] is not None
        and strides is not None
        # More padding is no padding: the evaluator refuses it.
        and all(p < s for p, s in zip(padding, strides, strict=False))
    )


def _image(image: Operand, w: Operand, bias: Operand | None, attributes: dict[str, Any]) -> Operand:
    """One output [M, H', W'] of an image [C, H, W] and weights [C, M, R, S]."""
    kernel, size = w.shape[2:], image.shape[1:]
    strides, pads = attributes["strides"], attributes["pads"]
    dilations = attributes["dilations"] or [1, 1]
    padding = attributes["output_padding"] or [0, 0]
    shape = [
        strides[i] * (size[i] - 1)
        + padding[i]
        + (kernel[i] - 1) * dilations[i]
        + 1
        - pads[i]
        - pads[i + PLANE]
        for i in range(PLANE)
    ]
    product = np.matmul(w.reshape(len(image), -1).T, image.reshape(len(image), -1))
    taps = product.reshape(w.shape[1], *kernel, *size)
    out = np.zeros((w.shape[1], *shape), product.dtype)
    # The order of taps is the order of additions: it must stay the evaluator's.
    for tap in itertools.product(*map(range, kernel)):
        into, of = zip(
            *(
                _overlap(size[i], shape[i], strides[i], tap[i] * dilations[i] - pads[i])
                for i in range(PLANE)
            ),
            strict=True,
        )
        out[:, *into] += taps[:, *tap, *of]
    return out if bias is None else out + bias[:, None, None]


def _overlap(count: int, length: int, stride: int, offset: int) -> tuple[slice, slice]:
    """Where inputs 0..count land in 0..length, input i at i * stride + offset, and which do."""
    first = max(0, -(offset // stride))
    end = max(first, min(count, -((offset - length) // stride)))
    begin = first * stride + offset
    return slice(begin, begin + (end - first) * stride, stride), slice(first, end)
