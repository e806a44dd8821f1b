"""mmi-u8s7: as mmi-u8s8 with weights of at most 7 bits, larger ones as the sum of two: saturates nowhere.

AVX2 without VNNI adds pairs of products with saturation at 16 bits: 2 * 255 * 64 is the most that fits.
"""

from dataclasses import dataclass

from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.lowerings.byte_carrier import ByteCarrier
from harness.lowerings.skeleton import lower


@dataclass(frozen=True, kw_only=True)
class MatMulIntegerU8S7:
    name: str = "mmi-u8s7"
    summary: str = (
        "uint8 x int8 MatMulInteger with weights of 7 bits; larger ones take two products"
    )
    realises: str = "integer"
    exact_where: str = "every CPU, with and without VNNI, with float32 kept as it is"
    rank: int = 20

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        return lower(self.name, ByteCarrier(weights="int7", floats=True), source, taps=taps)


LOWERINGS.register(MatMulIntegerU8S7())
