"""first scale: every channel of a DequantizeLinear scaled as the first one is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import Variant, matching
from harness.onnx_shapes import per_axis


@dataclass(frozen=True, kw_only=True)
class FirstScale:
    name: str = "first scale"
    summary: str = "tract, before 0.23.9, dequantizes every channel by the first channel's scale"

    def accounts(self, site: Site) -> Iterator[Account]:
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    if not site.single or site.node.op_type != "DequantizeLinear":
        raise Unsupported("no DequantizeLinear alone")
    x, scale, zero = (*site.arguments(), None)[:3]
    if x is None or scale is None or scale.size == 1:
        raise Unsupported("no scales of several channels")
    first = scale.reshape(-1)[0]
    wide = x.astype(np.int32)
    offset = np.zeros(1, np.int32) if zero is None else zero.reshape(-1).astype(np.int32)
    yield Variant(
        how="the first scale and zero point for all channels",
        array=(wide - offset[0]).astype(scale.dtype) * first,
    )
    axis = per_axis(offset.shape, x.ndim, site.view().integer("axis", 1))
    yield Variant(
        how="the first scale for all channels, each with its zero point",
        array=(wide - offset.reshape(axis)).astype(scale.dtype) * first,
    )


MECHANISMS.register(FirstScale())
