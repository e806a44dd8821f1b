"""Small calibration problems: the tiny codec's h_s and a decoder with GDNs, on random latents."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, CHANNEL, TENSOR, Granularity, Problem
from harness.case import rng
from harness.network import LeakyRelu, Network, Relu
from harness.precision import Precision
from harness.quantize import Observer, quantize_g_s, quantize_h_s
from harness.specification import IntegerNet
from harness.specimens import M, N, tiny_codec, tiny_decoder

CODEC = tiny_codec()
H_S = CODEC.networks["h_s"]
G_S = tiny_decoder()
PER_TENSOR = Granularity(weights=TENSOR, activations=TENSOR)
MIXED = Granularity(weights=CHANNEL, activations=TENSOR)
FRACTION_BITS = 6
RULES = ["min-max", "mse", "percentile", "tf-enhanced"]


def with_relus(network: Network) -> Network:
    """The same with ReLUs in place of leaky ones."""
    layers = [
        Relu(name=layer.name) if isinstance(layer, LeakyRelu) else layer for layer in network.layers
    ]
    return replace(network, layers=tuple(layers))


def symbols(count: int, name: str = "posed") -> list[np.ndarray]:
    """Symbols of z, int32 [1, N, 4, 5] each, in a range of its own in every channel."""
    reach = np.arange(2, 2 + N)[None, :, None, None]
    drawn = [rng(f"{name}/{i}").integers(-9, 10, (1, N, 4, 5)) for i in range(count)]
    return [np.clip(each, -reach, reach).astype(np.int32) for each in drawn]


def pose_h_s(
    precision: str = "w8a8",
    granularity: Granularity | None = None,
    *,
    network: Network = H_S,
    given: Sequence[np.ndarray] | None = None,
    medians: np.ndarray | None = None,
    quantize: Callable[[Calibration, Observer | None], IntegerNet] | None = None,
) -> Problem:
    chosen = Precision.parse(precision)
    found = symbols(2) if given is None else given
    at = np.zeros(network.in_channels, np.int32) if medians is None else medians

    def ours(calibration: Calibration, observer: Observer | None) -> IntegerNet:
        return quantize_h_s(
            network, calibration, chosen,
            medians=at, scale_thresholds=CODEC.scale_thresholds, observer=observer,
        )  # fmt: skip

    return Problem(
        network=network,
        inputs=[(each + at[:, None, None] / 256).astype(np.float32) for each in found],
        symbols=[each.astype(np.int32) for each in found],
        precision=chosen,
        granularity=granularity or Granularity(),
        quantize=quantize or ours,
    )


def pose_g_s(precision: str = "w8a8", granularity: Granularity | None = None) -> Problem:
    chosen = Precision.parse(precision)
    fixed = [
        rng(f"posed/y/{i}").integers(-300, 301, (1, M, 3, 4)).astype(np.int32) for i in range(2)
    ]
    return Problem(
        network=G_S,
        inputs=[np.ldexp(each, -FRACTION_BITS).astype(np.float32) for each in fixed],
        symbols=fixed,
        precision=chosen,
        granularity=granularity or Granularity(),
        quantize=lambda calibration, observer: quantize_g_s(
            G_S, calibration, chosen, fraction_bits=FRACTION_BITS, observer=observer
        ),
    )


def calibrated(rule: str, problem: Problem) -> Calibration:
    return CALIBRATORS[rule].calibrate(problem)
