"""One divergence as a person reads it: where, both values in hex and decimal, how far, how many, and a map."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cdf import indexes_from_scales
from harness.compare import compare
from harness.taps import Array
from harness.trace import TensorRecord, Trace

ROWS, COLUMNS = 16, 64


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Where the two sigmas lie: the CDF index of each, and the ULPs from the first to the nearest threshold."""

    index_a: int
    index_b: int
    ulp_to_nearest: int
    flipped: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One tensor that differs. `apart` is in ULPs for floats, a plain difference for integers.

    `kind` is "value", or "dtype" or "shape", when the rest says nothing. `plane` has an x where the first
    channel that differs does.
    """

    tensor: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    a: str
    b: str
    a_hex: str
    b_hex: str
    apart: int
    most_apart: int
    unit: str
    mismatched: int
    values: int
    plane: tuple[str, ...]
    threshold: Threshold | None


def panel(
    a: TensorRecord, b: TensorRecord, thresholds: NDArray[np.int32] | None = None
) -> Panel | None:
    """The panel of two records of one value; None if they are identical. `thresholds` as in `harness.cdf`."""
    one, other = (Trace(tensors=(record,), environment={}) for record in (a, b))
    found = compare(one, other, ()).first
    if found is None:
        return None
    comparable = found.kind == "value"
    left, right = a.array(), b.array()
    apart = _apart(left, right) if comparable else [0]
    at = int(np.ravel_multi_index(found.index, a.shape)) if comparable else 0
    judged = comparable and thresholds is not None and a.dtype == "float32"
    return Panel(
        tensor=found.tensor,
        kind=found.kind,
        dtype=a.dtype,
        shape=a.shape,
        index=found.index,
        a=found.expected,
        b=found.actual,
        a_hex=_hex(left, at) if comparable else "",
        b_hex=_hex(right, at) if comparable else "",
        apart=apart[at],
        most_apart=max(apart),
        unit="ULP" if left.dtype.kind == "f" else "steps",
        mismatched=found.mismatched,
        values=found.values,
        plane=_plane(left, right, found.index) if comparable else (),
        threshold=_threshold(left, right, at, thresholds)
        if judged and thresholds is not None
        else None,
    )


def _bits(array: Array) -> NDArray[np.unsignedinteger[Any]]:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").ravel()


def _hex(array: Array, at: int) -> str:
    return f"0x{int(_bits(array)[at]):0{2 * array.dtype.itemsize}x}"


def ordered(array: Array) -> list[int]:
    """Each element's place among all of its type: neighbouring floats are one apart, -0.0 and 0.0 too.

    >>> ordered(np.array([-0.0, 0.0, 1.0], np.float32))
    [-1, 0, 1065353216]
    """
    if array.dtype.kind != "f":
        return [int(x) for x in array.ravel().tolist()]
    sign = 1 << (8 * array.dtype.itemsize - 1)
    return [int(x) if x < sign else sign - 1 - int(x) for x in _bits(array).tolist()]


def _apart(a: Array, b: Array) -> list[int]:
    return [abs(x - y) for x, y in zip(ordered(a), ordered(b), strict=True)]


def _plane(a: Array, b: Array, index: tuple[int, ...]) -> tuple[str, ...]:
    """The last two axes at `index`; of a larger plane the part around it."""
    lead, inner = index[:-2], index[-2:]
    size = a.shape[-2:] or (1,)
    differs = (_bits(a) != _bits(b)).reshape(a.shape)[lead].reshape((-1, size[-1]))
    row, column = inner if len(inner) == 2 else (0, inner[0] if inner else 0)  # noqa: PLR2004 - a plane
    top, left = (max(0, place - span // 2) for place, span in ((row, ROWS), (column, COLUMNS)))
    part = differs[top : top + ROWS, left : left + COLUMNS]
    return tuple("".join("x" if cell else "." for cell in line) for line in part)


def _threshold(a: Array, b: Array, at: int, thresholds: NDArray[np.int32]) -> Threshold:
    flat_a, flat_b = (x.astype(np.float32, copy=False).ravel() for x in (a, b))
    left, right = (indexes_from_scales(x, thresholds) for x in (flat_a, flat_b))
    here = ordered(flat_a[at : at + 1])[0]
    nearest = min(abs(int(t) - here) for t in thresholds[:-1].tolist())
    return Threshold(
        index_a=int(left[at]),
        index_b=int(right[at]),
        ulp_to_nearest=nearest,
        flipped=int((left != right).sum()),
    )
