"""What a graph declares at its ends is what a platform hands out, or an error."""

import numpy as np
import onnx
import pytest

from harness.errors import HarnessError
from harness.platforms.ports import Ports, inlined, read_ports
from tests.platforms.prepared import graph, node

PORTS = Ports(inputs={"b": "int32", "a": "float32"}, outputs={"y": "int32"})


def test_ports_are_the_graphs_without_its_constants(small_net, activations) -> None:
    ports = read_ports(small_net(127).artifact())
    assert ports.inputs == {"x": "uint8"}
    assert ports.outputs == {
        "accumulator": "int32", "hidden": "int32", "leaky": "int32", "indexes": "uint8",
    }  # fmt: skip
    assert list(ports.outputs)[-1] == "indexes"
    assert ports.ordered({"x": activations})[0].tobytes() == activations.tobytes()


def test_feeds_come_in_the_graphs_order() -> None:
    a, b = np.zeros(1, np.float32), np.ones(1, np.int32)
    assert [array.dtype.name for array in PORTS.ordered({"a": a, "b": b})] == ["int32", "float32"]
    with pytest.raises(HarnessError, match=r"takes \['a', 'b'\], got feeds \['a'\]"):
        PORTS.ordered({"a": a})


def test_a_result_of_another_type_is_an_error_and_never_cast() -> None:
    assert PORTS.named([np.arange(3, dtype=np.int32)])["y"].tolist() == [0, 1, 2]
    with pytest.raises(HarnessError, match="'y' is declared int32, the runtime gave int64"):
        PORTS.named([np.arange(3, dtype=np.int64)])
    with pytest.raises(HarnessError, match="1 outputs are declared, 2 came"):
        PORTS.named([np.zeros(1, np.int32)] * 2)


def test_functions_are_inlined_and_other_graphs_left_as_they_are(small_net) -> None:
    artifact = small_net(127).artifact()
    plain = onnx.load_model_from_string(inlined(artifact))
    assert not plain.functions
    assert {each.domain for each in plain.graph.node} == {""}
    x = np.zeros(3, np.float32)
    simple = graph([node("Relu", "x", "y")], {"x": x}, {"y": np.float32})
    assert inlined(simple) is simple
