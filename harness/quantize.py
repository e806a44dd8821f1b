"""From a float network and its ranges to its integer-only specification. What runs it comes later.

Only + - * /, comparisons, floor and powers of two act on floats here, one element at a time: IEEE 754 gives those one
result everywhere, so that the same codec and ranges quantize to the same integers on every machine (the digest of
the result is stored with each shipped codec and checked).
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.calibrate import F64, ChannelRange, Ranges
from harness.cdf import fixed_thresholds
from harness.errors import UserError
from harness.network import Convolution, LeakyRelu, Network, Relu
from harness.specification import (
    I32,
    I64,
    MEAN_MAX,
    MEDIAN_FRACTION_BITS,
    SIGMA_MAX,
    IntegerLayer,
    IntegerNet,
    Precision,
    Requantization,
)

# (accumulator + bias) * multiplier stays below this, so that adding the clamp's offset cannot leave int32.
PRODUCT_LIMIT = 2**30
# Beyond 8x8 bits int32 cannot carry the accumulators; such specifications are bounded by what float64 carries.
WIDE_PRODUCT_LIMIT = 2**52
MULTIPLIER_BITS = 8
MAX_SHIFT = 29
LEAKY_SHIFT = 12
# Head-room of the outputs over what calibration saw.
OUTPUT_MARGIN = 1.5


def quantize(
    network: Network, ranges: Ranges, precision: Precision, *, medians: I32, scale_thresholds: I32
) -> IntegerNet:
    """Post-training quantization of h_s.

    Weights have one scale per output channel. Activations have one scale per channel: the scale of channel c is
    folded into the next layer's weights, so the integer graph never sees it. Outputs land on powers of two.
    `medians` int32 [N] in 2^-8, `scale_thresholds` int32 [64] (bits of the float32 scale table).
    """
    blocks = list(network.blocks())
    _check_widths(network, ranges)
    entry, scale = _entry(ranges[network.input], medians, precision.activation_bits)
    input_low, input_high = (
        -(2 ** (precision.activation_bits - 1)),
        2 ** (precision.activation_bits - 1) - 1,
    )
    layers: list[IntegerLayer] = []
    output_bits = _output_fraction_bits(ranges[blocks[-1][0].name], len(network.outputs))
    for number, (convolution, pointwise) in enumerate(blocks):
        slope = _activation(convolution, pointwise)
        if number < len(blocks) - 1:
            reach = ranges[(pointwise or (convolution,))[-1].name]
            low, high = _hidden_clamp(reach, precision.activation_bits, slope)
            wanted = _hidden_scale(reach, low, high)
            lows, highs = np.full(len(wanted), low), np.full(len(wanted), high)
        else:
            wanted, lows, highs = _output_grid(len(convolution.bias), network.outputs, output_bits)
        layer, scale = _quantize_layer(
            convolution,
            scale,
            wanted,
            precision,
            slope,
            (input_low, input_high),
            (lows, highs),
            exact=number == len(blocks) - 1,
        )
        layers.append(layer)
        if number < len(blocks) - 1:
            input_low, input_high = low, high
    return IntegerNet(
        name=network.name,
        precision=precision.name,
        outputs=network.outputs,
        entry=entry,
        layers=tuple(layers),
        sigma_fraction_bits=output_bits["scales_hat"],
        mean_fraction_bits=output_bits["means_hat"],
        thresholds=fixed_thresholds(scale_thresholds, output_bits["scales_hat"]),
    )


def _check_widths(network: Network, ranges: Ranges) -> None:
    """Ranges must have one low and one high for every channel of the input and of each layer."""
    widths = {network.input: network.in_channels}
    for convolution, pointwise in network.blocks():
        widths |= dict.fromkeys(
            [convolution.name, *(layer.name for layer in pointwise)], len(convolution.bias)
        )
    for name, width in widths.items():
        if len(ranges[name].low) != width:
            raise UserError(
                f"calibrated range for {name!r} has {len(ranges[name].low)} channels, not {width}: "
                "the ranges are of another network"
            )


def _i32(values: NDArray[np.generic] | int, like: NDArray[np.generic] | None = None) -> I32:
    array = np.asarray(values)
    return np.ascontiguousarray(
        np.broadcast_to(array, like.shape) if like is not None else array
    ).astype(np.int32)


def _entry(z: ChannelRange, medians: I32, bits: int) -> tuple[Requantization, F64]:
    """z_hat in `bits` bits, with as many fraction bits per channel (at most 7) as its range leaves."""
    high = 2 ** (bits - 1) - 1
    reach = np.maximum(np.maximum(np.abs(z.low), np.abs(z.high)), 1e-3) * 1.25
    fraction = np.clip(np.floor(_log2_floor(high / reach)), -8, MEDIAN_FRACTION_BITS - 1).astype(
        np.int64
    )
    shift = MEDIAN_FRACTION_BITS - fraction
    entry = Requantization(
        bias=_i32(medians),
        multiplier=_i32(1, medians),
        shift=_i32(shift),
        low=_i32(-high - 1, medians),
        high=_i32(high, medians),
    )
    return entry, np.ldexp(1.0, -fraction)


def _log2_floor(x: F64) -> I64:
    """floor(log2(x)), exactly, for x > 0 (`log2` itself may round up across a power of two)."""
    return np.frexp(x)[1].astype(np.int64) - 1


def _activation(convolution: Convolution, pointwise: tuple[object, ...]) -> float:
    """Slope of the negative side: 0 for ReLU, s for LeakyReLU, 1 for none."""
    match pointwise:
        case ():
            return 1.0
        case (Relu(),):
            return 0.0
        case (LeakyRelu() as layer,):
            # max(x, slope * x) is the rectifier for these only, and LEAKY_SHIFT bits must hold the slope.
            if not 2.0**-LEAKY_SHIFT <= layer.slope < 1:
                raise UserError(
                    f"layer {convolution.name}: no integer rule for LeakyReLU of slope {layer.slope}"
                )
            return layer.slope
        case _:
            kinds = [type(layer).__name__ for layer in pointwise]
            raise UserError(
                f"layer {convolution.name}: no integer rule for {' + '.join(kinds)} behind it"
            )


def _hidden_clamp(r: ChannelRange, bits: int, slope: float) -> tuple[int, int]:
    """The [low, high] of 2^bits values that wastes least over the channels; ReLU needs no negative side."""
    if slope == 0.0:
        return 0, 2**bits - 1
    candidates = sorted({-((2**bits) * share // 64) for share in range(33)}, reverse=True)
    costs = [math.fsum(_hidden_scale(r, low, low + 2**bits - 1) ** 2) for low in candidates]
    low = candidates[costs.index(min(costs))]
    return low, low + 2**bits - 1


def _hidden_scale(r: ChannelRange, low: int, high: int) -> F64:
    """Real value of one step, per channel, so that the calibrated range just fits [low, high]."""
    positive = np.maximum(r.high, 0.0) / high
    negative = np.maximum(-r.low, 0.0) / -low if low else np.where(r.low < 0, np.inf, 0.0)
    return np.maximum(np.maximum(positive, negative), 1e-6)


def _output_fraction_bits(r: ChannelRange, outputs: int) -> dict[str, int]:
    """Fraction bits of sigma (unsigned 16 bits) and of the means (signed 16 bits) with head-room."""
    share = len(r.high) // outputs
    sigma = max(float(r.high[:share].max()), 0.25) * OUTPUT_MARGIN
    bits = {"scales_hat": min(12, int(_log2_floor(np.asarray(SIGMA_MAX / sigma)))), "means_hat": 0}
    if outputs > 1:
        mean = (
            max(float(np.abs(r.high[share:]).max()), float(np.abs(r.low[share:]).max()), 0.25)
            * OUTPUT_MARGIN
        )
        bits["means_hat"] = min(8, int(_log2_floor(np.asarray(MEAN_MAX / mean))))
    return bits


def _output_grid(
    channels: int, outputs: tuple[str, ...], bits: Mapping[str, int]
) -> tuple[F64, I64, I64]:
    share = channels // len(outputs)
    limits = {"scales_hat": (0, SIGMA_MAX), "means_hat": (-MEAN_MAX, MEAN_MAX)}
    wanted = np.repeat([math.ldexp(1.0, -bits[name]) for name in outputs], share)
    lows = np.repeat([limits[name][0] for name in outputs], share)
    highs = np.repeat([limits[name][1] for name in outputs], share)
    return wanted, lows.astype(np.int64), highs.astype(np.int64)


def _quantize_layer(
    convolution: Convolution,
    in_scale: F64,
    wanted: F64,
    precision: Precision,
    slope: float,
    input_range: tuple[int, int],
    clamp: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    exact: bool,
) -> tuple[IntegerLayer, F64]:
    """One layer and the real scale of its outputs; `exact` outputs land on `wanted` precisely, others just above."""
    folded = convolution.weight.astype(np.float64) * in_scale[None, :, None, None]
    bias = convolution.bias.astype(np.float64)
    levels = 2 ** (precision.weight_bits - 1) - 1
    narrow = precision.weight_bits + precision.activation_bits <= 16  # noqa: PLR2004 - 8x8 bits
    limit = PRODUCT_LIMIT if narrow else WIDE_PRODUCT_LIMIT
    largest = np.abs(folded).reshape(len(folded), -1).max(axis=1)
    # A dead channel has tiny weights beside a real bias: keep its bias representable.
    step = np.maximum(np.maximum(largest / levels, np.abs(bias) / 2**20), 2.0**-40)
    reach = max(-input_range[0], input_range[1])
    rough = (
        np.floor(np.abs(folded).reshape(len(folded), -1) / step[:, None] + 1).sum(axis=1) * reach
        + 2**21
    )
    multiplier_bits = int(min(MULTIPLIER_BITS, _log2_floor(limit / rough).min() - 1))
    if multiplier_bits < 0:
        worst = int(rough.argmax())
        raise UserError(
            f"layer {convolution.name}, channel {worst}: its accumulator may reach {int(rough[worst])}, "
            f"more than the {limit} that its requantization carries; use fewer bits"
        )
    ratio = step / wanted
    shift = np.clip(multiplier_bits - 1 - _log2_floor(ratio), 1, MAX_SHIFT)
    scaled = ratio * np.ldexp(1.0, shift)
    multiplier = np.maximum(np.ceil(scaled) if exact else np.floor(scaled), 1).astype(np.int64)
    if exact:
        step = wanted * multiplier / np.ldexp(1.0, shift)
    weight = np.floor(folded / step[:, None, None, None] + 0.5).astype(np.int64)
    weight = np.clip(weight, -levels, levels)
    bias_int = np.floor(bias / step + 0.5).astype(np.int64)
    bounds = np.abs(weight).reshape(len(weight), -1).sum(axis=1) * reach + np.abs(bias_int)
    products = bounds * multiplier
    if products.max() >= limit:
        worst = int(products.argmax())
        raise UserError(
            f"layer {convolution.name}, channel {worst}: (accumulator + bias) * multiplier may reach "
            f"{int(products[worst])}, not below {limit}; use fewer bits"
        )
    lows, highs = clamp
    leaky = None
    if slope not in {0.0, 1.0}:
        numerator = math.floor(slope * 2**LEAKY_SHIFT + 0.5)
        leaky = Requantization(
            bias=_i32(0, lows),
            multiplier=_i32(numerator, lows),
            shift=_i32(LEAKY_SHIFT, lows),
            low=_i32(lows),
            high=_i32(highs),
        )
        lows = -(
            (-lows + 1) * 2**LEAKY_SHIFT // numerator + 1
        )  # leaky() of this is below the real clamp
    # A clamp beyond what the accumulator can reach would only widen the intermediate: tighten it.
    reachable = products // 2**shift + 1
    requantize = Requantization(
        bias=_i32(bias_int),
        multiplier=_i32(multiplier),
        shift=_i32(shift),
        low=_i32(np.maximum(lows, -reachable)),
        high=_i32(highs),
    )
    layer = IntegerLayer(
        name=convolution.name,
        weight=_i32(weight),
        stride=convolution.stride,
        padding=convolution.padding,
        transposed=convolution.transposed,
        output_padding=convolution.output_padding,
        input_low=input_range[0],
        input_high=input_range[1],
        requantize=requantize,
        leaky=leaky,
        bounds=bounds,
    )
    return layer, step * np.ldexp(1.0, shift) / multiplier
