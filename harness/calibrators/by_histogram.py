"""What the rules that read histograms share: which tensors they set, at what granularity, and the pass over the inputs.

A rule sets the input, what hidden blocks hand on, and outputs narrower than 16 bits. The rest has room for all that was
seen: 16-bit outputs and what an inverse GDN reads are kept whole, pixels have a grid of their own. An input's integers
are symmetric about zero, so it gets the symmetric rule; hidden activations get the asymmetric one, weights the
symmetric one. Steps are float32, as AIMET's encodings have them.

AIMET has no scales of activations per channel, and its first-batch rule would ruin them: of a channel that hardly moves
in the first picture, all that it does later would be dropped, and one far from zero has its bins counted in the wrong
place. So per channel (only) the first range is that of all inputs, and of zero.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from harness.calibration import F64, Calibration
from harness.calibrators.base import TENSOR, Problem, flat, weight_clips
from harness.calibrators.histogram import WIDE_BINS, Collector, Histogram, bins_for
from harness.calibrators.seen import Seen
from harness.grid import NARROW_BITS, Folded
from harness.precision import WIDEST
from harness.roles import Kind, Role, levels, roles


class Rule(Protocol):
    @property
    def name(self) -> str: ...

    def asymmetric(self, histogram: Histogram, channel: int, bits: int) -> tuple[float, float]: ...

    def symmetric(self, histogram: Histogram, channel: int, bits: int) -> float: ...


def calibrate(problem: Problem, rule: Rule) -> Calibration:
    """Ranges of every tensor and clips of every convolution's weights, by the rule.

    Beyond 8 bits the rule reads another histogram than AIMET's, and the calibrator's name says so.
    """
    held = [role for role in roles(problem.network, problem.precision) if is_set(role)]
    seen, histograms = _collect(problem, held)
    tensors = seen.ranges()
    for role in held:
        problem.report(f"{rule.name}: {role.name}")
        low, high = _range(rule, histograms[role.name], role)
        tensors[role.tensor].low[role.channels] = low
        tensors[role.tensor].high[role.channels] = high
    widths = [role.bits for role in held]
    widths += [problem.precision.of_weights(c.name) for c in problem.network.convolutions]
    ranges = Calibration(
        calibrator=rule.name if max(widths) <= NARROW_BITS else f"{rule.name}-{WIDE_BINS}bins",
        samples=seen.samples,
        tensors=tensors,
        precision=problem.precision.name,
    )
    return replace(ranges, clips=weight_clips(problem, ranges, lambda f: _reach(problem, rule, f)))


def _collect(problem: Problem, held: Sequence[Role]) -> tuple[Seen, dict[str, Histogram]]:
    """All that is seen of every tensor, and the histograms of those that a rule sets."""
    seen = Seen(problem)
    per_tensor = problem.granularity.activations == TENSOR
    collectors: dict[str, Collector] = {}
    if not per_tensor:
        for number, found in enumerate(problem.activations(), 1):
            seen.add(found)
            problem.report(f"range of input {number} of {len(problem.inputs)} seen")
        collectors = {r.name: Collector(bins_for(r.bits), _limits(seen, r)) for r in held}
    for number, found in enumerate(problem.activations(), 1):
        if per_tensor:
            seen.add(found)
        for role in held:
            values = flat(found[role.tensor])[role.channels]
            values = np.maximum(values, 0) if role.positive else values
            into = collectors.setdefault(role.name, Collector(bins_for(role.bits)))
            into.add(values.reshape(1, -1) if per_tensor else values)
        problem.report(f"input {number} of {len(problem.inputs)} seen")
    return seen, {name: collector.histogram() for name, collector in collectors.items()}


def _limits(seen: Seen, role: Role) -> tuple[F64, F64]:
    """Zero and all that was seen of each channel."""
    r = seen.ranges()[role.tensor]
    low = np.minimum(r.low[role.channels], 0.0)
    return np.zeros(len(low)) if role.positive else low, np.maximum(r.high[role.channels], 0.0)


def is_set(role: Role) -> bool:
    """Whether a rule decides the range of a tensor; else all that was seen of it is kept."""
    return role.kind in {Kind.INPUT, Kind.HIDDEN} or (
        role.kind is Kind.OUTPUT and role.bits < WIDEST
    )


def _range(rule: Rule, histogram: Histogram, role: Role) -> tuple[F64, F64]:
    """Low and high per row of the histogram; a row of zeros keeps [0, 0], so as not to widen what others share."""
    low, high = np.zeros(len(histogram.left)), np.zeros(len(histogram.left))
    for channel in np.flatnonzero(~histogram.empty):
        if role.symmetric:
            high[channel] = _f32(rule.symmetric(histogram, channel, role.bits)) * levels(role.bits)
            low[channel] = -high[channel]
        else:
            delta, offset = rule.asymmetric(histogram, channel, role.bits)
            # Zeros may lie in a bin that begins just below zero.
            low[channel] = 0.0 if role.positive else _f32(delta) * offset + 0.0
            high[channel] = _f32(delta) * (offset + 2**role.bits - 1)
    return low, high


def _reach(problem: Problem, rule: Rule, folded: Folded) -> F64:
    """How far the rule keeps the weights of each output channel, in units of the folded weights.

    It sees them at the magnitude they have in the network: with one scale for all inputs, exactly the float32 weights.
    """
    bits = folded.weight_bits
    largest = float(np.abs(folded.weight).max())
    unit = float(np.abs(folded.convolution.weight).max()) / largest if largest else 1.0
    weights = (folded.weight * unit).astype(np.float32).reshape(len(folded.weight), -1)
    if problem.granularity.weights == TENSOR:
        weights = weights.reshape(1, -1)
    collector = Collector(bins_for(bits))
    collector.add(weights)
    histogram = collector.histogram()
    reach = np.zeros(len(weights))
    for channel in np.flatnonzero(~histogram.empty):
        reach[channel] = _f32(rule.symmetric(histogram, channel, bits)) * levels(bits)
    return reach / unit


def _f32(x: float) -> float:
    return float(np.float32(x))
