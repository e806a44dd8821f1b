"""What AIMET's format can say of a calibration; what it cannot is refused (see `meaning`)."""

import numpy as np

from harness.activations import hidden
from harness.calibration import F64, Calibration, ChannelRange
from harness.encodings.file import SCALES, Encoding, Encodings, Malformed
from harness.errors import UserError
from harness.network import F32, Network
from harness.precision import Precision
from harness.roles import Kind, Role, levels, roles

SCHEME = "quant_scheme"
# Ranges below this are the same to the quantizer, which never divides by nothing.
LEAST_REACH = 2.0**-21
# Weights this small have steps of their own, whatever is written.
LEAST_SCALE = SCALES[0]


def encodings_of(
    calibration: Calibration, network: Network, precision: Precision, version: str = "1.0.0"
) -> Encodings:
    """What AIMET's format can say of a calibration; UserError where it cannot say it all."""
    if calibration.weights or calibration.biases:
        raise UserError(
            f"a calibration by {calibration.calibrator} has integer weights and biases of its own, for which AIMET "
            "encodings have no place: write it as a calibration file"
        )
    widths = {network.input: network.in_channels}
    for convolution, pointwise in network.blocks():
        names = [layer.name for layer in (convolution, *pointwise)]
        widths |= dict.fromkeys(names, len(convolution.bias))
    calibration.check(widths, {c.name: c.weight.shape for c in network.convolutions}, precision)
    try:
        return _encodings(calibration, network, precision, version)
    except Malformed as error:
        raise UserError(f"no AIMET encodings of {network.name}: {error}") from error


def _encodings(
    calibration: Calibration, network: Network, precision: Precision, version: str
) -> Encodings:
    held = roles(network, precision)
    parameters = {
        f"{c.name}.weight": _weight_encoding(
            calibration.clips.get(c.name), c.weight, precision.of_weights(c.name)
        )
        for c in network.convolutions
    }
    arguments = {
        "activation_bitwidth": precision.activation_bits,
        "param_bitwidth": precision.weight_bits,
        "dtype": "int",
        "is_symmetric": True,
        "per_channel_quantization": any(each.per_channel for each in parameters.values()),
        SCHEME: calibration.calibrator,
    }
    return Encodings(
        version=version,
        activations={role.name: _activation_encoding(calibration, role) for role in held},
        parameters=parameters,
        others={"quantizer_args": arguments},
    )


def _activation_encoding(calibration: Calibration, role: Role) -> Encoding:
    r = calibration[role.tensor]
    part = ChannelRange(low=r.low[role.channels], high=r.high[role.channels])
    if role.kind is Kind.PIXELS:
        part = ChannelRange(low=np.zeros(1), high=np.ones(1))
    elif role.kind is Kind.OUTPUT:
        # All channels of an output have one scale anyway.
        part = ChannelRange(low=part.low.min(keepdims=True), high=part.high.max(keepdims=True))
    low, high = float(part.low[0]), float(part.high[0])
    if (part.low != low).any() or (part.high != high).any():
        raise UserError(
            f"{role.name} has a range for each channel, folded into the next layer's weights, which AIMET encodings "
            "cannot say: calibrate with one scale a tensor (--activations-per tensor)"
        )
    steps = 2**role.bits - 1
    if role.symmetric:
        offset, scale = -(steps // 2) - 1, max(-low, high, LEAST_REACH) / levels(role.bits)
    elif role.kind is Kind.HIDDEN:
        offset = hidden(part, role.bits, 0.0 if role.positive else 1.0).low
        ends = (high / (offset + steps), -low / -offset if offset and not role.positive else 0.0)
        scale = max(*ends, LEAST_REACH)
    else:
        offset, scale = 0, max(high, LEAST_REACH) / steps
    return Encoding(
        bits=role.bits,
        symmetric=role.symmetric,
        scales=(scale,),
        offsets=(offset,),
        per_channel=False,
    )


def _weight_encoding(clips: F64 | None, weight: F32, bits: int) -> Encoding:
    largest = largest_weights(weight)
    scales = weight_scales(np.ones(len(largest)) if clips is None else clips, largest, bits)
    # Any scale will do for a dead channel.
    alive = np.maximum(scales[largest > 0], LEAST_SCALE)
    scales = np.where(largest > 0, np.maximum(scales, LEAST_SCALE), max([*alive, LEAST_SCALE]))
    if len(set(scales.tolist())) == 1:
        scales = scales[:1]
    return Encoding(
        bits=bits,
        symmetric=True,
        scales=tuple(scales.tolist()),
        offsets=(-(2 ** (bits - 1)),) * len(scales),
        per_channel=len(scales) > 1,
    )


def largest_weights(weight: F32) -> F64:
    """Largest magnitude of each output channel, float64 [out]."""
    return np.asarray(np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1))


def weight_scales(clips: F64, largest: F64, bits: int) -> F64:
    """Scales of clipped weights; the float32 value where one is as near as float64 computes."""
    scales = clips * largest / levels(bits)
    single = scales.astype(np.float32).astype(np.float64)
    return np.where(np.abs(single - scales) <= scales * 2.0**-50, single, scales)
