"""What an encodings file means for a network of ours, and what of a calibration a file can say.

A file says what was *calibrated*: the range of a tensor as a scale and an offset, the reach of the weights as a scale.
The specification lands on it or on the next steps that its requantization has: narrow weights are up to 1/128 coarser
where the multiplier has all its 8 bits, wide weights up to twice, and wide activations have head-room. Tensors go by our names: the input (`z_hat`), what a block hands on
(`h_s.1`), what an inverse GDN reads (`g_s.0`), the outputs (`scales_hat`, `means_hat`, or the last layer in one),
weights `h_s.0.weight`. So they are in the ONNX files that `crosscheck export` writes, for AIMET to read.

What differs, and what is done about it:

* AIMET has one scale a tensor of activations, and weights in units of their own. Ours per channel are folded into the
  next layer's weights, of which no file could speak: such calibrations are refused, and files with them.
* Chosen integer weights and corrected biases (the rate calibrator's) have no place in a file: refused.
* Symmetric grids are written with AIMET's offset -2^(b-1). Our integers stop at -(2^(b-1)-1), as its strict ones do: a
  weight that is clipped to the lowest integer there is one step higher here. Both offsets are read.
* Up to 8 bits a hidden (scale, offset) is our grid itself wherever `activations.hidden` offers that offset; behind a ReLU
  it has to be 0. The input lands on powers of two (z) or on an 8-bit multiplier (y) that cover its range, outputs on
  powers of two with head-room. What an inverse GDN reads has 16 bits and pixels have a grid of their own, 1/255,
  whatever a file says.
* Biases, the convolution before a rectifier and what is inside a GDN need no encoding; if a file has one it is not used
  (for ranges before a rectifier it is taken as what the controls want to know).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from harness.calibration import F64, Calibration, ChannelRange
from harness.encodings.file import Encoding, Encodings
from harness.encodings.writing import SCHEME, largest_weights, weight_scales
from harness.errors import UserError
from harness.network import Gdn, Network
from harness.precision import WIDEST, Precision
from harness.roles import Kind, Role, levels, roles

LEAST_BITS = 2
PIXEL_RANGE = (0.0, 1.0)
# Names of tensors do not depend on it.
_ANY = Precision.parse("w8a8")


def read_encodings(path: Path, network: Network, precision: Precision | None = None) -> Calibration:
    """The calibration that a file means; without a precision, at the bits that it states."""
    encodings = Encodings.read(path)
    return calibration_of(encodings, network, precision or precision_of(encodings, network))


def precision_of(encodings: Encodings, network: Network) -> Precision:
    """The bits that a file states: a name such as w4a8 where they are uniform, else a table of exceptions."""
    held = [(r, _activation(encodings, r).bits) for r in roles(network, _ANY) if _has_bits(r)]
    activations = {role.known_by: found for role, found in held if role.kind is not Kind.OUTPUT}
    weights = {c.name: _weights(encodings, c.name).bits for c in network.convolutions}
    outputs = {found for role, found in held if role.kind is Kind.OUTPUT}
    if len(outputs) > 1:
        raise UserError(f"{encodings.source}: outputs of {network.name} differ in bits")
    output_bits = outputs.pop() if outputs else WIDEST
    named = [(f"{name}.weight", found) for name, found in weights.items()]
    for name, found in [*named, *((role.name, found) for role, found in held)]:
        if not LEAST_BITS <= found <= WIDEST:
            raise UserError(
                f"{encodings.source}: {name!r} has {found} bits; {LEAST_BITS} to {WIDEST} are possible"
            )
    bits = [_commonest(each.values()) for each in (weights, activations)]
    name = f"w{bits[0]}a{bits[1]}" + (f"-o{output_bits}" if output_bits != WIDEST else "")
    exceptions = [
        {n: b for n, b in table.items() if b != default}
        for table, default in zip((weights, activations), bits, strict=True)
    ]
    if any(exceptions):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(encodings.source.split(" ")[-1]).stem)
        name = f"mixed-{stem}"
    return Precision(
        name=name,
        weight_bits=bits[0],
        activation_bits=bits[1],
        output_bits=output_bits,
        weights=exceptions[0],
        activations=exceptions[1],
    )


def _has_bits(role: Role) -> bool:
    """Whether a file decides the bits of a tensor."""
    return role.kind in {Kind.INPUT, Kind.HIDDEN, Kind.OUTPUT}


def _commonest(bits: Iterable[int]) -> int:
    return Counter(bits).most_common(1)[0][0]


def calibration_of(encodings: Encodings, network: Network, precision: Precision) -> Calibration:
    """Ranges and clips for a network; UserError where the file is of another network or precision."""
    _check_names(encodings, network)
    tensors = _unused(encodings, network)
    for role in roles(network, precision):
        low, high = _range(encodings, network, role, precision)
        r = tensors[role.tensor]
        r.low[role.channels], r.high[role.channels] = low, high
    for convolution, pointwise in network.blocks():
        before, after = tensors[convolution.name], tensors[(pointwise or (convolution,))[-1].name]
        if convolution.name not in encodings.activations and before is not after:
            reach = np.maximum(-after.low, after.high)
            tensors[convolution.name] = ChannelRange(
                low=np.minimum(before.low, -reach), high=np.maximum(before.high, reach)
            )
    arguments = encodings.others.get("quantizer_args")
    scheme = arguments.get(SCHEME) if isinstance(arguments, Mapping) else None
    return Calibration(
        calibrator=scheme if isinstance(scheme, str) and scheme else "aimet",
        samples=0,
        tensors=tensors,
        precision=precision.name,
        clips={c.name: _clips(encodings, network, c.name, precision) for c in network.convolutions},
    )


def _check_names(encodings: Encodings, network: Network) -> None:
    layers = {layer.name for layer in network.layers}
    inside = {
        f"{layer.name}.{part}"
        for layer in network.layers
        if isinstance(layer, Gdn)
        for part in ("square", "norm", "root", "gamma", "beta")
    }
    weighted = {c.name for c in network.convolutions}
    known = {
        "activation": {network.input, *network.outputs, *layers} | inside,
        "parameter": {f"{name}.{part}" for name in weighted for part in ("weight", "bias")}
        | inside,
    }
    given = {"activation": encodings.activations, "parameter": encodings.parameters}
    for kind, names in known.items():
        if unknown := [name for name in given[kind] if name not in names]:
            raise UserError(
                f"{encodings.source}: {kind} {unknown[0]!r} is none of {network.name}: the encodings are of another network"
            )


def _activation(encodings: Encodings, role: Role) -> Encoding:
    """The encoding of a tensor; of an output, that of the last layer will do."""
    for name in (role.name, role.tensor):
        if name in encodings.activations:
            return encodings.activations[name]
    raise UserError(f"{encodings.source}: no encoding of activation {role.name!r}")


def _weights(encodings: Encodings, layer: str) -> Encoding:
    found = encodings.parameters.get(f"{layer}.weight")
    if found is None:
        raise UserError(f"{encodings.source}: no encoding of parameter '{layer}.weight'")
    if not found.symmetric:
        raise UserError(
            f"{encodings.source}: '{layer}.weight' is asymmetric; integer weights have their zero in the middle"
        )
    return found


def _check_bits(
    encodings: Encodings, network: Network, name: str, found: tuple[int, int], precision: Precision
) -> None:
    """`found`: the bits of the file and those of the precision."""
    if found[0] != found[1]:
        theirs = precision_of(encodings, network).name
        raise UserError(
            f"{encodings.source}: {name!r} has {found[0]} bits, not the {found[1]} of {precision.name}; "
            f"the file is of precision {theirs}"
        )


def _range(
    encodings: Encodings, network: Network, role: Role, precision: Precision
) -> tuple[float, float]:
    """Low and high of a tensor that `activations` takes for the very grid of the encoding."""
    if role.kind is Kind.PIXELS:
        return PIXEL_RANGE
    encoding = _activation(encodings, role)
    if _has_bits(role):
        _check_bits(encodings, network, role.name, (encoding.bits, role.bits), precision)
    grids = set(zip(encoding.scales, encoding.offsets, strict=True))
    if len(grids) > 1:
        raise UserError(
            f"{encodings.source}: {role.name!r} has a scale for each channel; one a tensor is what integers can follow"
        )
    ((scale, offset),) = grids
    if role.kind is Kind.HIDDEN:
        if role.positive and offset != 0:
            raise UserError(
                f"{encodings.source}: {role.name!r} comes out of a ReLU, so its offset is 0, not {offset}"
            )
        return -_reach(scale, -offset), _reach(scale, offset + 2**encoding.bits - 1)
    if encoding.symmetric:
        reach = _reach(scale, levels(encoding.bits))
        return -reach, reach
    return -_reach(scale, -offset), _reach(scale, offset + 2**encoding.bits - 1)


def _reach(scale: float, steps: int) -> float:
    """The end of a range that, divided by its steps, is the scale again; the nearest below where no float64 is."""
    if steps == 0:
        return 0.0
    near = [float(np.float32(scale * steps)), scale * steps]
    near += [math.nextafter(near[1], 0.0), math.nextafter(near[1], math.inf)]
    found = [reach for reach in near if reach / steps == scale]
    return found[0] if found else max(reach for reach in near if reach / steps < scale)


def _clips(encodings: Encodings, network: Network, name: str, precision: Precision) -> F64:
    """Share of each output channel's largest weight that the scale reaches; 1 for a dead channel."""
    convolution = next(c for c in network.convolutions if c.name == name)
    encoding, largest = _weights(encodings, name), largest_weights(convolution.weight)
    bits = precision.of_weights(name)
    _check_bits(encodings, network, f"{name}.weight", (encoding.bits, bits), precision)
    if len(encoding.scales) not in {1, len(largest)}:
        raise UserError(
            f"{encodings.source}: '{name}.weight' has {len(encoding.scales)} scales, not 1 or {len(largest)}: "
            "the encodings are of another network"
        )
    scales = np.broadcast_to(np.array(encoding.scales), largest.shape)
    clips = np.where(largest > 0, scales * levels(bits) / np.where(largest > 0, largest, 1.0), 1.0)
    # Clips are kept as float32 values: of a file of ours, these are found again.
    rounded = clips.astype(np.float32).astype(np.float64)
    return np.where(weight_scales(rounded, largest, bits) == scales, rounded, clips)


def _unused(encodings: Encodings, network: Network) -> dict[str, ChannelRange]:
    """Of every tensor that has no role: what the file has of it, or nothing."""
    found = {
        network.input: ChannelRange(
            low=np.zeros(network.in_channels), high=np.zeros(network.in_channels)
        )
    }
    for convolution, pointwise in network.blocks():
        for layer in (convolution, *pointwise):
            encoding = encodings.activations.get(layer.name)
            low = high = 0.0
            if encoding is not None:
                pairs = list(zip(encoding.scales, encoding.offsets, strict=True))
                low = min(scale * offset for scale, offset in pairs)
                high = max(scale * (offset + 2**encoding.bits - 1) for scale, offset in pairs)
            like = np.ones(len(convolution.bias))
            found[layer.name] = ChannelRange(low=low * like, high=high * like)
    return found
