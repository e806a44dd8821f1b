"""The walk: every node that reaches an output is judged, functions and subgraphs from within, each call by itself."""

from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from harness.errors import HarnessError, UserError
from harness.graph_node import Node
from harness.lint.control import CONTROL, Flow
from harness.lint.findings import Finding, Level
from harness.lint.kinds import OTHER
from harness.lint.liveness import Demand, live
from harness.lint.loading import Limits, declared, initializers
from harness.lint.providers import Provider
from harness.lint.reading import (
    Attributes,
    Scope,
    lookup,
    optional,
    readable,
    resolved,
)
from harness.lint.remarks import remarks
from harness.lint.rules import FLOAT_ROUNDING, SIGNED_ZERO, Rule
from harness.lint.site import MOVES, Site, span
from harness.lint.transfer import OPERATORS_LOADED
from harness.lint.transfer.opaque import transfer_of
from harness.lint.values import Value, top

# What reading a node can fail with, where the node is no valid ONNX.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, StopIteration, TypeError, ValueError,
)  # fmt: skip
assert OPERATORS_LOADED
# Operators that keep track of what was rounded and may yet be clamped.
TRUSTING = MOVES | {
    "Add", "Cast", "Ceil", "Clip", "Div", "Floor", "Max", "Min", "Mul", "QuantizeLinear", "Relu", "Round", "Sub", "Where",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a node is: the calls around it, outermost first, and itself."""

    calls: tuple[str, ...]
    label: str
    operator: str
    output: str

    @property
    def path(self) -> str:
        return "/".join((*self.calls, self.label))


@dataclass
class Walk:
    """One graph in the judging: findings, assumptions and values so far."""

    functions: Mapping[tuple[str, str, str], FunctionProto]
    providers: Sequence[Provider]
    runtimes: frozenset[str]
    limits: Limits
    findings: list[Finding] = field(default_factory=list)
    assumptions: dict[str, None] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    dead: int = 0
    _visited: int = 0
    _silent: int = 0
    _makers: dict[str, Place] = field(default_factory=dict)

    def model(self, model: ModelProto, inputs: Mapping[str, Value]) -> None:
        """Judge the main graph on its inputs."""
        scope: Scope = ChainMap(dict(inputs))
        self._graph(model.graph, scope, ())
        for output in model.graph.output:
            value = lookup(scope, output.name, "the graph's output")
            place = self._makers.get(output.name)
            if place is None:
                place = Place(calls=(), label=output.name, operator="", output=output.name)
            if value.doubt:
                self._flag(
                    place, FLOAT_ROUNDING, f"{value.doubt}; output {output.name} is not clamped"
                )
            if value.kind.is_float and value.open_zero:
                self._flag(place, SIGNED_ZERO, f"output {output.name} lies in {span(value)}")

    def _graph(self, graph: GraphProto, scope: Scope, calls: tuple[str, ...]) -> None:
        scope.update(initializers(graph))
        hints = {info.name: info for info in (*graph.value_info, *graph.output)}
        wanted = {output.name for output in graph.output}
        self._nodes(graph.node, wanted, scope, calls, {}, hints)

    def _nodes(
        self,
        nodes: Sequence[NodeProto],
        wanted: set[str],
        scope: Scope,
        calls: tuple[str, ...],
        bound: Attributes,
        hints: Mapping[str, object],
    ) -> None:
        demands = live(nodes, wanted)
        self.dead += 0 if self._silent else demands.count(Demand.NOTHING)
        for node, demand in zip(nodes, demands, strict=True):
            if demand is Demand.NOTHING:
                continue
            # Where only the shape is read, nothing that happens to the values matters.
            self._silent += demand is Demand.SHAPE
            self._node(node, scope, calls, bound, hints)
            self._silent -= demand is Demand.SHAPE

    def _node(
        self,
        proto: NodeProto,
        scope: Scope,
        calls: tuple[str, ...],
        bound: Attributes,
        hints: Mapping[str, object],
    ) -> None:
        self._visited += 1
        if self._visited > self.limits.nodes:
            raise UserError(f"more than {self.limits.nodes:,} nodes once functions are inlined")
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        given = resolved(proto, bound)
        label = proto.name or next(filter(None, proto.output), "") or proto.op_type
        operator = f"{domain}::{proto.op_type}" if domain else proto.op_type
        output = next(filter(None, proto.output), "")
        place = Place(calls=calls, label=label, operator=operator, output=output)
        inputs = tuple(optional(scope, name, place.path) for name in proto.input)
        function = self.functions.get((domain, proto.op_type, proto.overload))
        if function is not None:
            results: Sequence[Value] = self._call(function, inputs, given, place)
        else:
            results = self._judge(proto, place, inputs, given, scope)
        for name, value in zip(proto.output, results, strict=False):
            if not name:
                continue
            hint = hints.get(name)
            if value.kind is OTHER and hint is not None:
                value = declared(hint)  # type: ignore[arg-type]  # noqa: PLW2901
            if len(proto.output) > 1:
                value = replace(value)  # noqa: PLW2901 - two tensors are never one object
            scope[name] = value
            if not self._silent:
                self.values["/".join((*calls, name))] = value
                self._makers.setdefault(name, place)

    def _call(
        self,
        function: FunctionProto,
        inputs: Sequence[Value | None],
        given: Attributes,
        place: Place,
    ) -> list[Value]:
        """The outputs of a model-local function, its body judged on these inputs."""
        if len(place.calls) >= self.limits.depth:
            raise UserError(
                f"functions call each other more than {self.limits.depth} deep: {place.path}"
            )
        inner: Scope = ChainMap({})
        inner.update(dict.fromkeys(function.input))
        inner.update(zip(function.input, inputs, strict=False))
        bound = {a.name: a for a in function.attribute_proto} | dict(given)
        hints = {info.name: info for info in function.value_info}
        calls = (*place.calls, place.label)
        self._nodes(function.node, set(function.output), inner, calls, bound, hints)
        return [lookup(inner, name, place.path) for name in function.output]

    def _judge(
        self,
        proto: NodeProto,
        place: Place,
        inputs: tuple[Value | None, ...],
        given: Attributes,
        scope: Scope,
    ) -> Sequence[Value]:
        """One operator: its outputs, findings, and what named runtimes make of it."""

        def report(rule: Rule, message: str, bound: float | None, limit: float | None) -> None:
            self._flag(place, rule, message, bound=bound, limit=limit)

        try:
            node = Node[Value](
                label=f"node {place.path!r} ({place.operator})",
                op_type=place.operator,
                attributes=readable(given, place.path),
                constants={},
                inputs=len(inputs),
                outputs=len(proto.output),
            )
            same = len(proto.input) > 1 and proto.input[0] == proto.input[1]
            site = Site(node=node, inputs=inputs, same=same, report=report, assume=self._assume)
            doubt = next((v.doubt for v in inputs if v is not None and v.doubt), "")
            distrusted = bool(doubt) and place.operator not in TRUSTING
            if distrusted:
                what = f"{doubt}; that is not clamped before this {place.operator}"
                self._flag(place, FLOAT_ROUNDING, what)
            if place.operator in CONTROL:
                return CONTROL[place.operator](self._flow(site, given, scope, place))
            results = transfer_of(place.operator)(site)
            if distrusted:
                results = [top(value.kind, value.shape) for value in results]
            if place.operator in MOVES:
                # Elements elsewhere are no parts of one number any more.
                results = [replace(value, link=None, line=None) for value in results]
            for remark in remarks(site, list(results), self.providers, self.runtimes):
                self._flag(
                    place,
                    remark.rule,
                    remark.message,
                    level=remark.level,
                    bound=remark.bound,
                    limit=remark.limit,
                    runtime=remark.runtime,
                )
        except UserError:
            raise
        except (HarnessError, *MALFORMED) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"node {place.path!r} ({place.operator}) is malformed: {line}"
            ) from error
        if not self._silent:
            self.operators[place.operator] += 1
        return results

    def _flow(self, site: Site, given: Attributes, scope: Scope, place: Place) -> Flow:
        graphs = {name: a.g for name, a in given.items() if a.type == AttributeProto.GRAPH}
        if len(place.calls) >= self.limits.depth:
            raise UserError(f"subgraphs nest more than {self.limits.depth} deep: {place.path}")
        names = {id(graph): name for name, graph in graphs.items()}

        def run(graph: GraphProto, inputs: Sequence[Value], aloud: bool) -> list[Value]:
            inner: Scope = ChainMap({}, scope)
            for info, value in zip(graph.input, inputs, strict=False):
                inner[info.name] = value
            self._silent += not aloud
            try:
                self._graph(graph, inner, (*place.calls, f"{place.label}.{names[id(graph)]}"))
            finally:
                self._silent -= not aloud
            return [lookup(inner, output.name, place.path) for output in graph.output]

        return Flow(site=site, graphs=graphs, run=run)

    def _flag(
        self,
        place: Place,
        rule: Rule,
        message: str,
        *,
        level: Level | None = None,
        bound: float | None = None,
        limit: float | None = None,
        runtime: str = "",
    ) -> None:
        if self._silent:
            return
        self.findings.append(
            Finding(
                rule=rule.name,
                level=level or rule.level,
                node=place.path,
                operator=place.operator,
                call="/".join(place.calls),
                output=place.output,
                message=message,
                remedy=rule.remedy,
                bound=None if bound is None else float(bound),
                limit=None if limit is None else float(limit),
                runtime=runtime or ", ".join(rule.runtimes),
            )
        )

    def _assume(self, what: str) -> None:
        self.assumptions.setdefault(what)
