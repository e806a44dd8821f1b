"""mmi-s8s8: the integer specification as int8 x int8 MatMulInteger, the only integer product that CUDA runs natively.

Every other operator is one that CUDA has too: parts come from Div, Mul and Sub of int32, no bitwise operator, no uint8
arithmetic. No float is in the graph. On x86 CPUs this form is slow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike
from onnx import TensorProto

from harness.lowerings.base import INT32, LOWERINGS, Artifact, GraphBuilder, Source
from harness.lowerings.carrier import IntegerSums, Parts, Product
from harness.lowerings.limbs import HIGH, LOW, SUM, WHOLE, Form, byte_form
from harness.lowerings.skeleton import lower
from harness.specification import IntegerLayer

INT8 = TensorProto.INT8
# Unsigned parts are kept as int8 this much lower.
MIDDLE = 128


@dataclass(frozen=True, kw_only=True)
class SignedCarrier(IntegerSums):
    row_type: DTypeLike = np.int8
    floats: bool = False

    def form(self, layer: IntegerLayer) -> Form:
        return byte_form(layer)

    def padding(self, form: Form, part: str) -> int:
        return form.zero(part) - MIDDLE

    def parts(self, graph: GraphBuilder, label: str, values: str, form: Form) -> Parts:
        label = f"{label}.parts"
        if form.base:
            values = graph.node("Sub", [values, graph.i32(form.base)], f"{label}.based")
        made = {WHOLE: values}
        if form.bits:
            radix = graph.i32(1 << form.bits)
            high = graph.node("Div", [values, radix], f"{label}.quotient")
            taken = graph.node("Mul", [high, radix], f"{label}.taken")
            made = {HIGH: high, LOW: graph.node("Sub", [values, taken], f"{label}.remainder")}
        if SUM in form.parts:
            made[SUM] = graph.node("Add", [made[HIGH], made[LOW]], f"{label}.both")
        return {
            part: graph.node(
                "Cast",
                [graph.node("Sub", [value, graph.i32(MIDDLE)], f"{label}.{part}_signed")],
                f"{label}.{part}",
                to=INT8,
            )
            for part, value in made.items()
        }

    def whole(self, graph: GraphBuilder, label: str, parts: Parts, form: Form) -> str:
        base = form.base + MIDDLE
        total = graph.node("Cast", [parts[LOW if form.bits else WHOLE]], f"{label}.low", to=INT32)
        if form.bits:
            base += MIDDLE << form.bits
            high = graph.node("Cast", [parts[HIGH]], f"{label}.high", to=INT32)
            high = graph.node("Mul", [high, graph.i32(1 << form.bits)], f"{label}.high_scaled")
            total = graph.node("Add", [high, total], f"{label}.total")
        return graph.node("Add", [total, graph.i32(base)], f"{label}.whole")

    def sums(self, graph: GraphBuilder, product: Product) -> str:
        zero = np.asarray(product.zero, np.int8)
        weight = graph.constant(f"{product.name}.weight", product.weight.astype(np.int8))
        inputs = [product.rows, weight, graph.constant(f"s8_{product.zero}", zero)]
        return graph.node("MatMulInteger", inputs, f"{product.label}.sums")


@dataclass(frozen=True, kw_only=True)
class MatMulIntegerS8S8:
    name: str = "mmi-s8s8"
    summary: str = "int8 x int8 MatMulInteger, int32 otherwise, all of it native to CUDA; no floats"
    realises: str = "integer"
    exact_where: str = "everywhere; the one integer form for CUDA, slow on x86"
    rank: int = 60

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        return lower(self.name, SignedCarrier(), source, taps=taps)


LOWERINGS.register(MatMulIntegerS8S8())
