"""What a calibration does to the tensors it was made for, in numbers for people."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.calibration import Calibration
from harness.calibrators.base import Problem, flat
from harness.precision import Precision
from harness.roles import Kind, Role, levels, roles


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A tensor: its width (such as u8), widest range, number of ranges, and the share of values more than half a step outside."""

    tensor: str
    width: str
    low: float
    high: float
    ranges: int
    clipped: float


def findings(problem: Problem, calibration: Calibration) -> list[Finding]:
    """Activations in the order they run, over all inputs; then the weights of every convolution."""
    held = roles(problem.network, problem.precision)
    outside, total = [0] * len(held), [0] * len(held)
    for found in problem.activations():
        for number, role in enumerate(held):
            low, high = _limits(calibration, role)
            values = flat(found[role.tensor])[role.channels]
            if role.positive:
                values = np.maximum(values, 0)
            half = (high - low)[:, None] / (2**role.bits - 1) / 2
            beyond = (values < low[:, None] - half) | (values > high[:, None] + half)
            outside[number] += int(beyond.sum())
            total[number] += values.size
    activations = []
    for number, role in enumerate(held):
        low, high = _limits(calibration, role)
        activations.append(
            Finding(
                tensor=role.name,
                width=f"{'u' if role.positive else 's'}{role.bits}",
                low=float(low.min()),
                high=float(high.max()),
                ranges=len({*zip(low.tolist(), high.tolist(), strict=True)}),
                clipped=outside[number] / total[number],
            )
        )
    return [*activations, *_weights(problem, calibration, problem.precision)]


def _limits(
    calibration: Calibration, role: Role
) -> Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    r = calibration[role.tensor]
    if role.kind is Kind.PIXELS:
        return np.zeros(len(r.low)), np.ones(len(r.low))
    low = np.zeros(len(r.low)) if role.positive else r.low
    return low[role.channels], r.high[role.channels]


def _weights(problem: Problem, calibration: Calibration, precision: Precision) -> list[Finding]:
    found = []
    for convolution in problem.network.convolutions:
        weights = np.abs(convolution.weight.astype(np.float64)).reshape(len(convolution.bias), -1)
        largest = weights.max(axis=1)
        reach = largest * calibration.clips.get(convolution.name, np.ones(len(largest)))
        steps = levels(precision.of_weights(convolution.name))
        beyond = weights > reach[:, None] * (1 + 0.5 / steps)
        found.append(
            Finding(
                tensor=f"{convolution.name}.weight",
                width=f"s{precision.of_weights(convolution.name)}",
                low=-float(reach.max()),
                high=float(reach.max()),
                ranges=len(set(reach.astype(np.float32).tolist())),
                clipped=float(beyond.mean()),
            )
        )
    return found
