"""float32 arithmetic: an elementwise node of wide integers or float64, computed in float32."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.dsp.elementwise import ELEMENTWISE
from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import Variant, matching
from harness.graph_node import Array, Numbers

F32 = NDArray[np.float32]
CARRIED = frozenset({"int32", "uint32", "int64", "uint64", "float64"})
# Of these a runtime without the type takes the low 32 bits, as int32, first.
WIDER = frozenset({"uint32", "int64", "uint64"})
NARROWED: Mapping[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    "as int32, ": lambda x: x.astype(np.int32),
}
TO_INTEGERS: Mapping[str, Callable[[Numbers], Numbers]] = {
    ", truncated": np.trunc,
    ", rounded": np.rint,
    ", floored": np.floor,
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
    dtype = site.got.dtype
    given = site.arguments()
    for note, narrow in NARROWED.items():
        if note and dtype.name not in WIDER:
            continue
        carried = [_carried(x, narrow) for x in given]
        with np.errstate(all="ignore"):
            for form, result in _in_float32(site, carried):
                if dtype.kind == "f":
                    yield Variant(how=f"in float32{form}", array=result.astype(np.float64))
                    continue
                limits = np.iinfo(np.int32 if note else dtype.name)
                whole_already = bool((np.rint(result) == result).all())
                for how, whole in {"": np.rint}.items() if whole_already else TO_INTEGERS.items():
                    # In float64, which holds the limits of 32 bits; saturation is what conversions do in SIMD.
                    inside = np.clip(whole(result).astype(np.float64), limits.min, limits.max)
                    made = inside.astype(np.int32 if note else dtype).astype(dtype)
                    yield Variant(
                        how=f"{note}in float32{form}{how}", array=made, deviations=1 + bool(note)
                    )


def _carried(x: Array | None, narrow: Callable[[Array], Array]) -> Array | None:
    if x is None or x.dtype.name not in CARRIED:
        return x
    return narrow(x).astype(np.float32) if x.dtype.name in WIDER else x.astype(np.float32)


def _in_float32(site: Site, carried: list[Array | None]) -> Iterator[tuple[str, F32]]:
    """Each form that the operator may take, and what it gives."""
    view, operator = site.view(), site.node.op_type
    if operator == "BitShift":
        x, by = carried
        assert x is not None
        assert by is not None
        sign = 1 if view.text("direction", "") == "LEFT" else -1
        yield "", np.asarray(np.ldexp(x.astype(np.float32), sign * by.astype(np.int32)))
        return
    result = ELEMENTWISE[operator](view)(*carried)
    if not isinstance(result, np.ndarray) or result.dtype != np.float32:
        raise Unsupported(f"{operator} has no form in float32")
    yield "", result.astype(np.float32, copy=False)
    if operator == "Mod" and not view.integer("fmod", 0):
        x, y = (np.asarray(value, np.float32) for value in carried)
        yield " as x - floor(x / y) * y", x - np.floor(x / y) * y


MECHANISMS.register(Float32Elementwise())
