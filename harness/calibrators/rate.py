"""Our own: ranges by the error they leave, weights rounded against the quantized inputs, the last word to the rate.

Layer by layer, in the order they run, on real inputs that have gone through the integer layers before:

1. Activation ranges per channel minimise the squared error of the channel.
2. Weights are refitted by least squares, so that quantized inputs give the float layer's outputs, and rounded one input
   at a time, each rounding error compensated by the inputs still to come (Frantar and Alistarh, "Optimal Brain
   Compression", arXiv 2208.11580; Frantar et al., GPTQ, arXiv 2210.17323), after a search of each output channel's clip
   by the error of its outputs.
3. The bias takes up the mean error that is left: a shift of all sigmas costs rate to first order.
4. All ranges are scaled together, one activation at a time, by the factor that costs fewest bits at the coder.
5. Each channel of sigma is shifted by what costs fewest bits there: its narrow weights leave errors that are not even.

Wide weights (beyond 8 bits) are rounded to nearest, and only their bias is corrected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness import emulate
from harness.calibration import F64, Calibration, ChannelRange
from harness.calibrators.base import CALIBRATORS, Problem, flat
from harness.calibrators.reconstruct import Regression, refit
from harness.grid import NARROW_BITS, Folded, Grid, Target
from harness.network import F32
from harness.roles import Kind, roles
from harness.specification import IntegerGdn, IntegerLayer, IntegerNet

# Shares of the largest value that a range is tried at.
SHARES = tuple(np.linspace(1.0, 0.3, 29))
# Then of all ranges of a tensor together; the search follows the first that helps.
FACTORS = (0.85, 1.2)
MOST_VALUES = 1 << 15
# Real shifts of sigma, up and down; the least sigma that a table has is 0.11.
SHIFTS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.045, 0.07)
Tensor = torch.Tensor
Activations = Mapping[str, F32]


@dataclass(frozen=True, kw_only=True)
class RateCalibrator:
    name: str = "rate"
    summary: str = "ranges by error per channel, weights refitted and rounded against quantized inputs, then by the rate"

    def calibrate(self, problem: Problem) -> Calibration:
        """All inputs are used at every step; the rate is asked for about ten times."""
        floats = list(problem.activations())
        ranges = _ranges(problem, floats)
        best = _reconstruct(problem, ranges, floats)
        if problem.cost is None or not _narrow_tensors(problem):
            return best
        least = problem.cost(problem.quantize(best, None))
        # The steps of z are powers of two: a little more or less of its range is nothing.
        for name in [n for n in _narrow_tensors(problem) if n != problem.network.input]:
            for factor in FACTORS:
                scaled = _scaled(ranges, name, factor)
                found = _reconstruct(problem, scaled, floats)
                cost = problem.cost(problem.quantize(found, None))
                problem.report(f"{name} x {factor}: {100 * (cost / least - 1):+.3f} %")
                if cost < least:
                    best, least, ranges = found, cost, scaled
                    break
        if problem.shifted_costs is None:
            return best
        shifted = shift_sigma(problem, best, problem.shifted_costs)
        return shifted if problem.cost(problem.quantize(shifted, None)) < least else best


def shift_sigma(
    problem: Problem, found: Calibration, costs_of: Callable[[IntegerNet, Sequence[int]], F64]
) -> Calibration:
    """With the biases of sigma that cost fewest bits, channel by channel."""
    last = list(problem.network.blocks())[-1][0].name
    if last not in found.weights:
        return found
    net = problem.quantize(found, None)
    steps = np.floor(np.array(SHIFTS) * 2.0**net.sigma_fraction_bits + 0.5).astype(np.int64)
    shifts = [0, *sorted({*steps.tolist(), *(-steps).tolist()} - {0})]
    costs = costs_of(net, shifts)
    chosen = np.array(shifts)[costs.argmin(axis=0)] / 2.0**net.sigma_fraction_bits
    bias = found.biases[last].copy()
    bias[: len(chosen)] += chosen
    problem.report(
        f"shifts of sigma: {100 * (costs.min(axis=0).sum() / costs[0].sum() - 1):+.3f} %"
    )
    return replace(found, biases={**found.biases, last: bias})


def _narrow_tensors(problem: Problem) -> dict[str, int]:
    """Tensors that are held to at most 8 bits, and their bits: the input, and what each hidden block hands on."""
    return {
        role.name: role.bits
        for role in roles(problem.network, problem.precision)
        if role.kind in {Kind.INPUT, Kind.HIDDEN} and role.bits <= NARROW_BITS
    }


def _ranges(problem: Problem, floats: Sequence[Activations]) -> Calibration:
    """Min-max, and for narrow hidden tensors the share of it, per channel, that leaves the least squared error."""
    narrow = _narrow_tensors(problem)
    tensors = {}
    for name in floats[0]:
        values = np.concatenate([flat(found[name]) for found in floats], axis=1)
        low, high = values.min(axis=1), values.max(axis=1)
        kept = values[:, :: max(1, values.shape[1] // MOST_VALUES)]
        if name in narrow and name == problem.network.input and problem.network.name == "h_s":
            high = _best_power(values, narrow[name])
            low = -high
        elif name in narrow:
            share = _best_share(kept, np.maximum(high, -low), narrow[name])
            low, high = low * share, high * share
        tensors[name] = ChannelRange(low=low, high=high)
    return Calibration(
        calibrator="rate", samples=len(floats), tensors=tensors, precision=problem.precision.name
    )


def _best_power(values: F64, bits: int) -> F64:
    """Reach [C] of the signed steps, powers of two, that leave least squared error of [C, n]: of h_s's input."""
    largest = 2 ** (bits - 1) - 1
    best = np.full(len(values), np.inf)
    reach = np.ones(len(values))
    for exponent in range(-7, 9):
        step = 2.0**exponent
        left = np.clip(np.floor(values / step + 0.5), -largest - 1, largest) * step - values
        error = (left * left).mean(axis=1)
        reach = np.where(error < best, largest * step, reach)
        best = np.minimum(error, best)
    return reach


