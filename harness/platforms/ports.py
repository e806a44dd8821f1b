"""What an ONNX graph declares at its ends, for runtimes that must be told, or be held to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError
from harness.platforms.base import Array, Feeds


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Inputs and outputs in graph order, each with numpy's name of its element type."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def ordered(self, feeds: Feeds) -> list[Array]:
        """The feeds in the order of the graph's inputs."""
        if sorted(feeds) != sorted(self.inputs):
            raise HarnessError(f"the graph takes {sorted(self.inputs)}, got feeds {sorted(feeds)}")
        return [np.ascontiguousarray(feeds[name]) for name in self.inputs]

    def named(self, arrays: Sequence[Array]) -> dict[str, Array]:
        """Results in the order of the graph's outputs, by name. HarnessError for one of another type than declared."""
        if len(arrays) != len(self.outputs):
            raise HarnessError(f"{len(self.outputs)} outputs are declared, {len(arrays)} came")
        outputs: dict[str, Array] = {}
        for (name, dtype), array in zip(self.outputs.items(), arrays, strict=True):
            if array.dtype.name != dtype:
                raise HarnessError(
                    f"output {name!r} is declared {dtype}, the runtime gave {array.dtype.name}"
                )
            outputs[name] = np.array(array, order="C")
        return outputs


def read_ports(onnx_model: bytes) -> Ports:
    import onnx

    def types(values: Sequence[onnx.ValueInfoProto]) -> dict[str, str]:
        return {
            value.name: np.dtype(
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            ).name
            for value in values
        }

    graph = onnx.load_model_from_string(onnx_model).graph
    constants = {initializer.name for initializer in graph.initializer}
    fed = [value for value in graph.input if value.name not in constants]
    return Ports(inputs=types(fed), outputs=types(list(graph.output)))


def inlined(onnx_model: bytes) -> bytes:
    """The graph without model-local functions: few runtimes know them."""
    import onnx
    from onnx import inliner

    model = onnx.load_model_from_string(onnx_model)
    if not model.functions:
        return onnx_model
    return bytes(inliner.inline_local_functions(model).SerializeToString())
