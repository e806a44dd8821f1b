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
Narrow = Callable[[Array], Array]


def _wrapped(x: Array) -> Array:
    return x.astype(np.int32)


def _saturated(x: Array) -> Array:
    return np.clip(x, INT32.min, INT32.max).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """How feeds and results, and how constants, are brought into int32."""

    values: Narrow
    constants: Narrow


NARROWINGS: Mapping[str, Narrowing] = {
    "wrapping": Narrowing(values=_wrapped, constants=_wrapped),
    "wrapping, constants saturated": Narrowing(values=_wrapped, constants=_saturated),
    "saturating": Narrowing(values=_saturated, constants=_saturated),
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
    """In int64 on numbers of 32 bits, then narrowed: the same as arithmetic that wraps, or saturates, at 32 bits."""
    kernel = ELEMENTWISE[site.node.op_type](site.view())
    fixed = [name in site.graph.constants for name in site.node.input]
    plain = all(
        bool((_wrapped(x) == _saturated(x)).all())
        for x, constant in zip(site.arguments(), fixed, strict=True)
        if x is not None and constant and x.dtype == np.int64
    )
    for how, narrowing in NARROWINGS.items():
        if plain and narrowing.values is not narrowing.constants:
            continue  # constants that fit are the same in both ways
        given = [
            (narrowing.constants if constant else narrowing.values)(x).astype(np.int64)
            if x is not None and x.dtype == np.int64
            else x
            for x, constant in zip(site.arguments(), fixed, strict=True)
        ]
        with np.errstate(all="ignore"):
            result = kernel(*given)
        assert isinstance(result, np.ndarray)
        yield Variant(how=how, array=narrowing.values(result).astype(np.int64))


MECHANISMS.register(Int64Truncation())
