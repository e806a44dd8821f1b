"""All that is seen of every tensor: its smallest and largest values, per channel or per tensor."""

from collections.abc import Mapping

import numpy as np

from harness.calibration import ChannelRange
from harness.calibrators.base import TENSOR, Problem
from harness.network import F32
from harness.roles import roles


class Seen:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._low: dict[str, F32] = {}
        self._high: dict[str, F32] = {}
        self.samples = 0

    def add(self, found: Mapping[str, F32]) -> None:
        """The tensors of one input, by name, float32 [1, C, H, W]."""
        self.samples += 1
        for name, value in found.items():
            low, high = value.min(axis=(0, 2, 3)), value.max(axis=(0, 2, 3))
            self._low[name] = np.minimum(self._low.get(name, low), low)
            self._high[name] = np.maximum(self._high.get(name, high), high)

    def ranges(self) -> dict[str, ChannelRange]:
        """Of every tensor; with one scale a tensor all channels have the same (sigma and means are two tensors).

        Then what is symmetric in integers has a symmetric range, too.
        """
        found = {
            name: ChannelRange(low=low.astype(np.float64), high=self._high[name].astype(np.float64))
            for name, low in self._low.items()
        }
        if self._problem.granularity.activations == TENSOR:
            held = roles(self._problem.network, self._problem.precision)
            for name, r in found.items():
                for part, symmetric in [
                    (role.channels, role.symmetric) for role in held if role.tensor == name
                ] or [(slice(None), False)]:
                    low, high = r.low[part].min(), r.high[part].max()
                    r.low[part] = min(low, -high) if symmetric else low
                    r.high[part] = max(high, -low) if symmetric else high
        return found
