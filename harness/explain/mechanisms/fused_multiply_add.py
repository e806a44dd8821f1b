"""fused multiply-add: a Mul and the Add behind it with one rounding."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.defined import inner_values
from harness.explain.fma import fused_multiply_add
from harness.explain.variants import Variant, matching


@dataclass(frozen=True, kw_only=True)
class FusedMultiplyAdd:
    name: str = "fused multiply-add"
    summary: str = "compilers and kernels make one FMA of Mul and Add, where ONNX rounds twice"

    def accounts(self, site: Site) -> Iterator[Account]:
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    graph = site.graph
    if site.node.op_type != "Add" or site.got.dtype != np.float32:
        raise Unsupported("no float32 Add at the end")
    for product, addend in (site.node.input, site.node.input[::-1]):
        maker = graph.nodes[graph.producer[product]] if product in graph.producer else None
        if maker is not None and maker.op_type == "Mul":
            names = [*maker.input, addend]
            found = inner_values(site, names)
            with np.errstate(all="ignore"):
                array = fused_multiply_add(*(found[name] for name in names))
            yield Variant(how="one rounding", array=np.ascontiguousarray(array))


MECHANISMS.register(FusedMultiplyAdd())
