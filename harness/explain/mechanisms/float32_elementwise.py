"""float32 arithmetic: an elementwise node of wide integers or float64, computed in float32."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.dsp.elementwise import ELEMENTWISE
from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import Variant, matching
from harness.graph_node import Array, Numbers

CARRIED = frozenset({"int32", "uint32", "int64", "uint64", "float64"})
TO_INTEGERS: Mapping[str, Callable[[Numbers], Numbers]] = {
    "truncated": np.trunc,
    "rounded": np.rint,
    "floored": np.floor,
}


@dataclass(frozen=True, kw_only=True)
class Float32Elementwise:
    name: str = "float32 arithmetic"
    summary: str = (
        "OpenVINO divides, shifts and takes remainders of int32 in float32, and has no float64"
    )

    def accounts(self, site: Site) -> Iterator[Account]:
        dtype, operator = site.got.dtype, site.node.op_type
        if not site.single or dtype.name not in CARRIED or operator not in ELEMENTWISE:
            raise Unsupported("only elementwise nodes of wide numbers are simulated")
        yield from matching(self.name, site, _variants(site))


def _variants(site: Site) -> Iterator[Variant]:
    carried = [_carried(x) for x in site.arguments()]
    with np.errstate(all="ignore"):
        result = _in_float32(site, carried)
        if site.got.dtype.kind == "f":
            yield Variant(how="inputs and result in float32", array=result.astype(np.float64))
            return
        limits = np.iinfo(site.got.dtype.name)
        for how, whole in TO_INTEGERS.items():
            # In float64, which holds the limits of 32 bits; saturation is what conversions do in SIMD.
            inside = np.clip(whole(result).astype(np.float64), limits.min, limits.max)
            yield Variant(how=f"in float32, {how}", array=inside.astype(site.got.dtype))


def _carried(x: Array | None) -> Array | None:
    return x.astype(np.float32) if x is not None and x.dtype.name in CARRIED else x


def _in_float32(site: Site, carried: list[Array | None]) -> Numbers:
    view = site.view()
    if site.node.op_type == "BitShift":
        x, by = carried
        assert x is not None
        assert by is not None
        sign = 1 if view.text("direction", "") == "LEFT" else -1
        return np.asarray(np.ldexp(x.astype(np.float32), sign * by.astype(np.int32)))
    result = ELEMENTWISE[site.node.op_type](view)(*carried)
    if not isinstance(result, np.ndarray) or result.dtype != np.float32:
        raise Unsupported(f"{site.node.op_type} has no form in float32")
    return result.astype(np.float32, copy=False)


MECHANISMS.register(Float32Elementwise())
