"""carrier-f32: the integer specification on float32 MatMul; sums of integers below 2^24 are exact in any order."""

from dataclasses import dataclass

import numpy as np

from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.lowerings.float_carrier import FloatCarrier
from harness.lowerings.skeleton import lower


@dataclass(frozen=True, kw_only=True)
class CarrierF32:
    name: str = "carrier-f32"
    summary: str = (
        "float32 MatMul as the carrier of integers; refuses layers whose sums may reach 2^24"
    )
    realises: str = "integer"
    exact_where: str = (
        "wherever float32 sums of integers below 2^24 are exact: not with TF32, bfloat16 or float16"
    )
    rank: int = 40

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        carrier = FloatCarrier(row_type=np.float32, limit=2**24)
        return lower(self.name, carrier, source, taps=taps)


LOWERINGS.register(CarrierF32())
