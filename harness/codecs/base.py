"""What a codec is to the rest of the harness: plain networks, integer tables, a digest. No framework beyond here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.cdf import CdfTables
from harness.network import F32, Network
from harness.registry import Registry
from harness.specification import MEDIAN_FRACTION_BITS

if TYPE_CHECKING:
    from harness.compressai_import import CompressionModel

# Pictures are padded to multiples of this: four halvings in g_a, two in h_a.
DOWNSAMPLING = 64


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A trained hyperprior codec.

    `networks` has g_a, h_a, h_s, g_s. h_s maps `z_hat` to `scales_hat` and, where the family has them, `means_hat`.
    `z_tables`: one CDF a channel of z (entropy bottleneck); `y_tables`: one CDF a scale (Gaussian conditional);
    `medians` int32 [N] in units of 2^-8; `scale_thresholds` int32 [64], the bits of the float32 scale table.
    """

    family: str
    quality: int
    networks: Mapping[str, Network]
    z_tables: CdfTables
    y_tables: CdfTables
    medians: NDArray[np.int32]
    scale_thresholds: NDArray[np.int32]
    provenance: Mapping[str, object]

    @property
    def name(self) -> str:
        return f"{self.family}/q{self.quality}"

    @property
    def has_means(self) -> bool:
        return "means_hat" in self.networks["h_s"].outputs

    @cached_property
    def median_values(self) -> F32:
        return median_values(self.medians)

    @cached_property
    def tables_digest(self) -> str:
        digest = hashlib.sha256()
        for text in (self.z_tables.digest, self.y_tables.digest):
            digest.update(text.encode())
        for array in (self.medians, self.scale_thresholds):
            digest.update(np.ascontiguousarray(array, "<i4").tobytes())
        return digest.hexdigest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every weight and table."""
        digest = hashlib.sha256(self.tables_digest.encode())
        for name in sorted(self.networks):
            self.networks[name].digest_into(digest)
        return digest.hexdigest()


def median_values(medians: NDArray[np.int32]) -> F32:
    """Medians as float32 [1, N, 1, 1]: exactly, 24 bits hold any that 8 fraction bits describe."""
    fixed = medians.astype(np.float64)[None, :, None, None]
    return np.ldexp(fixed, -MEDIAN_FRACTION_BITS).astype(np.float32)


class Family(Protocol):
    """A model class of the literature: how to build it, and what its networks are connected to."""

    @property
    def name(self) -> str: ...

    @property
    def zoo_name(self) -> str:
        """The name CompressAI's model zoo knows it by."""
        ...

    @property
    def h_s_outputs(self) -> tuple[str, ...]: ...

    @property
    def h_a_takes_magnitudes(self) -> bool:
        """Whether h_a is fed |y| instead of y."""
        ...

    def build(self, n: int, m: int) -> "CompressionModel":
        """An untrained model of width (n, m)."""
        ...


FAMILIES: Registry[Family] = Registry("codec", "harness.codecs")
