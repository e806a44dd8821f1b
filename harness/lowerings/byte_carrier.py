"""uint8 rows and MatMulInteger, with the three kinds of weights that CPUs treat differently."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike
from onnx import TensorProto

from harness.lowerings.base import INT32, GraphBuilder
from harness.lowerings.carrier import IntegerSums, Parts, Product
from harness.lowerings.limbs import HIGH, LOW, SUM, WHOLE, Form, byte_form
from harness.specification import I64, IntegerLayer

FLOAT32, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
MIDDLE, BYTE = 128, 8
# Two products of an activation and a weight of at most this magnitude fit 16 bits: 2 * 255 * 64 = 32640.
PAIR_LIMIT = 2**15 - 1


@dataclass(frozen=True, kw_only=True)
class ByteCarrier(IntegerSums):
    """Weights are uint8 with zero point 128, int8, or int8 of about 7 bits ("int7").

    AVX2 without VNNI adds pairs of uint8 x int8 products with saturation at 16 bits. "int7" weights are too small for
    that; larger ones are the sum of two.
    """

    weights: Literal["uint8", "int8", "int7"]
    floats: bool

    row_type: DTypeLike = np.uint8

    def form(self, layer: IntegerLayer) -> Form:
        return byte_form(layer)

    def padding(self, form: Form, part: str) -> int:
        return form.zero(part)

    def parts(self, graph: GraphBuilder, label: str, values: str, form: Form) -> Parts:
        if form.base:
            values = graph.node("Sub", [values, graph.i32(form.base)], f"{label}.parts.based")
        low = graph.node("Cast", [values], f"{label}.parts.u8", to=UINT8)
        if not form.bits:
            return {WHOLE: low}
        if self.floats:
            # Values below 2^16 are exact in float32, whose cast truncates: faster than an integer division.
            real = graph.node("Cast", [values], f"{label}.parts.real", to=FLOAT32)
            unit = graph.constant(f"unit_{form.bits}", np.asarray(2.0**-form.bits, np.float32))
            quotient = graph.node("Mul", [real, unit], f"{label}.parts.quotient")
        else:
            radix = graph.i32(1 << form.bits)
            quotient = graph.node("Div", [values, radix], f"{label}.parts.quotient")
        high = graph.node("Cast", [quotient], f"{label}.parts.high", to=UINT8)
        if form.bits < BYTE:
            radix = graph.constant(f"u8_{1 << form.bits}", np.asarray(1 << form.bits, np.uint8))
            taken = graph.node("Mul", [high, radix], f"{label}.parts.taken")
            low = graph.node("Sub", [low, taken], f"{label}.parts.low")
        made = {HIGH: high, LOW: low}
        if SUM in form.parts:
            made[SUM] = graph.node("Add", [high, low], f"{label}.parts.sum")
        return made

    def whole(self, graph: GraphBuilder, label: str, parts: Parts, form: Form) -> str:
        low = parts[LOW if form.bits else WHOLE]
        total = graph.node("Cast", [low], f"{label}.low", to=INT32)
        if form.bits:
            high = graph.node("Cast", [parts[HIGH]], f"{label}.high", to=INT32)
            high = graph.node("Mul", [high, graph.i32(1 << form.bits)], f"{label}.high_scaled")
            total = graph.node("Add", [high, total], f"{label}.total")
        return graph.node("Add", [total, graph.i32(form.base)], f"{label}.whole")

    def sums(self, graph: GraphBuilder, product: Product) -> str:
        weight, label = product.weight, product.label
        limit = PAIR_LIMIT // (2 * product.largest)
        if self.weights != "int7" or np.abs(weight).max() <= limit:
            return self._multiply(graph, product, "", weight)
        near = np.clip(weight, -limit, limit)
        both = [
            self._multiply(graph, product, ".near", near),
            self._multiply(graph, product, ".beyond", weight - near),
        ]
        return graph.node("Add", both, f"{label}.both")

    def _multiply(self, graph: GraphBuilder, product: Product, side: str, weight: I64) -> str:
        zero = graph.constant(f"u8_{product.zero}", np.asarray(product.zero, np.uint8))
        if self.weights == "uint8":
            shifted = (weight + MIDDLE).astype(np.uint8)
            by = graph.constant(f"{product.name}.weight", shifted)
            middle = graph.constant(f"u8_{MIDDLE}", np.asarray(MIDDLE, np.uint8))
            inputs = [product.rows, by, zero, middle]
        else:
            # A copy of its own: ORT's session.x64quantprecision fails where two products share int8 weights.
            by = graph.constant(f"{product.label}.weight{side}", weight.astype(np.int8))
            inputs = [product.rows, by, zero]
        return graph.node("MatMulInteger", inputs, f"{product.label}.sums{side}")
