"""The arithmetic of an integer back end, as data."""

from dataclasses import dataclass
from typing import Literal

from harness.dsp.rounding import RULES
from harness.errors import UserError

ACCUMULATOR_BITS = (16, 24, 32)


@dataclass(frozen=True, kw_only=True)
class ArithmeticProfile:
    """How a back end multiplies, accumulates and requantizes.

    Weights enter the products with their zero point taken out, activations raw. The accumulator is
    two's complement, `accumulator_bits` wide, and sums the products in the order of K; on overflow
    it wraps, or saturates after every addition. Biases and the contribution of the activations'
    zero point are added at 32 bits afterwards.

    With `pair_saturation`, weights enter as int8 and activations as uint8 (int8 ones are offset by
    128), and the products of K = 2k and 2k + 1 are added with saturation at int16 before they are
    accumulated, as x86's vpmaddubsw and ONNX Runtime's MLAS on AVX2 do.

    `rounding` names the rule of `Requantize`, one of `harness.dsp.rounding.RULES`.
    """

    accumulator_bits: int = 32
    overflow: Literal["wrap", "saturate"] = "wrap"
    pair_saturation: bool = False
    rounding: str = "half-up"

    def __post_init__(self) -> None:
        if self.accumulator_bits not in ACCUMULATOR_BITS:
            raise UserError(f"an accumulator has one of {ACCUMULATOR_BITS} bits")
        if self.rounding not in RULES:
            raise UserError(f"no rounding rule {self.rounding!r}; known: {', '.join(RULES)}")

    @property
    def limit(self) -> int:
        """Sums in [-limit, limit) fit the accumulator."""
        return 1 << (self.accumulator_bits - 1)

    def describe(self) -> dict[str, str]:
        """The profile for a trace's environment."""
        return {
            "accumulator": f"int{self.accumulator_bits}, {self.overflow}",
            "pair_saturation": "int16" if self.pair_saturation else "none",
            "rounding": self.rounding,
        }
