"""The simulated DSP: exact where it should be, each negative control caught where it should be."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import inliner

from harness.dsp.rounding import RULES
from harness.errors import Unsupported
from harness.lowerings.base import GraphBuilder
from harness.lowerings.functions import FUNCTIONS
from harness.lowerings.requantize import activate_u8, requantize
from harness.platforms.base import PLATFORMS, WITH_WARP
from harness.platforms.hosts import LOCAL
from harness.specification import Requantization
from harness.warp.int32_nodes import rounding_shift, shifted

DSPS = [p.name for p in PLATFORMS if p.name.startswith("dsp-") and p.host is LOCAL]
EXACT = ["dsp-exact32", "dsp-single-rounding"]
ACCUMULATORS = ["dsp-acc16-wrap", "dsp-acc16-sat", "dsp-pairsat"]
ROUNDINGS = [
    "dsp-half-even",
    "dsp-half-away",
    "dsp-floor",
    "dsp-double-rounding",
    "dsp-float32-rescale",
]


def run(name, net, activations):
    return PLATFORMS[name].open().load(net.artifact()).run({"x": activations})


def differing(got, expected):
    return [name for name, want in expected.items() if got[name].tobytes() != want.tobytes()]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("magnitude", [1, 64, 127])
def test_exact_profiles_equal_the_reference(name, magnitude, small_net, activations):
    net = small_net(magnitude)
    expected = net.reference(activations)
    got = run(name, net, activations)
    assert list(got) == list(expected)
    assert [got[n].dtype for n in got] == [expected[n].dtype for n in expected]
    assert differing(got, expected) == []


@pytest.mark.parametrize("name", ACCUMULATORS)
def test_short_accumulators_differ_from_the_accumulator_on(name, small_net, activations):
    net = small_net(127)
    expected = net.reference(activations)
    assert differing(run(name, net, activations), expected)[0] == "accumulator"


@pytest.mark.parametrize("name", [*ACCUMULATORS, "dsp-acc24-wrap"])
def test_short_accumulators_agree_where_the_bound_holds(name, small_net, activations):
    net = small_net(5)  # 24 products of at most 255 * 5 are below 2^15
    assert differing(run(name, net, activations), net.reference(activations)) == []


@pytest.mark.parametrize("name", ROUNDINGS)
def test_wrong_roundings_differ_after_equal_accumulators(name, small_net, activations):
    net = small_net(2)  # small sums: not all are clamped
    session = PLATFORMS[name].open().load(net.artifact())
    first = set()
    for step in range(40):
        x = activations + np.uint8(step)
        first |= set(differing(session.run({"x": x}), net.reference(x))[:1])
    assert first == {"hidden"}


def requantizing(function: str) -> tuple[bytes, Requantization, Requantization | None]:
    """One call of one function as a graph, on rules with ties, double ties and multipliers, and those rules."""
    like = np.ones(4, np.int64)
    multiplier, shift, bias = (
        np.array([1, 1, 97, 255]),
        np.array([1, 3, 8, 9]),
        np.array([0, 1, -9, 40]),
    )
    low, high = (-128, 127) if function.startswith("RequantizeLeaky") else (-100, 155)
    rule = Requantization(
        bias=bias, multiplier=multiplier, shift=shift, low=low * like, high=high * like
    )
    leaky, bounds = None, like << 21
    if function == "RequantizeLeakyU8":
        rule = replace(rule, low=-12900 * like)
        leaky = Requantization(
            bias=0 * like, multiplier=41 * like, shift=12 * like, low=low * like, high=high * like
        )
    graph = GraphBuilder(name="one")
    if function.endswith("U8"):
        made = activate_u8(graph, "n", "n", "x", rule, leaky, bounds, low)
    else:
        made = requantize(graph, "n", "n", "x", rule, bounds, floats=function.endswith("F32"))
    assert [node.op_type for node in graph.nodes] == [function]
    graph.node("Identity", [made], "y")
    kind = onnx.TensorProto.UINT8 if function.endswith("U8") else onnx.TensorProto.INT32
    value = onnx.helper.make_tensor_value_info
    model = graph.model(
        inputs=[value("x", onnx.TensorProto.INT32, ["p", 4])],
        outputs=[value("y", kind, ["p", 4])],
        metadata={},
    )
    return model, rule, leaky


def by_rule(rounding, x, rule):
    rounded = RULES[rounding](x + rule.bias, rule.multiplier, rule.shift)
    return np.clip(rounded, rule.low, rule.high)


@pytest.mark.parametrize("function", list(FUNCTIONS))
@pytest.mark.parametrize("name", [*EXACT, *ROUNDINGS])
def test_every_requantizing_function_is_rounded_as_the_profile_says(name, function):
    """The body of the artifact does not matter: the simulated DSP reads its integers."""
    model, rule, leaky = requantizing(function)
    rounding = PLATFORMS[name].profile.rounding
    x = np.arange(-3000, 3000, dtype=np.int32)[:, None] * np.ones((1, 4), np.int32)
    want = by_rule(rounding, x.astype(np.int64), rule)
    exact = by_rule("half-up", x.astype(np.int64), rule)
    if leaky is not None:
        want, exact = (
            np.maximum(r, by_rule(n, r, leaky)) for r, n in ((want, rounding), (exact, "half-up"))
        )
    base = rule.low if leaky is None else leaky.low
    offset = base if function.endswith("U8") else 0
    got = PLATFORMS[name].open().load(model).run({"x": x})["y"]
    assert (got.astype(np.int64) + offset).tolist() == want.tolist()
    assert (want.tolist() == exact.tolist()) == (name in EXACT)


@pytest.mark.parametrize("name", DSPS)
def test_a_rounding_shift_is_rounded_by_the_profile(name):
    graph = GraphBuilder(name="g", functions=[rounding_shift()])
    shifted(graph, "x", 4, "y")
    x = np.arange(600, dtype=np.int32)
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.INT32, [600])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [600])
    model = graph.model(inputs=[info], outputs=[out], metadata={})
    profile = PLATFORMS[name].profile
    got = PLATFORMS[name].open().load(model).run({"x": x})["y"]
    exact = (x + 8) >> 4
    if profile.rounding == "half-up":
        want = exact
    else:
        want = RULES[profile.rounding](x.astype(np.int64), np.int64(1), np.int64(4))
    assert got.dtype == np.int32
    assert got.tolist() == want.tolist()
    assert (want.tolist() != exact.tolist()) == (
        profile.rounding in {"half-even", "floor", "float32-rescale", "double-rounding"}
    )


@pytest.mark.parametrize("name", DSPS)
def test_every_control_is_told_apart_by_its_environment(name):
    environment = PLATFORMS[name].open().environment()
    profile = ("accumulator", "pair_saturation", "rounding")
    for other in set(DSPS) - {name}:
        theirs = PLATFORMS[other].open().environment()
        assert any(theirs[key] != environment[key] for key in profile), other
    assert environment["integer_kernel"] == "numpy float64/float32 BLAS carrier"
    assert environment["float_kernel"] == "numpy float32 im2col"


@pytest.mark.parametrize("name", DSPS)
def test_float_networks_are_borrowed(name):
    assert PLATFORMS[name].networks == {"h_s"}
    assert PLATFORMS[name].borrows_from in PLATFORMS.names()
    assert PLATFORMS[PLATFORMS[name].borrows_from].networks == WITH_WARP


def test_an_inlined_artifact_runs_exactly_and_is_refused_by_other_roundings(small_net, activations):
    """A rounding that never sees a Requantize would be a control that controls nothing."""
    net = small_net(127)
    inlined = inliner.inline_local_functions(onnx.load_model_from_string(net.artifact()))
    model = inlined.SerializeToString()
    got = PLATFORMS["dsp-exact32"].open().load(model).run({"x": activations})
    assert differing(got, net.reference(activations)) == []
    with pytest.raises(Unsupported, match="Requantize"):
        PLATFORMS["dsp-half-even"].open().load(model)


def test_outputs_may_be_written_to_without_harm(small_net, activations):
    net = small_net(64)
    session = PLATFORMS["dsp-exact32"].open().load(net.artifact())
    first = session.run({"x": activations})
    for array in first.values():
        array[...] = 0
    assert differing(session.run({"x": activations}), net.reference(activations)) == []
    assert np.any(activations)
