"""One coded latent of a frame, and what both ends know of it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bitstream import symbol_hash
from harness.endpoints import Arrays
from harness.video.pictures import Picture
from harness.video_stream import Branch as CodedBranch

I32 = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Latent:
    """`y_hat` is int32 in an integer build, else float32."""

    branch: str
    z_symbols: I32
    parameters: Arrays
    y_symbols: I32
    y_hat: Picture
    payload_z: bytes = b""
    payload_y: bytes = b""
    problem: str = ""

    @property
    def indexes(self) -> I32:
        return np.asarray(self.parameters["indexes"], np.int32)

    def coded(self) -> CodedBranch:
        return CodedBranch(
            name=self.branch,
            payload_z=self.payload_z,
            payload_y=self.payload_y,
            z_hash=symbol_hash(self.z_symbols),
            index_hash=symbol_hash(self.indexes),
            y_hash=symbol_hash(self.y_symbols),
        )

    def tensors(self) -> dict[str, Picture]:
        """In graph order, named `branch.tensor`."""
        found = {
            "z_symbols": self.z_symbols,
            **self.parameters,
            "y_symbols": self.y_symbols,
            "y_hat": self.y_hat,
        }
        return {f"{self.branch}.{name}": array for name, array in found.items()}


def parameters_hash(latents: Iterable[Latent]) -> bytes:
    """Of what the entropy coder is driven by: the indexes of every branch, and the means where they are integers."""
    arrays = []
    for latent in latents:
        arrays.append(latent.indexes.ravel())
        if np.issubdtype(latent.parameters["means_hat"].dtype, np.integer):
            arrays.append(latent.parameters["means_hat"].astype(np.int32).ravel())
    return symbol_hash(np.concatenate(arrays))
