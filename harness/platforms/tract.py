"""tract: an inference engine in Rust, with kernels of its own."""

import ctypes
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError, PlatformUnavailable, Unsupported
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session
from harness.platforms.hosts import PREPARE, Venv
from harness.platforms.ports import Ports, inlined, read_ports

if TYPE_CHECKING:
    from tract import Runnable, Value

# Not newer: the optimiser of 0.23.3 fails on a CumSum beside a Reshape, that of 0.23.9 leaves a node that nobody can run
# behind a Concat, or does not end.
HOST = Venv(name="tract", requirements=("numpy==2.2.6", "onnx==1.23.2", "tract==0.22.4"))
# tract's own numbers of its element types (bool, unsigned, signed, float; the low digit is the width in bytes).
DTYPES = {
    0x01: "bool",
    **{0x10 + width: f"uint{8 * width}" for width in (1, 2, 4, 8)},
    **{0x20 + width: f"int{8 * width}" for width in (1, 2, 4, 8)},
    **{0x30 + width: f"float{8 * width}" for width in (2, 4, 8)},
}


@dataclass(frozen=True, kw_only=True)
class TractPlatform(PlatformSpec):
    """Without the float warp: tract has no GridSample."""

    host: Venv = HOST

    def open(self) -> Engine:
        try:
            import tract  # noqa: F401
        except (ImportError, OSError) as error:
            raise PlatformUnavailable(
                self.name, str(error), PREPARE.format(name=self.name)
            ) from error
        return TractEngine()


class TractEngine:
    """Child side of tract."""

    def environment(self) -> Mapping[str, str]:
        import tract

        return {
            # The version that the native library says of itself.
            "runtime": f"tract {tract.version()}",
            "provider": "tract CPU, optimised",
            # The wheel is built without a thread pool.
            "threads": "1",
            "outputs": "read through the C interface: the wheel's to_numpy takes every type for float32",
            "integer_kernel": "tract-linalg",
            "float_kernel": "tract-linalg",
        }

    def load(self, onnx_model: bytes) -> Session:
        return TractSession(inlined(onnx_model), read_ports(onnx_model))


class TractSession:
    """tract plans for known shapes: one plan for each set of them."""

    def __init__(self, onnx_model: bytes, ports: Ports) -> None:
        self._model = onnx_model
        self._ports = ports
        self._plans: dict[tuple[tuple[int, ...], ...], Runnable] = {}

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        arrays = self._ports.ordered(feeds)
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._plans:
            self._plans[shapes] = self._plan(arrays)
        return self._ports.named([_read(value) for value in self._plans[shapes].run(arrays)])

    def _plan(self, arrays: list[Array]) -> "Runnable":
        import tract

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.onnx"
            file.write_bytes(self._model)
            try:
                model = tract.onnx().model_for_path(file)
                for position, array in enumerate(arrays):
                    kind = f"{array.dtype.kind}{8 * array.dtype.itemsize}"
                    fact = ",".join([*map(str, array.shape), kind])
                    model.set_input_fact(position, fact)
                for position in range(model.output_count()):
                    # Else the names of unknown sizes in the graph clash with the numbers given here.
                    model.set_output_fact(position, None)
                # Without the pass that declutters: it moves axes through CumSum, and fails.
                return model.into_typed().into_optimized().into_runnable()
            except tract.TractError as error:
                line = str(error).strip().splitlines()[0]
                raise Unsupported(f"tract refuses the graph: {line}") from error


def _read(value: "Value") -> Array:
    """A copy of a result, in the type that tract says it has."""
    from tract.bindings import check, lib

    kind, rank = ctypes.c_int(), ctypes.c_size_t()
    shape, data = ctypes.POINTER(ctypes.c_size_t)(), ctypes.c_void_p()
    check(
        lib.tract_value_as_bytes(
            value.ptr,
            ctypes.byref(kind),
            ctypes.byref(rank),
            ctypes.byref(shape),
            ctypes.byref(data),
        )
    )
    if kind.value not in DTYPES:
        raise HarnessError(f"tract gave an element type {kind.value:#x} that is not known here")
    dtype = np.dtype(DTYPES[kind.value])
    sizes = [int(shape[axis]) for axis in range(rank.value)]
    count = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer(ctypes.string_at(data, count), dtype).reshape(sizes)


PLATFORMS.register(TractPlatform(name="tract"))
