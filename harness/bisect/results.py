"""What a bisection found."""

from dataclasses import dataclass

from harness.bisect.shrink import Specimen
from harness.trace import Trace


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A graph and feeds on which the sides differ, and what each makes of them."""

    specimen: Specimen
    a: Trace
    b: Trace


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """The smallest stretch of nodes that was found to diverge, on its `whole` input and on the `least`.

    `nodes` are its nodes' labels in graph order, constants apart. `least` is None where a side is a record, which
    cannot be run on less. `faithful` is the smallest stretch on which both sides get the bits that they get in the whole
    graph, where that is a longer one: what surrounds a node may decide how it is computed.
    """

    nodes: tuple[str, ...]
    whole: Shown
    least: Shown | None
    faithful: Shown | None = None


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """`with_taps` and `without_taps` are labels of nodes, empty where both sides agree.

    Without taps means by truncated graphs that mark nothing but their ends. `node` is the one to look at: the latter,
    unless the outputs agree and only an inner value differs. `a` and `b` hold its outputs in the whole graph,
    `outputs` what the whole graph gave on each side without taps (None where a side is a record).
    `tapped` is False where a side cannot run the graph with its values marked. `runs` counts graphs executed on both sides together. `inner` looks inside the node if it calls a model-local
    function and differs with the function's body in its place too.
    """

    node: str
    op_type: str
    with_taps: str
    without_taps: str
    tapped: bool
    searched: bool
    nodes: int
    runs: int
    a: Trace | None
    b: Trace | None
    reproduction: Reproduction | None
    inner: "Bisection | None"
    outputs: tuple[Trace, Trace] | None

    @property
    def identical(self) -> bool:
        return not self.node

    @property
    def hidden_by_taps(self) -> bool:
        """Marking values changed what a side computes: with all marked, another node differs first, or none."""
        return self.searched and self.tapped and self.with_taps != self.without_taps
