"""Quantization: proven bounds, refusals that name the layer, and one specification for one codec and ranges."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from harness import reference, specimens
from harness.calibrate import forward, observe
from harness.calibration import Calibration, ChannelRange
from harness.cdf import scale_thresholds
from harness.errors import UserError
from harness.grid import PRODUCT_LIMIT, split
from harness.network import Convolution, Gdn, LeakyRelu, Network, Relu
from harness.precision import Precision
from harness.quantize import quantize_h_s
from harness.specification import IntegerLayer, IntegerNet

CODEC = specimens.tiny_codec()
H_S = CODEC.networks["h_s"]
RANGES = observe(H_S, [specimens.tiny_hyper_latent()])
THRESHOLDS = scale_thresholds(np.linspace(0.125, 16, 64).astype(np.float32))


def integer(
    network: Network = H_S, ranges: Calibration = RANGES, precision: str = "w8a8"
) -> IntegerNet:
    medians = np.zeros(network.in_channels, np.int32)
    return quantize_h_s(
        network, ranges, Precision.parse(precision), medians=medians, scale_thresholds=THRESHOLDS
    )


def pointwise(
    weights: list[np.ndarray], biases: list[np.ndarray], *, slope: float = 0.0
) -> Network:
    """A chain of 1x1 convolutions with (leaky) rectifiers between them; sigma and means come out."""
    layers: list[object] = []
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        layers.append(
            Convolution(name=f"h_s.{2 * i}", weight=np.asarray(weight, np.float32)[:, :, None, None],
                        bias=np.asarray(bias, np.float32), stride=1, padding=0)
        )  # fmt: skip
        if i < len(weights) - 1:
            name = f"h_s.{2 * i + 1}"
            layers.append(LeakyRelu(name=name, slope=slope) if slope else Relu(name=name))
    return Network(
        name="h_s", input="z_hat", outputs=("scales_hat", "means_hat"), layers=tuple(layers)
    )  # type: ignore[arg-type]


def observed(network: Network, reach: float = 10) -> Calibration:
    z = np.random.default_rng(0).uniform(-reach, reach, (1, network.in_channels, 16, 16))
    return observe(network, [z.astype(np.float32)])


def random_pointwise(seed: int, slope: float) -> Network:
    rng = np.random.default_rng(seed)
    widths = [3, 4, 4]
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(widths)]
    return pointwise(weights, [rng.standard_normal(len(w)) for w in weights], slope=slope)


@pytest.mark.parametrize(
    "name",
    ["", "w8", "a8", "w8a8-qdq", "W8A8", "w1a8", "w8a1", "w17a8", "w8a17", "w0a0", "w-8a8", "w8a8 ", "w8.0a8",
     "fp32", "w8a8\n", "w" + "9" * 50 + "a8", "w08a8", "w8a08", "w٨a٨"],
)  # fmt: skip
def test_what_is_no_integer_precision_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no precision") as caught:
        Precision.parse(name)
    assert "\n" not in str(caught.value)


def test_precisions_are_read() -> None:
    assert Precision.parse("w2a16") == Precision(name="w2a16", weight_bits=2, activation_bits=16)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["weight", "bias"])
def test_weights_that_are_no_numbers_are_refused(field: str, value: float) -> None:
    arrays = {"weight": np.zeros((2, 3, 1, 1), np.float32), "bias": np.zeros(2, np.float32)}
    arrays[field].flat[1] = value
    with pytest.raises(UserError, match=r"layer h_s\.0: .* NaN or infinity"):
        Convolution(name="h_s.0", stride=1, padding=0, **arrays)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "w4a4", "w2a2", "w3a5"])
def test_bounds_are_proven(precision: str, slope: float) -> None:
    """No input, however chosen, takes an accumulator past its bound; the product keeps int32."""
    for seed in range(5):
        network = random_pointwise(seed, slope)
        net = integer(network, observed(network), precision)
        for layer in net.layers:
            corners = worst_inputs(layer)
            sums = np.abs(
                reference.convolution(corners, layer)[0] + layer.requantize.bias[:, None, None]
            )
            assert (sums.max(axis=(1, 2)) <= layer.bounds).all()
            assert (layer.bounds * layer.requantize.multiplier < PRODUCT_LIMIT).all()
            reach = np.maximum(-layer.requantize.low, layer.requantize.high) + 1
            assert (reach << (layer.requantize.shift + 1) <= 2**24).all()  # float32 carries it


def worst_inputs(layer: IntegerLayer) -> np.ndarray:
    """Every corner of the input's cube, and its centre: int64 [1, C, 1, 3^C]."""
    values = (layer.input_low, 0, layer.input_high)
    return np.array(list(product(values, repeat=layer.weight.shape[1])), np.int64).T[
        None, :, None, :
    ]


