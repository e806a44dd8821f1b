"""Record the seeded divergences under fixtures/divergences: `python -m tests.record_divergences [NAME ..]`.

Each folder holds a small graph, its feeds, and what two sides made of its values. The tests read them; they are recorded
anew only where a runtime is to be looked at again. OpenVINO's, tract's and the emulated processor's need what is prepared
for them (make platforms-extra).
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from harness import fixtures
from harness.bisect.feeds import write_feeds
from harness.bisect.find import bisect
from harness.bisect.sides import Feeds, Live, execute, on_platform
from harness.build import build
from harness.calibrate import observe
from harness.case import rng
from harness.files import write_file
from harness.library import Library
from harness.lowerings import float32
from harness.network import Convolution
from harness.platforms.pool import Pool
from harness.specimens import tiny_codec, tiny_hyper_latent
from harness.taps import Graph
from harness.trace import Trace
from tests.deviations import SPECIMENS, Specimen

U8 = NDArray[np.uint8]
# Channels of the cut hyper-synthesis: enough for the kernels that a whole one gets.
WIDTH = 12


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What one folder holds; `graph_b` only where the second side had other weights."""

    graph: Graph
    feeds: Feeds
    a: Trace
    b: Trace
    graph_b: Graph | None = None


def pair_saturation(pool: Pool) -> Recording:
    """Torch's quantized convolution natively, with oneDNN's ISA as it is and capped at AVX2: two layers, the first mild."""
    generator = rng("divergences/pair-saturation")
    x = generator.integers(0, 256, (1, 8, 8, 8)).astype(np.uint8)
    mild = generator.integers(-64, 65, (8, 8, 3, 3)).astype(np.int8)
    wild = generator.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
    scales = generator.uniform(0.5, 1.5, (2, 8)).astype(np.float32) / 64
    arrays: dict[str, NDArray[np.generic]] = {
        "x_scale": np.array(0.05, np.float32),
        "x_zero": np.array(0, np.uint8),
        "w_zero": np.zeros(8, np.int8),
        "mild.w": mild,
        "mild.w_scale": scales[0],
        "mild.scale": np.array(1.5, np.float32),
        "mild.zero": np.array(120, np.uint8),
        "wild.w": wild,
        "wild.w_scale": scales[1],
        "wild.scale": np.array(60, np.float32),
        "wild.zero": np.array(120, np.uint8),
    }
    layers = [
        ("x", "x_scale", "x_zero", "mild"),
        ("mild", "mild.scale", "mild.zero", "wild"),
    ]
    nodes = [
        helper.make_node(
            "QLinearConv",
            [given, scale, zero, f"{n}.w", f"{n}.w_scale", "w_zero", f"{n}.scale", f"{n}.zero"],
            [n],
            n,
            kernel_shape=[3, 3],
            pads=[1] * 4,
        )
        for given, scale, zero, n in layers
    ]
    graph = helper.make_graph(
        nodes,
        "two quantized layers",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("wild", TensorProto.UINT8, x.shape)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    whole = Graph.of(model.SerializeToString(), "pair-saturation")
    return _on_both(pool, "torch-quantized", "torch-quantized-avx2", whole, {"x": x})


def qdq_tie(pool: Pool) -> Recording:
    """The last layer of a trained w8a8-qdq h_s, where ONNX Runtime fuses it and where it does not."""
    made = Library().build("mbt2018-mean/q3", "w8a8-qdq").artifacts["h_s"]
    graph = Graph.of(made.onnx_model, "qdq-tie")
    z_hat = rng("divergences/qdq-tie").integers(-14, 15, _z_shape(24)).astype(np.float32)
    sides = [_live(pool, p, graph, {made.input: z_hat}) for p in ("ort-cpu", "ort-cpu-noopt")]
    found = bisect(sides[0], sides[1], keep=8).reproduction
    assert found is not None
    assert found.least is not None
    least = found.least.specimen
    return Recording(graph=least.graph_a, feeds=least.feeds_a, a=found.least.a, b=found.least.b)


def bf16_by_default(pool: Pool) -> Recording:
    """OpenVINO in float32 and in the precision that it takes by itself, on a cut trained h_s."""
    return _on_cut_h_s(pool, "openvino-f32", "openvino")


def isa_reorder(pool: Pool) -> Recording:
    """Torch with oneDNN's ISA as it is and capped at AVX2, on a cut trained h_s."""
    return _on_cut_h_s(pool, "torch", "torch-sse41")


def flipped_weight_bit(pool: Pool) -> Recording:
    """One platform, one phase of an integer layer with its rounding, and one bit of one weight."""
    codec = tiny_codec()
    ranges = observe(codec.networks["h_s"], [tiny_hyper_latent()])
    made = build(codec, "w8a8", {"h_s": ranges}).artifacts["h_s"]
    graph = Graph.of(made.onnx_model, "flipped-weight-bit")
    symbols = {made.input: tiny_hyper_latent().astype(np.int32)}
    values = execute(_live(pool, "ort-cpu", graph, symbols), graph.tapped())
    first, last = (graph.producer[f"h_s.2.phase0.{end}"] for end in ("whole.gather", "parts.u8"))
    feeds = {name: values.array(name) for name in graph.boundary(first, last)}
    phase = graph.window(feeds, ["h_s.2.phase0.parts.u8"])
    name = "h_s.2_0_0.0.weight"
    weight = phase.initializers[name].astype(np.uint8)
    weight.flat[weight.size // 2] ^= np.uint8(1 << 6)
    other = phase.reshaped({name: weight}, feeds)
    traces = [execute(_live(pool, "ort-cpu", g, feeds), g.tapped()) for g in (phase, other)]
    return Recording(graph=phase, feeds=feeds, a=traces[0], b=traces[1], graph_b=other)


def untapped(pool: Pool, specimen: Specimen) -> Recording:
    """The outputs alone: taps would hide a fusion."""
    graph, feeds = specimen.graph, specimen.feeds
    traces = [execute(_live(pool, p, graph, feeds), graph) for p in specimen.platforms]
    return Recording(graph=graph, feeds=feeds, a=traces[0], b=traces[1])


def _z_shape(size: int) -> tuple[int, ...]:
    network = Library().codec("mbt2018-mean/q3").networks["h_s"]
    return (1, network.in_channels, size, size)


def _on_cut_h_s(pool: Pool, a: str, b: str) -> Recording:
    """All taps of the first channels of mbt2018-mean/q3's h_s in float32."""
    whole = Library().codec("mbt2018-mean/q3").networks["h_s"]
    layers = [
        replace(layer, weight=layer.weight[:WIDTH, :WIDTH].copy(), bias=layer.bias[:WIDTH].copy())
        if isinstance(layer, Convolution)
        else layer
        for layer in whole.layers
    ]
    network = replace(whole, layers=tuple(layers))
    graph = Graph.of(float32.build(network, {}, taps=False), "cut h_s")
    z_hat = rng("divergences/cut-h_s").integers(-9, 10, (1, WIDTH, 2, 2)).astype(np.float32)
    return _on_both(pool, a, b, graph, {"z_hat": z_hat})


def _on_both(pool: Pool, a: str, b: str, graph: Graph, feeds: Feeds) -> Recording:
    """All taps of one graph on two platforms."""
    traces = [execute(_live(pool, p, graph, feeds), graph.tapped()) for p in (a, b)]
    return Recording(graph=graph, feeds=feeds, a=traces[0], b=traces[1])


def _live(pool: Pool, platform: str, graph: Graph, feeds: Feeds) -> Live:
    return Live(name=platform, graph=graph, feeds=feeds, run=on_platform(pool, platform))


RECORDERS: Mapping[str, Callable[[Pool], Recording]] = {
    "pair-saturation": pair_saturation,
    "qdq-tie": qdq_tie,
    "bf16-by-default": bf16_by_default,
    "isa-reorder": isa_reorder,
    "flipped-weight-bit": flipped_weight_bit,
    **{rule: partial(untapped, specimen=each) for rule, each in SPECIMENS.items()},
}


def main(names: list[str]) -> None:
    with Pool() as pool:
        for name in names or RECORDERS:
            folder = fixtures.root() / "divergences" / name
            folder.mkdir(parents=True, exist_ok=True)
            made = RECORDERS[name](pool)
            write_file(folder / "model.onnx", made.graph.onnx_model)
            if made.graph_b is not None:
                write_file(folder / "model-b.onnx", made.graph_b.onnx_model)
            write_feeds(folder / "feeds.npz", made.feeds)
            made.a.save(folder / "a.trace")
            made.b.save(folder / "b.trace")


if __name__ == "__main__":
    main(sys.argv[1:])
