"""int64 truncation: a runtime computes in 32 bits what the graph has in 64."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.dsp.elementwise import ELEMENTWISE
from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import Variant, matching
from harness.graph_node import Array

INT32 = np.iinfo(np.int32)
NARROWINGS: Mapping[str, Callable[[Array], Array]] = {
    "wrapping": lambda x: x.astype(np.int32),
    "saturating": lambda x: np.clip(x, INT32.min, INT32.max).astype(np.int32),
}


@dataclass(frozen=True, kw_only=True)
class Int64Truncation:
    name: str = "int64 truncation"
    summary: str = "OpenVINO and others keep int64 tensors in int32"

    def accounts(self, site: Site) -> Iterator[Account]:
        if not site.single or site.got.dtype != np.int64 or site.node.op_type not in ELEMENTWISE:
            raise Unsupported("only elementwise nodes that put out int64 are simulated")
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    kernel = ELEMENTWISE[site.node.op_type](site.view())
    for how, narrow in NARROWINGS.items():
        given = [
            narrow(x) if x is not None and x.dtype == np.int64 else x for x in site.arguments()
        ]
        with np.errstate(all="ignore"):
            result = kernel(*given)
        assert isinstance(result, np.ndarray)
        yield Variant(how=how, array=narrow(result).astype(np.int64))


MECHANISMS.register(Int64Truncation())
