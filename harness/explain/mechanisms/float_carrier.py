"""float carrier: integers carried in floats, with sums that the format no longer holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import inside, reordering_bound
from harness.explain.chains import chains
from harness.explain.mechanisms.summation_order import integer_valued
from harness.explain.operators import float_product, integer_product
from harness.explain.product import Product

EXACT_BITS = {"float16": 11, "float32": 24, "float64": 53}


@dataclass(frozen=True, kw_only=True)
class FloatCarrier:
    name: str = "float carrier"
    summary: str = "integers in float32 are exact up to 2^24: beyond, each addition may round"

    def accounts(self, site: Site) -> Iterator[Account]:
        if site.got.dtype.kind == "f":
            product, dtype = float_product(site), _format(site)
            if not integer_valued(product):
                raise Unsupported("no integers")
        else:
            product, dtype = integer_product(site), "float32"
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
        # What comes out of a float is a float's value, also as an integer.
        carried = _holds(dtype, site)
        reach = product.fold(product.magnitude)
        if not carried or reach[wrong].min() <= 2 ** EXACT_BITS[dtype]:
            return
        if (how := _in_order(site, product, dtype)) is not None:
            yield self._account(how, Evidence.REPRODUCED)
        elif inside(site.got, exact, product.fold(reordering_bound(product, dtype))):
            how = (
                f"every wrong sum passes 2^{EXACT_BITS[dtype]} and lies in the round-off of {dtype}"
            )
            yield self._account(how, Evidence.WITHIN_BOUND)

    def _account(self, how: str, evidence: Evidence) -> Account:
        return Account(mechanism=self.name, how=how, evidence=evidence, deviations=1)


def _format(site: Site) -> str:
    """Where the sums of a float product were made: float64 that holds nothing but float32 numbers is float32."""
    name: str = site.got.dtype.name
    return "float32" if name == "float64" and _holds("float32", site) else name


def _holds(dtype: str, site: Site) -> bool:
    with np.errstate(over="ignore"):
        return bool((site.got.astype(dtype).astype(np.float64) == site.got).all())


def _in_order(site: Site, product: Product, dtype: str) -> str | None:
    """The float32 chain that gives what the site got, if one does."""
    if dtype != "float32" or product.bias is not None:
        return None
    for how, sums in chains(product):
        if site.equals(np.ascontiguousarray(product.fold(sums)).astype(site.got.dtype)):
            return f"float32, {how}"
    return None


MECHANISMS.register(FloatCarrier())
