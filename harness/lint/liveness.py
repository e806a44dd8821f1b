"""Which nodes reach an output, and which of them only through their shape."""

from collections.abc import Iterable, Sequence
from enum import IntEnum

from onnx import AttributeProto, NodeProto

GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


class Demand(IntEnum):
    NOTHING = 0
    SHAPE = 1
    VALUE = 2


# The result's shape follows from the shapes of all inputs, whatever is in them.
_ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Equal", "Floor", "Identity", "Max", "Min", "Mul", "Neg", "Not",
    "Or", "Relu", "Round", "Sign", "Sub", "Transpose", "Where", "Concat", "MatMul", "MatMulInteger",
}  # fmt: skip
# The result's shape follows from the shape of the first input and the values of the others.
_FIRST = {"Expand", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Unsqueeze"}


def live(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> list[Demand]:
    """What is wanted of each node, given the names wanted in the end; a subgraph reads all the names in it."""
    needs = dict.fromkeys(wanted, Demand.VALUE)
    demands = [Demand.NOTHING] * len(nodes)
    for number in reversed(range(len(nodes))):
        node = nodes[number]
        demand = max(
            (needs.get(name, Demand.NOTHING) for name in node.output if name),
            default=Demand.NOTHING,
        )
        if demand is Demand.SHAPE and not (_plain(node) and node.op_type in _ELEMENTWISE | _FIRST):
            demand = Demand.VALUE  # who knows what its shape depends on
        demands[number] = demand
        if demand is not Demand.NOTHING:
            for name, need in _reads(node, demand):
                needs[name] = max(need, needs.get(name, Demand.NOTHING))
    return demands


def _plain(node: NodeProto) -> bool:
    return node.domain in {"", "ai.onnx"}


def _reads(node: NodeProto, demand: Demand) -> Iterable[tuple[str, Demand]]:
    """Names that a node reads, and what it needs of them."""
    plain = _plain(node)
    for position, name in enumerate(node.input):
        if (plain and node.op_type in {"Shape", "Size"}) or (
            plain
            and demand is Demand.SHAPE
            and (node.op_type in _ELEMENTWISE or (node.op_type in _FIRST and position == 0))
        ):
            yield name, Demand.SHAPE
        else:
            yield name, Demand.VALUE
    for attribute in node.attribute:
        if attribute.type in GRAPHS:
            for graph in (attribute.g, *attribute.graphs):
                for inner in graph.node:
                    yield from _reads(inner, Demand.VALUE)
                yield from ((output.name, Demand.VALUE) for output in graph.output)
