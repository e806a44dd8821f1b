"""ncnn: Winograd is a switch, and it rounds what a plain sum of products has exactly."""

from collections.abc import Iterator

import numpy as np
import pytest

from harness.errors import Unsupported
from harness.lint.analyse import Options, examine
from harness.platforms.ncnn import HOST
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, integer_convolution, node, run

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def plain() -> Iterator[Child]:
    with child_of("ncnn") as child:
        yield child


@pytest.fixture(scope="module")
def winograd() -> Iterator[Child]:
    with child_of("ncnn-winograd") as child:
        yield child


def test_what_is_pinned_and_asked_for_is_what_ran(plain: Child, winograd: Child) -> None:
    pinned = dict(each.split("==") for each in HOST.requirements if "==" in each)
    for child, state in ((plain, "off"), (winograd, "on")):
        found = child.environment()
        assert found["runtime"] == f"ncnn {pinned['ncnn']}"
        assert found["importer"] == f"pnnx {pinned['pnnx']}"
        assert found["winograd"] == state
        assert (found["threads"], found["narrow_floats"]) == ("1", "off")


def test_winograd_breaks_integers_that_plain_sums_carry(plain: Child, winograd: Child) -> None:
    model, feeds, want = integer_convolution(np.random.default_rng(1))
    assert run(plain, model, feeds)["y"].tobytes() == want.tobytes()
    got = run(winograd, model, feeds)["y"]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() != want.tobytes()
    ranges = examine(model, options=Options(runtimes=("ncnn",))).report
    assert ranges.verdict.value != "exact"


def test_integer_graphs_are_unsupported(plain: Child) -> None:
    x = np.ones((1, 4), np.int32)
    model = graph([node("Add", "x x", "y")], {"x": x}, {"y": np.int32})
    with pytest.raises(Unsupported, match="float32 graphs"):
        run(plain, model, {"x": x})


def test_an_operator_without_a_layer_is_unsupported_by_name(plain: Child) -> None:
    x = np.ones((1, 4, 4, 4), np.float32)
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    constants = {"s": np.array(0.5, np.float32), "z": np.array(1, np.uint8)}
    model = graph(nodes, {"x": x}, {"y": np.float32}, **constants)
    with pytest.raises(Unsupported, match=r"ncnn has no layer for .*QuantizeLinear"):
        run(plain, model, {"x": x})
