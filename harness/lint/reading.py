"""Reading a node: its attributes, those of a function's caller among them, and the values that it names."""

from collections.abc import Mapping, MutableMapping

from onnx import AttributeProto, NodeProto

from harness.errors import Unsupported, UserError
from harness.graph_node import AttributeValue, attribute_value, resolve
from harness.lint.values import Value

# An optional input that a call leaves out is there as None.
Scope = MutableMapping[str, Value | None]
Attributes = Mapping[str, AttributeProto]
GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def optional(scope: Mapping[str, Value | None], name: str, where: str) -> Value | None:
    if name and name not in scope:
        raise UserError(f"{where} reads {name!r}, which nothing computes before it")
    return scope[name] if name else None


def lookup(scope: Mapping[str, Value | None], name: str, where: str) -> Value:
    value = optional(scope, name, where)
    if value is None:
        raise UserError(f"{where} needs {name!r}, which its caller leaves out")
    return value


def resolved(proto: NodeProto, bound: Attributes) -> dict[str, AttributeProto]:
    """A node's attributes, those that refer to its function's caller resolved."""
    found = (resolve(attribute, bound) for attribute in proto.attribute)
    return {attribute.name: attribute for attribute in found if attribute is not None}


def readable(given: Attributes, label: str) -> dict[str, AttributeValue]:
    """The attributes of plain types."""
    found: dict[str, AttributeValue] = {}
    for name, attribute in given.items():
        if attribute.type in GRAPHS:
            continue
        try:
            found[name] = attribute_value(attribute, label)
        except Unsupported:
            continue
    return found
