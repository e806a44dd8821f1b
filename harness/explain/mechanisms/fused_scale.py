"""fused scale and offset: an integer product, and Mul and Add by constants behind it, as one kernel in float32."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import inside, reordering_bound
from harness.explain.chains import chains
from harness.explain.defined import defined, inner_site
from harness.explain.fma import F32
from harness.explain.operators import integer_product
from harness.explain.product import Product
from harness.graph_node import Array

PRODUCTS = frozenset({"MatMul", "MatMulInteger", "ConvInteger"})
# Integers up to this many are exact in float32.
EXACT = 2.0**24


@dataclass(frozen=True, kw_only=True)
class FusedScale:
    name: str = "fused scale and offset"
    summary: str = (
        "OpenVINO multiplies the weights of an integer product by the factor behind it, in float32"
    )

    def accounts(self, site: Site) -> Iterator[Account]:
        product, offset = _fused(site)
        if site.equals(defined(site)):
            return
        said = "float32, the factor in the weights"
        for how, sums in chains(product):
            made = sums if offset is None else sums + offset
            if site.equals(_integers(product.fold(made))):
                yield self._account(f"{said}, {how}", Evidence.REPRODUCED)
                return
        whole = replace(product, bias=offset)
        exact = whole.fold(whole.exact)
        reach = whole.fold(whole.magnitude)[site.got != exact]
        bound = whole.fold(reordering_bound(whole, "float32"))
        carried = bool((site.got.astype(np.float32).astype(np.float64) == site.got).all())
        if carried and reach.min(initial=np.inf) > EXACT and inside(site.got, exact, bound):
            yield self._account(f"{said}, in any order of additions", Evidence.WITHIN_BOUND)

    def _account(self, how: str, evidence: Evidence) -> Account:
        return Account(mechanism=self.name, how=how, evidence=evidence, deviations=1)


def _fused(site: Site) -> tuple[Product, F32 | None]:
    """The product with the factor in its weights, in float32, and the offset of each column [N]."""
    if site.single or site.got.dtype != np.int32:
        raise Unsupported("no window that ends in int32")
    graph, name = site.graph, site.output
    found: dict[str, Array | None] = {"Add": None, "Mul": None}
    for operator in found:
        if name in graph.producer and graph.nodes[graph.producer[name]].op_type == operator:
            name, found[operator] = _split(site, name)
    made_by = graph.nodes[graph.producer[name]].op_type if name in graph.producer else ""
    if made_by not in PRODUCTS or name == site.output:
        raise Unsupported("no integer product with Mul or Add by a constant behind it")
    product = integer_product(inner_site(site, name))
    rows, weights = product.rows.astype(np.float32), product.weights.astype(np.float32)
    if (factor := found["Mul"]) is not None:
        weights = weights * _columns(factor, product, site)
    offset = found["Add"]
    columns = None if offset is None else _columns(offset, product, site)
    return replace(product, rows=rows, weights=weights), columns


def _split(site: Site, output: str) -> tuple[str, Array]:
    """The computed input of a node of two inputs, and the constant one."""
    names = site.graph.nodes[site.graph.producer[output]].input
    inner = [name for name in names if name not in site.graph.constants]
    if len(names) != 2 or len(inner) != 1:  # noqa: PLR2004 - a factor or an offset, and what it is for
        raise Unsupported("no constant factor or offset")
    other = names[1] if names[0] == inner[0] else names[0]
    return inner[0], site.values[other]


def _columns(constant: Array, product: Product, site: Site) -> F32:
    """One number a column [N], in float32. Unsupported if it varies along anything else."""
    count = product.weights.shape[1]
    if constant.size not in {1, count}:
        raise Unsupported("a factor or an offset that is not one a channel")
    flat = np.broadcast_to(constant.reshape(-1).astype(np.float32), (count,))
    spread = product.fold(np.broadcast_to(flat, (len(product.rows), count)))
    if (np.broadcast_to(constant, site.got.shape).astype(np.float32) != spread).any():
        raise Unsupported("a factor or an offset that is not one a channel")
    return np.asarray(flat, np.float32)


def _integers(sums: Array) -> Array:
    """float32 to int32, saturating as conversions do in SIMD."""
    limits = np.iinfo(np.int32)
    inside = np.clip(np.ascontiguousarray(sums).astype(np.float64), limits.min, limits.max)
    return inside.astype(np.int32)


MECHANISMS.register(FusedScale())
