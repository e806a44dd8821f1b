"""Bisection: the right node with and without taps, few runs, the least input, and a folder that repeats it."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.bisect import repro
from harness.bisect.feeds import read_feeds, write_feeds
from harness.bisect.find import bisect
from harness.bisect.panel import ordered, panel
from harness.bisect.report import to_lines, to_report
from harness.bisect.repro import write_repro
from harness.bisect.results import Bisection
from harness.bisect.search import first_truncated
from harness.bisect.sides import Feeds, Live, Recorded, execute, on_platform
from harness.bisect.window import smallest_window
from harness.build import build
from harness.calibrate import observe
from harness.cdf import scale_thresholds
from harness.errors import Unsupported, UserError
from harness.platforms.pool import Pool
from harness.specimens import tiny_codec, tiny_hyper_latent
from harness.taps import Array, Graph
from harness.trace import TensorRecord, Trace
from tests.divergences import recorded
from tests.lint.graphs import model

LENGTH = 200
FEEDS: Feeds = {"x": np.arange(24, dtype=np.int32).reshape(4, 6)}
Wrong = Callable[[str, Array], Array]
OPERATORS = {"Add": np.add, "Mul": np.multiply}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


def chain(length: int = LENGTH) -> Graph:
    """v1 = x + c, v2 = v1 + c, ..: every node hands a difference on."""
    lines = [f"v{k} = Add ({f'v{k - 1}' if k > 1 else 'x'}, c)" for k in range(1, length + 1)]
    text = f"g (int32[4, 6] x) => (int32[4, 6] v{length}) {{ {' '.join(lines)} }}"
    return Graph.of(model(text, c=np.array(1, np.int32)).SerializeToString(), "chain")


class Interpreter:
    """A platform in this process that gets the values of some nodes wrong; counts its runs."""

    def __init__(self, wrong: Wrong = lambda _, array: array) -> None:
        self.runs = 0
        self._wrong = wrong

    def __call__(self, onnx_model: bytes, feeds: Feeds) -> Trace:
        self.runs += 1
        graph = onnx.load_model_from_string(onnx_model).graph
        values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer} | dict(feeds)
        for node in graph.node:
            made = OPERATORS[node.op_type](*(values[name] for name in node.input))
            values[node.output[0]] = self._wrong(node.output[0], made)
        records = tuple(TensorRecord.of(v.name, values[v.name]) for v in graph.output)
        return Trace(tensors=records, environment={})


def off_at(node: str) -> Wrong:
    def wrong(name: str, array: Array) -> Array:
        made = array.astype(np.int32)
        made[2:, 3:] += name == node
        return made

    return wrong


def sides(graph: Graph, a: Interpreter, b: Interpreter, feeds: Feeds = FEEDS) -> tuple[Live, Live]:
    return (
        Live(name="a", graph=graph, feeds=feeds, run=a),
        Live(name="b", graph=graph, feeds=feeds, run=b),
    )


def test_identical_sides_take_four_runs() -> None:
    found = bisect(*sides(chain(8), Interpreter(), Interpreter()))
    assert (found.identical, found.runs, found.reproduction) == (True, 4, None)


@pytest.mark.parametrize("at", [1, 2, 77, 199, 200])
def test_the_first_node_of_200_in_logarithmically_many_runs(at: int) -> None:
    a, b = Interpreter(), Interpreter(off_at(f"v{at}"))
    found = bisect(*sides(chain(), a, b))
    assert found.node == found.with_taps == found.without_taps == f"v{at} (Add)"
    assert not found.hidden_by_taps
    assert found.runs == a.runs + b.runs
    # The whole, tapped, the cuts, two panels, one window, then two axes of 4 and 6.
    assert found.runs <= 2 * (2 + math.ceil(math.log2(LENGTH)) + 1 + 1 + 2 + 3 * (2 + 3))


def test_the_least_input_is_one_element_and_still_differs() -> None:
    def wrong(name: str, array: Array) -> Array:
        """Off wherever the value is 17, which is one element of v1."""
        made = array.astype(np.int32)
        made[made == 17] += name == "v1"
        return made

    found = bisect(*sides(chain(3), Interpreter(), Interpreter(wrong)))
    assert found.reproduction is not None
    assert found.reproduction.nodes == ("v1 (Add)",)
    least = found.reproduction.least
    assert least is not None
    assert least.specimen.feeds_a["x"].tolist() == [[16]]
    assert least.a.array("v1").tolist() == [[17]]
    assert least.b.array("v1").tolist() == [[18]]
    kept = bisect(*sides(chain(3), Interpreter(), Interpreter(wrong)), keep=3).reproduction
    assert kept is not None
    assert kept.least is not None
    assert kept.least.specimen.feeds_a["x"].shape == (3, 3)


def test_a_fusion_that_taps_hide_is_found_without_them() -> None:
    """Fused means here: wrong wherever v5 is computed and v4 is not asked for."""
    exact = Interpreter()

    def fused(onnx_model: bytes, feeds: Feeds) -> Trace:
        graph = Graph.of(onnx_model, "given")
        made = {node.output[0] for node in graph.nodes}
        fuses = {"v4", "v5"} <= made and "v4" not in graph.outputs
        return Interpreter(off_at("v5") if fuses else off_at(""))(onnx_model, feeds)

    graph = chain(16)
    a = Live(name="a", graph=graph, feeds=FEEDS, run=exact)
    found = bisect(a, Live(name="b", graph=graph, feeds=FEEDS, run=fused))
    assert (found.with_taps, found.without_taps) == ("", "v5 (Add)")
    assert found.hidden_by_taps
    assert found.reproduction is not None
    assert found.reproduction.nodes == ("v4 (Add)", "v5 (Add)")
    assert "  marking values changes what runs: a fusion is involved" in to_lines(found, ("a", "b"))


def test_a_difference_that_the_outputs_do_not_show_is_found_with_taps() -> None:
    text = "g (int32[4, 6] x) => (int32[4, 6] y) { a = Add (x, c) b = Mul (a, d) y = Add (b, c) }"
    weights = {"c": np.array(1, np.int32), "d": np.array(0, np.int32)}
    graph = Graph.of(model(text, **weights).SerializeToString(), "masked")
    found = bisect(*sides(graph, Interpreter(), Interpreter(off_at("a"))))
    assert (found.with_taps, found.without_taps) == ("a (Add)", "")
    assert found.node == "a (Add)"


def test_a_side_that_cannot_run_tapped_graphs_is_bisected_without() -> None:
    exact = Interpreter(off_at("v3"))

    def refuses(onnx_model: bytes, feeds: Feeds) -> Trace:
        if len(Graph.of(onnx_model, "given").outputs) > 1:
            raise Unsupported("one output")
        return exact(onnx_model, feeds)

    graph = chain(8)
    b = Live(name="b", graph=graph, feeds=FEEDS, run=refuses)
    found = bisect(sides(graph, Interpreter(), exact)[0], b)
    assert (found.tapped, found.node) == (False, "v3 (Add)")
    assert found.reproduction is not None


def test_cuts_that_cannot_be_run_are_passed_over() -> None:
    asked = []

    def probe(at: int) -> bool | None:
        asked.append(at)
        return None if at % 2 else at >= 6

    assert first_truncated(list(range(10)), probe) == 6
    assert first_truncated(list(range(10)), lambda _: None) == 9
    assert 6 in asked


@pytest.mark.parametrize("needed", range(1, 9))
def test_the_smallest_window_is_the_smallest(needed: int) -> None:
    steps = list(range(10, 20))
    assert smallest_window(steps, 18, lambda first, last: last - first + 1 >= needed) == 19 - needed
    assert smallest_window(steps, 18, lambda *_: False) is None


def test_a_longer_graph_keeps_the_bits_that_the_smallest_one_changes() -> None:
    """A side that errs by the number of nodes around it, three at most."""

    def wrong(onnx_model: bytes, feeds: Feeds) -> Trace:
        nodes = len(onnx.load_model_from_string(onnx_model).graph.node)
        return Interpreter(lambda name, x: x + (min(nodes, 3) if name == "v10" else 0))(
            onnx_model, feeds
        )

    graph = chain(10)
    a = Live(name="a", graph=graph, feeds=FEEDS, run=Interpreter())
    found = bisect(a, replace(a, name="b", run=wrong)).reproduction
    assert found is not None
    assert found.faithful is not None
    assert found.nodes == ("v10 (Add)",)
    shown = [found.whole, found.faithful]
    assert [len(s.specimen.graph_a.steps) for s in shown] == [1, 3]
    assert [int((s.b.array("v10") - s.a.array("v10")).max()) for s in shown] == [1, 3]
    # One that errs alike everywhere needs no longer one.
    alike = bisect(a, replace(a, name="b", run=Interpreter(off_at("v10")))).reproduction
    assert alike is not None
    assert alike.faithful is None


def test_graphs_of_other_nodes_are_refused() -> None:
    a, b = sides(chain(3), Interpreter(), Interpreter())
    with pytest.raises(UserError, match="different nodes"):
        bisect(a, replace(b, graph=chain(4)))


# Recorded sides.


@pytest.mark.parametrize(
    ("name", "node", "nodes"),
    [
        ("pair-saturation", "wild (QLinearConv)", 1),
        ("qdq-tie", "h_s.4_QuantizeLinear (QuantizeLinear)", 3),
        ("bf16-by-default", "h_s.4 (Conv)", 1),
        ("isa-reorder", "h_s.0 (ConvTranspose)", 1),
        ("flipped-weight-bit", "h_s.2.phase0.0.sums (MatMulInteger)", 1),
    ],
)
def test_the_node_of_each_recorded_divergence(name: str, node: str, nodes: int) -> None:
    a, b = recorded(name)
    found = bisect(a, b)
    assert (found.node, found.runs, found.searched) == (node, 0, False)
    assert found.reproduction is not None
    assert len(found.reproduction.nodes) == nodes
    assert bisect(a, replace(b, trace=a.trace, graph=a.graph)).identical


def test_traces_of_other_graphs_are_refused() -> None:
    a, b = recorded("isa-reorder")
    one = replace(b.trace, tensors=(replace(b.trace.tensors[0], name="other"),))
    with pytest.raises(UserError, match="no value in common"):
        bisect(a, replace(b, trace=one))


@pytest.mark.platform
def test_a_live_side_against_a_record(pool: Pool) -> None:
    """ONNX Runtime here computes the first layer as the machine did that recorded; a planted bit is found."""
    graph, feeds = chain(5), FEEDS
    live = Live(name="ort-cpu", graph=graph, feeds=feeds, run=on_platform(pool, "ort-cpu"))
    trace = execute(live, graph.tapped())
    record = Recorded(name="there", graph=graph, feeds=feeds, trace=trace)
    assert bisect(live, record).identical
    wrong = trace.array("v3").copy()
    wrong[1, 1] ^= 1
    planted = tuple(TensorRecord.of("v3", wrong) if t.name == "v3" else t for t in trace.tensors)
    assert bisect(live, replace(record, trace=replace(trace, tensors=planted))).node == "v3 (Add)"


# Platforms that every installation has.


def on_tiny_h_s(pool: Pool, a: str, b: str, precision: str) -> Bisection:
    codec = tiny_codec()
    ranges = observe(codec.networks["h_s"], [tiny_hyper_latent()])
    made = build(codec, precision, {"h_s": ranges}).artifacts["h_s"]
    graph = Graph.of(made.onnx_model, "h_s")
    dtype = np.int32 if made.integer else np.float32
    feeds = {made.input: tiny_hyper_latent().astype(dtype)}
    one, other = (
        Live(name=name, graph=graph, feeds=feeds, run=on_platform(pool, name)) for name in (a, b)
    )
    return bisect(one, other)


@pytest.mark.platform
@pytest.mark.parametrize(
    ("b", "operator"),
    [
        ("dsp-half-even", "Requantize"),
        ("dsp-floor", "Requantize"),
        ("dsp-pairsat", "MatMulInteger"),
        ("dsp-acc16-wrap", "MatMulInteger"),
    ],
)
def test_wrong_arithmetic_is_found_in_few_runs(pool: Pool, b: str, operator: str) -> None:
    found = on_tiny_h_s(pool, "dsp-exact32", b, "w8a8")
    assert found.op_type == operator
    assert found.reproduction is not None
    assert found.reproduction.least is not None
    assert found.nodes > 200
    assert found.runs < 2 * 50
    assert found.reproduction.least.specimen.bytes < 4000


@pytest.mark.platform
def test_an_exact_lowering_is_identical(pool: Pool) -> None:
    assert on_tiny_h_s(pool, "dsp-exact32", "ort-cpu", "w8a8").identical


@pytest.mark.platform
def test_ort_fuses_what_taps_keep_apart(pool: Pool) -> None:
    a, _ = recorded("qdq-tie")
    one, other = (
        Live(name=name, graph=a.graph, feeds=a.feeds, run=on_platform(pool, name))
        for name in ("ort-cpu", "ort-cpu-noopt")
    )
    found = bisect(one, other)
    assert found.with_taps == ""
    assert found.node == "h_s.4_QuantizeLinear (QuantizeLinear)"
    assert found.hidden_by_taps


# The panel.


def test_the_panel_says_where_what_and_how_far() -> None:
    a = np.zeros((1, 2, 3, 4), np.float32) + 1
    b = a.copy()
    b[0, 1, 1, 2] = np.nextafter(np.float32(1), np.float32(2))
    b[0, 1, 2, 3] = 2
    found = panel(TensorRecord.of("s", a), TensorRecord.of("s", b))
    assert found is not None
    assert found.index == (0, 1, 1, 2)
    assert (found.a_hex, found.b_hex) == ("0x3f800000", "0x3f800001")
    assert (found.apart, found.most_apart, found.unit) == (1, 1 << 23, "ULP")
    assert (found.mismatched, found.values) == (2, 24)
    assert found.plane == ("....", "..x.", "...x")
    assert panel(TensorRecord.of("s", a), TensorRecord.of("s", a)) is None


def test_the_panel_holds_sigmas_against_the_thresholds() -> None:
    thresholds = scale_thresholds(np.array([0.5, 1, 2], np.float32))
    a, b = np.array([1], np.float32), np.nextafter(np.array([1], np.float32), np.float32(2))
    found = panel(TensorRecord.of("scales_hat", a), TensorRecord.of("scales_hat", b), thresholds)
    assert found is not None
    assert found.threshold is not None
    assert (found.threshold.index_a, found.threshold.index_b) == (1, 2)
    assert (found.threshold.ulp_to_nearest, found.threshold.flipped) == (0, 1)


def test_types_and_shapes_that_differ_are_said() -> None:
    a, b = np.zeros(2, np.int8), np.zeros(2, np.int32)
    found = panel(TensorRecord.of("s", a), TensorRecord.of("s", b))
    assert found is not None
    assert (found.kind, found.a, found.b) == ("dtype", "int8", "int32")


def test_neighbouring_floats_are_one_apart() -> None:
    edge = np.array([-1, -0.0, 0.0, 1], np.float64)
    assert np.diff(ordered(edge))[1] == 1
    ups = np.nextafter(edge, np.inf)
    assert ordered(ups)[0] - ordered(edge)[0] == 1


# Files.


def test_the_folder_repeats_the_divergence(tmp_path: Path, pool: Pool) -> None:
    found = on_tiny_h_s(pool, "dsp-exact32", "dsp-half-even", "w8a8")
    assert found.reproduction is not None
    names = ("dsp-exact32", "dsp-half-even")
    written = write_repro(tmp_path / "repro", found.reproduction, names, to_report(found, names))
    assert sorted(path.name for path in written) == [
        "a.trace", "b.trace", "feeds.npz", "report.json", "repro.onnx", "repro.py",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in written) < 100_000
    assert json.loads((tmp_path / "repro" / "report.json").read_text())["node"] == found.node
    script = (tmp_path / "repro" / "repro.py").read_text()
    assert len(script.splitlines()) == 2
    assert "'--model', 'repro.onnx'" in script
    graph = Graph.of((tmp_path / "repro" / "repro.onnx").read_bytes(), "repro")
    feeds = read_feeds(tmp_path / "repro" / "feeds.npz")
    for side, name in zip("ab", names, strict=True):
        live = Live(name=name, graph=graph, feeds=feeds, run=on_platform(pool, name))
        kept = Trace.load(tmp_path / "repro" / f"{side}.trace")
        assert execute(live, graph).tensors == kept.tensors


def test_a_folder_of_many_megabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bisect(*sides(chain(3), Interpreter(), Interpreter(off_at("v2"))))
    assert found.reproduction is not None
    monkeypatch.setattr(repro, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="record a smaller crop"):
        write_repro(tmp_path, found.reproduction, ("a", "b"), {})
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_python(tmp_path: Path) -> None:
    found = bisect(*sides(chain(3), Interpreter(), Interpreter(off_at("v2"))))
    assert found.reproduction is not None
    write_repro(tmp_path, found.reproduction, ("nowhere", "b"), to_report(found, ("nowhere", "b")))
    fake = tmp_path / "crosscheck"
    fake.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    fake.chmod(0o755)
    done = subprocess.run(
        [sys.executable, tmp_path / "repro.py"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "bisect nowhere b --model repro.onnx --feeds feeds.npz\n"
    assert done.returncode == 1


def test_feeds_come_back_as_they_were(tmp_path: Path) -> None:
    feeds = {"a/b": np.arange(6, dtype=np.uint8).reshape(2, 3), "c": np.float32([np.nan, -0.0])}
    write_feeds(tmp_path / "x.npz", feeds)
    back = read_feeds(tmp_path / "x.npz")
    assert {n: (x.dtype, x.shape, x.tobytes()) for n, x in back.items()} == {
        n: (x.dtype, x.shape, x.tobytes()) for n, x in feeds.items()
    }
    write_feeds(tmp_path / "y.npz", feeds)
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_hostile_feeds_are_refused(tmp_path: Path) -> None:
    pickled, huge, damaged = (tmp_path / name for name in ("p.npz", "h.npz", "d.npz"))
    np.savez(pickled, x=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="objects"):
        read_feeds(pickled)
    write_feeds(huge, {"x": np.zeros(4, np.int8)})
    data = huge.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot read feeds"):
        read_feeds(damaged)
    with pytest.raises(UserError, match="cannot read feeds"):
        read_feeds(tmp_path / "none.npz")