def test_bounds_are_reached() -> None:
    """A bound that nothing reaches would waste bits: the largest magnitude against the sign of the bias."""
    network = pointwise(
        [np.array([[1, 2, 3], [1, 1, 1], [4, 0, 1], [1, 1, 2]])], [np.array([-1, 0, -2, 0])]
    )
    (layer,) = integer(network, observed(network)).layers
    sums = np.abs(
        reference.convolution(worst_inputs(layer), layer)[0] + layer.requantize.bias[:, None, None]
    )
    assert sums.max(axis=(1, 2)).tolist() == layer.bounds.tolist()


def test_every_value_stays_in_its_clamp() -> None:
    """What a layer gives is what the next one was promised."""
    for slope in (0.0, 0.01):
        network = random_pointwise(7, slope)
        net = integer(network, observed(network))
        taps = reference.run(
            net, np.array([-(2**20), 2**20, 0, 127], np.int32).reshape(1, 1, 2, 2).repeat(3, 1)
        )
        assert net.layers[1].input_low <= taps["h_s.0"].min()
        assert taps["h_s.0"].max() <= net.layers[1].input_high
        assert taps["indexes"].min() >= 0
        assert taps["indexes"].max() <= 63


def test_a_dead_channel_keeps_its_bias() -> None:
    """All weights 0 and a bias far above them: the output is that bias, to a step of the fixed point."""
    bias = np.array([3.0, 0.5, -7.25, 2.5])
    network = pointwise([np.zeros((4, 3))], [bias])
    net = integer(network, observed(network))
    outputs = reference.run(net, np.full((1, 3, 1, 2), 9, np.int32))
    sigma = outputs["scales_hat"][0, :, 0, 0] / 2**net.sigma_fraction_bits
    means = outputs["means_hat"][0, :, 0, 0] / 2**net.mean_fraction_bits
    assert np.abs(sigma - bias[:2]).max() <= 2.0**-net.sigma_fraction_bits
    assert np.abs(means - bias[2:]).max() <= 2.0**-net.mean_fraction_bits


def test_a_channel_that_never_moves_is_no_division_by_zero() -> None:
    network = random_pointwise(3, 0.01)
    flat = {
        name: ChannelRange(low=0 * r.low, high=0 * r.high)
        for name, r in observed(network).tensors.items()
    }
    net = integer(network, Calibration(calibrator="min-max", samples=1, tensors=flat))
    assert (net.layers[0].bounds > 0).all()


def test_the_integers_follow_the_float_network() -> None:
    """Far from bit-equal, near enough to code with: a mistake in a scale or a phase would be far off."""
    net = integer()
    z = specimens.tiny_hyper_latent()
    wanted = list(forward(H_S, z).values())[-1].copy()
    outputs = reference.run(net, z.astype(np.int32))
    got = np.concatenate([
        np.ldexp(outputs["scales_hat"].astype(float), -net.sigma_fraction_bits),
        np.ldexp(outputs["means_hat"].astype(float), -net.mean_fraction_bits),
    ], axis=1)  # fmt: skip
    wanted[:, : specimens.M] = np.maximum(wanted[:, : specimens.M], 0)
    assert np.abs(got - wanted).mean() < 0.02 * np.abs(wanted).mean()


def test_the_same_integers_every_time() -> None:
    assert integer().digest == integer().digest


def test_the_digest_of_a_network_of_given_integers_is_pinned() -> None:
    """Streams carry this digest: the same integers must have it on every machine, for good."""
    assert (
        specimens.crafted_net().digest
        == "4b37909937b431407d381f42371db83d787b715704ac57d21e37bc9233b27da2"
    )


CRAFTED = specimens.crafted_net()
LAYER = CRAFTED.layers[0]


