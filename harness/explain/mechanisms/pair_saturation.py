"""pair saturation: two products added at 16 bits with saturation, before they are accumulated."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.dsp.profile import ArithmeticProfile
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.variants import profile_accounts


@dataclass(frozen=True, kw_only=True)
class PairSaturation:
    name: str = "pair saturation"
    summary: str = "vpmaddubsw: x86 with AVX2 but without VNNI multiplies uint8 by int8 like this"

    def accounts(self, site: Site) -> Iterator[Account]:
        profile = ArithmeticProfile(pair_saturation=True)
        yield from profile_accounts(
            self.name, site, {"int16 sums of pairs of u8 x s8 products": profile}
        )


MECHANISMS.register(PairSaturation())
