"""Small graphs in the simulated integer arithmetic: constants, windows, single nodes."""

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto

from harness.dsp.elementwise import ELEMENTWISE
from harness.dsp.float_unit import FLOAT_UNIT
from harness.dsp.integer_unit import integer_operators, intercepts
from harness.dsp.movement import MOVEMENT
from harness.dsp.profile import ArithmeticProfile
from harness.graph_node import Array, Node, attribute_value
from harness.interpreter import compile_graph
from harness.taps import Graph

EXACT = ArithmeticProfile()


def evaluate(
    graph: Graph, feeds: Mapping[str, Array], profile: ArithmeticProfile = EXACT
) -> dict[str, Array]:
    """The graph's outputs under a profile. Unsupported for an operator that the simulation lacks."""
    operators = {**ELEMENTWISE, **FLOAT_UNIT, **MOVEMENT, **integer_operators(profile)}
    with np.errstate(all="ignore"):
        program = compile_graph(
            graph.onnx_model, operators, lambda array: array, intercepts(profile)
        )
        results = program.run({name: feeds[name] for name in graph.inputs})
    return {name: np.asarray(array) for name, array in results.items()}


def constants(graph: Graph) -> dict[str, Array]:
    """Initializers, and what nodes make of them alone and others read."""
    read = {name for k in graph.steps for name in graph.nodes[k].input}
    made = sorted(read & graph.constants - graph.initializers.keys())
    found = evaluate(graph.window({}, made), {}) if made else {}
    return {**graph.initializers, **found}


def node_view(node: NodeProto) -> Node[Array]:
    label = f"{node.name or '/'.join(node.output)} ({node.op_type})"
    return Node(
        label=label,
        op_type=node.op_type,
        attributes={a.name: attribute_value(a, label) for a in node.attribute},
        constants={},
        inputs=len(node.input),
        outputs=len(node.output),
    )
