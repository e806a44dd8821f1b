"""Mean-scale hyperprior (Minnen, Balle, Toderici: arXiv 1809.02736), CompressAI's `MeanScaleHyperprior`."""

from dataclasses import dataclass

from harness.codecs.base import FAMILIES
from harness.compressai_import import CompressionModel, MeanScaleHyperprior


@dataclass(frozen=True, kw_only=True)
class Mbt2018Mean:
    name: str = "mbt2018-mean"
    zoo_name: str = "mbt2018-mean"
    h_s_outputs: tuple[str, ...] = ("scales_hat", "means_hat")
    h_a_takes_magnitudes: bool = False

    def build(self, n: int, m: int) -> CompressionModel:
        return MeanScaleHyperprior(n, m)


FAMILIES.register(Mbt2018Mean())
