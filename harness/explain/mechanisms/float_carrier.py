"""float carrier: integers carried in floats, with sums that the format no longer holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import inside, reordering_bound
from harness.explain.mechanisms.summation_order import integer_valued
from harness.explain.operators import byte_product, float_product
from harness.explain.product import Product

EXACT_BITS = {"float16": 11, "float32": 24, "float64": 53}


@dataclass(frozen=True, kw_only=True)
class FloatCarrier:
    name: str = "float carrier"
    summary: str = "integers in float32 are exact up to 2^24: beyond, each addition may round"

    def accounts(self, site: Site) -> Iterator[Account]:
        if site.got.dtype.kind == "f":
            product, dtype = float_product(site), site.got.dtype.name
            if not integer_valued(product):
                raise Unsupported("no integers")
        else:
            given = byte_product(site)
            if given.rescale is not None:
                raise Unsupported("its sums are not what it puts out")
            product, dtype = _centred(site), "float32"
        exact = product.fold(product.exact)
        wrong = site.got.astype(np.float64) != exact
        if not wrong.any():
            if site.got.dtype.kind == "f":
                yield Account(
                    mechanism="as defined",
                    how="exact sums of integers",
                    evidence=Evidence.REPRODUCED,
                    deviations=0,
                )
            return
        reach = product.fold(product.magnitude)
        bound = product.fold(reordering_bound(product, dtype))
        # What comes out of a float is a float's value, also as an integer.
        carried = bool((site.got.astype(dtype).astype(np.float64) == site.got).all())
        if (
            carried
            and reach[wrong].min() > 2 ** EXACT_BITS[dtype]
            and inside(site.got, exact, bound)
        ):
            yield Account(
                mechanism=self.name,
                how=f"every wrong sum passes 2^{EXACT_BITS[dtype]} and lies in the round-off of {dtype}",
                evidence=Evidence.WITHIN_BOUND,
                deviations=1,
            )


def _centred(site: Site) -> Product:
    """An 8-bit product with its zero points taken out."""
    given = byte_product(site)
    rows, weights = given.product.rows.astype(np.int64), given.product.weights.astype(np.int64)
    if given.row_zero is not None:
        rows = rows - given.row_zero.reshape(-1)[:1].astype(np.int64)
    if given.weight_zero is not None:
        weights = weights - given.weight_zero.reshape(-1).astype(np.int64)
    made = given.product
    return Product(rows=rows, weights=weights, bias=made.bias, taps=made.taps, fold=made.fold)


MECHANISMS.register(FloatCarrier())
