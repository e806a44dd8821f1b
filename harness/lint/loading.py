"""From a file to a graph that is safe to walk: size capped, nothing external, weights as arrays, one line for what is damaged."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from harness.errors import UserError
from harness.lint import grids as g
from harness.lint.intervals import Interval
from harness.lint.kinds import OTHER, kind_of
from harness.lint.values import Value, constant, fit, top

# protobuf itself ends at 2 GiB; larger models keep their weights outside.
MOST_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a hostile file may cost."""

    file: int = MOST_BYTES
    nodes: int = 300_000
    depth: int = 64


def read_file(path: Path, limit: int = MOST_BYTES) -> bytes:
    """The bytes of a model file; refuses one that is larger than `limit` before reading it whole."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(limit + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if size > limit or len(data) > limit:
        raise UserError(
            f"{path} has more than {limit >> 20} MiB; the linter reads models up to that"
        )
    return data


def parse(onnx_model: bytes, name: str) -> ModelProto:
    """The model, checked for what a walk relies on."""
    model = ModelProto()
    try:
        model.ParseFromString(onnx_model)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise UserError(f"{name} is not an ONNX file: {_line(error)}") from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise UserError(f"{name} is not an ONNX file: it has no graph")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise UserError(f"{name} is damaged: it holds a name that is not UTF-8")
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise UserError(
                f"{name} keeps tensor {tensor.name!r} in another file; merge them first: "
                "onnx.save(onnx.load(path), path, save_as_external_data=False)"
            )
    return model


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _texts(message: Message) -> Iterator[object]:
    """Every string of a message; protobuf hands out bytes for what is no text. Weights are passed by."""
    if isinstance(message, TensorProto):
        yield message.name
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            yield from (value,) if isinstance(value, (str, bytes)) else value
        elif field.type == field.TYPE_MESSAGE:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from _texts(inner)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
        for graph in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
            yield from _graph_tensors(graph)


_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def initializers(graph: GraphProto) -> Iterator[tuple[str, Value]]:
    """The tensors that a graph brings along."""
    for tensor in graph.initializer:
        yield tensor.name, initializer(tensor)
    for sparse in graph.sparse_initializer:
        # Only the values are looked at: the rest of the tensor is zeros.
        values = initializer(sparse.values).collapsed()
        around = values.range.join(Interval.of(0.0, 0.0))
        grids = g.unite([values.grids, (g.Grid.points(0.0),)])
        shape = tuple(int(n) for n in sparse.dims)
        yield (
            sparse.values.name,
            fit(Value(kind=values.kind, shape=shape, range=around, grids=grids)),
        )


def initializer(tensor: TensorProto) -> Value:
    kind = kind_of(tensor.data_type)
    if kind is OTHER:
        return top(OTHER, tuple(int(n) for n in tensor.dims))
    try:
        return constant(np.asarray(numpy_helper.to_array(tensor)))
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(f"tensor {tensor.name!r} is damaged: {_line(error)}") from error


def declared(info: onnx.ValueInfoProto) -> Value:
    """What the file says of a tensor: type and shape, any value."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return top(OTHER, None)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else None
            for d in tensor.shape.dim
        )
    return top(kind_of(tensor.elem_type), shape)
