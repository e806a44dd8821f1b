"""From a float network and its calibration to its integer-only specification. What runs it comes later.

Only + - * /, comparisons, floor and powers of two act on floats here, one element at a time: IEEE 754 gives those one
result everywhere, so that the same codec and calibration quantize to the same integers on every machine (the digest of
the result is stored with each shipped codec and checked).

Weights have one scale per output channel, activations one per channel or per tensor: the scale of channel c is folded
into the next layer's weights, so the integer graph never sees it. How a layer is requantized follows from its widths:
up to 8 x 8 bits by a multiplier (as many bits of it as keep products below 2^23, where float32 carries them) and a shift,
wider ones by a shift alone (the weights' scale takes up the rest, which costs less than one of their bits).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.activations import (
    Activation,
    gdn_input,
    hidden,
    latent_entry,
    output_fraction_bits,
    output_target,
    symbols_entry,
    target_of,
)
from harness.calibration import F64, Calibration
from harness.cdf import fixed_thresholds
from harness.errors import UserError
from harness.grid import (
    LEAKY_SHIFT,
    Folded,
    Grid,
    Target,
    floor_log2,
    fold,
    grid,
    round_weights,
)
from harness.integer_layer import integer_layer
from harness.network import Convolution, Gdn, Layer, LeakyRelu, Network, QRelu, Relu
from harness.precision import Precision
from harness.specification import (
    GDN_NORM_MAX,
    GDN_SQUARE_MAX,
    I32,
    MEDIAN_FRACTION_BITS,
    PIXEL_MAX,
    ROOT_FRACTION_BITS,
    SYMBOL_LIMIT,
    IntegerGdn,
    IntegerLayer,
    IntegerNet,
    Requantization,
)

Observer = Callable[[Folded, Target, Grid], None]

SQUARE_SHIFT = 14
MAX_ROOT_SHIFT = 30
LATENT_LIMIT = 2**22 - 1


def quantize_h_s(
    network: Network,
    calibration: Calibration,
    precision: Precision,
    *,
    medians: I32,
    scale_thresholds: I32,
    observer: Observer | None = None,
) -> IntegerNet:
    """Post-training quantization of h_s, or of the half of one that gives sigma or the means. Outputs land on powers of two.

    `medians` int32 [N] in 2^-8, `scale_thresholds` int32 [64] (bits of the float32 scale table).
    """
    blocks = _blocks(network, calibration, precision, "z_q")
    entry, activation = symbols_entry(
        calibration[network.input], medians, precision.of_activation("z_q")
    )
    fraction = output_fraction_bits(calibration[_last(blocks[-1])], network.outputs, precision)
    target = output_target(
        len(blocks[-1][0].bias), network.outputs, fraction, precision.output_bits
    )
    return IntegerNet(
        name=network.name,
        precision=precision.name,
        input="z_symbols",
        outputs=network.outputs,
        input_limit=SYMBOL_LIMIT,
        input_shift=MEDIAN_FRACTION_BITS,
        entry=entry,
        layers=_layers(
            blocks, activation, target, _Maker(calibration, precision, observer, may_drop=True)
        ),
        sigma_fraction_bits=fraction["scales_hat"],
        mean_fraction_bits=fraction["means_hat"],
        thresholds=fixed_thresholds(scale_thresholds, fraction["scales_hat"])
        if "scales_hat" in network.outputs
        else np.zeros(0, np.int64),
    )


def quantize_g_s(
    network: Network,
    calibration: Calibration,
    precision: Precision,
    *,
    fraction_bits: int,
    observer: Observer | None = None,
) -> IntegerNet:
    """Post-training quantization of g_s: y_hat with `fraction_bits` in, 8-bit pixels out."""
    channels = network.out_channels
    target = Target(
        scale=np.full(channels, 1 / PIXEL_MAX),
        low=np.zeros(channels, np.int64),
        high=np.full(channels, PIXEL_MAX),
    )
    return quantize_synthesis(
        network,
        calibration,
        precision,
        fraction_bits=fraction_bits,
        output="picture",
        target=target,
        observer=observer,
    )


def quantize_synthesis(
    network: Network,
    calibration: Calibration,
    precision: Precision,
    *,
    fraction_bits: int,
    output: str,
    target: Target,
    observer: Observer | None = None,
) -> IntegerNet:
    """Post-training quantization of a decoder: y_hat with `fraction_bits` in, `output` as integers on `target` out."""
    blocks = _blocks(network, calibration, precision, "y_q")
    entry, activation = latent_entry(
        calibration[network.input], precision.of_activation("y_q"), fraction_bits
    )
    return IntegerNet(
        name=network.name,
        precision=precision.name,
        input="y_hat",
        outputs=(output,),
        input_limit=LATENT_LIMIT,
        input_shift=0,
        entry=entry,
        layers=_layers(
            blocks, activation, target, _Maker(calibration, precision, observer, may_drop=False)
        ),
        sigma_fraction_bits=0,
        mean_fraction_bits=0,
        thresholds=np.zeros(0, np.int64),
    )


Block = tuple[Convolution, tuple[Layer, ...]]


def _last(block: Block) -> str:
    """The tensor that a block hands on."""
    convolution, pointwise = block
    return (pointwise or (convolution,))[-1].name


def _blocks(
    network: Network, calibration: Calibration, precision: Precision, entry: str
) -> list[Block]:
    """Each convolution with the rectifier or GDN behind it; everything given must be of this network."""
    blocks = list(network.blocks())
    widths = {network.input: network.in_channels}
    weighted = {convolution.name for convolution, _ in blocks}
    for convolution, pointwise in blocks:
        widths |= dict.fromkeys(
            [convolution.name, *(layer.name for layer in pointwise)], len(convolution.bias)
        )
        weighted |= {_norm_name(layer.name) for layer in pointwise if isinstance(layer, Gdn)}
    precision.check_names({entry, *weighted, *widths} - {network.input})
    shapes = {c.name: c.weight.shape for c in network.convolutions}
    shapes |= {
        _norm_name(layer.name): (*layer.gamma.shape, 1, 1)
        for _, pointwise in blocks
        for layer in pointwise
        if isinstance(layer, Gdn)
    }
    calibration.check(widths, shapes, precision)
    return blocks


def _layers(
    blocks: list[Block], activation: Activation, target: Target, maker: "_Maker"
) -> tuple[IntegerLayer | IntegerGdn, ...]:
    """The chain of integer layers that ends on `target`."""
    layers: list[IntegerLayer | IntegerGdn] = []
    for number, block in enumerate(blocks):
        convolution, pointwise = block
        match pointwise:
            case (Gdn(inverse=True) as gdn,) if number < len(blocks) - 1:
                x = gdn_input(maker.calibration[convolution.name])
                layer, scale = maker.convolution(convolution, activation, x)
                made, activation = _gdn(gdn, scale, maker)
                layers.append(layer)
                layers.append(made)
            case _ if number < len(blocks) - 1:
                slope = rectifier_slope(convolution, pointwise)
                bits = maker.precision.of_activation(convolution.name)
                following = hidden(maker.calibration[_last(block)], bits, slope)
                weight_bits = maker.precision.of_weights(convolution.name)
                handed = target_of(following, may_grow=bits >= weight_bits)
                layer, scale = maker.convolution(convolution, activation, handed, slope)
                layers.append(layer)
                activation = replace(following, scale=scale)
            case _:
                slope = rectifier_slope(convolution, pointwise)
                layer, _ = maker.convolution(convolution, activation, target, slope)
                layers.append(layer)
    return tuple(layers)


@dataclass(frozen=True)
class _Maker:
    """Makes integer layers of one calibration and precision."""

    calibration: Calibration
    precision: Precision
    observer: Observer | None
    may_drop: bool

    def convolution(
        self, convolution: Convolution, activation: Activation, target: Target, slope: float = 1.0
    ) -> tuple[IntegerLayer, F64]:
        """A layer and the real value of a step of its outputs."""
        name = convolution.name
        folded = fold(
            convolution,
            activation.scale,
            (activation.low, activation.high),
            weight_bits=self.precision.of_weights(name),
            slope=slope,
            # Speed matters in h_s, which stands before the entropy coder; in g_s every bit shows in the picture.
            may_drop=self.may_drop,
            correction=self.calibration.biases.get(name),
        )
        found = grid(folded, target, self.calibration.clips.get(name))
        weight = self.calibration.weights.get(name)
        if self.observer is not None:
            self.observer(folded, target, found)
        chosen = round_weights(folded, found) if weight is None else weight
        return integer_layer(folded, target, found, chosen), found.scale


def rectifier_slope(convolution: Convolution, pointwise: tuple[Layer, ...]) -> float:
    """Slope of the negative side: 0 for ReLU, s for LeakyReLU, 1 for none."""
    match pointwise:
        case ():
            return 1.0
        case (Relu() | QRelu(),):  # QReLU ends where its calibrated range does, as all do
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


def _norm_name(gdn: str) -> str:
    return f"{gdn}.norm"


def _gdn(gdn: Gdn, x_scale: F64, maker: _Maker) -> tuple[IntegerGdn, Activation]:
    """The inverse GDN y = x * sqrt(beta + gamma x^2): the norm's scale is what makes y land on its own by a shift."""
    like = np.ones(len(x_scale), np.int64)
    square = Requantization(
        bias=0 * like,
        multiplier=like,
        shift=SQUARE_SHIFT * like,
        low=0 * like,
        high=GDN_SQUARE_MAX * like,
    )
    square_scale = x_scale * x_scale * 2.0**SQUARE_SHIFT
    gamma, beta = gdn.gamma.astype(np.float64), gdn.beta.astype(np.float64)
    largest = (gamma * (square_scale * GDN_SQUARE_MAX)[None, :]).sum(axis=1) + beta
    following = hidden(maker.calibration[gdn.name], maker.precision.of_activation(gdn.name), 1.0)
    # y = x * x_scale * root * sqrt(norm_scale) / 16, and following.scale = x_scale * sqrt(norm_scale) / 16 * 2^shift.
    finest = largest / GDN_NORM_MAX
    unit = x_scale / (following.scale * 2.0**ROOT_FRACTION_BITS)
    # The longest shift whose norm_scale is not below `finest`; norm_scale = (2^-shift / unit)^2.
    shift = np.clip(-(floor_log2(finest * unit * unit) + 1) // 2, 1, MAX_ROOT_SHIFT)
    norm_scale = np.ldexp(1.0, -shift) / unit
    norm_scale = norm_scale * norm_scale
    convolution = Convolution(
        name=_norm_name(gdn.name),
        weight=gdn.gamma[:, :, None, None],
        bias=gdn.beta,
        stride=1,
        padding=0,
    )
    squares = Activation(scale=square_scale, low=0, high=GDN_SQUARE_MAX)
    target = Target(scale=norm_scale, low=0 * like, high=GDN_NORM_MAX * like)
    made = IntegerGdn(
        name=gdn.name,
        square=square,
        norm=maker.convolution(convolution, squares, target)[0],
        scale=Requantization(
            bias=0 * like,
            multiplier=like,
            shift=shift,
            low=following.low * like,
            high=following.high * like,
        ),
    )
    return made, following
