"""offset inside a scale: x * scale + offset computed as (x + offset / scale) * scale."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.defined import inner_values
from harness.explain.variants import Variant, matching


@dataclass(frozen=True, kw_only=True)
class OffsetInside:
    name: str = "offset inside a scale"
    summary: str = "OpenVINO's low-precision transformations move an offset in front of the scale"

    def accounts(self, site: Site) -> Iterator[Account]:
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    graph, constants = site.graph, site.graph.constants
    if site.node.op_type != "Add" or site.got.dtype != np.float32:
        raise Unsupported("no float32 Add at the end")
    scaled = [name for name in site.node.input if name in graph.producer]
    inner = [name for name in scaled if graph.nodes[graph.producer[name]].op_type == "Mul"]
    offsets = [name for name in site.node.input if name in constants]
    if len(inner) != 1 or len(offsets) != 1:
        raise Unsupported("no Mul in front of an Add of a constant")
    factors = graph.nodes[graph.producer[inner[0]]].input
    scales = [name for name in factors if name in constants]
    values = [name for name in factors if name not in constants]
    if len(scales) != 1 or len(values) != 1:
        raise Unsupported("no Mul by a constant")
    x = inner_values(site, values)[values[0]].astype(np.float32)
    scale, offset = (site.values[name].astype(np.float32) for name in (scales[0], offsets[0]))
    with np.errstate(all="ignore"):
        inside = {
            "(x + offset / scale) * scale": offset / scale,
            "(x + offset * (1 / scale)) * scale": offset * (np.float32(1) / scale),
        }
        for how, moved in inside.items():
            yield Variant(how=how, array=np.asarray((x + moved) * scale, np.float32))


MECHANISMS.register(OffsetInside())
