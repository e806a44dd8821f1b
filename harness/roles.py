"""What becomes of each tensor of a network in integers: its bits, its sign, and the name that files know it by."""

from dataclasses import dataclass
from enum import Enum

from harness.network import Gdn, Network, QRelu, Relu
from harness.precision import WIDEST, Precision

PIXEL_BITS = 8


class Kind(Enum):
    INPUT = "input"  # symmetric about zero
    HIDDEN = "hidden"  # [low, low + 2^bits), zero among them
    INNER = "inner"  # what an inverse GDN reads: symmetric, of the widest integers
    OUTPUT = "output"  # in fixed point
    PIXELS = "pixels"  # of a fixed grid, whatever the range


@dataclass(frozen=True, kw_only=True)
class Role:
    """A tensor that integers hold: `channels` of the layer (or input) `tensor`.

    `known_by`: its name in a table of bits ("" where no table has a say). `positive`: nothing below zero is left of it
    (a ReLU is behind it, or it is sigma).
    """

    name: str
    tensor: str
    known_by: str
    channels: slice
    bits: int
    kind: Kind
    symmetric: bool
    positive: bool


def roles(network: Network, precision: Precision) -> list[Role]:
    """The input, what each block hands on (and what a GDN reads), the outputs; in the order they run."""
    blocks = list(network.blocks())
    entry = f"{network.input[0]}_q"
    found = [_role(network.input, entry, precision.of_activation(entry), Kind.INPUT)]
    for convolution, pointwise in blocks[:-1]:
        last = (pointwise or (convolution,))[-1]
        known_by = convolution.name
        if isinstance(last, Gdn):
            found.append(_role(convolution.name, "", WIDEST, Kind.INNER))
            known_by = last.name
        bits = precision.of_activation(known_by)
        role = _role(
            last.name, known_by, bits, Kind.HIDDEN, positive=isinstance(last, Relu | QRelu)
        )
        found.append(role)
    convolution, pointwise = blocks[-1]
    share = network.out_channels // len(network.outputs)
    for number, output in enumerate(network.outputs):
        pixels = output == "x_hat"
        found.append(
            Role(
                name=output,
                tensor=(pointwise or (convolution,))[-1].name,
                known_by="",
                channels=slice(number * share, (number + 1) * share),
                bits=PIXEL_BITS if pixels else precision.output_bits,
                kind=Kind.PIXELS if pixels else Kind.OUTPUT,
                symmetric=output == "means_hat",
                positive=output != "means_hat",
            )
        )
    return found


def _role(name: str, known_by: str, bits: int, kind: Kind, *, positive: bool = False) -> Role:
    return Role(
        name=name,
        tensor=name,
        known_by=known_by,
        channels=slice(None),
        bits=bits,
        kind=kind,
        symmetric=kind is not Kind.HIDDEN,
        positive=positive,
    )


def levels(bits: int) -> int:
    """Largest integer of a symmetric grid: 2^(bits-1) - 1."""
    return int(2 ** (bits - 1) - 1)
