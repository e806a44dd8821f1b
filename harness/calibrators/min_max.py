"""min-max: everything that was seen fits. The rule of the calibrations that ship, and of AIMET's `post_training_tf`."""

from dataclasses import dataclass, replace

import numpy as np

from harness.calibration import F64, Calibration
from harness.calibrators.base import CALIBRATORS, TENSOR, Problem, weight_clips
from harness.calibrators.seen import Seen
from harness.grid import Folded


@dataclass(frozen=True, kw_only=True)
class MinMax:
    """Nothing is clipped; it belongs to no precision unless weights have one scale a tensor."""

    name: str = "min-max"
    summary: str = "smallest to largest value seen; no weight is clipped"

    def calibrate(self, problem: Problem) -> Calibration:
        seen = Seen(problem)
        for number, found in enumerate(problem.activations(), 1):
            seen.add(found)
            problem.report(f"input {number} of {len(problem.inputs)} seen")
        ranges = Calibration(calibrator=self.name, samples=seen.samples, tensors=seen.ranges())
        if problem.granularity.weights != TENSOR:
            return ranges
        return replace(
            ranges,
            precision=problem.precision.name,
            clips=weight_clips(problem, ranges, _largest),
        )


def _largest(folded: Folded) -> F64:
    return np.asarray([np.abs(folded.weight).max()])


CALIBRATORS.register(MinMax())
