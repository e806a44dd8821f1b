"""One layer of floats to integers, assembled of its grid and its rounded weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.grid import (
    LEAKY_SHIFT,
    Folded,
    Grid,
    Target,
    bias_integers,
    bounds,
    leaky_input_low,
    leaky_numerator,
)
from harness.specification import IntegerLayer, Requantization


def integer_layer(
    folded: Folded, target: Target, found: Grid, weight: NDArray[np.signedinteger[Any]]
) -> IntegerLayer:
    """Assemble a layer from its (nearest or otherwise) rounded weights; UserError if they break the bound."""
    proven = bounds(folded, weight, found)
    products = proven * found.multiplier
    if products.max() >= found.limit or np.abs(weight).max() > folded.levels:
        worst = int(products.argmax())
        raise UserError(
            f"layer {folded.convolution.name}, channel {worst}: (accumulator + bias) * multiplier may reach "
            f"{int(products[worst])}, not below {found.limit}, or a weight has more than {folded.weight_bits} bits"
        )
    lows = leaky_input_low(target.low, folded.slope)
    leaky = None
    if folded.slope not in {0.0, 1.0}:
        leaky = Requantization(
            bias=np.zeros_like(lows),
            multiplier=np.full_like(lows, leaky_numerator(folded.slope)),
            shift=np.full_like(lows, LEAKY_SHIFT),
            low=target.low,
            high=target.high,
        )
    # A clamp beyond what the accumulator can reach would only widen the intermediate: tighten it.
    reachable = (products >> found.shift) + 1
    convolution = folded.convolution
    return IntegerLayer(
        name=convolution.name,
        weight=np.ascontiguousarray(weight, np.int32),
        stride=convolution.stride,
        padding=convolution.padding,
        transposed=convolution.transposed,
        output_padding=convolution.output_padding,
        input_low=folded.input_low,
        input_high=folded.input_high,
        high_products=found.high_products,
        requantize=Requantization(
            bias=bias_integers(folded, found),
            multiplier=found.multiplier,
            shift=found.shift,
            low=np.maximum(lows, -reachable),
            high=target.high,
        ),
        leaky=leaky,
        bounds=proven,
    )
