"""Float rows and MatMul: integers carried in floats, exact as long as every partial sum fits the mantissa."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike
from onnx import helper

from harness.lowerings.base import INT32, GraphBuilder, per_channel
from harness.lowerings.carrier import Parts, Product
from harness.lowerings.limbs import HIGH, WHOLE, Form, float_form
from harness.specification import I64, IntegerLayer


@dataclass(frozen=True, kw_only=True)
class FloatCarrier:
    """Activations as they are; whole numbers below `limit` are exact in `row_type`.

    A MatMul, not a Conv: no Winograd, no FFT, and the order of summation does not matter.
    """

    row_type: DTypeLike
    limit: int
    floats: bool = True

    def form(self, layer: IntegerLayer) -> Form:
        return float_form(layer, self.limit)

    def padding(self, form: Form, part: str) -> int:
        return form.zero(part)

    def parts(self, graph: GraphBuilder, label: str, values: str, form: Form) -> Parts:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.row_type))
        made = {WHOLE: graph.node("Cast", [values], f"{label}.parts.whole", to=kind)}
        if HIGH in form.parts:
            unit = graph.constant(f"unit_{form.bits}", np.asarray(2.0**-form.bits, self.row_type))
            scaled = graph.node("Mul", [made[WHOLE], unit], f"{label}.parts.scaled")
            made[HIGH] = graph.node("Floor", [scaled], f"{label}.parts.high")
        return made

    def whole(self, graph: GraphBuilder, label: str, parts: Parts, _: Form) -> str:
        return graph.node("Cast", [parts[WHOLE]], f"{label}.whole", to=INT32)

    def sums(self, graph: GraphBuilder, product: Product) -> str:
        return graph.node(
            "Cast", [self._multiply(graph, product)], f"{product.label}.sums", to=INT32
        )

    def floors(
        self, graph: GraphBuilder, product: Product, factor: I64, lift: I64, divisor: I64
    ) -> str:
        assert (factor == 1).all()
        label, name = product.label, product.name
        by = per_channel(graph, f"{name}.lift", lift, self.row_type)
        lifted = graph.node("Add", [self._multiply(graph, product), by], f"{label}.lifted")
        by = graph.constant(f"{name}.divisor", (1 / divisor).astype(self.row_type))
        divided = graph.node("Mul", [lifted, by], f"{label}.divided")
        # Not negative: the cast truncates to the floor.
        return graph.node("Cast", [divided], f"{label}.floor", to=INT32)

    def _multiply(self, graph: GraphBuilder, product: Product) -> str:
        weight = graph.constant(f"{product.name}.weight", product.weight.astype(self.row_type))
        return graph.node("MatMul", [product.rows, weight], f"{product.label}.products")
