"""tract: exact integers, the version that it says of itself, results in the types that it has for them."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from harness.errors import Unsupported
from harness.lint.analyse import Options, examine
from harness.platforms.pool import Child
from harness.platforms.tract import HOST
from tests.platforms.prepared import child_of, graph, integer_convolution, node, run

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with child_of("tract") as child:
        yield child


def test_the_library_that_ran_is_the_one_that_is_pinned(child: Child) -> None:
    version = dict(each.split("==") for each in HOST.requirements)["tract"]
    assert child.environment()["runtime"] == f"tract {version}"
    assert child.environment()["threads"] == "1"


def test_an_integer_network_equals_its_reference(child: Child, small_net, activations) -> None:
    net = small_net(127)
    got = run(child, net.artifact(), {"x": activations})
    expected = net.reference(activations)
    assert list(got) == list(expected)
    for name, want in expected.items():
        # int32 and uint8: the wheel's own reader would take both for float32.
        assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape)
        assert got[name].tobytes() == want.tobytes()


def test_integers_in_a_float32_convolution_are_exact(child: Child) -> None:
    model, feeds, want = integer_convolution(np.random.default_rng(1))
    assert run(child, model, feeds)["y"].tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_every_type_comes_back_as_it_is(child: Child, dtype: type) -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    model = graph([node("Add", "x x", "y")], {"x": x}, {"y": dtype})
    got = run(child, model, {"x": x})["y"]
    assert (got.dtype, got.tobytes()) == (x.dtype, (x + x).tobytes())


def test_one_graph_takes_pictures_of_any_size(child: Child) -> None:
    names = {"x": np.zeros((1, 2, 1, 1), np.float32)}
    model = onnx.load_model_from_string(graph([node("Relu", "x", "y")], names, {"y": np.float32}))
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for size in ((2, 3), (4, 5), (2, 3)):
        x = np.full((1, 2, *size), 2.0, np.float32)
        assert run(child, model.SerializeToString(), {"x": x})["y"].tobytes() == x.tobytes()


def test_the_deviation_of_the_table_is_real(child: Child) -> None:
    """Every channel gets the scale of the first one."""
    x = np.array([[1, 1]], np.int8)
    constants = {"s": np.array([1, 2], np.float32), "z": np.zeros(2, np.int8)}
    nodes = [node("DequantizeLinear", "x s z", "y", axis=1)]
    model = graph(nodes, {"x": x}, {"y": np.float32}, **constants)
    assert run(child, model, {"x": x})["y"].tolist() == [[1.0, 1.0]]
    report = examine(model, options=Options(runtimes=("tract",))).report
    assert "tract-dequantize-axis" in {finding.rule for finding in report.findings}


def test_a_graph_that_it_refuses_is_unsupported(child: Child) -> None:
    x = np.zeros((1, 4), np.float32)
    model = graph([node("Mystery", "x", "y")], {"x": x}, {"y": np.float32})
    with pytest.raises(Unsupported, match=r"tract refuses the graph: .*Mystery") as caught:
        run(child, model, {"x": x})
    assert "\n" not in str(caught.value)
