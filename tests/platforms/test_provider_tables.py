"""The linter's tables of kernels against the providers themselves: what it says they lack, they refuse."""

from collections.abc import Iterator

import numpy as np
import pytest

from harness.errors import HarnessError, Unsupported
from harness.lint.providers import CPU, WEBGPU
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, node, run

pytestmark = pytest.mark.platform
TYPES = ("float32", "int32", "uint32", "int64", "uint8")
PAIRS = ("Add", "Div", "Max", "Min", "Mod", "Pow", "Sub")
SINGLES = ("Abs", "Clip", "Floor", "Neg", "Relu", "Round", "Sign")


@pytest.fixture(scope="module")
def webgpu() -> Iterator[Child]:
    with child_of("ort-node-webgpu") as child:
        yield child


@pytest.mark.parametrize("operator", [*PAIRS, *SINGLES])
def test_webgpu_runs_what_the_table_says_and_refuses_the_rest(operator: str, webgpu: Child) -> None:
    runs = []
    for dtype in TYPES:
        x = np.arange(1, 17).astype(dtype).reshape(4, 4)
        given = "x x" if operator in PAIRS else "x"
        model = graph([node(operator, given, "y")], {"x": x}, {"y": x.dtype.type})
        try:
            run(webgpu, model, {"x": x})
        except HarnessError:
            continue
        runs.append(dtype)
    assert runs == [name for name in TYPES if name in WEBGPU.kernels.get(operator, ())]


def test_a_kernel_that_onnxruntime_lacks_is_unsupported_by_its_operator() -> None:
    x = np.arange(4, dtype=np.int16)
    assert "int16" not in CPU.kernels["Max"]
    model = graph([node("Max", "x x", "y", name="top")], {"x": x}, {"y": np.int16})
    with (
        child_of("ort-cpu") as child,
        pytest.raises(Unsupported, match=r"no kernel for Max \(version 13\), node 'top'$"),
    ):
        run(child, model, {"x": x})
