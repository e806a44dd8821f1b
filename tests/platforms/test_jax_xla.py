"""JAX: one function of exact integers in 64 bits, an honest environment."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from harness.errors import Unsupported
from harness.platforms.jax_xla import HOST, VARIABLES
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, integer_convolution, node, run

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with child_of("jax") as child:
        yield child


def test_what_is_pinned_and_asked_for_is_what_ran(child: Child) -> None:
    found = child.environment()
    version = dict(each.split("==") for each in HOST.requirements)["jax"]
    assert found["runtime"] == f"jax {version}"
    assert (found["device"], found["x64"], found["threads"]) == ("cpu", "true", "1")
    for variable, value in VARIABLES.items():
        assert found[f"variable {variable}"] == value


def test_an_integer_network_equals_its_reference(child: Child, small_net, activations) -> None:
    net = small_net(127)
    got = run(child, net.artifact(), {"x": activations})
    expected = net.reference(activations)
    assert list(got) == list(expected)
    for name, want in expected.items():
        assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape)
        assert got[name].tobytes() == want.tobytes()


def test_integers_in_a_float32_convolution_are_exact(child: Child) -> None:
    model, feeds, want = integer_convolution(np.random.default_rng(1))
    assert run(child, model, feeds)["y"].tobytes() == want.tobytes()


@pytest.mark.parametrize(("dtype", "value"), [(np.int64, 2**40 + 1), (np.int32, 2**30 + 1)])
def test_integers_keep_their_width(child: Child, dtype: type, value: int) -> None:
    x = np.array([value, -value], dtype)
    nodes = [node("Mul", "x c", "m"), node("Sub", "m x", "y"), node("Div", "y c", "z")]
    constants = {"c": np.array([4], dtype)}
    model = graph(nodes, {"x": x}, {"y": dtype, "z": dtype}, **constants)
    with np.errstate(over="ignore"):
        want = x * constants["c"] - x
    got = run(child, model, {"x": x})
    assert got["y"].tobytes() == want.tobytes()
    # Truncated toward zero.
    assert got["z"].tolist() == [int(v / 4) if abs(v) < 2**50 else 0 for v in want.tolist()]


def test_a_transposed_convolution_is_the_one_of_onnx(child: Child) -> None:
    generator = np.random.default_rng(2)
    x = generator.integers(-9, 10, (1, 4, 3, 5)).astype(np.float32)
    w = generator.integers(-9, 10, (4, 6, 5, 5)).astype(np.float32)
    b = generator.integers(-9, 10, 6).astype(np.float32)
    attributes = {"strides": [2, 2], "pads": [2, 2, 2, 2], "output_padding": [1, 1]}
    nodes = [node("ConvTranspose", "x w b", "y", **attributes)]
    model = graph(nodes, {"x": x}, {"y": np.float32}, w=w, b=b)
    want = torch.nn.functional.conv_transpose2d(
        *map(torch.from_numpy, (x, w, b)), stride=2, padding=2, output_padding=1
    )
    got = run(child, model, {"x": x})["y"]
    assert got.shape == (1, 6, 6, 10)
    assert got.tobytes() == want.numpy().tobytes()


def test_an_operator_that_it_lacks_is_unsupported_by_name(child: Child) -> None:
    x = np.zeros((1, 4), np.float32)
    model = graph([node("Mystery", "x", "y")], {"x": x}, {"y": np.float32})
    with pytest.raises(Unsupported, match="operator Mystery is not in this platform's table"):
        run(child, model, {"x": x})
