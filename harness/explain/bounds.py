"""How far apart floating-point results may lie that differ in nothing but the order of their additions."""

import numpy as np

from harness.explain.product import F64, Product
from harness.graph_node import Array

# Smallest subnormals: what a product may lose by underflow.
UNITS = {
    "float16": (2.0**-11, 2.0**-24),
    "float32": (2.0**-24, 2.0**-149),
    "float64": (2.0**-53, 2.0**-1074),
}
OURS = 2.0**-53


def reordering_bound(product: Product, dtype: str) -> F64:
    """gamma_n * sum|a_i b_i| a sum [P, N]: any order, with or without FMA, lies this near to the exact sum.

    n counts the additions and the product's own rounding (Higham, Accuracy and Stability, 3.1); what our float64
    sums themselves may be off is added.
    """
    unit, smallest = UNITS[dtype]
    n = product.terms
    longest = len(product.weights) + 1
    ours = longest * OURS / (1 - longest * OURS)
    return (n * unit / (1 - n * unit) + ours) * product.magnitude + n * smallest


def inside(got: Array, exact: Array, bound: Array) -> bool:
    """Whether every element lies within its bound; NaN and infinities do not."""
    with np.errstate(all="ignore"):
        return bool(
            (
                np.abs(got.astype(np.float64) - exact.astype(np.float64))
                <= bound.astype(np.float64)
            ).all()
        )
