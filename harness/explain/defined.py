"""What ONNX defines a site's values to be, where it leaves nothing to the runtime."""

from collections.abc import Sequence

from harness.errors import Unsupported
from harness.explain.base import Site
from harness.explain.evaluate import EXACT, evaluate
from harness.explain.operators import FLOAT_OPERATORS, byte_product
from harness.explain.rescale import rescaled
from harness.explain.sums import sums_of
from harness.graph_node import Array
from harness.taps import Graph


def defined(site: Site) -> Array:
    """The defined output. Unsupported for sums of floats, whose order ONNX leaves open."""
    graph = site.graph
    _check_defined(graph)
    if site.single and site.node.op_type in {"ConvInteger", "QLinearConv", "QLinearMatMul"}:
        given = byte_product(site)
        sums = sums_of(given, EXACT)
        if given.rescale is not None:
            _, array = next(rescaled(sums, given.rescale))
            return given.product.fold(array)
        return given.product.fold(sums)
    return evaluate(graph, site.feeds)[site.output]


def _check_defined(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op_type in FLOAT_OPERATORS and graph.is_float(node.output[0]):
            raise Unsupported(f"the order of the sums of {node.op_type} is not defined")


def inner_values(site: Site, names: Sequence[str]) -> dict[str, Array]:
    """Values of the window by name, as defined: feeds and constants, and what inner nodes make of them."""
    made = [name for name in names if name not in site.values]
    found: dict[str, Array] = {}
    if made:
        part = site.graph.window(site.feeds, made)
        _check_defined(part)
        found = evaluate(part, site.feeds)
    return {name: found[name] if name in found else site.values[name] for name in names}


def inner_site(site: Site, output: str) -> Site:
    """The node of the window that makes `output`, alone, on the defined values of its inputs and with its own."""
    node = site.graph.nodes[site.graph.producer[output]]
    names = [n for n in dict.fromkeys(node.input) if n and n not in site.graph.constants]
    feeds = inner_values(site, names)
    made = site.graph.window(feeds, [output])
    return Site(graph=made, feeds=feeds, output=output, got=inner_values(site, [output])[output])
