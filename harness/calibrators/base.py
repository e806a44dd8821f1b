"""The contract of a calibrator: a network, real inputs and bit widths in, a `Calibration` out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.calibrate import activations
from harness.calibration import F64, Calibration
from harness.errors import UserError
from harness.grid import Folded, Grid, Target
from harness.network import F32, Network
from harness.precision import Precision
from harness.registry import Registry
from harness.specification import I32, IntegerNet

TENSOR, CHANNEL = "tensor", "channel"
Observer = Callable[[Folded, Target, Grid], None]


@dataclass(frozen=True, kw_only=True)
class Granularity:
    """Whether weights have one scale a tensor or an output channel, and activations one a tensor or a channel."""

    weights: str = CHANNEL
    activations: str = CHANNEL

    def __post_init__(self) -> None:
        for kind in (self.weights, self.activations):
            if kind not in {TENSOR, CHANNEL}:
                raise UserError(f"no granularity {kind!r}; there are {TENSOR} and {CHANNEL}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is to be calibrated.

    `inputs`: the network's real inputs, each float32 [1, C, H, W]; `symbols`: the same as the integers that the integer
    network takes, int32 of the same shape. `quantize` makes the specification of a calibration and
    calls the observer, in order, with every layer as it is quantized (weights already times the scale of their inputs).
    `cost` is what the codec pays for a specification on the same inputs, in bits (of h_s: at the coder; None if unknown);
    `shifted_costs` what it would pay for each channel of sigma, [shifts, C], if that were so many steps larger.
    """

    network: Network
    inputs: Sequence[F32]
    symbols: Sequence[I32]
    precision: Precision
    granularity: Granularity
    quantize: Callable[[Calibration, Observer | None], IntegerNet]
    cost: Callable[[IntegerNet], float] | None = None
    shifted_costs: Callable[[IntegerNet, Sequence[int]], F64] | None = None
    report: Callable[[str], None] = lambda _: None

    def activations(self) -> Iterator[Mapping[str, F32]]:
        """The input and every layer's output, by name, input by input; UserError for an input that cannot be one."""
        return activations(self.network, self.inputs)


class Calibrator(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """One line for people: the rule and its source."""
        ...

    def calibrate(self, problem: Problem) -> Calibration: ...


CALIBRATORS: Registry[Calibrator] = Registry("calibrator", "harness.calibrators")


def weight_clips(
    problem: Problem, ranges: Calibration, reach: Callable[[Folded], F64]
) -> dict[str, F64]:
    """Clips of every convolution when `reach` says how far the weights of each output channel are kept, float64 [out].

    With one scale a tensor, `reach` should give one number; clips above 1 are then those of the smaller channels. Clips
    are exact float32 values, like ranges; a dead channel has 1. What is inside a GDN is never clipped.
    """
    convolutions = {convolution.name for convolution in problem.network.convolutions}
    found: dict[str, F64] = {}

    def observe(folded: Folded, _: Target, __: Grid) -> None:
        if folded.convolution.name not in convolutions:
            return
        largest = np.abs(folded.weight).reshape(len(folded.weight), -1).max(axis=1)
        wanted = np.broadcast_to(reach(folded), largest.shape)
        clips = np.where(largest > 0, wanted / np.where(largest > 0, largest, 1.0), 1.0)
        found[folded.convolution.name] = clips.astype(np.float32).astype(np.float64)

    problem.quantize(ranges, observe)
    return found


def flat(values: NDArray[np.generic]) -> F64:
    """[1, C, H, W] as float64 [C, H * W]."""
    return np.ascontiguousarray(values.reshape(values.shape[1], -1), np.float64)
