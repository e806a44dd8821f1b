"""Scale hyperprior (Balle, Minnen, Singh, Hwang, Johnston: arXiv 1802.01436), CompressAI's `ScaleHyperprior`."""

from dataclasses import dataclass

from harness.codecs.base import FAMILIES
from harness.compressai_import import CompressionModel, ScaleHyperprior


@dataclass(frozen=True, kw_only=True)
class Bmshj2018Hyperprior:
    name: str = "bmshj2018-hyperprior"
    zoo_name: str = "bmshj2018-hyperprior"
    h_s_outputs: tuple[str, ...] = ("scales_hat",)
    h_a_takes_magnitudes: bool = True

    def build(self, n: int, m: int) -> CompressionModel:
        return ScaleHyperprior(n, m)


FAMILIES.register(Bmshj2018Hyperprior())
