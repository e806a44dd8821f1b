"""carrier-f64: the integer specification on float64 MatMul; sums of integers below 2^53 are exact in any order."""

from dataclasses import dataclass

import numpy as np

from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.lowerings.float_carrier import FloatCarrier
from harness.lowerings.skeleton import lower


@dataclass(frozen=True, kw_only=True)
class CarrierF64:
    name: str = "carrier-f64"
    summary: str = "float64 MatMul as the carrier of integers, of every width"
    realises: str = "integer"
    exact_where: str = "wherever there is float64: sums stay below 2^53"
    rank: int = 50

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        carrier = FloatCarrier(row_type=np.float64, limit=2**53)
        return lower(self.name, carrier, source, taps=taps)


LOWERINGS.register(CarrierF64())
