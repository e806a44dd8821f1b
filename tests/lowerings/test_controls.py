"""The float controls are what they say: valid ONNX, the right function, and made of float rescaling."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from harness import specimens
from harness.calibrate import forward, observe
from harness.errors import UserError
from harness.lowerings.base import LOWERINGS, Artifact, Source, default_lowering
from harness.network import Abs, Convolution, Gdn, Layer, LeakyRelu, Network, Relu

CODEC = specimens.tiny_codec()
H_S = CODEC.networks["h_s"]
RANGES = observe(H_S, [specimens.tiny_hyper_latent()])
CONTROLS = ["float32", "qdq", "qoperator"]


def lower(name: str, network: Network = H_S, *, taps: bool = False) -> Artifact:
    ranges = RANGES if network is H_S else None
    return LOWERINGS[name].lower(Source(network=network, ranges=ranges), taps=taps)


def run(artifact: Artifact, x: np.ndarray) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    ready = ort.InferenceSession(artifact.onnx_model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in ready.get_outputs()]
    return dict(zip(names, ready.run(names, {artifact.input: x}), strict=True))


def whole(*, transposed: bool, layer: Layer) -> Network:
    """A network of small whole numbers: float32 holds every sum exactly, whatever its order."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-3, 4, (4, 3, 5, 5)).astype(np.float32)
    bias = rng.integers(-3, 4, 4).astype(np.float32)
    first = Convolution(name="n.0", weight=weight, bias=bias, stride=2, padding=2, transposed=transposed,
                        output_padding=int(transposed))  # fmt: skip
    last = Convolution(
        name="n.2", weight=weight[:2, [0, 1, 2, 0], 1:4, 1:4], bias=bias[:2], stride=1, padding=1
    )
    return Network(name="n", input="x", outputs=("a", "b"), layers=(first, layer, last))


@pytest.mark.parametrize("transposed", [False, True], ids=["direct", "transposed"])
@pytest.mark.parametrize(
    "layer",
    [
        Relu(name="n.1"), LeakyRelu(name="n.1", slope=0.5), Abs(name="n.1"),
        # sqrt(4) = 2 is exact, so is dividing by it.
        Gdn(name="n.1", beta=np.full(4, 4, np.float32), gamma=np.zeros((4, 4), np.float32), inverse=False),
        Gdn(name="n.1", beta=np.full(4, 4, np.float32), gamma=np.zeros((4, 4), np.float32), inverse=True),
    ],
    ids=["relu", "leaky", "abs", "gdn", "igdn"],
)  # fmt: skip
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 4)])
def test_float32_is_the_network_where_floats_are_exact(
    layer: Layer, transposed: bool, size: tuple[int, int]
) -> None:
    network = whole(transposed=transposed, layer=layer)
    x = np.random.default_rng(4).integers(-4, 5, (1, 3, *size)).astype(np.float32)
    want = forward(network, x)
    got = run(lower("float32", network, taps=True), x)
    assert list(got) == ["n.0", "n.1", "a", "b"]
    for name in ("n.0", "n.1"):
        assert got[name].tolist() == want[name].tolist()
    assert np.concatenate([got["a"], got["b"]], axis=1).tolist() == want["n.2"].tolist()


def test_gamma_mixes_the_channels_that_it_should() -> None:
    """The norm beta + gamma x^2 of whole squares: 3^2 + 4^2 = 5^2, with the mixing matrix not its own transpose."""
    gdn = Gdn(
        name="n.1",
        beta=np.array([9, 1], np.float32),
        gamma=np.array([[0, 1], [0, 0]], np.float32),
        inverse=False,
    )
    eye = np.eye(2, dtype=np.float32)[:, :, None, None]
    first = Convolution(name="n.0", weight=eye, bias=np.zeros(2, np.float32), stride=1, padding=0)
    network = Network(name="n", input="x", outputs=("y",), layers=(first, gdn))
    x = np.array([10, 4], np.float32).reshape(1, 2, 1, 1)
    assert run(lower("float32", network), x)["y"].ravel().tolist() == [2, 4]
    assert forward(network, x)["n.1"].ravel().tolist() == [2, 4]


@pytest.mark.parametrize("name", ["g_a", "h_a", "h_s", "g_s"])
def test_float32_of_every_network_is_valid_and_named(name: str) -> None:
    network = CODEC.networks[name]
    artifact = lower("float32", network)
    onnx.checker.check_model(onnx.load_model_from_string(artifact.onnx_model), full_check=True)
    x = np.zeros((1, network.in_channels, 64, 64), np.float32)
    got = run(artifact, x)
    assert tuple(got) == artifact.outputs == network.outputs
    want = list(forward(network, x).values())[-1]
    assert np.concatenate(list(got.values()), axis=1).shape == want.shape
    assert (artifact.input, artifact.integer) == (network.input, False)


