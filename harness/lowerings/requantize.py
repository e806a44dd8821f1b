"""The specification's rounding as ONNX: one model-local function, which integer interpreters may intercept."""

import onnx
from onnx import helper

from harness.lowerings.base import DOMAIN, INT32, OPSET


def requantize_function() -> onnx.FunctionProto:
    """The specification's one rounding, as a model-local function of plain int32 operators.

    clamp(floor(((acc + bias) * multiplier + divisor / 2) / divisor), low, high). `Div` truncates, so the clamp's low
    end is taken out first, which makes every dividend non-negative: truncation is then floor. The exporter has proven
    that no intermediate leaves int32.
    """

    def node(operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, [output])

    nodes = [
        helper.make_node("Constant", [], ["two"], value=helper.make_tensor("two", INT32, [], [2])),
        helper.make_node(
            "Constant", [], ["zero"], value=helper.make_tensor("zero", INT32, [], [0])
        ),
        node("Div", ["divisor", "two"], "half"),
        node("Mul", ["low", "divisor"], "floor_part"),
        node("Sub", ["half", "floor_part"], "rounding"),
        node("Mul", ["bias", "multiplier"], "scaled_bias"),
        node("Add", ["scaled_bias", "rounding"], "offset"),
        node("Sub", ["high", "low"], "span"),
        node("Mul", ["accumulator", "multiplier"], "product"),
        node("Add", ["product", "offset"], "shifted"),
        node("Max", ["shifted", "zero"], "dividend"),
        node("Div", ["dividend", "divisor"], "quotient"),
        node("Min", ["quotient", "span"], "limited"),
        node("Add", ["limited", "low"], "result"),
    ]
    return helper.make_function(
        DOMAIN,
        "Requantize",
        ["accumulator", "bias", "multiplier", "divisor", "low", "high"],
        ["result"],
        nodes,
        [helper.make_opsetid("", OPSET)],
    )
