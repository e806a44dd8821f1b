"""Which axes of feeds and weights can only be cut together: channels of a feed and of the weight that reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from onnx import NodeProto, helper

from harness.taps import Graph

Axis = tuple[str, int]
Link = tuple[Axis, Axis]
# Positions of the weight, and of what has one number an output channel.
CONVOLUTIONS = {
    "Conv": (1, (2,)),
    "ConvInteger": (1, (3,)),
    "ConvTranspose": (1, (2,)),
    "QLinearConv": (3, (4, 5, 8)),
}
PRODUCTS = {"MatMul": (1, ()), "MatMulInteger": (1, (3,)), "QLinearMatMul": (3, (4, 5))}


@dataclass
class Classes:
    """Axes that belong together, found by joining pairs."""

    parent: dict[Axis, Axis] = field(default_factory=dict)

    def root(self, axis: Axis) -> Axis:
        while self.parent.setdefault(axis, axis) != axis:
            axis = self.parent[axis]
        return axis

    def join(self, one: Axis, other: Axis) -> None:
        self.parent[self.root(one)] = self.root(other)


def axis_classes(graph: Graph) -> list[tuple[Axis, ...]]:
    """Groups of axes of feeds and initializers that may be cut, each group as one; the longest first."""
    shapes = _shapes(graph)
    classes = Classes()
    for node in graph.nodes:
        for one, other in _links(node, shapes):
            if _length(one, shapes) == _length(other, shapes) > 1:
                classes.join(one, other)
    cuttable = {*graph.inputs, *graph.initializers}
    groups: dict[Axis, list[Axis]] = {}
    for axis in [*classes.parent, *((n, k) for n in graph.inputs for k in range(len(shapes[n])))]:
        if axis[0] in cuttable and _length(axis, shapes) > 1:
            group = groups.setdefault(classes.root(axis), [])
            if axis not in group:
                group.append(axis)
    return sorted(map(tuple, groups.values()), key=lambda group: -_length(group[0], shapes))


def _length(axis: Axis, shapes: dict[str, tuple[int, ...]]) -> int:
    name, k = axis
    shape = shapes.get(name, ())
    return shape[k] if -len(shape) <= k < len(shape) else 0


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Static shapes; a value without one is left out, and so are its links."""
    model = graph.model.graph
    found = {name: array.shape for name, array in graph.initializers.items()}
    for value in (*model.value_info, *model.input, *model.output):
        tensor = value.type.tensor_type
        sizes = tuple(int(d.dim_value) for d in tensor.shape.dim)
        if tensor.HasField("shape") and all(sizes):
            found[value.name] = sizes
    return found


def _links(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[Link]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, y = node.input[0] if node.input else "", node.output[0]
    if node.op_type in CONVOLUTIONS:
        at, others = CONVOLUTIONS[node.op_type]
        w, last = node.input[at], node.op_type == "ConvTranspose"
        yield (x, 0), (y, 0)
        if attributes.get("group", 1) == 1:
            yield (x, 1), (w, 0 if last else 1)
            yield (y, 1), (w, 1 if last else 0)
            yield from (((y, 1), (name, 0)) for name in _at(node, others))
    elif node.op_type in PRODUCTS:
        at, others = PRODUCTS[node.op_type]
        w = node.input[at]
        rank = len(shapes.get(x, ()))
        yield from (((x, k), (y, k)) for k in range(rank - 1))
        columns = len(shapes.get(y, ())) - 1
        rows = len(shapes.get(w, ())) - 2
        yield (x, rank - 1), (w, rows)
        yield (y, columns), (w, rows + 1)
        yield from (((y, columns), (name, 0)) for name in _at(node, others))
    elif node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        yield from (((x, k), (y, k)) for k in range(len(shapes.get(x, ()))))
        axis = int(attributes.get("axis", 1))
        yield from (((x, axis), (name, 0)) for name in node.input[1:])
    elif node.op_type == "Transpose":
        rank = len(shapes.get(x, ()))
        order = attributes.get("perm", range(rank)[::-1])
        yield from (((x, int(k)), (y, position)) for position, k in enumerate(order))
    elif node.op_type in {"Concat", "Split"}:
        yield from _side_by_side(node, int(attributes.get("axis", 0)), shapes)
    else:
        yield from _broadcast(node, shapes)


def _at(node: NodeProto, positions: Sequence[int]) -> Iterator[str]:
    yield from (node.input[p] for p in positions if p < len(node.input) and node.input[p])


def _side_by_side(node: NodeProto, axis: int, shapes: dict[str, tuple[int, ...]]) -> Iterator[Link]:
    joined = (
        [*node.input, *node.output] if node.op_type == "Concat" else [node.input[0], *node.output]
    )
    rank = len(shapes.get(joined[0], ()))
    for name in joined[1:]:
        yield from (((joined[0], k), (name, k)) for k in range(rank) if k != axis % max(rank, 1))


def _broadcast(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[Link]:
    """Elementwise, from the last axis on; a cut that an operator does not bear fails when it is tried."""
    y = node.output[0]
    for name in node.input:
        ranks = len(shapes.get(name, ())), len(shapes.get(y, ()))
        for back in range(1, min(ranks) + 1):
            yield (name, ranks[0] - back), (y, ranks[1] - back)
