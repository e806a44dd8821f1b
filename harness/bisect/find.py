"""Bisection: the first diverging node with all taps on and without them, then the smallest graph and input that diverge."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from harness.bisect.results import Bisection, Reproduction, Shown
from harness.bisect.search import first_recorded, first_truncated
from harness.bisect.shrink import Specimen, shrink
from harness.bisect.sides import Feeds, Live, Recorded, Side, execute
from harness.bisect.window import smallest_window
from harness.errors import FellBack, PlatformCrashed, Unsupported, UserError
from harness.taps import Array, Graph
from harness.trace import Trace

# How a platform says that a cut graph is not for it; a hang or an absent platform ends the search.
REFUSALS = (Unsupported, PlatformCrashed, FellBack)


@dataclass
class Counter:
    runs: int = 0

    def execute(self, side: Live, graph: Graph, feeds: Feeds | None = None) -> Trace:
        self.runs += 1
        return execute(side, graph, feeds)


def bisect(a: Side, b: Side, keep: int = 1) -> Bisection:
    """Find the first node that differs between two sides, and the least that shows it, no axis shorter than `keep`.

    UserError if the sides have graphs of different nodes.
    """
    _check_alike(a.graph, b.graph)
    if isinstance(a, Live) and isinstance(b, Live):
        return _Search(a, b, keep).result()
    counter = Counter()
    traces = [
        s.trace if isinstance(s, Recorded) else counter.execute(s, s.graph.tapped()) for s in (a, b)
    ]
    left, right = _common(traces[0], traces[1])
    node = first_recorded(a.graph, left, right)
    return _bisection(
        a.graph,
        with_taps=node,
        without_taps=None,
        tapped=True,
        searched=False,
        runs=counter.runs,
        traces=(left, right),
        reproduction=None if node is None else recorded_window(a, b, left, right, node),
    )


def _bisection(
    graph: Graph,
    *,
    with_taps: int | None,
    without_taps: int | None,
    tapped: bool,
    searched: bool,
    runs: int,
    traces: tuple[Trace, Trace],
    reproduction: Reproduction | None,
    inner: Bisection | None = None,
    outputs: tuple[Trace, Trace] | None = None,
) -> Bisection:
    node = with_taps if without_taps is None else without_taps
    return Bisection(
        node="" if node is None else graph.label(node),
        op_type="" if node is None else graph.nodes[node].op_type,
        with_taps="" if with_taps is None else graph.label(with_taps),
        without_taps="" if without_taps is None else graph.label(without_taps),
        tapped=tapped,
        searched=searched,
        nodes=len(graph.steps),
        runs=runs,
        a=None if node is None else _outputs(graph, node, traces[0]),
        b=None if node is None else _outputs(graph, node, traces[1]),
        reproduction=reproduction,
        inner=inner,
        outputs=outputs,
    )


def _check_alike(a: Graph, b: Graph) -> None:
    def shape(graph: Graph) -> list[tuple[str, str, list[str], list[str]]]:
        return [(n.domain, n.op_type, list(n.input), list(n.output)) for n in graph.nodes]

    if shape(a) != shape(b) or a.inputs != b.inputs:
        raise UserError(
            f"{a.named} and {b.named} have different nodes: bisect compares one graph on two platforms, or two that "
            "differ in weights alone"
        )


def _common(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    """The values that both traces hold: a record may have fewer taps."""
    shared = {t.name for t in a.tensors} & {t.name for t in b.tensors}
    if not shared:
        raise UserError("the two sides have no value in common: were they recorded of one graph?")
    left, right = (tuple(t for t in trace.tensors if t.name in shared) for trace in (a, b))
    return replace(a, tensors=left), replace(b, tensors=right)


def _outputs(graph: Graph, node: int, trace: Trace) -> Trace:
    names = set(graph.nodes[node].output)
    return replace(trace, tensors=tuple(t for t in trace.tensors if t.name in names))


def recorded_window(a: Side, b: Side, left: Trace, right: Trace, node: int) -> Reproduction:
    """The nodes between the last values that were recorded and the node that differs; nothing is run."""
    graph = a.graph
    outputs = [t.name for t in _outputs(graph, node, left).tensors]
    recorded = {t.name: t.array() for t in left.tensors if t.name not in outputs}
    known: dict[str, Array] = {**recorded, **a.feeds}
    ends, todo = [], list(graph.nodes[node].input)
    while todo:
        name = todo.pop()
        if not name or name in graph.constants or name in ends:
            continue
        if name in known:
            ends.append(name)
        elif name in graph.producer:
            todo += graph.nodes[graph.producer[name]].input
        else:
            raise UserError(f"the feeds lack {name!r}, an input of {graph.named}")
    feeds = {name: known[name] for name in ends}
    specimen = Specimen(
        graph_a=graph.window(feeds, outputs),
        graph_b=b.graph.window(feeds, outputs),
        feeds_a=feeds,
        feeds_b={name: b.feeds.get(name, array) for name, array in feeds.items()},
    )
    whole = Shown(specimen=specimen, a=_outputs(graph, node, left), b=_outputs(graph, node, right))
    return Reproduction(nodes=_labels(specimen.graph_a), whole=whole, least=None)


def _labels(graph: Graph) -> tuple[str, ...]:
    return tuple(graph.label(k) for k in graph.steps)


class _Search:
    """The runs of one bisection between two platforms that are at hand."""

    def __init__(self, a: Live, b: Live, keep: int) -> None:
        self._a, self._b, self._keep = a, b, keep
        self._counter = Counter()

    def result(self) -> Bisection:
        graph = self._a.graph
        whole = self._pair(lambda side: side.graph)
        tapped = [trace for trace in map(self._tapped, (self._a, self._b)) if trace is not None]
        both = len(tapped) == len((self._a, self._b))
        with_taps = first_recorded(graph, tapped[0], tapped[1]) if both else None
        without_taps, traces = None, whole
        if _differ(*whole):
            without_taps = first_truncated(graph.steps, cache(self._cut_differs))
            traces = self._pair(lambda side: side.graph.prefix(without_taps))
        elif both:
            traces = (tapped[0], tapped[1])
        node = with_taps if without_taps is None else without_taps
        # The first side's values feed the smallest graph, or the second's if only that can be tapped.
        reproduction = (
            self._reproduce(node, tapped[0], traces) if node is not None and tapped else None
        )
        inner = None if reproduction is None else self._look_inside(reproduction.whole.specimen)
        return _bisection(
            graph,
            with_taps=with_taps,
            without_taps=without_taps,
            tapped=both,
            searched=True,
            runs=self._counter.runs + (inner.runs if inner else 0),
            traces=traces,
            reproduction=reproduction,
            inner=inner,
            outputs=whole,
        )

    def _tapped(self, side: Live) -> Trace | None:
        """All values of a side; None if it cannot run the graph like that."""
        try:
            return self._counter.execute(side, side.graph.tapped())
        except REFUSALS:
            return None

    def _look_inside(self, whole: Specimen) -> Bisection | None:
        """Bisect a single call of a model-local function with the function's body in its place."""
        if len(whole.graph_a.steps) > 1 or not whole.graph_a.model.functions:
            return None
        a = replace(self._a, graph=whole.graph_a.inlined(), feeds=whole.feeds_a)
        b = replace(self._b, graph=whole.graph_b.inlined(), feeds=whole.feeds_b)
        try:
            found = bisect(a, b, self._keep)
        except REFUSALS:
            return None
        return None if found.identical else found

    def _pair(self, cut: Callable[[Live], Graph]) -> tuple[Trace, Trace]:
        a, b = (self._counter.execute(side, cut(side)) for side in (self._a, self._b))
        return a, b

    def _cut_differs(self, last: int) -> bool | None:
        try:
            return _differ(*self._pair(lambda side: side.graph.prefix(last)))
        except REFUSALS:
            return None

    def _reproduce(
        self, node: int, values: Trace, traces: tuple[Trace, Trace]
    ) -> Reproduction | None:
        """The smallest stretch of nodes ending with `node`, fed with the first side's values, then the smallest input."""
        graph = self._a.graph
        known: dict[str, Array] = {t.name: t.array() for t in values.tensors} | dict(self._a.feeds)

        @cache
        def specimen(first: int, last: int) -> Specimen:
            feeds = {name: known[name] for name in graph.boundary(first, last)}
            outputs = graph.taps_of(last)
            return Specimen(
                graph_a=graph.window(feeds, outputs),
                graph_b=self._b.graph.window(feeds, outputs),
                feeds_a=feeds,
                feeds_b={name: self._b.feeds.get(name, array) for name, array in feeds.items()},
            )

        first = smallest_window(
            graph.steps, node, lambda first, last: self._differs(specimen(first, last))
        )
        if first is None:
            return None
        wanted = tuple(_outputs(graph, node, trace) for trace in traces)
        whole = self._shown(specimen(first, node))
        faithful = None
        if _differ(whole.a, wanted[0]) or _differ(whole.b, wanted[1]):
            longer = smallest_window(
                graph.steps, node, lambda first, last: self._gives(specimen(first, last), wanted)
            )
            faithful = None if longer is None else self._shown(specimen(longer, node))
        return Reproduction(
            nodes=_labels(whole.specimen.graph_a),
            whole=whole,
            least=self._shown(shrink(whole.specimen, self._differs, self._keep)),
            faithful=faithful,
        )

    def _shown(self, specimen: Specimen) -> Shown:
        a, b = self._both(specimen)
        return Shown(specimen=specimen, a=a, b=b)

    def _both(self, specimen: Specimen) -> tuple[Trace, Trace]:
        a = self._counter.execute(self._a, specimen.graph_a, specimen.feeds_a)
        b = self._counter.execute(self._b, specimen.graph_b, specimen.feeds_b)
        return a, b

    def _gives(self, specimen: Specimen, wanted: tuple[Trace, ...]) -> bool:
        try:
            return not any(map(_differ, self._both(specimen), wanted))
        except REFUSALS:
            return False

    def _differs(self, specimen: Specimen) -> bool:
        try:
            return _differ(*self._both(specimen))
        except REFUSALS:
            return False


def _differ(a: Trace, b: Trace) -> bool:
    return [(t.name, t.digest) for t in a.tensors] != [(t.name, t.digest) for t in b.tensors]
