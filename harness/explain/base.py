"""What a mechanism is given (one side of a diverging node) and what it may claim."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Protocol

import numpy as np
from onnx import NodeProto

from harness.errors import Unsupported
from harness.explain.evaluate import constants, node_view
from harness.graph_node import Array, Node
from harness.registry import Registry
from harness.taps import Graph


class Evidence(Enum):
    """How much was shown. REPRODUCED: every bit of the tensor. WITHIN_BOUND: every element inside a proven interval."""

    REPRODUCED = "reproduced bit for bit"
    WITHIN_BOUND = "within the bound"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One way to arrive at what a side got.

    `deviations` counts what is done otherwise than ONNX defines it; 0 also for what it leaves to the runtime.
    """

    mechanism: str
    how: str
    evidence: Evidence
    deviations: int

    @property
    def standing(self) -> tuple[bool, int]:
        """The order of preference: every bit before a bound, then the fewest deviations."""
        return (self.evidence is not Evidence.REPRODUCED, self.deviations)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One side of a divergence: a small graph that ends with the node, its feeds, and the node's output there."""

    graph: Graph
    feeds: Mapping[str, Array]
    output: str
    got: Array

    @cached_property
    def node(self) -> NodeProto:
        return self.graph.nodes[self.graph.producer[self.output]]

    @property
    def single(self) -> bool:
        """Whether the node alone makes the output, of feeds and constants."""
        return len(self.graph.steps) == 1

    @cached_property
    def values(self) -> Mapping[str, Array]:
        """Feeds, initializers and all that follows from initializers alone."""
        return {**constants(self.graph), **self.feeds}

    def arguments(self, node: NodeProto | None = None) -> tuple[Array | None, ...]:
        """A node's inputs, None where one is omitted; Unsupported if an inner node computes one."""
        chosen = self.node if node is None else node
        missing = [name for name in chosen.input if name and name not in self.values]
        if missing:
            raise Unsupported(f"{missing[0]} is computed inside the window")
        return tuple(self.values[name] if name else None for name in chosen.input)

    def view(self, node: NodeProto | None = None) -> Node[Array]:
        """Attributes of a node as kernels read them."""
        return node_view(self.node if node is None else node)

    def equals(self, array: Array) -> bool:
        """Whether these are the very bits that this side got."""
        if (array.dtype, array.shape) != (self.got.dtype, self.got.shape):
            return False
        return np.ascontiguousarray(array).tobytes() == np.ascontiguousarray(self.got).tobytes()


class Mechanism(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """One line: what hardware or runtime does it."""
        ...

    def accounts(self, site: Site) -> Iterator[Account]:
        """Every variant that gives what the site got. Raises Unsupported where the node is none of its business."""
        ...


MECHANISMS: Registry[Mechanism] = Registry("mechanism", "harness.explain.mechanisms")
