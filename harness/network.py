"""A network as plain numpy layers: what codecs are turned into and what quantization and lowerings read.

Knows no framework. A `Network` is a chain; every layer maps one [1, C, H, W] tensor to another.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

F32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """`torch.nn.Conv2d`, or `ConvTranspose2d` if `transposed`: zero padding, dilation 1, one group.

    `weight` is float32 [out, in, k, k] in both cases (as Conv2d stores it), `bias` float32 [out].
    """

    name: str
    weight: F32
    bias: F32
    stride: int
    padding: int
    transposed: bool = False
    output_padding: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise UserError(f"layer {self.name}: its weights contain NaN or infinity")


@dataclass(frozen=True, kw_only=True)
class Relu:
    name: str


@dataclass(frozen=True, kw_only=True)
class QRelu:
    """ReLU that ends at 2^bits - 1 (Balle, Johnston, Minnen, ICLR 2019); CompressAI's, like this one, does not round."""

    name: str
    bits: int

    @property
    def highest(self) -> float:
        return float(2**self.bits - 1)


@dataclass(frozen=True, kw_only=True)
class LeakyRelu:
    name: str
    slope: float


@dataclass(frozen=True, kw_only=True)
class Abs:
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Gdn:
    """Generalized divisive normalization (Balle et al. 2016): y = x / sqrt(beta + gamma x^2), or times if inverse.

    `beta` float32 [C], `gamma` float32 [C, C], both after CompressAI's non-negative reparametrisation.
    """

    name: str
    beta: F32
    gamma: F32
    inverse: bool

    def __post_init__(self) -> None:
        if not (np.isfinite(self.beta).all() and np.isfinite(self.gamma).all()):
            raise UserError(f"layer {self.name}: its parameters contain NaN or infinity")


Layer = Convolution | Relu | QRelu | LeakyRelu | Abs | Gdn


@dataclass(frozen=True, kw_only=True)
class Network:
    """A chain of layers. `outputs` splits the last layer's channels in order, by equal shares."""

    name: str
    input: str
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Convolution))

    @property
    def in_channels(self) -> int:
        return int(self.convolutions[0].weight.shape[1])

    @property
    def out_channels(self) -> int:
        return int(self.convolutions[-1].weight.shape[0])

    def blocks(self) -> Iterator[tuple[Convolution, tuple[Layer, ...]]]:
        """Each convolution with the pointwise layers that follow it (a leading `Abs` belongs to none)."""
        starts = [i for i, layer in enumerate(self.layers) if isinstance(layer, Convolution)]
        for start, end in zip(starts, [*starts[1:], len(self.layers)], strict=True):
            convolution = self.layers[start]
            assert isinstance(convolution, Convolution)
            yield convolution, self.layers[start + 1 : end]

    def digest_into(self, digest: "hashlib._Hash") -> None:
        """Feed every parameter, in order, to a hash."""
        for layer in self.layers:
            digest.update(type(layer).__name__.encode())
            for field in fields(layer):
                value = getattr(layer, field.name)
                if isinstance(value, np.ndarray):
                    digest.update(f"{field.name}{list(value.shape)}".encode())
                    digest.update(np.ascontiguousarray(value, "<f4").tobytes())
                else:
                    digest.update(f"{field.name}={value}".encode())
