"""Sums by float32 kernels: one fused multiply-add after the other, in the orders that kernels keep."""

from collections.abc import Iterator

import numpy as np

from harness.explain.fma import F32, fused_multiply_add
from harness.explain.product import Product

# Kernels take K in groups of this many, and what is left over by itself.
GROUP = 16


def chains(product: Product) -> Iterator[tuple[str, F32]]:
    """Ways to the float32 sums [P, N] of a product, without its bias."""
    rows, weights = product.rows.astype(np.float32), product.weights.astype(np.float32)
    yield "one FMA after the other", _chain(rows, weights)
    whole = len(weights) - len(weights) % GROUP
    if 0 < whole < len(weights):
        parts = _chain(rows[:, :whole], weights[:whole]), _chain(rows[:, whole:], weights[whole:])
        yield f"one FMA after the other, the last {len(weights) - whole} apart", parts[0] + parts[1]


def _chain(rows: F32, weights: F32) -> F32:
    total = np.zeros((len(rows), weights.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        for k in range(len(weights)):
            total = fused_multiply_add(rows[:, k, None], weights[k], total)
    return total
