"""mmi-u8s8: the integer specification as uint8 x int8 MatMulInteger, the fastest form where the CPU has VNNI or AMX."""

from dataclasses import dataclass

from harness.lowerings.base import LOWERINGS, Artifact, Source
from harness.lowerings.byte_carrier import ByteCarrier
from harness.lowerings.skeleton import lower


@dataclass(frozen=True, kw_only=True)
class MatMulIntegerU8S8:
    name: str = "mmi-u8s8"
    summary: str = "uint8 x int8 MatMulInteger, float32 steps that round nothing; wider factors in parts of 8 or 6 bits"
    realises: str = "integer"
    exact_where: str = (
        "x86-64 with VNNI or AMX, and aarch64, with float32 kept as it is; AVX2 without VNNI saturates pairs of products "
        "(but not of 6-bit parts, nor of weights up to 7 bits)"
    )
    rank: int = 10

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        return lower(self.name, ByteCarrier(weights="int8", floats=True), source, taps=taps)


LOWERINGS.register(MatMulIntegerU8S8())
