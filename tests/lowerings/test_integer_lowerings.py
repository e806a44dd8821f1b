"""Every integer lowering equals the reference, bit for bit, at every width, whatever goes in."""

import re
from dataclasses import replace

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest

from harness import reference, specimens
from harness.calibrate import forward
from harness.errors import UserError
from harness.library import Library, pictures
from harness.lowerings.base import LOWERINGS, Artifact, Source, integer_lowerings
from harness.lowerings.functions import FUNCTIONS
from harness.platforms.base import PLATFORMS
from harness.specification import IntegerLayer, Requantization
from tests.lowerings import nets

LOWERED = [lowering.name for lowering in integer_lowerings()]
# Where sums may reach 2^24.
WIDE = {"w9a9", "w12a12", "w8a16", "w16a8", "w16a16", "w13a10", "w8a12", "w12a8"}
# ONNX Runtime takes seconds to load a g_s: fewer widths there.
EVERY = [(shape, p) for shape in nets.SHAPES if shape != "g_s" for p in nets.PRECISIONS]
EVERY += [("g_s", p) for p in ("w4a4", "w8a8", "w9a9", "w12a12", "w8a16", "w16a16")]
NETWORK = specimens.tiny_codec().networks["h_s"]
CRAFTED = specimens.crafted_net()
LAYER = CRAFTED.layers[0]
assert isinstance(LAYER, IntegerLayer)


def lowered(lowering: str, shape: str, precision: str, *, taps: bool = False) -> Artifact:
    """The artifact; skips what float32 cannot carry, where sums of products have to reach 2^24."""
    network, net = nets.quantized(shape, precision)
    try:
        return nets.lower(lowering, network, net, taps=taps)
    except UserError as error:
        reason = str(error)
    found = re.match(r"layer \S+, channel \d+: partial sums may reach (\d+), not", reason)
    assert lowering == "carrier-f32"
    assert precision in WIDE or (shape == "g_s" and precision.startswith("w8"))
    assert found
    assert int(found[1]) >= 2**24
    pytest.skip(reason)


@pytest.mark.parametrize(("shape", "precision"), EVERY)
@pytest.mark.parametrize("lowering", LOWERED)
def test_it_equals_the_reference(lowering: str, shape: str, precision: str) -> None:
    plain = lowered(lowering, shape, precision)
    ready = nets.session(plain)
    for what, x, want in nets.expected(shape, precision):
        got = nets.run(ready, x)
        assert list(got) == list(plain.outputs)
        nets.assert_equal(want, got, what)


@pytest.mark.parametrize(
    ("shape", "precision"),
    [
        ("leaky", "w8a8"),
        ("leaky", "w12a12"),
        ("leaky", "w16a16"),
        ("g_s", "w4a4"),
        ("g_s", "w16a16"),
    ],
)
@pytest.mark.parametrize("lowering", LOWERED)
def test_every_tap_equals_the_reference_without_optimisation(
    lowering: str, shape: str, precision: str
) -> None:
    ready = nets.session(lowered(lowering, shape, precision, taps=True), optimise=False)
    for what, x, want in nets.expected(shape, precision):
        got = nets.run(ready, x)
        assert list(got) == list(want)
        nets.assert_equal(want, got, what)


