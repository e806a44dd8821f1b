"""Platforms that live in an environment of their own: run where it is prepared, skipped with their own remedy elsewhere."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harness.errors import PlatformUnavailable
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Child
from harness.trace import TensorRecord

Array = np.ndarray
SECONDS = 240


@contextmanager
def child_of(name: str) -> Iterator[Child]:
    child = Child(PLATFORMS[name], SECONDS)
    try:
        child.environment()
    except PlatformUnavailable as error:
        pytest.skip(str(error))
    try:
        yield child
    finally:
        child.end()


def run(child: Child, model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    records = [TensorRecord.of(name, array) for name, array in feeds.items()]
    trace = child.run(hashlib.sha256(model).hexdigest(), model, records)
    return {record.name: record.array() for record in trace.tensors}


def graph(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    outputs: Mapping[str, type],
    **constants: Array,
) -> bytes:
    """A model whose inputs are as `feeds`, with outputs of the numpy types given."""

    def value(name: str, dtype: object, shape: Sequence[int] | None) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    made = helper.make_graph(
        nodes,
        "small",
        [value(name, array.dtype, array.shape) for name, array in feeds.items()],
        [value(name, dtype, None) for name, dtype in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    # Some importers want shapes of outputs.
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def integer_convolution(
    generator: np.random.Generator, *, channels: int = 16, size: int = 16
) -> tuple[bytes, dict[str, Array], Array]:
    """A 3x3 convolution of integers in float32 whose every partial sum is below 2^24, and what it gives."""
    x = generator.integers(0, 256, (1, channels, size, size)).astype(np.float32)
    w = generator.integers(-127, 128, (channels, channels, 3, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
    )
    want = np.einsum("nchwuv,kcuv->nkhw", windows.astype(np.float64), w.astype(np.float64))
    model = graph([node("Conv", "x w", "y", pads=[1, 1, 1, 1])], {"x": x}, {"y": np.float32}, w=w)
    return model, {"x": x}, want.astype(np.float32)
