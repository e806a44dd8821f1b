"""low precision: a float product whose inputs were rounded to bfloat16, TF32 or float16 first."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product as pairs

import numpy as np
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import inside, reordering_bound
from harness.explain.mechanisms.summation_order import within_order
from harness.explain.operators import float_product
from harness.explain.product import Product
from harness.graph_node import Array

F32 = NDArray[np.float32]
MANTISSA = 23


def rounded(x: Array, bits: int) -> F32:
    """float32 values rounded, ties to even, to a mantissa of `bits` stored bits and float32's exponents.

    >>> rounded(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8], np.float32), 7).tolist()
    [1.0, 1.015625]
    """
    drop = MANTISSA - bits
    pattern = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    even = (pattern >> np.uint64(drop)) & np.uint64(1)
    near = pattern + np.uint64((1 << (drop - 1)) - 1) + even
    kept = (near >> np.uint64(drop)) << np.uint64(drop)
    return kept.astype(np.uint32).view(np.float32)


def _truncated(x: Array, bits: int) -> F32:
    mask = np.uint32(0xFFFFFFFF << (MANTISSA - bits) & 0xFFFFFFFF)
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & mask).view(np.float32)


def _half(x: Array) -> F32:
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a kernel rounds its inputs, and half a unit in the last place of a result in that format."""

    inputs: Callable[[Array], F32]
    unit: float


FORMATS: Mapping[str, Format] = {
    "bfloat16": Format(inputs=lambda x: rounded(x, 7), unit=2.0**-8),
    "TF32": Format(inputs=lambda x: rounded(x, 10), unit=2.0**-11),
    "TF32, truncated": Format(inputs=lambda x: _truncated(x, 10), unit=2.0**-10),
    "float16": Format(inputs=_half, unit=2.0**-11),
}


@dataclass(frozen=True, kw_only=True)
class LowPrecision:
    name: str = "low precision"
    summary: str = (
        "inputs of a float product in bfloat16 (OpenVINO, oneDNN), TF32 (CUDA) or float16"
    )

    def accounts(self, site: Site) -> Iterator[Account]:
        product = float_product(site)
        if site.got.dtype != np.float32 or within_order(site, product):
            raise Unsupported("float32 explains it: no lower precision is called for")
        for (name, form), bias in pairs(FORMATS.items(), (False, True)):
            if bias and product.bias is None:
                continue
            lowered = _lowered(product, form, bias=bias)
            what = f"{name} inputs{' and bias' if bias else ''}"
            yield from self._judge(site, lowered, form, what)

    def _judge(self, site: Site, lowered: Product, form: Format, what: str) -> Iterator[Account]:
        exact = lowered.fold(lowered.exact)
        single = exact.astype(np.float32)
        ends = {f"{what}, float32 sums": single}
        stored = bool((form.inputs(site.got) == site.got).all())
        if stored:
            ends[f"{what} and results"] = form.inputs(single)
        for how, array in ends.items():
            if site.equals(np.ascontiguousarray(array)):
                yield self._account(how, Evidence.REPRODUCED)
                return
        bound = lowered.fold(reordering_bound(lowered, "float32"))
        if stored:
            bound = bound + form.unit * (np.abs(exact) + bound)
        if inside(site.got, exact, bound):
            note = " and results" if stored else ", float32 sums"
            yield self._account(f"{what}{note}, in any order", Evidence.WITHIN_BOUND)

    def _account(self, how: str, evidence: Evidence) -> Account:
        return Account(mechanism=self.name, how=how, evidence=evidence, deviations=1)


def _lowered(product: Product, form: Format, *, bias: bool) -> Product:
    made = product.bias
    return replace(
        product,
        rows=form.inputs(product.rows),
        weights=form.inputs(product.weights),
        bias=form.inputs(made) if bias and made is not None else made,
    )


MECHANISMS.register(LowPrecision())
