"""Our own calibrator: each step leaves less error than the one before, and the rate has the last word."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import emulate
from harness.calibrate import forward, observe
from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, Granularity, Problem
from harness.calibrators.rate import shift_sigma
from harness.calibrators.reconstruct import Regression, refit, tap_groups
from harness.case import rng
from harness.grid import Target, fold, grid, round_weights
from harness.network import Convolution
from harness.precision import Precision
from harness.quantize import Observer, quantize_h_s
from harness.specification import IntegerNet
from harness.specimens import M, N, tiny_codec

CODEC = tiny_codec()
H_S = CODEC.networks["h_s"]
SYMBOLS = [rng(f"rate/{i}").integers(-6, 7, (1, N, 6, 6)).astype(np.int32) for i in range(12)]
MEDIANS = np.zeros(N, np.int32)


def specification(
    calibration: Calibration, precision: str, observer: Observer | None = None
) -> IntegerNet:
    return quantize_h_s(
        H_S, calibration, Precision.parse(precision),
        medians=MEDIANS, scale_thresholds=CODEC.scale_thresholds, observer=observer,
    )  # fmt: skip


def error(net: IntegerNet, symbols: list[np.ndarray]) -> float:
    """Mean squared error of the means, in units of their own mean square."""
    off, power = 0.0, 0.0
    for each in symbols:
        want = list(forward(H_S, each.astype(np.float32)).values())[-1][:, M:]
        got = np.ldexp(emulate.run(net, each)["means_hat"].astype(float), -net.mean_fraction_bits)
        off, power = off + float(((got - want) ** 2).sum()), power + float((want**2).sum())
    return off / power


def problem(precision: str, **others: object) -> Problem:
    fields: dict[str, object] = {
        "network": H_S,
        "inputs": [each.astype(np.float32) for each in SYMBOLS],
        "symbols": SYMBOLS,
        "precision": Precision.parse(precision),
        "granularity": Granularity(),
        "quantize": lambda calibration, observer: specification(calibration, precision, observer),
        **others,
    }
    return Problem(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "most"), [("w3a8", 0.6), ("w4a4", 0.8), ("w8a8", 1.0)])
def test_it_leaves_less_error_than_min_max_on_other_inputs(precision: str, most: float) -> None:
    others = [
        rng(f"rate/other/{i}").integers(-6, 7, (1, N, 6, 6)).astype(np.int32) for i in range(4)
    ]
    plain = observe(H_S, [each.astype(np.float32) for each in SYMBOLS])
    ours = CALIBRATORS["rate"].calibrate(problem(precision))
    assert ours.precision == precision
    assert error(specification(ours, precision), others) < most * error(
        specification(plain, precision), others
    )


def test_wide_weights_are_left_to_the_nearest() -> None:
    ours = CALIBRATORS["rate"].calibrate(problem("w12a12"))
    assert not ours.weights
    assert not ours.clips


def test_the_cost_decides() -> None:
    """A cost that likes small ranges gets them; whatever is chosen costs least of all that was asked."""
    asked: list[float] = []

    def size(net: IntegerNet) -> float:
        """Grows with the steps of what the first layer hands on."""
        rule = net.convolutions[0].requantize
        return float((2.0**rule.shift / rule.multiplier).sum())

    def cost(net: IntegerNet) -> float:
        asked.append(size(net))
        return asked[-1]

    lines: list[str] = []
    ours = CALIBRATORS["rate"].calibrate(problem("w4a4", cost=cost, report=lines.append))
    assert size(specification(ours, "w4a4")) == min(asked) < asked[0]
    assert len(lines) == len(asked) - 1
    assert any(line.startswith("h_s.1 x ") for line in lines)
    assert not any(line.startswith("z_hat x ") for line in lines)


def test_channels_of_sigma_are_shifted_to_where_they_cost_least() -> None:
    """Even channels want 0.02 more, odd ones nothing; means stay. A shift that does not pay in the end is not made."""
    last = H_S.convolutions[-1].name
    wanted = np.where(np.arange(M) % 2, 0.0, 0.02)

    def costs(net: IntegerNet, shifts: Sequence[int]) -> np.ndarray:
        real = np.array(shifts)[:, None] / 2.0**net.sigma_fraction_bits
        return np.asarray(10 + np.abs(real - wanted))

    plain = CALIBRATORS["rate"].calibrate(problem("w4a4"))
    off = shift_sigma(problem("w4a4"), plain, costs).biases[last] - plain.biases[last]
    step = 2.0 ** -specification(plain, "w4a4").sigma_fraction_bits
    assert np.abs(off - np.concatenate([wanted, np.zeros(M)])).max() <= step / 2
    kept = CALIBRATORS["rate"].calibrate(problem("w4a4", cost=lambda _: 1.0, shifted_costs=costs))
    assert kept.biases[last].tolist() == plain.biases[last].tolist()


@pytest.mark.parametrize("precision", ["w9a5", "w12a6"])
def test_biases_of_wide_weights_take_up_the_mean_error(precision: str) -> None:
    ours = CALIBRATORS["rate"].calibrate(problem(precision))
    assert not ours.weights

    def mean_error(calibration: Calibration) -> float:
        net = specification(calibration, precision)
        off = []
        for each in SYMBOLS:
            want = list(forward(H_S, each.astype(np.float32)).values())[-1][:, M:]
            got = emulate.run(net, each)["means_hat"] / 2.0**net.mean_fraction_bits
            off.append((got - want).mean(axis=(0, 2, 3)))
        return float(np.abs(np.mean(off, axis=0)).mean())

    assert mean_error(ours) < 0.5 * mean_error(replace(ours, biases={}))


@pytest.mark.parametrize("transposed", [True, False])
def test_taps_rebuild_the_convolution(transposed: bool) -> None:
    """Patches times weights, phase by phase, are the convolution."""
    generator = rng("rate/taps")
    convolution = Convolution(
        name="c", weight=generator.standard_normal((3, 4, 5, 5)).astype(np.float32),
        bias=np.zeros(3, np.float32), stride=2, padding=2,
        transposed=transposed, output_padding=int(transposed),
    )  # fmt: skip
    x = torch.from_numpy(generator.standard_normal((1, 4, 6, 8)))
    want = emulate.convolve(x, convolution.weight, convolution)
    regression = Regression(convolution)
    regression.add(x, want)
    for number, taps in enumerate(tap_groups(convolution)):
        weights = np.concatenate([convolution.weight[:, :, u, v] for u, v in taps.kernel], axis=1)
        predicted = regression.squares[number] @ torch.from_numpy(weights.astype(float)).T
        assert torch.allclose(predicted, regression.products[number], rtol=1e-9, atol=1e-9)


def test_compensated_rounding_beats_the_nearest() -> None:
    """On inputs that go together, an error in one weight can be made up for by the next."""
    generator = rng("rate/rounding")
    convolution = Convolution(
        name="c", weight=generator.standard_normal((6, 8, 1, 1)).astype(np.float32),
        bias=generator.standard_normal(6).astype(np.float32), stride=1, padding=0,
    )  # fmt: skip
    common = generator.standard_normal((1, 1, 40, 40))
    x = np.rint(20 * common + 4 * generator.standard_normal((1, 8, 40, 40)))
    folded = fold(convolution, np.ones(8), (-128, 127), weight_bits=3, slope=1.0, may_drop=False)
    target = Target(scale=np.full(6, 0.25), low=np.full(6, -4096), high=np.full(6, 4095))
    wanted = (
        np.einsum("oc,nchw->nohw", convolution.weight[:, :, 0, 0], x)
        + convolution.bias[:, None, None]
    )
    regression = Regression(convolution)
    regression.add(torch.from_numpy(x), torch.from_numpy(wanted))
    fitted = refit(folded, target, regression)
    assert np.abs(fitted.weights).max() <= folded.levels

    def left(weights: np.ndarray, step: np.ndarray, bias: np.ndarray) -> float:
        got = np.einsum("oc,nchw->nohw", weights[:, :, 0, 0] * step[:, None], x)
        return float(((got + bias[:, None, None] - wanted) ** 2).mean())

    plain = grid(folded, target)
    clipped = grid(folded, target, fitted.clips)
    nearest = left(round_weights(folded, plain), plain.step, convolution.bias)
    assert left(fitted.weights, clipped.step, fitted.bias) < 0.5 * nearest


def test_it_can_be_written_and_quantized_again() -> None:
    ours = CALIBRATORS["rate"].calibrate(problem("w4a4"))
    net = specification(ours, "w4a4")
    for layer in net.convolutions:
        assert layer.weight.tolist() == ours.weights[layer.name].tolist()
    assert specification(replace(ours, biases={}), "w4a4").digest != net.digest
