"""Weights and feeds that are not the same at both sides: named by their digests, and the bit if it is one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.graph_node import Array
from harness.trace import TensorRecord


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One tensor that the sides were given in two versions. `bit` counts from the lowest; -1 if it is not one bit."""

    tensor: str
    digest_a: str
    digest_b: str
    elements: int
    index: tuple[int, ...]
    bit: int
    a: str
    b: str

    def __str__(self) -> str:
        digests = f"digests {self.digest_a[:12]} and {self.digest_b[:12]}"
        if self.bit < 0:
            return f"{self.tensor}: {self.elements} elements differ ({digests})"
        place = ", ".join(map(str, self.index))
        return f"{self.tensor}[{place}]: bit {self.bit} flipped, {self.a} and {self.b} ({digests})"


def changed(a: Mapping[str, Array], b: Mapping[str, Array]) -> tuple[Changed, ...]:
    """Every tensor of both whose digest differs."""
    found = []
    for name in a:
        if name not in b:
            continue
        left, right = TensorRecord.of(name, a[name]), TensorRecord.of(name, b[name])
        if left.digest != right.digest:
            found.append(_changed(left, right))
    return tuple(found)


def _changed(a: TensorRecord, b: TensorRecord) -> Changed:
    index: tuple[int, ...] = ()
    elements, bit, values = max(a.values, b.values), -1, ("", "")
    if (a.dtype, a.shape) == (b.dtype, b.shape):
        kind = f"<u{np.dtype(a.dtype).itemsize}"
        left, right = (np.frombuffer(record.data, kind) for record in (a, b))
        places = np.flatnonzero(left != right)
        elements, first = len(places), int(places[0])
        index = tuple(int(i) for i in np.unravel_index(first, a.shape))
        values = (str(a.array().flat[first]), str(b.array().flat[first]))
        pattern = int(left[first]) ^ int(right[first])
        if elements == 1 and pattern.bit_count() == 1:
            bit = pattern.bit_length() - 1
    return Changed(
        tensor=a.name,
        digest_a=a.digest,
        digest_b=b.digest,
        elements=elements,
        index=index,
        bit=bit,
        a=values[0],
        b=values[1],
    )
