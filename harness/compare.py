"""Bit-for-bit comparison of two traces. Knows nothing of models or platforms; has no tolerance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from harness.trace import TensorRecord, Trace

_HYPERPRIOR = ("z_symbols", "means_hat", "indexes", "y_symbols", "y_hat")

# A scope says which tensors must be identical; every other one is counted and reported.
SCOPES: Mapping[str, tuple[str, ...]] = {
    "hyperprior": _HYPERPRIOR,
    "decoder": (*_HYPERPRIOR, "picture"),
}


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first element of one tensor that differs, or the reason why the tensors are not comparable.

    `kind` is "value", "dtype", "shape", "missing" (only expected) or "unexpected" (only actual).
    """

    tensor: str
    kind: str
    gated: bool
    index: tuple[int, ...]
    expected: str
    actual: str
    mismatched: int
    values: int
    identical_before: int

    def __str__(self) -> str:
        if self.kind != "value":
            return f"{self.tensor}: expected {self.expected}, got {self.actual}"
        return (
            f"{self.tensor}[{', '.join(map(str, self.index))}]: expected {self.expected}, got {self.actual}"
            f" ({self.mismatched} of {self.values} differ; {self.identical_before} earlier tensors identical)"
        )


@dataclass(frozen=True, kw_only=True)
class TensorComparison:
    """`mismatched` counts values; `differing_bits` the bits in them, 0 where dtype or shape leave nothing to pair."""

    values: int
    bytes: int
    mismatched: int
    gated: bool
    differing_bits: int = 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Per tensor counts, the first difference in graph order, and the first one that the scope gates."""

    tensors: Mapping[str, TensorComparison]
    first: Divergence | None
    first_gated: Divergence | None

    @property
    def compared_values(self) -> int:
        return sum(tensor.values for tensor in self.tensors.values())


def compare(expected: Trace, actual: Trace | None, gated: Collection[str]) -> Comparison:
    """Compare every tensor of either trace; a gated name that neither has is itself a gated divergence.

    None is the trace of a frame that a decoder did not come to.
    """
    given = actual.tensors if actual else ()
    names = [tensor.name for tensor in expected.tensors]
    names += [t.name for t in given if t.name not in names]
    names += [name for name in gated if name not in names]
    left = {tensor.name: tensor for tensor in expected.tensors}
    right = {tensor.name: tensor for tensor in given}
    tensors: dict[str, TensorComparison] = {}
    divergences: list[Divergence] = []
    for position, name in enumerate(names):
        is_gated = name in gated
        divergence = _diverges(
            left.get(name),
            right.get(name),
            name,
            gated=is_gated,
            identical_before=position - len(divergences),
        )
        either = left.get(name) or right.get(name)
        tensors[name] = TensorComparison(
            values=either.values if either else 0,
            bytes=len(either.data) if either else 0,
            mismatched=divergence.mismatched if divergence else 0,
            gated=is_gated,
            differing_bits=(
                _difference(left[name], right[name])[2]
                if divergence is not None and divergence.kind == "value"
                else 0
            ),
        )
        if divergence is not None:
            divergences.append(divergence)
    return Comparison(
        tensors=tensors,
        first=divergences[0] if divergences else None,
        first_gated=next((d for d in divergences if d.gated), None),
    )


def scope_of(names: Collection[str], scope: str) -> tuple[str, ...]:
    """Those of a trace's tensors that a scope gates, and those it lacks; a codec without means has none to gate.

    Video codecs have several latents a frame: `res.indexes` is gated where `indexes` is.
    """
    branches = dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name)
    found = []
    for name in SCOPES[scope]:
        wanted = [f"{branch}.{name}" for branch in branches] if branches else [name]
        if name == "picture":
            wanted = [name]
        found += [each for each in wanted if name != "means_hat" or each in names]
    return tuple(found)


def merged(frames: Sequence[Comparison]) -> Comparison:
    """The comparison of a clip: counts by kind of tensor over all frames and latents, first divergences by their frame."""
    tensors: dict[str, TensorComparison] = {}
    for frame in frames:
        for name, one in frame.tensors.items():
            kind = name.rpartition(".")[2]
            before = tensors.get(kind)
            tensors[kind] = one if before is None else _added(before, one)

    def first(found: Sequence[Divergence | None]) -> Divergence | None:
        number, divergence = next(((n, d) for n, d in enumerate(found) if d), (0, None))
        return divergence and replace(divergence, tensor=f"frame {number} {divergence.tensor}")

    return Comparison(
        tensors=tensors,
        first=first([frame.first for frame in frames]),
        first_gated=first([frame.first_gated for frame in frames]),
    )


def _added(one: TensorComparison, other: TensorComparison) -> TensorComparison:
    return TensorComparison(
        values=one.values + other.values,
        bytes=one.bytes + other.bytes,
        mismatched=one.mismatched + other.mismatched,
        gated=one.gated or other.gated,
        differing_bits=one.differing_bits + other.differing_bits,
    )


def _diverges(
    want: TensorRecord | None,
    got: TensorRecord | None,
    name: str,
    *,
    gated: bool,
    identical_before: int,
) -> Divergence | None:
    def differs(kind: str, expected: str, actual: str, values: int) -> Divergence:
        return Divergence(
            tensor=name,
            kind=kind,
            gated=gated,
            index=(),
            expected=expected,
            actual=actual,
            mismatched=values,
            values=values,
            identical_before=identical_before,
        )

    if want is None:
        return differs(
            "missing" if got is None else "unexpected",
            "no such tensor",
            "no such tensor" if got is None else "a tensor",
            got.values if got else 0,
        )
    if got is None:
        return differs("missing", "a tensor", "no such tensor", want.values)
    if want.dtype != got.dtype:
        return differs("dtype", want.dtype, got.dtype, want.values)
    if want.shape != got.shape:
        return differs("shape", str(list(want.shape)), str(list(got.shape)), want.values)
    if want.data == got.data:
        return None
    position, mismatched, _ = _difference(want, got)
    index = tuple(int(i) for i in np.unravel_index(position, want.shape))
    return Divergence(
        tensor=name,
        kind="value",
        gated=gated,
        index=index,
        expected=str(want.array().flat[position]),
        actual=str(got.array().flat[position]),
        mismatched=mismatched,
        values=want.values,
        identical_before=identical_before,
    )


# Many cells compare the same two records (P platforms make P records, P^2 pairs).
@lru_cache(maxsize=1024)
def _difference(want: TensorRecord, got: TensorRecord) -> tuple[int, int, int]:
    """Position of the first differing element, and how many elements and bits differ.

    Elements are compared as unsigned integers: 0.0 and -0.0 differ, a NaN equals itself.
    """
    bits = np.dtype(f"u{np.dtype(want.dtype).itemsize}")
    changed = np.frombuffer(want.data, bits) ^ np.frombuffer(got.data, bits)
    different = changed != 0
    flipped = np.unpackbits(changed[different].view(np.uint8))
    return int(different.argmax()), int(different.sum()), int(flipped.sum())
