"""torch's quantized convolution: 16-bit pairs saturate on a processor without VNNI, shown natively."""

import platform
from collections.abc import Iterator

import numpy as np
import pytest

from harness.errors import FellBack, Unsupported
from harness.lint.analyse import Options, examine
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Child
from tests.platforms.prepared import child_of, graph, node, run

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="vpmaddubsw is of x86"),
]
SCALE, ZERO = np.array(1, np.float32), np.array(0, np.uint8)
WIDE = np.array(4096, np.float32)


@pytest.fixture(scope="module")
def capped() -> Iterator[Child]:
    with child_of("torch-quantized-avx2") as child:
        yield child


@pytest.fixture(scope="module")
def native() -> Iterator[Child]:
    with child_of("torch-quantized") as child:
        yield child


def convolution(largest: int, *, form: str) -> tuple[bytes, dict, np.ndarray]:
    """8-bit factors with weights up to `largest`; as QLinearConv, or as Conv between DequantizeLinear. And its sums."""
    generator = np.random.default_rng(3)
    x = generator.integers(128, 256, (1, 32, 8, 8), dtype=np.uint8)
    w = generator.choice(np.array([-largest, largest], np.int8), (16, 32, 3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (3, 3), (2, 3))
    sums = np.einsum("nchwuv,kcuv->nkhw", windows, w.astype(np.int64))
    constants = {
        "s": SCALE,
        "z": ZERO,
        "w": w,
        "ws": np.ones(16, np.float32),
        "wz": np.zeros(16, np.int8),
    }
    if form == "qdq":
        nodes = [
            node("DequantizeLinear", "x s z", "xf"),
            node("DequantizeLinear", "w ws wz", "wf", axis=0),
            node("Conv", "xf wf", "y"),
        ]
        return (
            graph(nodes, {"x": x}, {"y": np.float32}, **constants),
            {"x": x},
            sums.astype(np.float32),
        )
    nodes = [node("QLinearConv", "x s z w ws wz ys yz", "y")]
    constants |= {"ys": WIDE, "yz": np.array(128, np.uint8)}
    want = np.clip(np.rint(sums / float(WIDE)) + 128, 0, 255).astype(np.uint8)
    return graph(nodes, {"x": x}, {"y": np.uint8}, **constants), {"x": x}, want


@pytest.mark.parametrize("form", ["qdq", "qlinear"])
def test_pairs_saturate_without_vnni_and_not_with_7_bit_weights(capped: Child, form: str) -> None:
    model, feeds, want = convolution(127, form=form)
    got = run(capped, model, feeds)["y"]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert (got != want).mean() > 0.1
    report = examine(model, options=Options(runtimes=("torch",))).report
    assert form == "qdq" or "pair-saturation" in {finding.rule for finding in report.findings}
    model, feeds, want = convolution(64, form=form)
    assert run(capped, model, feeds)["y"].tobytes() == want.tobytes()


@pytest.mark.parametrize("form", ["qdq", "qlinear"])
def test_the_same_graph_is_exact_with_vnni(native: Child, form: str) -> None:
    flags = set(native.environment()["cpu_flags"].split())
    if not flags & {"avx512_vnni", "avx_vnni"}:
        pytest.skip("this processor has no VNNI: its native kernel is the saturating one")
    model, feeds, want = convolution(127, form=form)
    assert run(native, model, feeds)["y"].tobytes() == want.tobytes()


def test_the_kernel_that_is_declared_is_the_one_of_this_process(
    native: Child, capped: Child
) -> None:
    assert native.environment()["integer_kernel"].endswith("convolution native")
    assert capped.environment()["integer_kernel"].endswith("convolution AVX2")
    assert capped.environment()["variable ONEDNN_MAX_CPU_ISA"] == "AVX2"
    for child in (native, capped):
        assert "qconv_pointwise" in child.environment()["quantized"]


def test_a_cap_that_the_process_was_not_started_with_is_a_fallback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    model, _, _ = convolution(127, form="qdq")
    with pytest.raises(FellBack, match="ONEDNN_MAX_CPU_ISA"):
        PLATFORMS["torch-quantized-avx2"].open().load(model)


def test_other_types_are_unsupported(native: Child) -> None:
    x = np.zeros((1, 2, 4, 4), np.int8)
    constants = {
        "s": SCALE, "z": np.array(0, np.int8), "w": np.ones((2, 2, 1, 1), np.int8),
        "ws": np.ones(2, np.float32), "wz": np.zeros(2, np.int8),
    }  # fmt: skip
    nodes = [node("QLinearConv", "x s z w ws wz s z", "y")]
    model = graph(nodes, {"x": x}, {"y": np.int8}, **constants)
    with pytest.raises(Unsupported, match="uint8 by int8"):
        run(native, model, {"x": x})
