"""summation order: a sum of floats whose additions were done in another order, or fused."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import inside, reordering_bound
from harness.explain.operators import float_product
from harness.explain.product import Product


@dataclass(frozen=True, kw_only=True)
class SummationOrder:
    name: str = "summation order"
    summary: str = "ONNX leaves the order of float additions, and FMA, to the kernel"

    def accounts(self, site: Site) -> Iterator[Account]:
        product = float_product(site)
        if integer_valued(product):
            raise Unsupported("sums of integers round only once they are too large for the format")
        if within_order(site, product):
            yield Account(
                mechanism=self.name,
                how="gamma_n * sum|a_i b_i| around the exact sums",
                evidence=Evidence.WITHIN_BOUND,
                deviations=0,
            )


def within_order(site: Site, product: Product) -> bool:
    """Whether the site's output is its product in some order of additions, as far as the bound can tell."""
    exact, bound = product.exact, reordering_bound(product, site.got.dtype.name)
    return inside(site.got, product.fold(exact), product.fold(bound))


def integer_valued(product: Product) -> bool:
    parts = [product.rows, product.weights, *([] if product.bias is None else [product.bias])]
    return all(bool((part == np.rint(part)).all()) for part in parts)


MECHANISMS.register(SummationOrder())
