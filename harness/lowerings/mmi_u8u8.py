"""mmi-u8u8: the integer specification as uint8 x uint8 MatMulInteger, which no CPU saturates, and int32: no floats."""

from dataclasses import dataclass

from harness.lowerings.base import INTEGER, LOWERINGS, Artifact, Source
from harness.lowerings.byte_carrier import ByteCarrier
from harness.lowerings.skeleton import lower


@dataclass(frozen=True, kw_only=True)
class MatMulIntegerU8U8:
    name: str = INTEGER
    summary: str = (
        "uint8 x uint8 MatMulInteger, int32 otherwise, no floats; wider factors in parts of 8 bits"
    )
    realises: str = "integer"
    exact_where: str = "everywhere, with and without VNNI, whatever a runtime does to floats"
    rank: int = 30

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        return lower(self.name, ByteCarrier(weights="uint8", floats=False), source, taps=taps)


LOWERINGS.register(MatMulIntegerU8U8())
