"""The inverse GDN of the specification as graph nodes: a square, a product, a table of roots, a product."""

import numpy as np

from harness.lowerings.accumulate import accumulate
from harness.lowerings.base import GraphBuilder
from harness.lowerings.carrier import Carrier
from harness.lowerings.limbs import Form
from harness.lowerings.requantize import requantize, settled
from harness.lowerings.rows import Block, Plan
from harness.specification import (
    GDN_X_MAX,
    I32,
    ROOT_COARSE_SHIFT,
    IntegerGdn,
    root_tables,
)

# Every pixel by itself.
POINTWISE = Plan(offsets=((0, 0),), phases=(((0, 0),),))


def inverse_gdn(
    graph: GraphBuilder, carrier: Carrier, layer: IntegerGdn, form: Form, label: str, x: str
) -> str:
    """int32 rows y of the int32 rows x [pixels, channels]."""
    label = f"{label}.gdn"
    ones, floats = np.ones(len(layer.norm.bounds), np.int64), carrier.floats
    squared = graph.node("Mul", [x, x], f"{label}.squared")
    names, bounds = (f"{layer.name}.square", f"{label}.square"), ones * GDN_X_MAX**2
    square = requantize(graph, *names, squared, layer.square, bounds, floats=floats)
    rows = carrier.parts(graph, f"{label}.square", square, form)
    block = Block(label=f"{label}.norm", plan=POINTWISE, index="")
    sums = accumulate(graph, carrier, layer.norm, form, block, rows)
    names = layer.norm.name, block.label
    norm = requantize(graph, *names, sums, form.requantize, form.bounds, floats=floats)
    largest = int(settled(form.requantize, form.bounds).high.max())
    table = _roots()[: _position(largest) + 1]
    root = _root(graph, label, norm, table)
    product = graph.node("Mul", [x, root], f"{label}.product")
    bounds = ones * GDN_X_MAX * int(table.max())
    return requantize(graph, layer.name, label, product, layer.scale, bounds, floats=floats)


def _root(graph: GraphBuilder, label: str, norm: str, table: I32) -> str:
    """Roots of int32 rows: below 2^16 entry n, above it entry 65535 + (n >> 6) - 1023."""
    fine = len(root_tables()[0]) - 1
    steps = graph.node("Div", [norm, graph.i32(1 << ROOT_COARSE_SHIFT)], f"{label}.steps")
    beyond = graph.node("Sub", [steps, graph.i32(fine >> ROOT_COARSE_SHIFT)], f"{label}.beyond")
    coarse = graph.node("Max", [beyond, graph.i32(0)], f"{label}.coarse")
    near = graph.node("Min", [norm, graph.i32(fine)], f"{label}.fine")
    entry = graph.node("Add", [near, coarse], f"{label}.entry")
    flat = graph.node("Reshape", [entry, graph.constant("shape_flat", [-1])], f"{label}.entries")
    known = graph.constant(f"roots_{len(table)}", table)
    found = graph.node("GatherElements", [known, flat], f"{label}.roots", axis=0)
    shape = graph.node("Shape", [norm], f"{label}.size")
    return graph.node("Reshape", [found, shape], f"{label}.root")


def _roots() -> I32:
    """Both tables of the specification in one, int32: fine entries, then the coarse ones beyond them."""
    fine, coarse = root_tables()
    start = len(fine) >> ROOT_COARSE_SHIFT
    return np.asarray(np.concatenate([fine, coarse[start:]]), np.int32)


def _position(norm: int) -> int:
    fine = len(root_tables()[0]) - 1
    return min(norm, fine) + max((norm >> ROOT_COARSE_SHIFT) - (fine >> ROOT_COARSE_SHIFT), 0)
