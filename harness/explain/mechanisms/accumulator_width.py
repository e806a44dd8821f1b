"""accumulator width: sums that leave 16, 24 or 32 bits wrap or saturate."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.dsp.profile import ACCUMULATOR_BITS, ArithmeticProfile
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import profile_accounts


@dataclass(frozen=True, kw_only=True)
class AccumulatorWidth:
    name: str = "accumulator width"
    summary: str = "a DSP or NPU accumulates in fewer bits than the sums need, or saturates at 32"

    def accounts(self, site: Site) -> Iterator[Account]:
        profiles = {
            f"{bits} bits, {'wrapping' if overflow == 'wrap' else 'saturating'}": ArithmeticProfile(
                accumulator_bits=bits, overflow=overflow
            )
            for bits in ACCUMULATOR_BITS
            for overflow in ("wrap", "saturate")
        }
        yield from profile_accounts(self.name, site, profiles)


MECHANISMS.register(AccumulatorWidth())
