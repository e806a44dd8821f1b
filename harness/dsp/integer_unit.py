"""The integer unit of the simulated DSP: matrix products and the requantizing functions, under a profile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from harness.dsp.gemm import Weights, multiply
from harness.dsp.profile import ArithmeticProfile
from harness.dsp.requantize import I32, Parameters, requantizer
from harness.errors import Unsupported
from harness.graph_node import Array, Integers, Node
from harness.interpreter import Kernel, Key, Prepare

B_ZERO_POINT = 3
# Parameters of one rule: bias, multiplier, divisor, low, high.
RULE_INPUTS = 5
Requantize = Callable[[I32], Array]


def integer_operators(profile: ArithmeticProfile) -> Mapping[str, Prepare[Array]]:
    return {
        "MatMul": lambda node: _matmul(node, profile),
        "MatMulInteger": lambda node: _matmul_integer(node, profile),
    }


def intercepts(profile: ArithmeticProfile) -> Mapping[Key, Prepare[Array]]:
    """The model-local functions that the profile executes in its own way."""
    made = {
        "Requantize": _requantize,
        "RequantizeF32": _requantize,
        "RequantizeU8": _requantize_u8,
        "RequantizeLeakyU8": _requantize_leaky_u8,
        "RoundingShift": _rounding_shift,
    }
    return {
        ("crosscheck", name): partial(prepare, profile=profile) for name, prepare in made.items()
    }


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
    """int32 of (accumulator, bias, multiplier, divisor, low, high), whichever arithmetic its body has."""
    return _with_parameters(
        node, lambda given: requantizer(Parameters.of(*given), profile.rounding)
    )


def _requantize_u8(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    """uint8 of the same minus `low`."""

    def make(given: Sequence[Array]) -> Requantize:
        rule = Parameters.of(*given)
        apply = requantizer(rule, profile.rounding)
        return lambda accumulator: (apply(accumulator) - rule.low).astype(np.uint8)

    return _with_parameters(node, make)


def _requantize_leaky_u8(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    """uint8 of max(r, requantized r) - least: r is requantized, then once more by the slope."""

    def make(given: Sequence[Array]) -> Requantize:
        first, (slope, divisor, least, most) = given[:RULE_INPUTS], given[RULE_INPUTS:]
        second = Parameters.of(np.zeros_like(least), slope, divisor, least, most)
        apply = requantizer(Parameters.of(*first), profile.rounding)
        leak = requantizer(second, profile.rounding)

        def requantize(accumulator: I32) -> Array:
            r = apply(accumulator)
            return np.asarray(np.maximum(r, leak(r)) - second.low).astype(np.uint8)

        return requantize

    return _with_parameters(node, make)


def _rounding_shift(node: Node[Array], profile: ArithmeticProfile) -> Kernel[Array]:
    """int32 of (value, divisor): a requantization without an end, of values that are not negative."""

    def make(given: Sequence[Array]) -> Requantize:
        none, one, most = (np.asarray(v, np.int32) for v in (0, 1, np.iinfo(np.int32).max))
        return requantizer(Parameters.of(none, one, *given, none, most), profile.rounding)

    return _with_parameters(node, make)


def _with_parameters(
    node: Node[Array], make: Callable[[Sequence[Array]], Requantize]
) -> Kernel[Array]:
    """A kernel of (accumulator, *parameters) that is made once if the parameters are constant."""
    ready = [node.constants[p] for p in range(1, node.inputs) if p in node.constants]
    if len(ready) == node.inputs - 1:
        fixed = make(ready)
        return lambda accumulator, *_: fixed(accumulator)
    return lambda accumulator, *given: make(given)(accumulator)
