"""Small networks of every shape that the specification knows, edge inputs, and what the reference makes of them."""

from functools import cache

import numpy as np
import onnxruntime as ort

from harness import reference
from harness.calibrate import observe
from harness.cdf import scale_thresholds
from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.network import Convolution, Gdn, Layer, LeakyRelu, Network, Relu
from harness.precision import Precision
from harness.quantize import quantize_g_s, quantize_h_s
from harness.specification import IntegerNet

Arrays = dict[str, np.ndarray]

PRECISIONS = [
    "w2a2", "w4a4", "w8a8", "w8a4", "w4a8", "w9a9", "w12a12", "w8a16", "w16a8", "w16a16", "w13a10", "w8a12", "w12a8",
]  # fmt: skip
# Slope of the rectifiers (0: ReLU) and the outputs; g_s has inverse GDNs.
SHAPES = {
    "relu": (0.0, ("scales_hat",)),
    "leaky": (0.01, ("scales_hat", "means_hat")),
    "very-leaky": (0.3, ("scales_hat",)),
    "g_s": None,
}
SIZES = {"h_s": [(1, 1), (1, 5), (3, 2)], "g_s": [(1, 1), (2, 3)]}
CHANNELS = 3
THRESHOLDS = scale_thresholds(np.linspace(0.125, 16, 64).astype(np.float32))
FRACTION_BITS = 6


def _convolution(name: str, shape: tuple[int, int, int], *, up: bool, seed: int) -> Convolution:
    c_in, c_out, k = shape
    rng = np.random.default_rng(seed)
    return Convolution(
        name=name, stride=1 + up, padding=k // 2, transposed=up, output_padding=int(up),
        weight=(rng.standard_normal((c_out, c_in, k, k)) / k).astype(np.float32),
        bias=rng.standard_normal(c_out).astype(np.float32),
    )  # fmt: skip


def h_s(slope: float, outputs: tuple[str, ...]) -> Network:
    """Two transposed 5x5 convolutions and a 3x3 one."""
    layers: list[Layer] = []
    widths = [CHANNELS, 4, 3, 2 * len(outputs)]
    for i in range(3):
        shape = (widths[i], widths[i + 1], 5 if i < 2 else 3)
        layers.append(_convolution(f"h_s.{2 * i}", shape, up=i < 2, seed=i))
        name = f"h_s.{2 * i + 1}"
        if i < 2:
            layers.append(LeakyRelu(name=name, slope=slope) if slope else Relu(name=name))
    return Network(name="h_s", input="z_hat", outputs=outputs, layers=tuple(layers))


def g_s() -> Network:
    """Four transposed 5x5 convolutions with inverse GDNs between."""
    layers: list[Layer] = []
    rng = np.random.default_rng(9)
    widths = [CHANNELS, 4, 3, 2, 3]
    for i in range(4):
        layers.append(
            _convolution(f"g_s.{2 * i}", (widths[i], widths[i + 1], 5), up=True, seed=i + 5)
        )
        if i < 3:
            c = widths[i + 1]
            beta, gamma = 0.5 + rng.random(c), rng.random((c, c)) / 8
            layers.append(
                Gdn(name=f"g_s.{2 * i + 1}", beta=beta.astype(np.float32), gamma=gamma.astype(np.float32), inverse=True)
            )  # fmt: skip
    return Network(name="g_s", input="y_hat", outputs=("x_hat",), layers=tuple(layers))


@cache
def quantized(shape: str, precision: str) -> tuple[Network, IntegerNet]:
    bits, rng, wanted = Precision.parse(precision), np.random.default_rng(6), SHAPES[shape]
    if wanted is None:
        network = g_s()
        y = rng.normal(size=(1, CHANNELS, 4, 5)).astype(np.float32) * 3
        ranges = observe(network, [y])
        return network, quantize_g_s(network, ranges, bits, fraction_bits=FRACTION_BITS)
    network = h_s(*wanted)
    ranges = observe(network, [rng.uniform(-6, 6, (1, CHANNELS, 6, 6)).astype(np.float32)])
    medians = np.array([-3, 0, 90], np.int32)
    return network, quantize_h_s(
        network, ranges, bits, medians=medians, scale_thresholds=THRESHOLDS
    )


def inputs(size: tuple[int, int], unit: int) -> Arrays:
    """Edges first, then one-hot, then random; `unit` is a typical magnitude."""
    shape, rng = (1, CHANNELS, *size), np.random.default_rng(7)
    one_hot = np.zeros(shape, np.int32)
    one_hot[0, -1, size[0] // 2, size[1] // 2] = 5 * unit
    constant = {
        "zero": 0, "one": 1, "minus-one": -1, "all-low": -128 * unit, "all-high": 127 * unit,
        "limit": 2**15 - 1, "beyond": 2**22, "int32-min": -(2**31), "int32-max": 2**31 - 1,
    }  # fmt: skip
    return {
        **{name: np.full(shape, value, np.int32) for name, value in constant.items()},
        "one-hot": one_hot,
        "alternating": np.where(np.indices(shape).sum(axis=0) % 2, 127, -128).astype(np.int32)
        * np.int32(unit),
        "small": rng.integers(-3 * unit, 3 * unit + 1, shape, dtype=np.int32),
        "medium": rng.integers(-20 * unit, 20 * unit + 1, shape, dtype=np.int32),
        "wild": rng.integers(-(2**31), 2**31, shape).astype(np.int32),
    }


@cache
def expected(shape: str, precision: str) -> tuple[tuple[str, np.ndarray, Arrays], ...]:
    """Name, input and every tap and output of the reference, for each size and input."""
    _, net = quantized(shape, precision)
    unit = 1 if net.input == "z_symbols" else 2**FRACTION_BITS
    return tuple(
        (f"{name} {size}", x, reference.run(net, x))
        for size in SIZES[net.name]
        for name, x in inputs(size, unit).items()
    )


def lower(
    lowering: str, network: Network, net: IntegerNet | None, *, taps: bool = False
) -> Artifact:
    return LOWERINGS[lowering].lower(
        Source(network=network, codec="test/q0", integer=net), taps=taps
    )


def session(artifact: Artifact, *, optimise: bool = True) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(artifact.onnx_model, options, providers=["CPUExecutionProvider"])


def run(ready: ort.InferenceSession, x: np.ndarray) -> Arrays:
    names = [output.name for output in ready.get_outputs()]
    return dict(zip(names, ready.run(names, {ready.get_inputs()[0].name: x}), strict=True))


def assert_equal(want: Arrays, got: Arrays, what: str) -> None:
    """Every tensor of `got`; taps are rows [pixels, channels], a picture is uint8."""
    assert got
    for name, array in got.items():
        one = want[name]
        if array.ndim == 2:
            one = one.transpose(0, 2, 3, 1).reshape(-1, one.shape[1])
        one = one.astype(np.uint8 if name == "picture" else np.int32)
        assert (one.dtype, one.shape) == (array.dtype, array.shape), f"{name} of {what}"
        assert np.ascontiguousarray(one).tobytes() == array.tobytes(), f"{name} of {what}"
