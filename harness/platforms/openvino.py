"""OpenVINO's CPU plugin: in float32, and in the precision that it takes by itself (bf16 where the processor has it)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import FellBack, PlatformUnavailable, Unsupported
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session
from harness.platforms.hosts import PREPARE, Venv
from harness.platforms.ports import Ports, inlined, read_ports

if TYPE_CHECKING:
    from openvino import CompiledModel

HOST = Venv(name="openvino", requirements=("numpy==2.2.6", "onnx==1.23.2", "openvino==2026.4.1"))
PRECISION = "INFERENCE_PRECISION_HINT"
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


@dataclass(frozen=True, kw_only=True)
class OpenVinoPlatform(PlatformSpec):
    """`options` are compiled with; without a precision among them, the plugin chooses.

    Without the float warp: OpenVINO samples pictures, no volumes.
    """

    host: Venv = HOST
    options: Mapping[str, str] = field(default_factory=dict)

    def open(self) -> Engine:
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            raise PlatformUnavailable(
                self.name, str(error), PREPARE.format(name=self.name)
            ) from error
        return OpenVinoEngine(self)


class OpenVinoEngine:
    """Child side of an OpenVINO platform."""

    def __init__(self, platform: OpenVinoPlatform) -> None:
        import openvino

        self._core = openvino.Core()
        self._platform = platform

    def environment(self) -> Mapping[str, str]:
        """As a small compiled graph of each kind of product reports it, not as it was asked for."""
        import openvino

        probe = self._compile(_probe())
        kernels = _kernels(probe)
        return {
            "runtime": f"openvino {openvino.__version__.split('-')[0]}",
            "build": openvino.__version__,
            "provider": ",".join(probe.get_property("EXECUTION_DEVICES")),
            "inference_precision": probe.get_property(PRECISION).to_string(),
            "threads": str(probe.get_property("INFERENCE_NUM_THREADS")),
            "streams": str(probe.get_property("NUM_STREAMS")),
            "options": " ".join(f"{k}={v}" for k, v in self._platform.options.items()) or "default",
            "integer_kernel": f"OpenVINO {kernels['integers']}",
            "float_kernel": f"OpenVINO {kernels['floats']}",
        }

    def load(self, onnx_model: bytes) -> Session:
        compiled = self._compile(inlined(onnx_model))
        return OpenVinoSession(compiled, read_ports(onnx_model))

    def _compile(self, onnx_model: bytes) -> "CompiledModel":
        try:
            model = self._core.read_model(onnx_model)
            compiled = self._core.compile_model(
                model, "CPU", {**ONE_THREAD, **self._platform.options}
            )
        except RuntimeError as error:
            raise Unsupported(f"OpenVINO refuses the graph: {_reason(str(error))}") from error
        asked = self._platform.options.get(PRECISION)
        took = compiled.get_property(PRECISION).to_string()
        if asked is not None and took != asked:
            raise FellBack(f"asked for inference precision {asked}, got {took}")
        return compiled


class OpenVinoSession:
    def __init__(self, compiled: "CompiledModel", ports: Ports) -> None:
        self._compiled = compiled
        self._ports = ports

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        given = dict(zip(self._ports.inputs, self._ports.ordered(feeds), strict=True))
        results = self._compiled(given)
        return self._ports.named(
            [np.asarray(results[self._compiled.output(name)]) for name in self._ports.outputs]
        )


def _reason(message: str) -> str:
    """The line that names the operator, in a report of many lines."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("-- ") or "Check '" in line]
    operators = [line for line in named if line.startswith("-- ")]
    chosen = (operators or named or lines or ["it does not say why"])[0]
    return chosen.removeprefix("-- ").removesuffix(" with a message:")


def _probe() -> bytes:
    """A convolution and an integer product, large enough for the kernels that networks get."""
    from onnx import TensorProto, helper, numpy_helper

    weights: dict[str, Array] = {
        "w": np.ones((16, 16, 3, 3), np.float32),
        "b": np.full((64, 64), 129, np.uint8),
        "zero": np.array(0, np.uint8),
        "shift": np.array(128, np.uint8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["y"], name="floats"),
            helper.make_node("MatMulInteger", ["a", "b", "zero", "shift"], ["c"], name="integers"),
        ],
        "probe",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8]),
            helper.make_tensor_value_info("a", TensorProto.UINT8, [8, 64]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 6, 6]),
            helper.make_tensor_value_info("c", TensorProto.INT32, [8, 64]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(model.SerializeToString())


def _kernels(compiled: "CompiledModel") -> dict[str, str]:
    """The primitive that each of the two products of the probe became, as the executed graph names it."""
    kinds = {"Convolution": "floats", "FullyConnected": "integers", "MatMul": "integers"}
    found = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        if "layerType" in info and info["layerType"].astype(str) in kinds:
            found[kinds[info["layerType"].astype(str)]] = info["primitiveType"].astype(str)
    return found


PLATFORMS.register(OpenVinoPlatform(name="openvino"))
PLATFORMS.register(OpenVinoPlatform(name="openvino-f32", options={PRECISION: "f32"}))
# Without the low-precision transformations, which move the offset of x * scale + offset inside: (x + offset / scale) * scale.
PLATFORMS.register(
    OpenVinoPlatform(
        name="openvino-f32-nolpt", options={PRECISION: "f32", "LP_TRANSFORMS_MODE": "NO"}
    )
)