def _best_share(values: F64, reach: F64, bits: int) -> F64:
    """Share of `reach` [C] at which 2**bits steps (of one side, if values are) leave least squared error of [C, n]."""
    signed = values.min() < -0.05 * values.max()
    levels = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    best = np.full(len(values), np.inf)
    share = np.ones(len(values))
    for candidate in SHARES:
        step = np.maximum(reach * candidate / levels, 1e-9)[:, None]
        left = np.clip(np.floor(values / step + 0.5), -levels, levels) * step - values
        error = (left * left).mean(axis=1)
        share = np.where(error < best, candidate, share)
        best = np.minimum(error, best)
    return share


def _scaled(ranges: Calibration, name: str, factor: float) -> Calibration:
    r = ranges[name]
    scaled = ChannelRange(low=r.low * factor, high=r.high * factor)
    return replace(ranges, tensors={**ranges.tensors, name: scaled})


def _reconstruct(
    problem: Problem, ranges: Calibration, floats: Sequence[Activations]
) -> Calibration:
    """Refit and round the narrow layers in order, each on what the ones before really hand on."""
    found = ranges
    state: list[Tensor] = []
    with torch.inference_mode():
        for convolution, pointwise in problem.network.blocks():
            seen: dict[str, tuple[Folded, Target, Grid]] = {}

            def note(folded: Folded, target: Target, grid: Grid, into: dict[str, tuple[Folded, Target, Grid]] = seen) -> None:  # fmt: skip
                into[folded.convolution.name] = (folded, target, grid)

            net = problem.quantize(found, note)
            if not state:
                state = [emulate.entry(net, symbols) for symbols in problem.symbols]
            name = convolution.name
            folded, target, grid = seen[name]
            wanted = [torch.from_numpy(each[name].astype(np.float64)) for each in floats]
            if folded.weight_bits <= NARROW_BITS:
                regression = Regression(convolution)
                for x, y in zip(state, wanted, strict=True):
                    regression.add(x, y)
                fitted = refit(folded, target, regression)
                bias = fitted.bias
                found = replace(
                    found,
                    clips={**found.clips, name: fitted.clips},
                    weights={**found.weights, name: fitted.weights},
                )
            else:
                layer = next(layer for layer in net.layers if layer.name == name)
                bias = _bias(layer, grid, state, wanted)
            correction = bias - convolution.bias.astype(np.float64)
            found = replace(found, biases={**found.biases, name: correction})
            net = problem.quantize(found, None)
            names = {name, *(layer.name for layer in pointwise)}
            for layer in [layer for layer in net.layers if layer.name in names]:
                state = [emulate.apply(x, layer) for x in state]
    return found


def _bias(
    layer: IntegerLayer | IntegerGdn, grid: Grid, inputs: Sequence[Tensor], wanted: Sequence[Tensor]
) -> F64:
    """The bias [out] that makes the mean of a layer's outputs on these inputs the float layer's."""
    assert isinstance(layer, IntegerLayer)
    given = torch.zeros(len(grid.unit), dtype=torch.float64)
    asked = torch.zeros_like(given)
    pixels = 0
    for x, y in zip(inputs, wanted, strict=True):
        given += emulate.accumulate(x, layer).sum(dim=(0, 2, 3))
        asked += y.sum(dim=(0, 2, 3))
        pixels += y.shape[2] * y.shape[3]
    return ((asked - torch.from_numpy(grid.unit) * given) / pixels).numpy()


CALIBRATORS.register(RateCalibrator())
