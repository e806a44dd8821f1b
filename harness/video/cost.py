"""Memory and compute of the hyper-decoders of a video codec, counted from their shapes."""

from collections.abc import Sequence

from harness.clip_rd import HyperCost
from harness.codecs.video import BRANCHES, VIDEO_DOWNSAMPLING, VideoCodec
from harness.network import Network
from harness.precision import CONTROLS, read_precision
from harness.video.build import HYPER_DECODERS

FLOAT_BITS = 32


def hyper_costs(
    codec: VideoCodec, precisions: Sequence[str], size: tuple[int, int]
) -> list[HyperCost]:
    """One value a precision and branch, for one frame of `size` (height, width), both hyper-decoders together."""
    return [
        _cost(codec, precision, branch, size) for precision in precisions for branch in BRANCHES
    ]


def _cost(codec: VideoCodec, precision: str, branch: str, size: tuple[int, int]) -> HyperCost:
    weights, weight_bits, macs, operations, activation_bits = 0, 0, 0, 0, 0
    for part in HYPER_DECODERS:
        network = codec.branches[branch].networks[part]
        for layer in _layers(network, precision, size):
            count, bits, read_bits, products, traffic = layer
            weights += count
            weight_bits += count * bits
            macs += products
            operations += products * bits * read_bits
            activation_bits = max(activation_bits, traffic)
    return HyperCost(
        family=codec.family,
        quality=codec.quality,
        precision=precision,
        branch=branch,
        size=size,
        weights=weights,
        weight_bytes=weight_bits / 8,
        activation_bytes=activation_bits / 8,
        macs=macs,
        bit_operations=operations,
    )


def _layers(
    network: Network, precision: str, size: tuple[int, int]
) -> list[tuple[int, int, int, int, int]]:
    """Of each layer: weights, bits of a weight, bits of what it reads, MACs, bits of its input and output together."""
    parsed = None if precision in CONTROLS else read_precision(precision)
    height, width = (-(-n // VIDEO_DOWNSAMPLING) for n in size)
    read = parsed.of_activation("z_q") if parsed else FLOAT_BITS
    found = []
    for number, layer in enumerate(network.convolutions):
        out, into, k, _ = layer.weight.shape
        bits = parsed.of_weights(layer.name) if parsed else FLOAT_BITS
        is_last = number == len(network.convolutions) - 1
        made = FLOAT_BITS
        if parsed:
            made = parsed.output_bits if is_last else parsed.of_activation(layer.name)
        # Every input pixel of a transposed convolution meets every weight once.
        products = height * width * layer.weight.size
        pixels = height * width
        height, width = height * layer.stride, width * layer.stride
        traffic = pixels * into * read + height * width * out * made
        found.append((int(layer.weight.size), bits, read, products, traffic))
        read = made
        assert k == layer.weight.shape[3]
    return found
