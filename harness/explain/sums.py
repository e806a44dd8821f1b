"""The integer sums of an 8-bit product as a back end would make them: exact, or under a wrong profile."""

import numpy as np
from numpy.typing import NDArray

from harness.dsp.gemm import Weights, multiply
from harness.dsp.profile import ArithmeticProfile
from harness.explain.operators import ByteProduct
from harness.explain.product import Product
from harness.graph_node import Array


def sums_of(
    given: ByteProduct, profile: ArithmeticProfile, product: Product | None = None
) -> NDArray[np.int32]:
    """int32 [P, N], the zero points taken out and the bias added. `product` has the same in another order of K."""
    chosen = given.product if product is None else product
    weights = Weights.of(chosen.weights, _one_a_column(given.weight_zero))  # type: ignore[arg-type]
    zero = None if given.row_zero is None else given.row_zero.reshape(-1)[:1]
    sums = multiply(chosen.rows, weights, profile, zero)  # type: ignore[arg-type]
    if chosen.bias is not None:
        sums = sums + chosen.bias.astype(np.int32)
    return sums


def _one_a_column(zero: Array | None) -> Array | None:
    return None if zero is None else zero.reshape(-1)


def orders(given: ByteProduct) -> list[tuple[str, Product]]:
    """The orders of K that kernels use; only saturation depends on them."""
    found = [("", given.product)]
    if given.product.taps > 1:
        found.append((", channels together", given.product.channels_last()))
    return found