def test_every_weight_is_in_the_specification_of_float32() -> None:
    made = {lower("float32").specification}
    for layer in H_S.convolutions:
        for field in ("weight", "bias"):
            array = getattr(layer, field).copy()
            array.flat[0] = np.nextafter(array.flat[0], np.float32(9))
            changed = Convolution(**{**vars(layer), field: array})
            layers = tuple(changed if item is layer else item for item in H_S.layers)
            network = Network(name="h_s", input="z_hat", outputs=H_S.outputs, layers=layers)
            made.add(lower("float32", network).specification)
    assert len(made) == 1 + 2 * len(H_S.convolutions)


def test_qoperator_is_a_control_that_rescales_in_float() -> None:
    """Its quantizer knows no transposed convolution: those stay in float, and the summary says so."""
    artifact = lower("qoperator")
    model = onnx.load_model_from_string(artifact.onnx_model)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    direct = [layer for layer in H_S.convolutions if not layer.transposed]
    assert operators.count("QLinearConv") == len(direct) > 0
    assert operators.count("ConvTranspose") == len(H_S.convolutions) - len(direct)
    assert "transposed convolutions in float" in LOWERINGS["qoperator"].summary
    assert not artifact.integer


def test_qdq_is_a_control_that_rescales_in_float() -> None:
    artifact = lower("qdq")
    model = onnx.load_model_from_string(artifact.onnx_model)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("DequantizeLinear") >= 2 * len(H_S.convolutions)
    assert operators.count("QuantizeLinear") >= len(H_S.convolutions)
    types = {initializer.data_type for initializer in model.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} <= types
    assert not artifact.integer


@pytest.mark.parametrize("name", ["qdq", "qoperator"])
def test_a_control_computes_about_the_same_network(name: str) -> None:
    """Loose on purpose: a control whose scales were wrong would prove nothing."""
    z = specimens.tiny_hyper_latent()
    got = run(lower(name), z)
    assert tuple(got) == H_S.outputs
    want = list(forward(H_S, z).values())[-1]
    found = np.concatenate(list(got.values()), axis=1)
    assert found.shape == want.shape
    assert found.tolist() != want.tolist()
    assert np.abs(found - want).mean() < 0.05 * np.abs(want).mean()


@pytest.mark.parametrize("name", ["qdq", "qoperator"])
def test_a_control_needs_ranges_of_this_network(name: str) -> None:
    with pytest.raises(UserError, match=f"lowering {name} of h_s needs calibrated ranges"):
        LOWERINGS[name].lower(Source(network=H_S))
    with pytest.raises(UserError, match="the ranges are of another network"):
        LOWERINGS[name].lower(Source(network=CODEC.networks["g_s"], ranges=RANGES))


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_says_what_it_is(name: str) -> None:
    source = Source(network=H_S, codec="test/q0", ranges=RANGES)
    model = onnx.load_model_from_string(LOWERINGS[name].lower(source).onnx_model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["crosscheck.codec"] == "test/q0"
    assert metadata["crosscheck.network"] == "h_s"
    assert metadata["crosscheck.lowering"] == name
    assert metadata["crosscheck.precision"] == LOWERINGS[name].realises


@pytest.mark.parametrize("name", LOWERINGS.names())
def test_every_lowering_is_described(name: str) -> None:
    assert LOWERINGS[name].summary
    assert LOWERINGS[name].realises in ("fp32", "w8a8-qdq", "w8a8-qoperator", "integer")


@pytest.mark.parametrize("name", CONTROLS)
def test_equal_networks_give_equal_bytes(name: str) -> None:
    assert lower(name).sha256 == lower(name).sha256


@pytest.mark.parametrize(
    ("precision", "lowering"),
    [("fp32", "float32"), ("w8a8-qdq", "qdq"), ("w8a8-qoperator", "qoperator"), ("w8a8", "mmi-u8u8"),
     ("w16a16", "mmi-u8u8"), ("mixed-mine", "mmi-u8u8")],
)  # fmt: skip
def test_every_precision_has_a_lowering(precision: str, lowering: str) -> None:
    assert default_lowering(precision) == lowering
    realised = LOWERINGS[lowering].realises
    assert realised == (precision if lowering in CONTROLS else "integer")
