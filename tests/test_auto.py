"""`--lowering auto`: the fastest that gives the known answers; a fault makes it fall back, and say so."""

from collections.abc import Callable

import numpy as np
import pytest

from harness import auto, endpoints, reference, specimens
from harness.build import Build, build
from harness.calibrate import observe
from harness.errors import PlatformCrashed, PlatformUnavailable, Unsupported, UserError
from harness.lowerings.base import LOWERINGS, Artifact, IntegerLowering
from harness.specification import IntegerNet

RANKED = [
    each.name
    for each in sorted(
        (each for each in LOWERINGS if isinstance(each, IntegerLowering)), key=lambda e: e.rank
    )
]


def made(precision: str = "w8a8") -> Build:
    codec = specimens.tiny_codec()
    ranges = observe(codec.networks["h_s"], [specimens.tiny_hyper_latent()])
    return build(codec, precision, {"h_s": ranges})


def right(artifact: Artifact, nets: dict[str, IntegerNet], symbols: np.ndarray) -> endpoints.Arrays:
    outputs = reference.run(nets[artifact.specification], symbols)
    return {name: outputs[name] for name in artifact.outputs}


class Machine:
    """A platform that computes the reference, but for lowerings that `fault` spoils."""

    def __init__(self, fault: Callable[[str, dict[str, np.ndarray]], None]) -> None:
        self.fault = fault
        self.asked: list[str] = []
        self.nets: dict[str, IntegerNet] = {}
        for bits in ((8, 8), (4, 4)):
            for source in auto.known_questions(*bits).values():
                assert source.integer is not None
                self.nets[source.integer.digest] = source.integer

    def __call__(
        self, network: str, artifact: Artifact, feeds: endpoints.Arrays
    ) -> endpoints.Arrays:
        assert network == "h_s"
        self.asked.append(artifact.lowering)
        outputs = {
            name: value.copy()
            for name, value in right(artifact, self.nets, feeds[artifact.input]).items()
        }
        self.fault(artifact.lowering, outputs)
        return outputs


def no_fault(_: str, __: dict[str, np.ndarray]) -> None:
    pass


def test_the_fastest_is_taken_where_all_is_well() -> None:
    machine = Machine(no_fault)
    choice = auto.choose(made(), machine)
    assert choice.lowering == RANKED[0]
    assert set(machine.asked) == {RANKED[0]}
    assert str(choice) == f"{RANKED[0]}: gives the known answers"


@pytest.mark.parametrize("off", ["one bit of one index", "every mean"])
def test_a_wrong_lowering_is_passed_over_and_named(off: str) -> None:
    def fault(lowering: str, outputs: dict[str, np.ndarray]) -> None:
        if lowering == RANKED[0]:
            if off == "every mean":
                outputs["means_hat"] += 1
            else:
                outputs["indexes"].flat[-1] ^= 1

    choice = auto.choose(made(), Machine(fault))
    assert choice.lowering == RANKED[1]
    assert choice.tried[RANKED[0]].startswith("is wrong here (")
    assert f"not {RANKED[0]} is wrong here" in str(choice)


def test_one_that_does_not_run_is_passed_over() -> None:
    def fault(lowering: str, _: dict[str, np.ndarray]) -> None:
        if lowering == RANKED[0]:
            raise PlatformCrashed("segmentation fault\nin a library")

    choice = auto.choose(made(), Machine(fault))
    assert choice.tried[RANKED[0]] == "does not run (segmentation fault)"


def test_none_that_passes_is_an_error_with_every_reason() -> None:
    def fault(_: str, outputs: dict[str, np.ndarray]) -> None:
        outputs["indexes"] += 1

    with pytest.raises(Unsupported, match="no integer lowering gives the known answers") as caught:
        auto.choose(made(), Machine(fault))
    assert all(name in str(caught.value) for name in RANKED)


def test_an_absent_platform_is_no_reason_to_fall_back() -> None:
    def fault(_: str, __: dict[str, np.ndarray]) -> None:
        raise PlatformUnavailable("gpu", "no driver", "install one")

    with pytest.raises(PlatformUnavailable):
        auto.choose(made(), Machine(fault))


def test_floats_have_no_choice() -> None:
    with pytest.raises(UserError, match="fp32 has none"):
        auto.choose(build(specimens.tiny_codec(), "fp32", {}), Machine(no_fault))


def test_a_choice_is_made_once_and_recorded() -> None:
    chooser, machine = auto.Chooser(), Machine(no_fault)
    first = chooser.choice("here", made(), machine)
    asked = len(machine.asked)
    assert chooser.choice("here", made(), machine) is first
    assert len(machine.asked) == asked
    assert chooser.record("here") == {"auto w8a8": str(first)}
    assert chooser.record("there") == {}


def test_the_questions_break_pair_saturation() -> None:
    """u8 x s8 products added in pairs with 16-bit saturation (x86 without VNNI) give other answers to every question."""
    for source in auto.known_questions(8, 8).values():
        net = source.integer
        assert net is not None
        layer = net.layers[0]
        x = reference.run(net, auto.extreme_symbols())["z_q"].astype(np.int64) - layer.input_low
        assert x.min() == 0
        assert x.max() == 255
        pair = x[0, 0::2] * 127 + x[0, 1::2] * 127
        assert pair.max() > 2**15 - 1
        assert np.abs(layer.weight).max() == 127


def test_the_questions_saturate_and_tie() -> None:
    """Every clamp is reached, and a good share of the requantizations are ties."""
    for source in auto.known_questions(8, 8).values():
        net = source.integer
        assert net is not None
        taps = reference.run(net, auto.extreme_symbols())
        hidden, following = taps["h_s.0"], net.layers[1]
        assert (hidden.min(), hidden.max()) == (following.input_low, following.input_high)
        assert taps["scales_hat"].min() == 0
        assert len(np.unique(taps["indexes"])) > 8
