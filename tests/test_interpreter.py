"""The graph walker, on a table of plain numpy functions."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import HarnessError, Unsupported
from harness.graph_node import Array, Node
from harness.interpreter import Kernel, Prepare, Program, compile_graph

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("crosscheck", 1)]
Counted = tuple[dict[str, Prepare[Array]], list[str]]


def table() -> Counted:
    """Operators that note each execution."""
    calls: list[str] = []

    def counting(name: str, function: Callable[..., Array]) -> Prepare[Array]:
        def prepare(_: Node[Array]) -> Kernel[Array]:
            def kernel(*values: Array) -> Array:
                calls.append(name)
                return function(*values)

            return kernel

        return prepare

    def scaled(node: Node[Array]) -> Kernel[Array]:
        alpha = np.float32(node.number("alpha", 0.01))
        return lambda x: x * alpha

    return {
        "Add": counting("Add", np.add),
        "Mul": counting("Mul", np.multiply),
        "Split": lambda node: lambda x: tuple(np.split(x, node.outputs)),
        "LeakyRelu": scaled,
    }, calls


def model(
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    initializers: dict[str, Array] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(a, n) for n, a in (initializers or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions or [])
    return bytes(made.SerializeToString())


def load(graph: bytes, operators: dict[str, Prepare[Array]] | None = None) -> Program[Array]:
    return compile_graph(graph, table()[0] if operators is None else operators, lambda a: a, {})


X = np.array([1, 2, 3, 4], np.float32)
TWO = np.array([2], np.float32)
DOUBLE_AND_ADD = helper.make_function(
    "crosscheck",
    "DoubleAndAdd",
    ["a", "b"],
    ["c"],
    [helper.make_node("Mul", ["a", "b"], ["t"]), helper.make_node("Add", ["t", "a"], ["c"])],
    [OPSETS[0]],
)


def test_nodes_run_in_order_and_outputs_come_in_graph_order() -> None:
    nodes = [
        helper.make_node("Add", ["x", "two"], ["a"]),
        helper.make_node("Mul", ["a", "x"], ["b"]),
    ]
    outputs = load(model(nodes, ["b", "a"], {"two": TWO})).run({"x": X})
    assert list(outputs) == ["b", "a"]
    assert outputs["b"].tolist() == [3, 8, 15, 24]
    assert outputs["a"].tolist() == [3, 4, 5, 6]


def test_a_program_runs_again_with_other_feeds() -> None:
    program = load(model([helper.make_node("Add", ["x", "two"], ["y"])], ["y"], {"two": TWO}))
    assert program.run({"x": X})["y"].tolist() == [3, 4, 5, 6]
    assert program.run({"x": X + 1})["y"].tolist() == [4, 5, 6, 7]


def test_constants_are_folded_once_at_load() -> None:
    operators, calls = table()
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Add", ["two", "one"], ["three"]),
        helper.make_node("Mul", ["x", "three"], ["y"]),
    ]
    program = load(model(nodes, ["y"], {"two": TWO}), operators)
    assert calls == ["Add"]
    assert [step.label for step in program.steps] == ["node 'y' (Mul)"]
    assert len(program.constants) == 1
    assert program.run({"x": X})["y"].tolist() == [3, 6, 9, 12]


def test_every_constant_attribute_is_read() -> None:
    for attributes, expected in (
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
        ({"value_floats": [0.5]}, np.array([0.5], np.float32)),
        ({"value": numpy_helper.from_array(np.array([7], np.int8))}, np.array([7], np.int8)),
    ):
        node = helper.make_node("Constant", [], ["y"], **attributes)
        got = load(model([node], ["y"])).run({"x": X})["y"]
        assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())


def test_functions_are_inlined_with_their_own_names() -> None:
    nodes = [
        # The caller's `t` is not the function's.
        helper.make_node("Add", ["x", "x"], ["t"]),
        helper.make_node("DoubleAndAdd", ["t", "two"], ["u"], domain="crosscheck"),
        helper.make_node("DoubleAndAdd", ["u", "t"], ["y"], domain="crosscheck"),
    ]
    program = load(model(nodes, ["y"], {"two": TWO}, [DOUBLE_AND_ADD]))
    assert program.intercepted == 0
    t = X + X
    u = t * 2 + t
    assert program.run({"x": X})["y"].tolist() == (u * t + u).tolist()


def test_functions_nest_and_their_attributes_bind() -> None:
    inner = helper.make_node("LeakyRelu", ["a"], ["b"])
    inner.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    sloped = helper.make_function("crosscheck", "Sloped", ["a"], ["b"], [inner], OPSETS, ["slope"])
    call = helper.make_node("Sloped", ["a"], ["b"], domain="crosscheck", slope=0.5)
    outer = helper.make_function("crosscheck", "Outer", ["a"], ["b"], [call], OPSETS)
    node = helper.make_node("Outer", ["x"], ["y"], domain="crosscheck")
    program = load(model([node], ["y"], None, [sloped, outer]))
    assert program.run({"x": X})["y"].tolist() == [0.5, 1, 1.5, 2]


def test_an_intercepted_function_is_given_whole_with_its_constants() -> None:
    seen: list[dict[int, list[float]]] = []

    def prepare(node: Node[Array]) -> Kernel[Array]:
        seen.append({i: v.tolist() for i, v in node.constants.items()})
        return lambda a, b: a - b

    nodes = [helper.make_node("DoubleAndAdd", ["x", "two"], ["y"], domain="crosscheck")]
    graph = model(nodes, ["y"], {"two": TWO}, [DOUBLE_AND_ADD])
    key = ("crosscheck", "DoubleAndAdd")
    program = compile_graph(graph, table()[0], lambda a: a, {key: prepare})
    assert program.intercepted == 1
    assert seen == [{1: [2.0]}]
    assert program.run({"x": X})["y"].tolist() == [-1, 0, 1, 2]


def test_values_die_after_their_last_use_and_only_then() -> None:
    nodes = [
        helper.make_node("Add", ["x", "two"], ["a"]),
        helper.make_node("Split", ["a"], ["b", "unread"]),
        helper.make_node("Mul", ["a", "two"], ["y"]),
        helper.make_node("Add", ["b", "b"], ["z"]),
    ]
    program = load(model(nodes, ["y", "z"], {"two": TWO}))
    slot = program.inputs[0].slot
    (_, a), (b, unread) = (slot, program.steps[0].outputs[0]), program.steps[1].outputs
    assert [set(step.dies) for step in program.steps] == [{slot}, {unread}, {a}, {b}]
    outputs = program.run({"x": X})
    assert (outputs["y"].tolist(), outputs["z"].tolist()) == ([6, 8, 10, 12], [6, 8])


def test_an_omitted_optional_input_is_none() -> None:
    def prepare(_: Node[Array]) -> Kernel[Array]:
        return lambda x, low, high: np.minimum(x, high) if low is None else x

    node = helper.make_node("Clip", ["x", "", "two"], ["y"])
    program = load(model([node], ["y"], {"two": TWO}), {"Clip": prepare})
    assert program.run({"x": X})["y"].tolist() == [1, 2, 2, 2]


def test_an_unknown_operator_is_unsupported_and_named() -> None:
    node = helper.make_node("Erf", ["x"], ["y"], name="tail")
    with pytest.raises(Unsupported, match=r"node 'tail' \(Erf\): operator Erf"):
        load(model([node], ["y"]))
    foreign = helper.make_node("Add", ["x", "x"], ["y"], domain="com.microsoft")
    with pytest.raises(Unsupported, match=r"com\.microsoft::Add"):
        load(model([foreign], ["y"]))


def test_a_failing_kernel_names_its_node() -> None:
    graph = model([helper.make_node("Add", ["x", "two"], ["y"], name="sum")], ["y"], {"two": X[:3]})
    with pytest.raises(HarnessError, match=r"node 'sum' \(Add\) failed"):
        load(graph).run({"x": X})


@pytest.mark.parametrize("feeds", [{}, {"y": X}, {"x": X, "y": X}], ids=["none", "other", "more"])
def test_feeds_are_the_graphs_inputs_exactly(feeds: dict[str, Array]) -> None:
    program = load(model([helper.make_node("Add", ["x", "x"], ["y"])], ["y"]))
    with pytest.raises(HarnessError, match="the graph takes"):
        program.run(feeds)


def test_graphs_that_read_what_nothing_computes_are_refused() -> None:
    with pytest.raises(HarnessError, match="nothing computes"):
        load(model([helper.make_node("Add", ["x", "ghost"], ["y"])], ["y"]))
    with pytest.raises(HarnessError, match="graph output 'z'"):
        load(model([helper.make_node("Add", ["x", "x"], ["y"])], ["z"]))
