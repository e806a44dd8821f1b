"""A layer's products as graph nodes: patches of the parts of its input, times weights, added up as its form says."""

import numpy as np

from harness.lowerings.base import GraphBuilder
from harness.lowerings.carrier import Carrier, Parts, Product, scaled
from harness.lowerings.limbs import Form, Term
from harness.lowerings.rows import Block
from harness.specification import I64, IntegerLayer, Requantization


def accumulate(
    graph: GraphBuilder,
    carrier: Carrier,
    layer: IntegerLayer,
    form: Form,
    block: Block,
    rows: Parts,
) -> str:
    """int32 rows of what `form` requantizes, [pixels, phases * out]; `rows` are the parts of the layer's input."""
    patches = {part: _patches(graph, layer, block, part, rows[part]) for part in form.parts}

    def product(number: int, of: Term) -> Product:
        return Product(
            label=f"{block.label}.{number}",
            name=f"{layer.name}{block.plan.suffix}.{number}",
            rows=patches[of.part],
            weight=block.plan.matrix(of.weight),
            zero=carrier.padding(form, of.part),
            largest=form.largest(of.part, layer.input_high),
        )

    sums = []
    for number, term in enumerate(form.terms):
        of = product(number, term)
        sums.append(scaled(graph, of, carrier.sums(graph, of), spread(term.factor, block)))
    if form.low is not None:
        of = product(len(sums), form.low)
        factor, lift, divisor = (
            spread(v, block) for v in (form.low.factor, form.lift, form.divisor)
        )
        sums.append(carrier.floors(graph, of, factor, lift, divisor))
    total = sums[0]
    for number, other in enumerate(sums[1:]):
        total = graph.node("Add", [total, other], f"{block.label}.total_{number}")
    return total


def _patches(graph: GraphBuilder, layer: IntegerLayer, block: Block, part: str, rows: str) -> str:
    if not block.index:
        return rows
    label = f"{block.label}.{part}"
    gathered = graph.node("Gather", [rows, block.index], f"{label}.gather", axis=0)
    width = len(block.plan.offsets) * layer.weight.shape[1]
    shape = graph.constant(f"shape_{width}", [-1, width])
    return graph.node("Reshape", [gathered, shape], f"{label}.patches")


def spread(values: I64, block: Block) -> I64:
    """One number an output channel, for all phases that the block computes side by side."""
    return np.tile(values, len(block.plan.phases))


def spread_rule(rule: Requantization, block: Block) -> Requantization:
    return Requantization(
        bias=spread(rule.bias, block),
        multiplier=spread(rule.multiplier, block),
        shift=spread(rule.shift, block),
        low=spread(rule.low, block),
        high=spread(rule.high, block),
    )
