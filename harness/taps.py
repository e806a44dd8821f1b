"""An ONNX graph with its intermediate values in reach: marked as outputs, cut at any of them. Pure ONNX, no runtime."""

from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.utils import Extractor

from harness.errors import UserError
from harness.lint.loading import parse

Array = NDArray[np.generic]
# What a trace can hold; a value of another type (bfloat16, strings) cannot be tapped.
TAPPABLE = frozenset(
    [
        *(TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16),
        *(TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64),
        *(TensorProto.UINT64, TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE),
    ]
)
FLOATS = frozenset(
    [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE]
)
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A model with the types of its values; a call of a model-local function counts as one node.

    `named` says what to call it in messages. UserError for a file that is no ONNX, or has control flow.
    """

    model: ModelProto
    named: str

    @classmethod
    def of(cls, onnx_model: bytes, named: str) -> "Graph":
        model = parse(onnx_model, named)
        looping = sorted({node.op_type for node in model.graph.node} & CONTROL_FLOW)
        if looping:
            raise UserError(f"{named} has control flow ({', '.join(looping)}): it has no one order")
        if model.graph.sparse_initializer:
            raise UserError(f"{named} has sparse initializers: make them dense first")
        try:
            inferred = onnx.shape_inference.infer_shapes(model)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            raise UserError(f"{named}: {str(error).strip().splitlines()[0]}") from error
        return cls(model=inferred, named=named)

    @cached_property
    def onnx_model(self) -> bytes:
        return bytes(self.model.SerializeToString(deterministic=True))

    @cached_property
    def nodes(self) -> tuple[NodeProto, ...]:
        return tuple(self.model.graph.node)

    @cached_property
    def initializers(self) -> Mapping[str, Array]:
        return {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """What must be fed."""
        known = {tensor.name for tensor in self.model.graph.initializer}
        return tuple(v.name for v in self.model.graph.input if v.name not in known)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self.model.graph.output)

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of all values that no feed can change: initializers and what follows from them alone."""
        known = {tensor.name for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if all(name in known for name in node.input if name):
                known.update(filter(None, node.output))
        return frozenset(known - set(self.inputs))

    @cached_property
    def producer(self) -> Mapping[str, int]:
        """Which node makes a value."""
        return {name: k for k, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def _types(self) -> Mapping[str, int]:
        graph = self.model.graph
        values: Iterable[ValueInfoProto] = (*graph.value_info, *graph.input, *graph.output)
        return {v.name: v.type.tensor_type.elem_type for v in values}

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Positions of the nodes that depend on a feed, in graph order."""
        return tuple(k for k in range(len(self.nodes)) if self.taps_of(k))

    def taps_of(self, position: int) -> tuple[str, ...]:
        """The outputs of a node that a trace can hold; none if no feed can change them."""
        made = [n for n in self.nodes[position].output if n and n not in self.constants]
        return tuple(name for name in made if self._types.get(name) in TAPPABLE)

    @cached_property
    def taps(self) -> tuple[str, ...]:
        """Every value that follows from a feed and that a trace can hold, in graph order."""
        return tuple(name for k in range(len(self.nodes)) for name in self.taps_of(k))

    def is_float(self, name: str) -> bool:
        return self._types.get(name) in FLOATS

    def label(self, position: int) -> str:
        node = self.nodes[position]
        return f"{node.name or '/'.join(node.output)} ({node.op_type})"

    def tapped(self) -> "Graph":
        """The model with all its taps as outputs, in graph order, beside its own."""
        own = {value.name: value for value in self.model.graph.output}
        names = [*self.taps, *(name for name in self.outputs if name not in self.taps)]
        model = _copy(self.model)
        _put(model.graph.output, [own.get(name) or self._value(name) for name in names])
        return self._like(model)

    def prefix(self, last: int) -> "Graph":
        """All up to node `last` without inner taps: outputs are what later nodes read, and the graph's own."""
        later = {name for node in self.nodes[last + 1 :] for name in node.input} | set(self.outputs)
        ends = [name for k in range(last + 1) for name in self.taps_of(k) if name in later]
        model = Extractor(self.model).extract_model([], ends)
        read = {name for node in model.graph.node for name in node.input}
        inputs = [v for v in self.model.graph.input if v.name in read and v.name in self.inputs]
        return self._ported(model, inputs, ends)

    def boundary(self, first: int, last: int) -> tuple[str, ...]:
        """What the nodes from `first` to `last` that matter to `last` read from outside, constants apart."""
        found: list[str] = []
        seen: set[str] = set()
        todo = list(self.nodes[last].input)
        while todo:
            name = todo.pop()
            if not name or name in seen or name in self.constants:
                continue
            seen.add(name)
            maker = self.producer.get(name, -1)
            if maker >= first:
                todo += self.nodes[maker].input
            else:
                found.append(name)
        order = [*self.inputs, *self.producer]
        return tuple(sorted(found, key=order.index))

    def window(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> "Graph":
        """The sub-graph from `feeds`, whose shapes become its inputs' shapes, to `outputs`."""
        model = Extractor(self.model).extract_model(list(feeds), list(outputs))
        inputs = [self._value(name, array.shape) for name, array in feeds.items()]
        return self._ported(model, inputs, outputs)

    def reshaped(self, weights: Mapping[str, Array], feeds: Mapping[str, Array]) -> "Graph":
        """The same graph with these in the place of its initializers, and inputs of the shapes of `feeds`."""
        model = _copy(self.model)
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        inputs = [self._value(name, feeds[name].shape) for name in self.inputs]
        return self._ported(model, inputs, self.outputs)

    def inlined(self) -> "Graph":
        """The same graph with the bodies of its model-local functions in the place of their calls."""
        return self._like(inline_local_functions(self.model))

    def _value(self, name: str, shape: Sequence[int] | None = None) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, self._types[name], shape)

    def _ported(
        self, model: ModelProto, inputs: Sequence[ValueInfoProto], outputs: Sequence[str]
    ) -> "Graph":
        """`model` with these inputs and outputs; what was inferred of shapes may no longer hold and goes."""
        _put(model.graph.input, inputs)
        _put(model.graph.output, [self._value(name) for name in outputs])
        del model.graph.value_info[:]
        return self._like(model)

    def _like(self, model: ModelProto) -> "Graph":
        return Graph.of(bytes(model.SerializeToString(deterministic=True)), self.named)


def _copy(model: ModelProto) -> ModelProto:
    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


def _put(field: MutableSequence[ValueInfoProto], values: Sequence[ValueInfoProto]) -> None:
    """Replace the values of a field, which may be among those given."""
    copies = [ValueInfoProto.FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
