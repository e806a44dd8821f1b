"""The integer unit of the simulated DSP: matrix products and `Requantize`, under a profile."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.dsp.gemm import Weights, multiply
from harness.dsp.profile import ArithmeticProfile
from harness.dsp.requantize import I32, Parameters, requantizer
from harness.errors import Unsupported
from harness.graph_node import Array, Integers, Node
from harness.interpreter import Kernel, Key, Prepare

B_ZERO_POINT = 3


def integer_operators(profile: ArithmeticProfile) -> Mapping[str, Prepare[Array]]:
    return {
        "MatMul": lambda node: _matmul(node, profile),
        "MatMulInteger": lambda node: _matmul_integer(node, profile),
    }


def intercepts(profile: ArithmeticProfile) -> Mapping[Key, Prepare[Array]]:
    """The model-local functions that the profile executes in its own way."""
    return {("crosscheck", "Requantize"): lambda node: _requantize(node, profile)}


def _matmul_integer(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    fixed = None
    if 1 in node.constants and (node.inputs <= B_ZERO_POINT or B_ZERO_POINT in node.constants):
        fixed = _weights(node.constants[1], node.constants.get(B_ZERO_POINT))

    def kernel(
        a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
    ) -> Array:
        weights = _weights(b, b_zero) if fixed is None else fixed
        zero = None if a_zero is None else _integers(a_zero)
        return _product(_integers(a), weights, profile, zero)

    return kernel


def _matmul(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    """Floats go to the float unit; int32 operands are too wide for the pair unit."""
    wide = replace(profile, pair_saturation=False)
    right = node.constants.get(1)
    fixed = None if right is None or right.dtype.kind not in "iu" else _weights(right, None)

    def kernel(a: Array, b: Array) -> Array:
        if a.dtype.kind not in "iu":
            return np.asarray(np.matmul(a, b))
        weights = _weights(b, None) if fixed is None else fixed
        return _product(_integers(a), weights, wide, None).astype(a.dtype, copy=False)

    return kernel


def _product(
    a: Integers, weights: Weights, profile: ArithmeticProfile, zero: Integers | None
) -> Array:
    rows = a.reshape(-1, a.shape[-1])
    if zero is not None and zero.size not in (1, len(rows)):
        raise Unsupported("zero points of activations are one number, or one a row")
    return multiply(rows, weights, profile, zero).reshape(*a.shape[:-1], -1)


def _weights(b: Array, zero: Array | None) -> Weights:
    if b.ndim != 2:  # noqa: PLR2004 - a matrix
        raise Unsupported("the integer unit multiplies by matrices, not by stacks of them")
    return Weights.of(_integers(b), None if zero is None else _integers(zero))


def _integers(value: Array) -> Integers:
    if value.dtype.kind not in "iu":
        raise Unsupported(f"the integer unit was given {value.dtype}")
    return value  # type: ignore[return-value]


def _requantize(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    parameters = [node.constants.get(position) for position in range(1, 6)]
    ready = [p for p in parameters if p is not None]
    if len(ready) == len(parameters):
        fixed = requantizer(Parameters.of(*ready), profile.rounding)
        return lambda accumulator, *_: fixed(accumulator)

    def kernel(accumulator: I32, *given: Array) -> Array:
        return requantizer(Parameters.of(*given), profile.rounding)(accumulator)

    return kernel
