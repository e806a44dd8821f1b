"""Which node is the first that differs: in recorded values by their digests, or by runs of truncated graphs."""

from collections.abc import Callable, Sequence

from harness.errors import UserError
from harness.taps import Graph
from harness.trace import Trace

# Whether both sides differ on the graph that ends with this node; None where one of them cannot run it.
Probe = Callable[[int], bool | None]


def first_recorded(graph: Graph, a: Trace, b: Trace) -> int | None:
    """Position of the first node, in graph order, with an output that both recorded and that differs.

    UserError if the traces hold different values, or none of the graph's.
    """
    left, right = ({t.name: t.digest for t in trace.tensors} for trace in (a, b))
    made = set(graph.producer)
    if left.keys() & made != right.keys() & made or not left.keys() & made:
        raise UserError(
            f"the traces are not of one graph: one holds {_some(left.keys() & made)}, "
            f"the other {_some(right.keys() & made)} of {graph.named}"
        )
    differing = [graph.producer[n] for n in left if n in made and left[n] != right[n]]
    return min(differing, default=None)


def _some(names: Sequence[str] | set[str]) -> str:
    ordered = sorted(names)
    return f"{', '.join(ordered[:3])} and {len(ordered) - 3} more" if ordered[3:] else str(ordered)


def first_truncated(steps: Sequence[int], differs: Probe) -> int:
    """The node with which graphs cut after it begin to differ, known that the whole graph does.

    About log2(steps) probes, one more for each cut that a side cannot run: such a cut is passed over.
    """
    low, high = -1, len(steps) - 1
    while high - low > 1:
        middle = (low + high) // 2
        # Cuts to the right are tried first: graphs that are cut later are more like the whole one.
        order = [*range(middle, high), *range(middle - 1, low, -1)]
        for at in order:
            verdict = differs(steps[at])
            if verdict is not None:
                break
        else:
            break  # nothing between can be run
        low, high = (low, at) if verdict else (at, high)
    return steps[high]
