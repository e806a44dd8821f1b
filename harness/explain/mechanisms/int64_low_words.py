"""int64 low words: where the high words are equal, the low ones are compared as if they had a sign."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import Variant, matching
from harness.graph_node import Array

SIGN_OF_LOW = np.int64(1 << 31)


@dataclass(frozen=True, kw_only=True)
class Int64LowWords:
    name: str = "int64 low words"
    summary: str = "ONNX Runtime's vectorised int64 Max, Min and Clip on x86: Max(2^31, 0) is 0"

    def accounts(self, site: Site) -> Iterator[Account]:
        operator = site.node.op_type
        if not site.single or site.got.dtype != np.int64 or operator not in {"Max", "Min", "Clip"}:
            raise Unsupported("only Max, Min and Clip of int64 are simulated")
        given = site.arguments()
        if given[0] is None:
            raise Unsupported("an omitted input")
        if operator == "Clip":
            low, high = (*given[1:], None, None)[:2]
            array = given[0] if low is None else _chosen(given[0], low, largest=True)
            array = array if high is None else _chosen(array, high, largest=False)
        else:
            values = [x for x in given if x is not None]
            array = reduce(lambda x, y: _chosen(x, y, largest=operator == "Max"), values)
        how = "low words compared with a sign"
        yield from matching(self.name, site, [Variant(how=how, array=array)])


def _chosen(x: Array, y: Array, *, largest: bool) -> Array:
    """Flipping the low word's top bit makes numpy's comparison the wrong one."""
    left, right = np.broadcast_arrays(x.astype(np.int64), y.astype(np.int64))
    after = (left ^ SIGN_OF_LOW) > (right ^ SIGN_OF_LOW)
    return np.where(after == largest, left, right)


MECHANISMS.register(Int64LowWords())
