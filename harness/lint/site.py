"""One node under judgement: its inputs as abstract values, and where its findings go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.errors import UserError
from harness.graph_node import Node
from harness.lint.kinds import Kind
from harness.lint.rules import Rule
from harness.lint.values import Value

Report = Callable[[Rule, str, float | None, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Product:
    """A sum of products, as deviations want to know it: raw operands, before zero points are taken off.

    `left` and `right` are summed over `left_axes` and `right_axes`; `exact` says that no rounding or overflow is
    possible in the declared type.
    """

    left: Value
    right: Value
    left_axes: tuple[int, ...]
    right_axes: tuple[int, ...]
    carrier: Kind
    convolution: bool
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Site:
    """`same` says that inputs 0 and 1 are one tensor.

    Transfer functions fill in `products`, and in `carries` how many bits the floats take that they prove to be exact.
    """

    node: Node[Value]
    inputs: tuple[Value | None, ...]
    same: bool
    report: Report
    assume: Callable[[str], None]
    products: list[Product] = field(default_factory=list)
    carries: list[int] = field(default_factory=list)

    @property
    def operator(self) -> str:
        return self.node.op_type

    def operand(self, position: int) -> Value:
        value = self.optional(position)
        if value is None:
            raise UserError(f"{self.node.label} lacks its input {position}")
        return value

    def optional(self, position: int) -> Value | None:
        return self.inputs[position] if position < len(self.inputs) else None

    def given(self) -> list[Value]:
        return [value for value in self.inputs if value is not None]

    def flag(
        self, rule: Rule, message: str, *, bound: float | None = None, limit: float | None = None
    ) -> None:
        self.report(rule, message, bound, limit)

    def integers(self, position: int, attribute: str) -> list[int] | None:
        """Axes, shapes and the like: an attribute in old opsets, an input in new ones; None if not known."""
        value = self.optional(position)
        if value is not None:
            return value.integers()
        listed = self.node.attributes.get(attribute)
        return [int(v) for v in listed] if isinstance(listed, tuple) else None

    def absent(self, position: int, attribute: str) -> bool:
        return self.optional(position) is None and attribute not in self.node.attributes


Transfer = Callable[[Site], Sequence[Value]]
TRANSFERS: dict[str, Transfer] = {}


MOVES: set[str] = set()
"""Operators that move elements, or pick them by position: what is in the elements is no matter to them."""


def operator(*names: str, moves: bool = False) -> Callable[[Transfer], Transfer]:
    """Register a transfer function for operators of ONNX's own domain."""

    def register(function: Transfer) -> Transfer:
        for name in names:
            if name in TRANSFERS:
                raise ValueError(f"{name} has two transfer functions")
            TRANSFERS[name] = function
            if moves:
                MOVES.add(name)
        return function

    return register


def number(value: float) -> str:
    """A bound for people: whole numbers in full, others short.

    >>> number(65280.0), number(0.5), number(4194319.53), number(2.0**70)
    ('65,280', '0.5', '4,194,319.5', '1.18059e+21')
    """
    if abs(value) >= 2.0**63 or value != value:  # noqa: PLR0124 - NaN is not itself
        return f"{value:.6g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1e5 else f"{value:.6g}"  # noqa: PLR2004


def span(value: Value) -> str:
    return f"[{number(value.range.lowest)}, {number(value.range.highest)}]"
