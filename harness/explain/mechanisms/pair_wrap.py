"""pair wrap: products k and k + 8 of 16 added at 16 bits, wrapping, before they are accumulated."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.operators import ByteProduct, byte_product
from harness.explain.product import MOST_ELEMENTS, TooLarge
from harness.explain.rescale import rescaled
from harness.explain.variants import Variant, matching
from harness.graph_node import Array

I64 = NDArray[np.int64]
LANES = 8
# What makes uint8 activations signed.
OFFSET = 128


@dataclass(frozen=True, kw_only=True)
class PairWrap:
    name: str = "pair wrap"
    summary: str = "NEON without dot products: ONNX Runtime multiplies by int8 weights like this"

    def accounts(self, site: Site) -> Iterator[Account]:
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    given = byte_product(site)
    if given.product.weights.dtype != np.int8:
        raise Unsupported("its kernels for int8 weights do so, no others")
    sums, how = _sums(given), "int16 sums of products k and k + 8"
    if given.rescale is None:
        yield Variant(how=how, array=given.product.fold(sums))
        return
    for number, (rule, array) in enumerate(rescaled(sums, given.rescale)):
        yield Variant(
            how=f"{how}, then {rule}",
            array=given.product.fold(array),
            deviations=1 + (number > 0),
        )


def _sums(given: ByteProduct) -> NDArray[np.int32]:
    """int32 [P, N], the zero points taken out and the bias added."""
    product = given.product
    offset = OFFSET if product.rows.dtype == np.uint8 else 0
    rows, weights = product.rows.astype(np.int64) - offset, product.weights.astype(np.int64)
    if rows.size * weights.shape[1] > MOST_ELEMENTS:
        raise TooLarge(f"{rows.size * weights.shape[1]} products are too many to simulate in pairs")
    spare = -len(weights) % (2 * LANES)
    x, w = np.pad(rows, ((0, 0), (0, spare))), np.pad(weights, ((0, spare), (0, 0)))
    products = (x[:, :, None] * w).reshape(len(x), -1, 2, LANES, w.shape[1])
    pairs = products.sum(axis=2).astype(np.int16).astype(np.int64)
    sums = pairs.sum(axis=(1, 2)) + offset * weights.sum(axis=0)
    # The zero points go in at 32 bits, where nothing overflows: (x - a)(w - b) = xw - aw - bx + ab.
    of_row, of_weight = _zero(given.row_zero), _zero(given.weight_zero)
    sums = sums - of_row * weights.sum(axis=0)
    sums = sums - of_weight * product.rows.astype(np.int64).sum(axis=1, keepdims=True)
    sums = sums + len(weights) * of_row * of_weight
    if product.bias is not None:
        sums = sums + product.bias
    return np.asarray(sums).astype(np.int32)


def _zero(zero: Array | None) -> I64:
    return np.zeros(1, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)


MECHANISMS.register(PairWrap())
