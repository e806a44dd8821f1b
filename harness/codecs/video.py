"""What a video codec is to the rest of the harness: three hyperprior codecs and a warp between them, as plain networks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.cdf import CdfTables
from harness.codecs.base import median_values
from harness.network import F32, Network

# Pictures are padded to multiples of this: four halvings in encoders, three in hyper-encoders.
VIDEO_DOWNSAMPLING = 128
# What a branch consists of; the literature's names for images are g_a, h_a, h_s (two chains here) and g_s.
ENCODER, HYPER_ENCODER, DECODER = "encoder", "hyper_encoder", "decoder"
SCALE, MEAN = "hyper_decoder_scale", "hyper_decoder_mean"
PARTS = (ENCODER, HYPER_ENCODER, SCALE, MEAN, DECODER)
IMAGE, MOTION, RESIDUAL = "img", "motion", "res"
BRANCHES = (IMAGE, MOTION, RESIDUAL)
# The families whose codecs are of this kind.
VIDEO_FAMILIES = frozenset({"ssf2020"})


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One hyperprior codec of a video codec: `img` (key frames), `motion` or `res`.

    `networks` by the names of `PARTS`. Both hyper-decoders read `z_hat`; the residual's decoder reads y_hat of the residual
    and, behind it, that of the motion. `z_tables`: one CDF a channel; `medians` int32 [C] in units of 2^-8.
    """

    name: str
    networks: Mapping[str, Network]
    z_tables: CdfTables
    medians: NDArray[np.int32]

    @cached_property
    def median_values(self) -> F32:
        return median_values(self.medians)


@dataclass(frozen=True, kw_only=True)
class VideoCodec:
    """A trained scale-space flow codec: I frames by branch `img`, P frames by `motion` and `res` around a warp."""

    family: str
    quality: int
    branches: Mapping[str, Branch]
    y_tables: CdfTables
    scale_thresholds: NDArray[np.int32]
    provenance: Mapping[str, object]

    @property
    def name(self) -> str:
        return f"{self.family}/q{self.quality}"

    @cached_property
    def networks(self) -> Mapping[str, Network]:
        """Every network, called `img_encoder` and so on."""
        return {
            network.name: network
            for branch in self.branches.values()
            for network in branch.networks.values()
        }

    @cached_property
    def tables_digest(self) -> str:
        digest = hashlib.sha256(self.y_tables.digest.encode())
        digest.update(np.ascontiguousarray(self.scale_thresholds, "<i4").tobytes())
        for name in BRANCHES:
            branch = self.branches[name]
            digest.update(branch.z_tables.digest.encode())
            digest.update(np.ascontiguousarray(branch.medians, "<i4").tobytes())
        return digest.hexdigest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every weight and table."""
        digest = hashlib.sha256(self.tables_digest.encode())
        for name in sorted(self.networks):
            self.networks[name].digest_into(digest)
        return digest.hexdigest()
