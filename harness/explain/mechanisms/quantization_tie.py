"""quantization tie: float sums in some order, quantized: an element near a tie goes either way by a last bit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.bounds import reordering_bound
from harness.explain.quantized_window import QuantizedWindow, quantized_window
from harness.explain.rescale import clamped


@dataclass(frozen=True, kw_only=True)
class QuantizationTie:
    name: str = "quantization tie"
    summary: str = "the round-off of a float sum decides to which side of a tie QuantizeLinear goes"

    def accounts(self, site: Site) -> Iterator[Account]:
        if near_tie(site, quantized_window(site)):
            yield Account(
                mechanism=self.name,
                how="half to even of the float sums, in any order of additions",
                evidence=Evidence.WITHIN_BOUND,
                deviations=0,
            )


def near_tie(site: Site, window: QuantizedWindow) -> bool:
    """Whether the site's output is what the float operators give in some order of additions."""
    sums = window.real.exact
    # The weights' own rounding to float32 is not in the sums: a unit of every term more.
    slack = reordering_bound(window.real, "float32") + window.real.magnitude * 2.0**-24
    ends = []
    for sign in (-1, 1):
        quotient = (sums + sign * slack) / site.values[site.node.input[1]].astype(np.float64)
        # The division's own rounding.
        quotient += sign * 2.0**-24 * np.abs(quotient)
        made = clamped(np.rint(quotient), window.rescale.y_zero)
        relu = np.maximum(made, window.rescale.y_zero) if window.relu else made
        ends.append(window.real.fold(relu).astype(np.int64))
    got = site.got.astype(np.int64)
    return bool(((ends[0] <= got) & (got <= ends[1])).all())


MECHANISMS.register(QuantizationTie())
