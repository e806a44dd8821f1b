"""Graphs with their values in reach: what is marked, cut, inlined, and what is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.errors import UserError
from harness.explain.evaluate import evaluate
from harness.lowerings.functions import requantize
from harness.taps import Graph
from tests.lint.graphs import model

CHAIN = """g (int32[n] x) => (int32[n] y)
<int32 two = {2}>
{
  four = Mul (two, two)
  a = Add (x, four)
  b = Mul (a, two)
  y = Sub (b, x)
}"""
X = {"x": np.arange(4, dtype=np.int32)}


def chain() -> Graph:
    return Graph.of(model(CHAIN).SerializeToString(), "chain")


def test_taps_are_what_a_feed_can_change_in_graph_order() -> None:
    graph = chain()
    assert graph.taps == ("a", "b", "y")
    assert graph.constants == {"two", "four"}
    assert [graph.nodes[k].op_type for k in graph.steps] == ["Add", "Mul", "Sub"]


def test_a_tapped_graph_gives_every_value_and_the_same_output() -> None:
    graph = chain()
    values = evaluate(graph.tapped(), X)
    assert list(values) == ["a", "b", "y"]
    assert values["y"].tolist() == evaluate(graph, X)["y"].tolist() == [8, 9, 10, 11]


def test_a_prefix_ends_in_what_later_nodes_read() -> None:
    graph = chain()
    assert graph.prefix(1).outputs == ("a",)
    assert graph.prefix(2).outputs == ("b",)
    assert evaluate(graph.prefix(2), X)["b"].tolist() == [8, 10, 12, 14]


def test_a_window_is_fed_at_its_boundary_and_brings_its_constants() -> None:
    graph = chain()
    assert graph.boundary(2, 2) == ("a",)
    assert graph.boundary(2, 3) == ("x", "a")
    window = graph.window({"a": np.array([1], np.int32)}, ["b"])
    assert evaluate(window, {"a": np.array([1], np.int32)})["b"].tolist() == [2]


def test_a_function_call_is_one_node_until_it_is_inlined() -> None:
    rule = ["bias", "multiplier", "divisor", "low", "high"]
    call = helper.make_node("Requantize", ["x", *rule], ["y"], "call", domain="crosscheck")
    values = dict(zip(rule, (0, 1, 2, -8, 7), strict=True))
    graph = helper.make_graph(
        [call],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [4])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4])],
        [helper.make_tensor(name, TensorProto.INT32, [], [v]) for name, v in values.items()],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("crosscheck", 1)]
    made = helper.make_model(graph, functions=[requantize()], opset_imports=opsets, ir_version=9)
    called = Graph.of(made.SerializeToString(), "call")
    assert called.taps == ("y",)
    inlined = called.inlined()
    assert "Requantize" not in {node.op_type for node in inlined.nodes}
    assert evaluate(called, X)["y"].tolist() == evaluate(inlined, X)["y"].tolist() == [0, 1, 1, 2]


def test_what_is_no_plain_graph_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="not an ONNX file"):
        Graph.of(b"no onnx", "x.onnx")
    branch = onnx.parser.parse_graph("b () => (float c) { c = Constant <value_float = 1.0> () }")
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(UserError, match="control flow"):
        Graph.of(made.SerializeToString(), "x.onnx")
