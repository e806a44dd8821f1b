"""What is known while a graph is traced (constants, shapes and what follows from them) stays in numpy; the rest is XLA's."""

from collections.abc import Mapping
from typing import TypeAlias

import jax
import numpy as np

from harness.dsp.elementwise import ELEMENTWISE
from harness.dsp.movement import MOVEMENT
from harness.graph_node import Array, Node
from harness.interpreter import Kernel, Prepare

Value: TypeAlias = Array | jax.Array
KNOWN = {**ELEMENTWISE, **MOVEMENT}


def traced(operators: Mapping[str, Prepare[Value]]) -> Mapping[str, Prepare[Value]]:
    """Each operator, in numpy where all its inputs are numpy's: shapes must be numbers when XLA sees the graph."""
    return {name: _either(name, prepare) for name, prepare in operators.items()}


def _either(name: str, prepare: Prepare[Value]) -> Prepare[Value]:
    def both(node: Node[Value]) -> Kernel[Value]:
        staged = prepare(node)
        if name not in KNOWN:
            return staged
        known: Kernel[Value] = KNOWN[name](node)

        def kernel(*values: Value | None) -> Value | tuple[Value, ...]:
            here = all(v is None or isinstance(v, (np.ndarray, np.generic)) for v in values)
            return known(*values) if here else staged(*values)

        return kernel

    return both
