"""The simulated DSP: exact where it should be, each negative control caught where it should be."""

import numpy as np
import onnx
import pytest
from onnx import inliner

from harness.errors import Unsupported
from harness.platforms.base import NETWORKS, PLATFORMS

DSPS = [name for name in PLATFORMS.names() if name.startswith("dsp-")]
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
    assert PLATFORMS[PLATFORMS[name].borrows_from].networks == NETWORKS


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
