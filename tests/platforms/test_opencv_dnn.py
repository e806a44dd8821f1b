"""OpenCV's dnn module: one thread, its new engine and no other, integers only where float32 carries them."""

from collections.abc import Iterator

import numpy as np
import pytest

from harness.errors import Unsupported
from harness.platforms.opencv_dnn import HOST
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, integer_convolution, node, run

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with child_of("opencv-dnn") as child:
        yield child


def test_what_is_pinned_is_what_ran(child: Child) -> None:
    found = child.environment()
    version = dict(each.split("==") for each in HOST.requirements)["opencv-python-headless"]
    name, number = found["runtime"].split()
    assert name == "opencv"
    assert version.startswith(f"{number}.")
    assert found["threads"] == "1"
    assert found["dispatch"] in found["float_kernel"]
    # It names only what this processor has.
    if "avx512f" not in found["cpu_flags"].split() and found["machine"] == "x86_64":
        assert "AVX512" not in found["dispatch"]


def test_integers_in_a_float32_convolution_are_exact(child: Child) -> None:
    model, feeds, want = integer_convolution(np.random.default_rng(1))
    assert run(child, model, feeds)["y"].tobytes() == want.tobytes()


def test_an_integer_product_is_unsupported_and_runs_on_no_other_engine(child: Child) -> None:
    x = np.ones((1, 4), np.uint8)
    model = graph(
        [node("MatMulInteger", "x w", "y")], {"x": x}, {"y": np.int32}, w=np.ones((4, 2), np.int8)
    )
    with pytest.raises(Unsupported, match="OpenCV has no MatMulInteger"):
        run(child, model, {"x": x})


def test_float64_products_are_unsupported(child: Child) -> None:
    x = np.ones((1, 4))
    model = graph([node("MatMul", "x w", "y")], {"x": x}, {"y": np.float64}, w=np.ones((4, 2)))
    with pytest.raises(Unsupported, match="only float32 is supported") as caught:
        run(child, model, {"x": x})
    assert "\n" not in str(caught.value)
