"""The smallest input: cut feeds and weights, axis by axis, as long as both sides still differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.bisect.axes import Axis, axis_classes
from harness.bisect.sides import Feeds
from harness.errors import UserError
from harness.taps import Array, Graph

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A graph and feeds of each side; both graphs have the same nodes."""

    graph_a: Graph
    graph_b: Graph
    feeds_a: Feeds
    feeds_b: Feeds

    @property
    def bytes(self) -> int:
        graphs = {self.graph_a.onnx_model, self.graph_b.onnx_model}
        return sum(map(len, graphs)) + sum(x.nbytes for x in self.feeds_a.values())


# Whether both sides run the specimen and differ on it.
Differs = Callable[[Specimen], bool]


def shrink(specimen: Specimen, differs: Differs, keep: int = 1) -> Specimen:
    """Cut each group of axes to a stretch that still differs, from both ends by halves: O(log length) runs a group.

    No axis becomes shorter than `keep`.
    """
    for group in axis_classes(specimen.graph_a):
        name, axis = group[0]
        length = {**specimen.graph_a.initializers, **specimen.feeds_a}[name].shape[axis]
        step = 1 << (length - 1).bit_length() >> 1
        while step:
            for keeps_end in (False, True):
                while length - step >= keep:
                    span = (step, length) if keeps_end else (0, length - step)
                    smaller = cut(specimen, group, span)
                    if smaller is None or not differs(smaller):
                        break
                    specimen, length = smaller, length - step
            step //= 2
    return specimen


def cut(specimen: Specimen, group: Sequence[Axis], span: Span) -> Specimen | None:
    """The specimen with every axis of a group cut to `span`; None where the graph does not bear it."""
    feeds_a, feeds_b = (_cut(feeds, group, span) for feeds in (specimen.feeds_a, specimen.feeds_b))
    cut_a = _cut(specimen.graph_a.initializers, group, span)
    cut_b = _cut(specimen.graph_b.initializers, group, span)
    try:
        return replace(
            specimen,
            graph_a=specimen.graph_a.reshaped(cut_a, feeds_a),
            graph_b=specimen.graph_b.reshaped(cut_b, feeds_b),
            feeds_a=feeds_a,
            feeds_b=feeds_b,
        )
    except UserError:
        return None


def _cut(arrays: Mapping[str, Array], group: Sequence[Axis], span: Span) -> dict[str, Array]:
    result = dict(arrays)
    for name, axis in group:
        if name in result:
            index = [slice(None)] * result[name].ndim
            index[axis] = slice(*span)
            result[name] = result[name][tuple(index)].copy()
    return result
