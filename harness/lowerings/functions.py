"""The specification's rounding as model-local ONNX functions, which integer interpreters may intercept.

All begin with (accumulator, bias, multiplier, divisor, low, high), int32, and mean
clamp(floor((accumulator + bias) * multiplier / divisor + 1/2), low, high). Parameters are scalars or one number a
channel. Constants that follow from them are computed in the body: runtimes fold those. `Requantize` is integers only; in
the others no step rounds a value that is not clamped, so that fusing a product and a sum changes nothing either.
"""

from collections.abc import Callable, Mapping, Sequence

import onnx
from onnx import NodeProto, TensorProto, helper

from harness.lowerings.base import DOMAIN, OPSET

RULE = ["accumulator", "bias", "multiplier", "divisor", "low", "high"]
LEAKY = ["slope", "slope_divisor", "least", "most"]
INT32, FLOAT32, UINT8 = TensorProto.INT32, TensorProto.FLOAT, TensorProto.UINT8


def _function(name: str, inputs: Sequence[str], nodes: Sequence[NodeProto]) -> onnx.FunctionProto:
    opset = helper.make_opsetid("", OPSET)
    return helper.make_function(DOMAIN, name, list(inputs), ["result"], list(nodes), [opset])


def _node(operator: str, inputs: str, output: str) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output])


def _cast(name: str, output: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [output], to=kind)


def _constant(name: str, kind: int, value: float) -> NodeProto:
    tensor = helper.make_tensor(name, kind, [], [value])
    return helper.make_node("Constant", [], [name], value=tensor)


def requantize() -> onnx.FunctionProto:
    """Plain int32. `Div` truncates: the clamp's low end is taken out first, so that it is a floor."""
    nodes = [
        _constant("two", INT32, 2),
        _constant("zero", INT32, 0),
        _node("Div", "divisor two", "half"),
        _node("Mul", "low divisor", "floor_part"),
        _node("Sub", "half floor_part", "rounding"),
        _node("Mul", "bias multiplier", "scaled_bias"),
        _node("Add", "scaled_bias rounding", "offset"),
        _node("Sub", "high low", "span"),
        _node("Mul", "accumulator multiplier", "product"),
        _node("Add", "product offset", "shifted"),
        _node("Max", "shifted zero", "dividend"),
        _node("Div", "dividend divisor", "quotient"),
        _node("Min", "quotient span", "limited"),
        _node("Add", "limited low", "result"),
    ]
    return _function("Requantize", RULE, nodes)


def _scaled(nudge: str) -> list[NodeProto]:
    """Nodes of value = (accumulator * multiplier + bias * multiplier + nudge) / divisor, in float32."""
    return [
        _cast("bias", "bias_f", FLOAT32),
        _cast("multiplier", "multiplier_f", FLOAT32),
        _cast("divisor", "divisor_f", FLOAT32),
        _node("Div", "multiplier_f divisor_f", "scale"),
        _node("Mul", "bias_f multiplier_f", "scaled_bias"),
        _node("Add", f"scaled_bias {nudge}", "nudged_bias"),
        _node("Div", "nudged_bias divisor_f", "offset"),
        _cast("accumulator", "accumulator_f", FLOAT32),
        _node("Mul", "accumulator_f scale", "product"),
        _node("Add", "product offset", "value"),
    ]


def requantize_f32() -> onnx.FunctionProto:
    """Float32 in between: the clamp's low end is taken out before truncation, so that it is floor."""
    nodes = [
        _constant("half", FLOAT32, 0.5),
        _node("Sub", "high low", "span"),
        _cast("span", "span_f", FLOAT32),
        _cast("low", "low_f", FLOAT32),
        _cast("divisor", "whole", FLOAT32),
        _node("Sub", "half low_f", "rounding"),
        _node("Mul", "rounding whole", "nudge"),
        *_scaled("nudge"),
        _node("Relu", "value", "positive"),
        _node("Min", "positive span_f", "limited"),
        _cast("limited", "quotient", INT32),
        _node("Add", "quotient low", "result"),
    ]
    return _function("RequantizeF32", RULE, nodes)


def requantize_u8() -> onnx.FunctionProto:
    """The uint8 result - low. Half of the finest step more, and there are no ties: half-even is half-up."""
    nodes = [
        _constant("half", FLOAT32, 0.5),
        *_scaled("half"),
        *_quantized("value", "low", "high"),
    ]
    return _function("RequantizeU8", RULE, nodes)


def requantize_leaky_u8() -> onnx.FunctionProto:
    """The uint8 max(r, r') - least: r the requantized accumulator, r' = clamp(floor(r * slope / slope_divisor + 1/2)).

    The clamp of r to `low` may go: the exporter has proven that r' is below `least` by then.
    """
    nodes = [
        _constant("half", FLOAT32, 0.5),
        _cast("divisor", "whole", FLOAT32),
        _node("Mul", "half whole", "nudge"),
        *_scaled("nudge"),
        _node("Floor", "value", "rounded"),
        _cast("slope", "slope_f", FLOAT32),
        _cast("slope_divisor", "slope_divisor_f", FLOAT32),
        _node("Div", "slope_f slope_divisor_f", "slope_scale"),
        _node("Div", "half slope_divisor_f", "slope_half"),
        _node("Mul", "rounded slope_scale", "sloped"),
        _node("Add", "sloped slope_half", "untied"),
        _node("Max", "rounded untied", "rectified"),
        *_quantized("rectified", "least", "most"),
    ]
    return _function("RequantizeLeakyU8", RULE + LEAKY, nodes)


def _quantized(value: str, low: str, high: str) -> list[NodeProto]:
    """Nodes of the uint8 result: the rounded value - low, at most high - low."""
    return [
        _constant("step", FLOAT32, 1),
        _constant("none", INT32, 0),
        _node("Sub", f"none {low}", "zero_i"),
        _cast("zero_i", "zero_point", UINT8),
        _node("Sub", f"{high} {low}", "span_i"),
        _cast("span_i", "span_u8", UINT8),
        _node("QuantizeLinear", f"{value} step zero_point", "quantized"),
        _node("Min", "quantized span_u8", "result"),
    ]


FUNCTIONS: Mapping[str, Callable[[], onnx.FunctionProto]] = {
    "Requantize": requantize,
    "RequantizeF32": requantize_f32,
    "RequantizeU8": requantize_u8,
    "RequantizeLeakyU8": requantize_leaky_u8,
}
