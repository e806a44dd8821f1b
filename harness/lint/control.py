"""Control flow: branches are both judged, loops until their values settle, and widened where they do not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import GraphProto

from harness.errors import UserError
from harness.lint import grids as g
from harness.lint.intervals import Interval
from harness.lint.kinds import BOOL, INT64
from harness.lint.site import Site
from harness.lint.transfer.movement import union
from harness.lint.values import MOST_ELEMENTS, Value, top

# A loop whose values have not settled after this many rounds may hold anything.
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A control flow node. `run` judges a subgraph on inputs and gives its outputs; unless `aloud`, nothing is reported."""

    site: Site
    graphs: Mapping[str, GraphProto]
    run: Callable[[GraphProto, Sequence[Value], bool], list[Value]]

    def graph(self, name: str) -> GraphProto:
        if name not in self.graphs:
            raise UserError(f"{self.site.node.label} lacks its subgraph {name!r}")
        return self.graphs[name]


def branch(flow: Flow) -> list[Value]:
    """If: both branches, unless the condition is known."""
    condition = flow.site.operand(0).number()
    names = ("then_branch", "else_branch")
    if condition is not None and condition.size == 1:
        return flow.run(flow.graph(names[0 if bool(condition.item()) else 1]), (), True)
    one, other = (flow.run(flow.graph(name), (), True) for name in names)
    return [_either(a, b) for a, b in zip(one, other, strict=True)]


def _either(a: Value, b: Value) -> Value:
    if a.kind is not b.kind:
        return top(a.kind, None)
    return union([a, b], a.shape if a.shape == b.shape else None)


def _settled(
    flow: Flow,
    body: GraphProto,
    fixed: Sequence[Value],
    states: Sequence[Value],
    extra: Sequence[Value],
    skip: int,
) -> list[Value]:
    """States that the body maps into themselves, `skip` of its outputs left aside; then judged aloud."""
    held = [union([state], state.shape) for state in states]
    for _ in range(ROUNDS):
        results = flow.run(body, (*fixed, *held, *extra), False)[skip:]
        joined = [_either(old, new) for old, new in zip(held, results, strict=False)]
        if all(_same(old, new) for old, new in zip(held, joined, strict=True)):
            break
        held = joined
    else:
        held = [top(state.kind, None) for state in held]
    return held


def _same(old: Value, new: Value) -> bool:
    bounds = (old.range.lowest, old.range.highest) == (new.range.lowest, new.range.highest)
    grids = len(old.grids) == len(new.grids) and all(
        any(a.covers(b) for a in old.grids) for b in new.grids
    )
    zeros = (old.minus_zero, old.open_zero) == (new.minus_zero, new.open_zero)
    shapes = old.shape == new.shape and old.kind is new.kind
    # What was rounded in one round is no longer what the next one would have computed.
    return bounds and grids and zeros and shapes and not new.doubt


def loop(flow: Flow) -> list[Value]:
    """Loop: body(iteration, condition, states..) -> condition, states.., scanned.."""
    body, states = flow.graph("body"), [v for v in flow.site.inputs[2:] if v is not None]
    count = Value(
        kind=INT64, shape=(), range=Interval.of(0.0, MOST_ELEMENTS), grids=g.INTEGERS, extent=True
    )
    condition = Value(kind=BOOL, shape=(), range=Interval.of(0.0, 1.0), grids=g.INTEGERS)
    held = _settled(flow, body, (count, condition), states, (), 1)
    results = flow.run(body, (count, condition, *held), True)[1:]
    final = [_either(a, b) for a, b in zip(held, results, strict=False)]
    return [*final, *(_stacked(value) for value in results[len(held) :])]


def scan(flow: Flow) -> list[Value]:
    """Scan: body(states.., slices..) -> states.., scanned.."""
    body, node = flow.graph("body"), flow.site.node
    slices = node.integer("num_scan_inputs", 0)
    inputs = [v for v in flow.site.inputs if v is not None]
    states, scanned = inputs[: len(inputs) - slices], inputs[len(inputs) - slices :]
    axes = node.integers("scan_input_axes", (0,) * slices)
    pieces = [_sliced(value, axis) for value, axis in zip(scanned, axes, strict=True)]
    held = _settled(flow, body, (), states, pieces, 0)
    results = flow.run(body, (*held, *pieces), True)
    final = [_either(a, b) for a, b in zip(held, results, strict=False)]
    return [*final, *(_stacked(value) for value in results[len(held) :])]


def _sliced(value: Value, axis: int) -> Value:
    shape = value.shape
    if shape is not None:
        at = axis % len(shape)
        shape = (*shape[:at], *shape[at + 1 :])
    return replace(union([value], None), shape=shape)


def _stacked(value: Value) -> Value:
    return replace(union([value], None), shape=None)


CONTROL: Mapping[str, Callable[[Flow], list[Value]]] = {"If": branch, "Loop": loop, "Scan": scan}