def nudged(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.flat[-1] += 1
    return changed


@pytest.mark.parametrize(
    "change",
    [
        *(lambda key=key: replace(CRAFTED, **{key: getattr(CRAFTED, key) + 1})
          for key in ("sigma_fraction_bits", "mean_fraction_bits")),
        lambda: replace(CRAFTED, thresholds=nudged(CRAFTED.thresholds)),
        lambda: replace(CRAFTED, outputs=("means_hat", "scales_hat")),
        *(lambda key=key: replace(CRAFTED, entry=replace(CRAFTED.entry, **{key: nudged(getattr(CRAFTED.entry, key))}))
          for key in ("bias", "multiplier", "shift", "low", "high")),
        *(lambda key=key: replace(CRAFTED, layers=(replace(LAYER, **{key: getattr(LAYER, key) + 1}),))
          for key in ("stride", "padding", "output_padding", "input_low", "input_high")),
        lambda: replace(CRAFTED, layers=(replace(LAYER, weight=nudged(LAYER.weight)),)),
        lambda: replace(CRAFTED, layers=(replace(LAYER, transposed=True),)),
        lambda: replace(CRAFTED, layers=(replace(LAYER, leaky=LAYER.requantize),)),
        lambda: replace(CRAFTED, layers=(LAYER, LAYER)),
    ],
)  # fmt: skip
def test_every_integer_is_in_the_digest(change: Callable[[], IntegerNet]) -> None:
    assert change().digest != CRAFTED.digest


@pytest.mark.parametrize("precision", ["w8a8", "w4a4"])
def test_a_broken_bound_names_layer_channel_and_number(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert integer(precision=precision).precision == precision
    monkeypatch.setattr("harness.grid.PRODUCT_LIMIT", 2**4)
    monkeypatch.setattr("harness.grid.RESCALES", 2)
    with pytest.raises(
        UserError, match=r"layer h_s\.\d+, channel \d+: .* may reach \d+, .* use fewer bits"
    ):
        integer(precision=precision)


def test_a_channel_that_breaks_its_bound_is_rescaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights get a larger step, and the bound then holds."""
    before = integer(precision="w12a12").convolutions[-1]
    limit = 1 << (int(before.bounds.max()).bit_length() - 4)
    monkeypatch.setattr("harness.grid.PRODUCT_LIMIT", limit)
    monkeypatch.setattr("harness.grid.WIDE_LIMIT_BITS", limit.bit_length() - 7)
    after = integer(precision="w12a12").convolutions[-1]
    assert after.bounds.max() < limit < before.bounds.max()
    assert np.abs(after.weight).max() < np.abs(before.weight).max()


def test_ranges_of_another_network_are_refused() -> None:
    other = CODEC.networks["g_s"]
    ranges = observe(other, [np.zeros((1, other.in_channels, 2, 2), np.float32)])
    with pytest.raises(UserError, match="the ranges are of another network"):
        integer(ranges=ranges)


def test_ranges_of_another_width_are_refused() -> None:
    tensors = {
        name: ChannelRange(low=r.low[:-1], high=r.high[:-1]) for name, r in RANGES.tensors.items()
    }
    with pytest.raises(UserError):
        integer(ranges=Calibration(calibrator="min-max", samples=1, tensors=tensors))


def test_a_layer_without_an_integer_rule_is_refused() -> None:
    n = H_S.in_channels
    gdn = Gdn(
        name="h_s.1", beta=np.ones(n, np.float32), gamma=np.eye(n, dtype=np.float32), inverse=False
    )
    network = replace(H_S, layers=(H_S.layers[0], gdn, *H_S.layers[2:]))
    with pytest.raises(UserError, match=r"layer h_s\.0: no integer rule for Gdn"):
        integer(network, RANGES)


def test_a_hidden_layer_may_have_no_rectifier() -> None:
    network = random_pointwise(4, 0.01)
    bare = replace(network, layers=network.convolutions)
    net = integer(bare, observed(bare))
    assert net.layers[0].leaky is None
    assert net.layers[0].requantize.low.max() < 0


@pytest.mark.parametrize("slope", [-0.1, 1.5, 1e-5])
def test_a_leaky_slope_that_max_cannot_make_is_refused(slope: float) -> None:
    """max(x, slope * x) is the rectifier only for slopes in 0..1, and 12 bits must hold the slope."""
    network = random_pointwise(2, slope)
    with pytest.raises(UserError, match=r"layer h_s\.0"):
        integer(network, observed(network))


@pytest.mark.parametrize("precision", ["w9a16", "w13a8", "w16a16"])
def test_no_byte_of_a_split_weight_is_the_least_int8(precision: str) -> None:
    """Two products of -128 and -128 leave 16 bits where a processor adds pairs there."""
    for layer in integer(precision=precision).convolutions:
        _, low = split(layer.weight)
        assert np.abs(layer.weight).max() > 127
        assert low.min() >= -127
