"""The integer lowering equals the reference, bit for bit, whatever goes in; and says what it cannot carry."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest

from harness import reference, specimens
from harness.calibrate import observe
from harness.cdf import scale_thresholds
from harness.errors import UserError
from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.network import Convolution, Layer, LeakyRelu, Network, Relu
from harness.quantize import quantize
from harness.specification import IntegerLayer, IntegerNet, Precision, Requantization

THRESHOLDS = scale_thresholds(np.linspace(0.125, 16, 64).astype(np.float32))
N, M = 3, 2
SIZES = [(1, 1), (1, 7), (5, 3)]
NETWORK = specimens.tiny_codec().networks["h_s"]


def network(slope: float, outputs: tuple[str, ...]) -> Network:
    """h_s in small: two transposed 5x5 convolutions and a 3x3 one; ReLU if the slope is 0."""
    rng = np.random.default_rng(5)
    layers: list[Layer] = []
    for i, (a, b) in enumerate([(N, 4), (4, 3), (3, M * len(outputs))]):
        up, k = i < 2, 5 if i < 2 else 3
        weight, bias = rng.standard_normal((b, a, k, k)) / k, rng.standard_normal(b)
        layers.append(
            Convolution(name=f"h_s.{2 * i}", weight=weight.astype(np.float32), bias=bias.astype(np.float32),
                        stride=1 + up, padding=k // 2, transposed=up, output_padding=int(up))
        )  # fmt: skip
        if up:
            name = f"h_s.{2 * i + 1}"
            layers.append(LeakyRelu(name=name, slope=slope) if slope else Relu(name=name))
    return Network(name="h_s", input="z_hat", outputs=outputs, layers=tuple(layers))


def quantized(slope: float, outputs: tuple[str, ...], precision: str) -> IntegerNet:
    net = network(slope, outputs)
    z = np.random.default_rng(6).uniform(-6, 6, (1, N, 6, 6)).astype(np.float32)
    return quantize(net, observe(net, [z]), Precision.parse(precision), medians=np.array([-3, 0, 90], np.int32),
                    scale_thresholds=THRESHOLDS)  # fmt: skip


def inputs(channels: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Edges first, then one-hot, then random."""
    shape, rng = (1, channels, *size), np.random.default_rng(7)
    one_hot = np.zeros(shape, np.int32)
    one_hot[0, -1, size[0] // 2, size[1] // 2] = 5
    constant = {
        "zero": 0, "all-min": -128, "all-max": 127, "symbol-min": -(2**31), "symbol-max": 2**31 - 1, "one": 1,
        "minus-one": -1,
    }  # fmt: skip
    return {
        **{name: np.full(shape, value, np.int32) for name, value in constant.items()},
        "one-hot": one_hot,
        "alternating": np.where(np.indices(shape).sum(axis=0) % 2, 127, -128).astype(np.int32),
        "small": rng.integers(-3, 4, shape).astype(np.int32),
        "random": rng.integers(-128, 128, shape).astype(np.int32),
        "wild": rng.integers(-(2**31), 2**31, shape).astype(np.int32),
    }


def lower(net: IntegerNet, *, taps: bool = False) -> Artifact:
    return LOWERINGS["mmi-u8u8"].lower(Source(network=NETWORK, integer=net), taps=taps)


def session(artifact: Artifact) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(artifact.onnx_model, options, providers=["CPUExecutionProvider"])


def run(ready: ort.InferenceSession, symbols: np.ndarray) -> dict[str, np.ndarray]:
    names = [output.name for output in ready.get_outputs()]
    return dict(zip(names, ready.run(names, {"z_symbols": symbols}), strict=True))


def assert_equal(want: np.ndarray, got: np.ndarray, what: str) -> None:
    assert (want.dtype, want.shape, want.tobytes()) == (got.dtype, got.shape, got.tobytes()), what


@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "w2a2"])
@pytest.mark.parametrize(
    "outputs", [("scales_hat",), ("scales_hat", "means_hat")], ids=["scales", "means too"]
)
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3], ids=["relu", "leaky", "very leaky"])
def test_it_equals_the_reference(slope: float, outputs: tuple[str, ...], precision: str) -> None:
    net = quantized(slope, outputs, precision)
    plain, tapped = lower(net), lower(net, taps=True)
    sessions = session(plain), session(tapped)
    assert plain.outputs == (*outputs, "indexes")
    for size in SIZES:
        for name, symbols in inputs(N, size).items():
            want = reference.run(net, symbols)
            results = run(sessions[0], symbols), run(sessions[1], symbols)
            assert list(results[0]) == list(plain.outputs)
            assert list(results[1]) == list(want)
            for key, array in want.items():
                for got in (result[key] for result in results if key in result):
                    c = array.shape[1]
                    rows = array if got.ndim == 4 else array.transpose(0, 2, 3, 1).reshape(-1, c)
                    assert_equal(rows, got, f"{key} of {name} {size}")


