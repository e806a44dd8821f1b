"""Nodes of int32 arithmetic that the warp's graph is made of; each function returns the name of its result."""

from collections.abc import Sequence

import onnx
from onnx import helper

from harness.lowerings.base import DOMAIN, INT32, OPSET, GraphBuilder


def clamped(graph: GraphBuilder, x: str, low: int, high: int, name: str) -> str:
    above = graph.node("Max", [x, graph.i32(low)], f"{name}.low")
    return graph.node("Min", [above, graph.i32(high)], name)


def cut(
    graph: GraphBuilder, x: str, axis: int, start: int, end: int, name: str, step: int = 1
) -> str:
    bounds = [graph.constant(f"at_{n}", [n]) for n in (start, end)]
    bounds.append(graph.constant(f"axis_{axis}", [axis]))
    if step != 1:
        bounds.append(graph.constant(f"step_{step}", [step]))
    return graph.node("Slice", [x, *bounds], name)


def total(graph: GraphBuilder, values: Sequence[str], name: str) -> str:
    """Added from the left; the last sum is called `name`."""
    result = values[0]
    for n, value in enumerate(values[1:], 2):
        result = graph.node("Add", [result, value], name if n == len(values) else f"{name}.{n}")
    return result


def times(graph: GraphBuilder, x: str, factor: int, name: str) -> str:
    return graph.node("Mul", [x, graph.i32(factor)], name)


def shifted(graph: GraphBuilder, x: str, shift: int, name: str) -> str:
    return graph.node("RoundingShift", [x, graph.i32(1 << shift)], name, domain=DOMAIN)


def rounding_shift() -> onnx.FunctionProto:
    """floor(value / divisor + 1/2) of a value that is not negative and an even divisor."""
    two = helper.make_tensor("two", INT32, [], [2])
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Div", ["divisor", "two"], ["half"]),
        helper.make_node("Add", ["value", "half"], ["raised"]),
        helper.make_node("Div", ["raised", "divisor"], ["result"]),
    ]
    opset = helper.make_opsetid("", OPSET)
    return helper.make_function(
        DOMAIN, "RoundingShift", ["value", "divisor"], ["result"], nodes, [opset]
    )
