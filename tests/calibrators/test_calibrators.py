"""What every calibrator owes: ranges of every tensor, at the granularity asked for, that quantize; and one line for bad input."""

from dataclasses import replace

import numpy as np
import pytest

from harness import emulate
from harness.calibrate import activations, observe
from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, CHANNEL, TENSOR, Granularity, Problem
from harness.calibrators.findings import findings
from harness.calibrators.histogram import Collector, Histogram
from harness.calibrators.mse import Mse
from harness.calibrators.percentile import Percentile
from harness.calibrators.tf_enhanced import TfEnhanced
from harness.errors import UserError
from harness.network import Convolution, Gdn, Network
from harness.precision import Precision
from harness.roles import Kind, roles
from harness.specimens import M, N
from tests.calibrators.posed import (
    G_S,
    H_S,
    MIXED,
    PER_TENSOR,
    RULES,
    calibrated,
    pose_g_s,
    pose_h_s,
    symbols,
    with_relus,
)

BY_HISTOGRAM = ["mse", "percentile", "tf-enhanced"]


def names_of(network: Network) -> set[str]:
    return {network.input, *(layer.name for layer in network.layers)}


@pytest.mark.parametrize(
    ("precision", "granularity"),
    [
        ("w2a2", Granularity()),
        ("w4a4", PER_TENSOR),
        ("w4a4-o4", MIXED),
        ("w8a8", Granularity(weights=TENSOR)),
        ("w12a12", MIXED),
        ("w16a16", Granularity()),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_every_tensor_gets_a_range_and_the_network_quantizes(
    rule: str, precision: str, granularity: Granularity
) -> None:
    for problem in (
        pose_h_s(precision, granularity),
        pose_h_s(precision, granularity, network=with_relus(H_S)),
        pose_g_s(precision, granularity),
    ):
        found = calibrated(rule, problem)
        assert set(found.tensors) == names_of(problem.network)
        assert found.samples == len(problem.inputs)
        for r in found.tensors.values():
            assert (r.low <= r.high).all()
        net = problem.quantize(found, None)
        assert net.digest == problem.quantize(found, None).digest


@pytest.mark.parametrize("rule", RULES)
def test_granularity_is_what_was_asked_for(rule: str) -> None:
    channels = calibrated(rule, pose_h_s("w4a4-o4"))
    tensors = calibrated(rule, pose_h_s("w4a4-o4", PER_TENSOR))
    for role in roles(H_S, Precision.parse("w4a4-o4")):
        per_channel, per_tensor = channels[role.tensor], tensors[role.tensor]
        assert len(set(per_channel.high[role.channels].tolist())) > 1
        assert len(set(per_tensor.high[role.channels].tolist())) == 1
        assert len(set(per_tensor.low[role.channels].tolist())) == 1


@pytest.mark.parametrize("rule", RULES)
def test_weights_of_one_scale_a_tensor_have_one_step(rule: str) -> None:
    """Clips are shares of each channel's largest weight; times those they are one number."""
    found = calibrated(rule, pose_h_s("w4a4", PER_TENSOR))
    for convolution in H_S.convolutions:
        largest = np.abs(convolution.weight).reshape(len(convolution.bias), -1).max(axis=1)
        reach = found.clips[convolution.name] * largest
        assert reach == pytest.approx(np.full(len(reach), reach[0]), rel=1e-6)
    channels = calibrated(rule, pose_h_s("w4a4", Granularity(weights=CHANNEL)))
    if rule == "min-max":
        assert not channels.clips
        assert channels.precision == ""
    else:
        assert set(channels.clips) == {c.name for c in H_S.convolutions}
        assert channels.precision == "w4a4"
    for clips in channels.clips.values():
        assert clips.tolist() == clips.astype(np.float32).tolist()


def test_min_max_per_channel_is_what_is_observed() -> None:
    """The calibrations that ship are of this rule."""
    problem = pose_h_s()
    found, wanted = calibrated("min-max", problem), observe(H_S, problem.inputs)
    for name, r in wanted.tensors.items():
        assert found[name].low.tolist() == r.low.tolist()
        assert found[name].high.tolist() == r.high.tolist()
    assert problem.quantize(found, None).digest == problem.quantize(wanted, None).digest


def rows_of(values: np.ndarray, bins: int = 512) -> Histogram:
    collector = Collector(bins)
    collector.add(values)
    return collector.histogram()


@pytest.mark.parametrize(
    ("name", "rule"), [("mse", Mse()), ("percentile", Percentile()), ("tf-enhanced", TfEnhanced())]
)
@pytest.mark.parametrize("bits", [4, 8])
def test_a_calibration_is_the_rule_on_each_tensor(
    name: str, rule: Mse | Percentile | TfEnhanced, bits: int
) -> None:
    """Activations on all their values at once or by channel, batch by batch; weights on the float32 weights themselves."""
    for granularity in (Granularity(), MIXED):
        problem = pose_h_s(f"w{bits}a{bits}", granularity)
        found = calibrated(name, problem)
        for tensor in ("z_hat", "h_s.1", "h_s.3"):
            given = [each[tensor][0].reshape(N, -1) for each in activations(H_S, problem.inputs)]
            together = np.concatenate(given, axis=1).astype(np.float64)
            limits = np.minimum(together.min(axis=1), 0), np.maximum(together.max(axis=1), 0)
            collector = Collector(512, None if granularity is MIXED else limits)
            for values in given:
                collector.add(values if granularity is not MIXED else values.reshape(1, -1))
            histogram = collector.histogram()
            for channel in range(N):
                row = channel if granularity is not MIXED else 0
                low, high = found[tensor].low[channel], found[tensor].high[channel]
                if tensor == "z_hat":
                    step = np.float32(rule.symmetric(histogram, row, bits))
                    wanted = (
                        -float(step) * (2 ** (bits - 1) - 1),
                        float(step) * (2 ** (bits - 1) - 1),
                    )
                else:
                    delta, offset = rule.asymmetric(histogram, row, bits)
                    step = np.float32(delta)
                    wanted = float(step) * offset, float(step) * (offset + 2**bits - 1)
                assert (low, high) == wanted
        if granularity is MIXED:
            for convolution in H_S.convolutions:
                weights = convolution.weight.reshape(len(convolution.bias), -1)
                for channel, row in enumerate(weights):
                    step = float(np.float32(rule.symmetric(rows_of(row[None]), 0, bits)))
                    reach = step * (2 ** (bits - 1) - 1) / float(np.abs(row).max())
                    clip = found.clips[convolution.name][channel]
                    assert clip == pytest.approx(reach, rel=1e-6)


@pytest.mark.parametrize("rule", BY_HISTOGRAM)
def test_beyond_8_bits_the_name_says_that_it_is_not_aimets_histogram(rule: str) -> None:
    assert calibrated(rule, pose_h_s("w8a8")).calibrator == rule
    assert calibrated(rule, pose_h_s("w8a12")).calibrator == f"{rule}-4096bins"
    assert calibrated(rule, pose_h_s("w12a8")).calibrator == f"{rule}-4096bins"


def spoiled(network: Network, layer: str, channel: int, bias: float) -> Network:
    """A channel of `layer` whose weights are all zero."""
    layers = []
    for each in network.layers:
        if each.name == layer:
            assert isinstance(each, Convolution)
            weight, biases = each.weight.copy(), each.bias.copy()
            weight[channel], biases[channel] = 0, bias
            each = replace(each, weight=weight, bias=biases)  # noqa: PLW2901
        layers.append(each)
    return replace(network, layers=tuple(layers))


@pytest.mark.parametrize(
    ("precision", "granularity", "bias", "relu"),
    [
        ("w4a4", Granularity(), 0.0, False),
        ("w4a4", PER_TENSOR, 1.75, True),
        ("w8a8", PER_TENSOR, -1.0, True),
        ("w8a8", Granularity(), -1.0, False),
        ("w16a16", Granularity(), 1.75, False),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_dead_channels_leave_the_live_ones_alone(
    rule: str, precision: str, granularity: Granularity, bias: float, relu: bool
) -> None:
    """All-zero weights: activations that are constant, or zero throughout; the network still follows the float one."""
    network = with_relus(H_S) if relu else H_S
    network = spoiled(spoiled(network, "h_s.0", 3, bias), "h_s.4", M, bias)
    problem = pose_h_s(precision, granularity, network=network)
    found = calibrated(rule, problem)
    for r in found.tensors.values():
        assert np.isfinite(r.low).all()
        assert np.isfinite(r.high).all()
    for name, clips in found.clips.items():
        assert (clips > 0).all(), name
    net = problem.quantize(found, None)
    outputs = emulate.run(net, problem.symbols[0])
    mean = np.ldexp(outputs["means_hat"][0, 0].astype(float), -net.mean_fraction_bits)
    assert np.abs(mean - bias).max() <= 2.0**-net.mean_fraction_bits


@pytest.mark.parametrize("rule", RULES)
def test_a_network_that_sees_only_zeros_has_ranges_of_zero(rule: str) -> None:
    network = H_S
    for convolution in H_S.convolutions:
        for channel in range(len(convolution.bias)):
            network = spoiled(network, convolution.name, channel, 0.0)
    problem = pose_h_s("w4a4-o4", network=network, given=[np.zeros((1, N, 4, 4), np.int32)] * 2)
    found = calibrated(rule, problem)
    assert all((r.low == 0).all() and (r.high == 0).all() for r in found.tensors.values())
    problem.quantize(found, None)


@pytest.mark.parametrize("rule", BY_HISTOGRAM)
def test_a_channel_that_moves_late_or_far_from_zero_keeps_its_range(rule: str) -> None:
    """Of z, whole numbers: what a first batch's range would drop, or count in the wrong place."""
    first, second = np.zeros((2, 1, N, 6, 6), np.int32)
    first[0, :2], second[0, :2] = 1, 1
    second[0, 0, ::2], second[0, 1, ::2], second[0, 2, ::2] = 5, -5, 3
    first[0, 3], second[0, 3] = 60, 61
    problem = pose_h_s("w8a8", given=[first, second])
    r = calibrated(rule, problem)["z_hat"]
    assert r.high[:4] == pytest.approx([5, 5, 3, 61], rel=0.03)
    assert r.high[4:].tolist() == [0] * (N - 4)


@pytest.mark.parametrize("rule", BY_HISTOGRAM)
def test_behind_a_relu_nothing_is_below_zero(rule: str) -> None:
    for precision, granularity in (("w4a4", Granularity()), ("w12a12", PER_TENSOR)):
        found = calibrated(rule, pose_h_s(precision, granularity, network=with_relus(H_S)))
        assert (found["h_s.1"].low == 0).all()
        assert (found["h_s.3"].low == 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_what_has_16_bits_is_kept_whole(rule: str) -> None:
    """Outputs and what a GDN reads; the pixels' grid is fixed anyway."""
    problem = pose_g_s("w4a4")
    found, seen = calibrated(rule, problem), observe(G_S, problem.inputs)
    for role in roles(G_S, problem.precision):
        if role.kind in {Kind.INNER, Kind.PIXELS}:
            assert found[role.tensor].high.tolist() == seen[role.tensor].high.tolist()


def weight_error(problem: Problem, calibration: Calibration) -> float:
    """Squared error of the integer weights, in units of the float weights' squares."""
    off, power = 0.0, 0.0

    def observe_layer(folded, _, grid) -> None:  # type: ignore[no-untyped-def]
        nonlocal off, power
        levels = folded.levels
        step = grid.step[:, None, None, None]
        kept = np.clip(np.floor(folded.weight / step + 0.5), -levels, levels) * step
        off += float(((kept - folded.weight) ** 2).sum() / (folded.weight**2).sum())
        power += 1

    problem.quantize(calibration, observe_layer)
    return off / power


@pytest.mark.parametrize("granularity", [MIXED, PER_TENSOR], ids=str)
def test_at_four_bits_clipping_weights_leaves_less_error(granularity: Granularity) -> None:
    problem = pose_h_s("w4a8", granularity)
    errors = {rule: weight_error(problem, calibrated(rule, problem)) for rule in RULES}
    assert errors["mse"] < errors["min-max"]
    assert errors["mse"] <= errors["tf-enhanced"] * 1.02


def test_more_bits_never_clip_more() -> None:
    for rule in ("mse", "tf-enhanced"):
        reach = [
            calibrated(rule, pose_h_s(f"w{bits}a{bits}", PER_TENSOR))["h_s.1"].high[0]
            for bits in (2, 4, 8, 12)
        ]
        assert reach[0] <= reach[1] * 1.01
        assert reach[1] <= reach[2] * 1.01
        assert reach[2] <= reach[3] * 1.01


def test_what_is_found_is_told() -> None:
    problem = pose_h_s("w4a4", MIXED)
    found = {each.tensor: each for each in findings(problem, calibrated("mse", problem))}
    assert list(found) == [
        "z_hat", "h_s.1", "h_s.3", "scales_hat", "means_hat", "h_s.0.weight", "h_s.2.weight", "h_s.4.weight",
    ]  # fmt: skip
    assert [found[name].width for name in ("z_hat", "scales_hat", "means_hat")] == [
        "s4",
        "u16",
        "s16",
    ]
    assert found["h_s.1"].ranges == 1
    assert found["h_s.0.weight"].ranges == N
    assert 0 < found["h_s.1"].clipped < 0.05
    whole = findings(problem, calibrated("min-max", problem))
    assert [each.clipped for each in whole] == [0.0] * len(whole)
    assert findings(pose_g_s(), calibrated("min-max", pose_g_s()))[-5].width == "u8"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no calibration inputs for h_s"),
        ([np.zeros((1, N + 1, 4, 4))], "calibration input of shape"),
        ([np.zeros((N, 4, 4))], "calibration input of shape"),
    ],
)
def test_inputs_that_are_none_or_of_another_shape_are_one_line(
    rule: str, given: list[np.ndarray], message: str
) -> None:
    problem = replace(pose_h_s(), inputs=[each.astype(np.float32) for each in given])
    with pytest.raises(UserError, match=message) as caught:
        calibrated(rule, problem)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_no_numbers_are_one_line(rule: str, value: float) -> None:
    inputs = [each.astype(np.float32) for each in symbols(2)]
    inputs[1][0, 0, 0, 0] = value
    with pytest.raises(UserError, match="calibration input 1 of h_s contains NaN or infinity"):
        calibrated(rule, replace(pose_h_s(), inputs=inputs))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["beta", "gamma"])
def test_gdn_parameters_that_are_no_numbers_are_one_line(field: str, value: float) -> None:
    arrays = {"beta": np.ones(2, np.float32), "gamma": np.eye(2, dtype=np.float32)}
    arrays[field].flat[1] = value
    with pytest.raises(UserError, match=r"layer g_s\.1: its parameters contain NaN or infinity"):
        Gdn(name="g_s.1", inverse=True, **arrays)


def test_what_is_no_granularity_or_calibrator_is_one_line() -> None:
    with pytest.raises(UserError, match="no granularity 'block'; there are tensor and channel"):
        Granularity(weights="block")
    with pytest.raises(UserError, match="no calibrator named 'entropy'; known: "):
        CALIBRATORS["entropy"]


def test_every_calibrator_says_what_it_does_in_one_line() -> None:
    assert set(RULES) < {rule.name for rule in CALIBRATORS}
    for rule in CALIBRATORS:
        assert 20 < len(rule.summary) < 200
        assert "\n" not in rule.summary
