"""JAX: the whole graph traced into one function, which XLA fuses and compiles for the CPU."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import FellBack, HarnessError, PlatformUnavailable
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session
from harness.platforms.hosts import PREPARE, Venv
from harness.platforms.ports import Ports

if TYPE_CHECKING:
    from jax.stages import Compiled

    from harness.interpreter import Program

HOST = Venv(name="jax", requirements=("numpy==2.2.6", "onnx==1.23.2", "jax==0.10.2"))
FLAGS = "XLA_FLAGS"
# JAX takes 64-bit types for 32-bit ones unless told not to.
VARIABLES = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    FLAGS: "--xla_cpu_multi_thread_eigen=false --xla_force_host_platform_device_count=1",
}


@dataclass(frozen=True, kw_only=True)
class JaxPlatform(PlatformSpec):
    """Without the float warp: harness.jax_ops resamples nothing."""

    host: Venv = HOST
    variables: Mapping[str, str] = field(default_factory=lambda: VARIABLES)

    def open(self) -> Engine:
        try:
            import jax
        except ImportError as error:
            raise PlatformUnavailable(
                self.name, str(error), PREPARE.format(name=self.name)
            ) from error
        for variable, asked in self.variables.items():
            if os.environ.get(variable) != asked:
                raise HarnessError(f"{self.name} must be started with {variable}={asked}")
        if not jax.config.jax_enable_x64 or jax.default_backend() != "cpu":
            raise HarnessError(
                f"{self.name}: JAX runs {jax.default_backend()}, not the CPU in 64 bits"
            )
        return JaxEngine()


class JaxEngine:
    """Child side of the JAX platform."""

    def environment(self) -> Mapping[str, str]:
        import jax
        import jaxlib

        return {
            "runtime": f"jax {jax.__version__}",
            "jaxlib": jaxlib.__version__,
            "provider": f"XLA {jax.default_backend()}, the graph compiled as one function",
            "device": jax.devices()[0].device_kind,
            "x64": str(jax.config.jax_enable_x64).lower(),
            "matmul_precision": "highest",
            "constant_folding": f"numpy {np.__version__}, at load",
            "threads": "1",
            "integer_kernel": "XLA CPU int32 dot",
            "float_kernel": "XLA CPU, fused",
        }

    def load(self, onnx_model: bytes) -> Session:
        from harness.interpreter import compile_graph
        from harness.jax_ops import OPERATORS

        with np.errstate(all="ignore"):
            return JaxSession(compile_graph(onnx_model, OPERATORS, np.asarray, {}))


class JaxSession:
    """XLA compiles for known shapes: one executable for each set of them."""

    def __init__(self, program: "Program[Array]") -> None:
        self._program = program
        self._ports = Ports(
            inputs={port.name: port.dtype for port in program.inputs},
            outputs={port.name: port.dtype for port in program.outputs},
        )
        self._compiled: dict[tuple[tuple[int, ...], ...], Compiled] = {}

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        import jax

        arrays = self._ports.ordered(feeds)
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._compiled:
            self._compiled[shapes] = jax.jit(self._walk).lower(arrays).compile()
        results = self._compiled[shapes](arrays)
        for name, result in results.items():
            if {device.platform for device in result.devices()} != {"cpu"}:
                raise FellBack(f"output {name!r} came from {result.devices()}, not from the CPU")
        return self._ports.named([np.asarray(results[name]) for name in self._ports.outputs])

    def _walk(self, arrays: list[Array]) -> dict[str, Array]:
        """Every operator once, on tracers: what XLA compiles is the record of it."""
        return self._program.run(dict(zip(self._ports.inputs, arrays, strict=True)))


PLATFORMS.register(JaxPlatform(name="jax"))
