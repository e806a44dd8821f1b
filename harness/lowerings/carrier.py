"""What integer lowerings differ in: the type that rows are kept in, and the operator that multiplies them."""

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import DTypeLike

from harness.lowerings.base import GraphBuilder, per_channel
from harness.lowerings.limbs import Form
from harness.specification import I64, IntegerLayer

Parts = dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Rows [pixels, K], their `zero` taken out, times `weight` int64 [K, out]; parts in the rows are in [0, largest].

    `label` names the nodes, `name` the constants (which several blocks share).
    """

    label: str
    name: str
    rows: str
    weight: I64
    zero: int
    largest: int


class Carrier(Protocol):
    """Keeps the parts of activations as rows [pixels, channels] of one type, and multiplies them into int32 rows."""

    @property
    def row_type(self) -> DTypeLike:
        """Of the rows."""
        ...

    @property
    def floats(self) -> bool:
        """Whether values may be requantized in float32, where that is proven exact."""
        ...

    def form(self, layer: IntegerLayer) -> Form:
        """Which products make the layer's accumulators; UserError where this carrier cannot."""
        ...

    def padding(self, form: Form, part: str) -> int:
        """How a real zero is kept."""
        ...

    def parts(self, graph: GraphBuilder, label: str, values: str, form: Form) -> Parts:
        """The parts of int32 activations that `form` reads."""
        ...

    def whole(self, graph: GraphBuilder, label: str, parts: Parts, form: Form) -> str:
        """The int32 activations again."""
        ...

    def sums(self, graph: GraphBuilder, product: Product) -> str:
        """int32 [pixels, out]."""
        ...

    def floors(
        self, graph: GraphBuilder, product: Product, factor: I64, lift: I64, divisor: I64
    ) -> str:
        """int32 floor((factor * sums + lift) / divisor), int64 [out] each; what is divided by more than 1 is not negative."""
        ...


class IntegerSums:
    """`floors` of carriers whose sums are int32."""

    def floors(
        self: Carrier, graph: GraphBuilder, product: Product, factor: I64, lift: I64, divisor: I64
    ) -> str:
        label = product.label
        sums = scaled(graph, product, self.sums(graph, product), factor)
        if (divisor == 1).all():
            return sums
        by = per_channel(graph, f"{product.name}.lift", lift)
        sums = graph.node("Add", [sums, by], f"{label}.lifted")
        by = per_channel(graph, f"{product.name}.divisor", divisor)
        return graph.node("Div", [sums, by], f"{label}.floor")


def scaled(graph: GraphBuilder, product: Product, sums: str, factor: I64) -> str:
    """int32 rows times one number an output channel."""
    if (factor == 1).all():
        return sums
    by = per_channel(graph, f"{product.name}.factor", factor)
    return graph.node("Mul", [sums, by], f"{product.label}.scaled")