def test_it_equals_the_reference_where_wrong_arithmetic_shows() -> None:
    net, symbols = specimens.crafted_net(), specimens.crafted_symbols()
    got = run(session(lower(net)), symbols)
    for key, array in got.items():
        assert_equal(reference.run(net, symbols)[key], array, key)


RULES = [
    (multiplier, shift, bias)
    for shift in (1, 2, 3, 8, 13, 21, 29)
    for multiplier in (1, 2, 3, 127, 255, 256)
    for bias in (0, 1, -1, 1000, -1000)
]


def test_requantize_is_exact_in_the_graph() -> None:
    """Every int8 through every rule: floor(x + 1/2) by exact fractions, ties and signs and clamps."""
    multiplier, shift, bias = (
        np.array(column * 2, np.int32) for column in zip(*RULES, strict=True)
    )
    channels, signed = len(multiplier), np.arange(len(multiplier)) >= len(RULES)
    low = np.where(signed, -np.minimum(2**15, 1200 * multiplier // 2**shift + 1), 0)
    high = np.where(signed, 2**15 - 1, 2**16 - 1)
    by = Requantization(
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        low=low.astype(np.int32),
        high=high.astype(np.int32),
    )
    one = np.ones(1, np.int32)
    net = IntegerNet(
        name="h_s", precision="w8a8", outputs=("scales_hat", "means_hat"),
        entry=Requantization(bias=0 * one, multiplier=one, shift=8 * one, low=-128 * one, high=127 * one),
        layers=(IntegerLayer(name="h_s.0", weight=np.ones((channels, 1, 1, 1), np.int32), stride=1, padding=0,
                             transposed=False, output_padding=0, input_low=-128, input_high=127, requantize=by,
                             leaky=None, bounds=128 + np.abs(bias).astype(np.int64)),),
        sigma_fraction_bits=0, mean_fraction_bits=0, thresholds=np.arange(63, dtype=np.int64),
    )  # fmt: skip
    every = np.arange(-128, 128, dtype=np.int32).reshape(1, 1, 16, 16)
    outputs = run(session(lower(net)), every)
    got = np.concatenate([outputs["scales_hat"], outputs["means_hat"]], axis=1)[0].reshape(
        channels, -1
    )
    for c in range(channels):
        values = [
            math.floor(
                Fraction((x + int(bias[c])) * int(multiplier[c]), 2 ** int(shift[c]))
                + Fraction(1, 2)
            )
            for x in range(-128, 128)
        ]
        assert got[c].tolist() == [min(max(v, int(low[c])), int(high[c])) for v in values], c


def test_equal_networks_give_equal_bytes() -> None:
    net = quantized(0.01, ("scales_hat", "means_hat"), "w8a8")
    assert lower(net).onnx_model == lower(net).onnx_model


def test_the_artifact_says_what_it_is() -> None:
    net = quantized(0.01, ("scales_hat", "means_hat"), "w8a8")
    artifact = lower(net)
    model = onnx.load_model_from_string(artifact.onnx_model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert artifact.specification == metadata["crosscheck.specification"] == net.digest
    assert artifact.integer
    assert artifact.input == "z_symbols"
    assert [f.name for f in model.functions] == ["Requantize"]


def test_no_float_is_in_the_graph() -> None:
    model = onnx.load_model_from_string(
        lower(quantized(0.01, ("scales_hat", "means_hat"), "w8a8"), taps=True).onnx_model
    )
    inferred = onnx.shape_inference.infer_shapes(
        onnx.inliner.inline_local_functions(model), strict_mode=True
    )
    floats = {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    }
    graph = inferred.graph
    typed = [*graph.value_info, *graph.input, *graph.output]
    assert len(graph.value_info) > 20
    assert [v.name for v in typed if v.type.tensor_type.elem_type in floats] == []
    assert [i.name for i in graph.initializer if i.data_type in floats] == []


def test_it_needs_an_integer_precision() -> None:
    with pytest.raises(UserError, match="needs an integer precision"):
        LOWERINGS["mmi-u8u8"].lower(Source(network=NETWORK))


@pytest.mark.parametrize("precision", ["w9a8", "w8a9"])
def test_more_than_8_bits_are_refused(precision: str) -> None:
    with pytest.raises(UserError, match=r"at most 8 bits; h_s\.\d"):
        lower(quantized(0.0, ("scales_hat",), precision))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 2}, "only stride 1 with same padding"),
        ({"padding": 0}, "only stride 1 with same padding"),
        ({"transposed": True, "stride": 2}, "enlarge by exactly 2"),
        (
            {"transposed": True, "stride": 2, "output_padding": 1},
            "ends in a transposed convolution",
        ),
    ],
)
def test_a_geometry_it_does_not_know_is_refused(change: dict[str, int], message: str) -> None:
    net = specimens.crafted_net()
    with pytest.raises(UserError, match=message):
        lower(replace(net, layers=(replace(net.layers[0], **change),)))