@pytest.mark.parametrize("precision", ["w4a4", "w8a8", "w12a12", "w16a16"])
@pytest.mark.parametrize("shape", ["leaky", "g_s"])
@pytest.mark.parametrize("lowering", LOWERED)
@pytest.mark.parametrize("platform", ["dsp-exact32", "torch", "onnx-reference"])
def test_it_equals_the_reference_on_other_platforms(
    platform: str, lowering: str, shape: str, precision: str
) -> None:
    artifact = lowered(lowering, shape, precision, taps=True)
    sizes = nets.SIZES[artifact.network]
    ready = PLATFORMS[platform].open().load(artifact.onnx_model)
    every = nets.expected(shape, precision)
    # The first size's edges, and the random inputs of the last size.
    for what, x, want in [*every[: len(every) // len(sizes)], *every[-3:]]:
        nets.assert_equal(want, dict(ready.run({artifact.input: x})), what)


@pytest.mark.parametrize("lowering", LOWERED)
def test_it_equals_the_reference_where_wrong_arithmetic_shows(lowering: str) -> None:
    x = specimens.crafted_symbols()
    got = nets.run(nets.session(nets.lower(lowering, NETWORK, CRAFTED)), x)
    nets.assert_equal(reference.run(CRAFTED, x), got, "crafted symbols")


@pytest.fixture(scope="module")
def shipped() -> Library:
    return Library()


@pytest.mark.parametrize("precision", ["w8a8", "w4a4", "w12a12", "w16a16"])
@pytest.mark.parametrize("name", ["bmshj2018-hyperprior/q1", "mbt2018-mean/q1"])
def test_shipped_codecs_on_real_latents(name: str, precision: str, shipped: Library) -> None:
    """Every activation of h_s, on what a photograph's hyper-latents are."""
    made = shipped.build(name, precision)
    net, codec = made.integer, made.codec
    assert net is not None
    picture = next(iter(pictures(None).items()))[1]()[:128, :192]
    z = (picture.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    for network in (codec.networks["g_a"], codec.networks["h_a"]):
        z = list(forward(network, z).values())[-1]
    x = np.rint(z - codec.medians[:, None, None] / 256).astype(np.int32)
    assert np.abs(x).max() > 0
    want = reference.run(net, x)
    for lowering in LOWERED:
        if lowering == "carrier-f32" and precision in WIDE:
            continue
        artifact = LOWERINGS[lowering].lower(made.sources["h_s"], taps=True)
        got = nets.run(nets.session(artifact), x)
        assert list(got) == list(want)
        nets.assert_equal(want, got, f"{lowering} of {name}")


@pytest.mark.parametrize("lowering", LOWERED)
def test_equal_networks_give_equal_bytes(lowering: str) -> None:
    network, net = nets.quantized("leaky", "w4a4")
    assert (
        nets.lower(lowering, network, net).onnx_model
        == nets.lower(lowering, network, net).onnx_model
    )


@pytest.mark.parametrize("shape", ["leaky", "g_s"])
@pytest.mark.parametrize("lowering", LOWERED)
def test_the_artifact_says_what_it_is(lowering: str, shape: str) -> None:
    network, net = nets.quantized(shape, "w4a4")
    artifact = nets.lower(lowering, network, net)
    model = onnx.load_model_from_string(artifact.onnx_model)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert artifact.specification == metadata["crosscheck.specification"] == net.digest
    assert metadata["crosscheck.codec"] == "test/q0"
    assert metadata["crosscheck.precision"] == "w4a4"
    assert metadata["crosscheck.lowering"] == artifact.lowering == lowering
    bounds = dict(pair.split(":") for pair in metadata["crosscheck.bounds"].split())
    assert bounds == {layer.name: str(layer.bounds.max()) for layer in net.convolutions}
    assert artifact.integer
    assert artifact.input == net.input
    assert {f.name for f in model.functions} <= set(FUNCTIONS)
    named = [node.name for node in model.graph.node]
    assert all(named)
    assert len(set(named)) == len(named)


# What the CUDA provider of ONNX Runtime runs itself (its table of operators), integers included.
CUDA_NATIVE = {
    "Add", "Cast", "Concat", "CumSum", "Div", "Expand", "Gather", "GatherElements", "MatMulInteger", "Max", "Min",
    "Mul", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip


def inferred(lowering: str, shape: str, precision: str) -> tuple[onnx.GraphProto, dict[str, int]]:
    """The graph with its functions inlined, and the element type of every tensor."""
    network, net = nets.quantized(shape, precision)
    model = onnx.load_model_from_string(nets.lower(lowering, network, net, taps=True).onnx_model)
    inlined = onnx.inliner.inline_local_functions(model)
    graph = onnx.shape_inference.infer_shapes(inlined, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    return graph, types | {i.name: i.data_type for i in graph.initializer}


@pytest.mark.parametrize("precision", ["w8a8", "w12a12", "w16a16"])
@pytest.mark.parametrize("shape", ["leaky", "g_s"])
@pytest.mark.parametrize("lowering", ["mmi-u8u8", "mmi-s8s8"])
def test_no_float_is_in_the_integer_only_lowerings(
    lowering: str, shape: str, precision: str
) -> None:
    graph, types = inferred(lowering, shape, precision)
    made = {name for node in graph.node for name in node.output}
    assert made <= set(types)
    kinds = {onnx.TensorProto.DataType.Name(kind) for kind in types.values()}
    assert kinds <= {"INT64", "INT32", "UINT8", "INT8"}


@pytest.mark.parametrize("precision", ["w8a8", "w12a12", "w16a16"])
@pytest.mark.parametrize("shape", ["leaky", "g_s"])
def test_s8s8_uses_what_cuda_has(shape: str, precision: str) -> None:
    graph, types = inferred("mmi-s8s8", shape, precision)
    assert {node.op_type for node in graph.node} - {"Constant"} <= CUDA_NATIVE
    # No arithmetic on shapes, which ONNX Runtime would move to the CPU.
    shapes = {node.output[0] for node in graph.node if node.op_type == "Shape"}
    assert {node.op_type for node in graph.node if shapes & set(node.input)} == {"Reshape"}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            assert {types[name] for name in node.input[:2]} == {onnx.TensorProto.INT8}
        if node.op_type in ("Min", "Max", "Add", "Sub", "Mul", "Div"):
            assert types[node.input[0]] == onnx.TensorProto.INT32


@pytest.mark.parametrize("precision", ["w8a8", "w16a16"])
def test_u8s8_loads_where_ort_repairs_saturation(precision: str) -> None:
    """session.x64quantprecision refuses int8 weights that two products share."""
    network, net = nets.quantized("leaky", precision)
    artifact = nets.lower("mmi-u8s8", network, net)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    ready = ort.InferenceSession(artifact.onnx_model, options, providers=["CPUExecutionProvider"])
    what, x, want = nets.expected("leaky", precision)[-1]
    nets.assert_equal(want, nets.run(ready, x), what)


@pytest.mark.parametrize("precision", nets.PRECISIONS)
@pytest.mark.parametrize("shape", ["leaky", "g_s"])
def test_u8s7_survives_pair_saturation(shape: str, precision: str) -> None:
    """On the simulated pair unit of an AVX2 CPU without VNNI."""
    artifact = lowered("mmi-u8s7", shape, precision, taps=True)
    ready = PLATFORMS["dsp-pairsat"].open().load(artifact.onnx_model)
    for what, x, want in nets.expected(shape, precision):
        nets.assert_equal(want, dict(ready.run({artifact.input: x})), what)


def test_pair_saturation_changes_u8s8() -> None:
    x, want = specimens.crafted_symbols(), reference.run(CRAFTED, specimens.crafted_symbols())
    pair_unit = PLATFORMS["dsp-pairsat"].open()
    differs = {
        name: any(
            array.tobytes() != want[key].tobytes()
            for key, array in pair_unit.load(nets.lower(name, NETWORK, CRAFTED).onnx_model)
            .run({"z_symbols": x})
            .items()
        )
        for name in ("mmi-u8s8", "mmi-u8s7")
    }
    assert differs == {"mmi-u8s8": True, "mmi-u8s7": False}


@pytest.mark.parametrize("lowering", LOWERED)
def test_it_needs_an_integer_precision(lowering: str) -> None:
    with pytest.raises(UserError, match=f"lowering {lowering} of h_s needs an integer precision"):
        LOWERINGS[lowering].lower(Source(network=NETWORK))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 2}, "only stride 1 with same padding"),
        ({"padding": 0}, "only stride 1 with same padding"),
        ({"transposed": True, "stride": 2}, "enlarge by exactly 2"),
    ],
)
def test_a_geometry_it_does_not_know_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        nets.lower("mmi-u8u8", NETWORK, replace(CRAFTED, layers=(replace(LAYER, **change),)))


def test_a_network_may_end_in_a_transposed_convolution() -> None:
    last = replace(LAYER, transposed=True, stride=2, output_padding=1)
    net = replace(CRAFTED, layers=(last,))
    x = specimens.crafted_symbols()[:, :, :3, :2]
    got = nets.run(nets.session(nets.lower("mmi-u8u8", NETWORK, net)), x)
    nets.assert_equal(reference.run(net, x), got, "transposed")


@pytest.mark.parametrize("lowering", ["mmi-u8u8", "mmi-u8s8"])
def test_a_network_may_enlarge_by_three(lowering: str) -> None:
    rng = np.random.default_rng(4)

    def layer(name: str, out: int, **geometry: int) -> IntegerLayer:
        k = 3 if geometry["stride"] == 1 else 5
        weight = rng.integers(-127, 128, (out, 3, k, k)).astype(np.int32)
        like = np.ones(out, np.int64)
        rule = Requantization(
            bias=0 * like, multiplier=3 * like, shift=11 * like, low=0 * like, high=255 * like
        )
        low, high = (-128, 127) if name == "h_s.0" else (0, 255)
        bounds = np.abs(weight).reshape(out, -1).sum(axis=1).astype(np.int64) * 255
        return replace(
            LAYER, name=name, weight=weight, input_low=low, input_high=high, requantize=rule, bounds=bounds,
            padding=k // 2, **geometry,
        )  # fmt: skip

    up = {"transposed": True, "stride": 3, "output_padding": 2}
    same = {"transposed": False, "stride": 1, "output_padding": 0}
    layers = (layer("h_s.0", 3, **up), layer("h_s.2", 3, **up), layer("h_s.4", 4, **same))
    entry = Requantization(**{key: array[:3] for key, array in vars(CRAFTED.entry).items()})
    net = replace(CRAFTED, layers=layers, entry=entry)
    ready = nets.session(nets.lower(lowering, NETWORK, net, taps=True))
    for size in [(1, 1), (1, 2), (3, 2)]:
        x = rng.integers(-128, 128, (1, 3, *size), dtype=np.int32)
        nets.assert_equal(reference.run(net, x), nets.run(ready, x), str(size))


def test_lowerings_are_ranked() -> None:
    ranks = [lowering.rank for lowering in integer_lowerings()]
    assert ranks == sorted(set(ranks))
    assert all(lowering.exact_where for lowering in integer_lowerings())
    assert {lowering.realises for lowering in integer_lowerings()} == {"integer"}
