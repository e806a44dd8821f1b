"""What ONNX defines a site's output to be, where it leaves nothing to the runtime."""

from harness.errors import Unsupported
from harness.explain.base import Site
from harness.explain.evaluate import EXACT, evaluate
from harness.explain.operators import FLOAT_OPERATORS, byte_product
from harness.explain.rescale import rescaled
from harness.explain.sums import sums_of
from harness.graph_node import Array


def defined(site: Site) -> Array:
    """The defined output. Unsupported for sums of floats, whose order ONNX leaves open."""
    graph = site.graph
    for node in graph.nodes:
        if node.op_type in FLOAT_OPERATORS and graph.is_float(node.output[0]):
            raise Unsupported(f"the order of the sums of {node.op_type} is not defined")
    if site.single and site.node.op_type in {"ConvInteger", "QLinearConv", "QLinearMatMul"}:
        given = byte_product(site)
        sums = sums_of(given, EXACT)
        if given.rescale is not None:
            _, array = next(rescaled(sums, given.rescale))
            return given.product.fold(array)
        return given.product.fold(sums)
    return evaluate(graph, site.feeds)[site.output]
