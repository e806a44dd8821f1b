"""torch eager, walking the ONNX graph: a float kernel a platform, one integer kernel for all."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import FellBack, HarnessError, PlatformUnavailable
from harness.platforms.base import (
    PLATFORMS,
    WITH_WARP,
    Array,
    Engine,
    Feeds,
    PlatformSpec,
    Session,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.interpreter import Prepare, Program

ISA = "ONEDNN_MAX_CPU_ISA"


@dataclass(frozen=True, kw_only=True)
class TorchPlatform(PlatformSpec):
    device: str = "cpu"
    mkldnn: bool = True
    networks: frozenset[str] = WITH_WARP

    def open(self) -> Engine:
        try:
            import torch
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), "pip install torch") from error
        if self.device == "cuda":
            if not torch.cuda.is_available():
                raise PlatformUnavailable(
                    self.name,
                    f"torch {torch.__version__} finds no CUDA device",
                    "on a machine with an NVIDIA GPU: pip install torch from the CUDA index",
                )
            # TF32 rounds the inputs of a float product to 10 bits; a benchmark may choose another
            # algorithm each run.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False
        torch.set_num_threads(1)
        return TorchEngine(self)


class TorchEngine:
    """Child side of a torch platform."""

    def __init__(self, platform: TorchPlatform) -> None:
        self._platform = platform

    def environment(self) -> Mapping[str, str]:
        import torch

        version = torch.__version__.split("+")[0]
        common = {"runtime": f"torch {version}", "build": torch.__version__, "threads": "1"}
        if self._platform.device == "cuda":
            return common | {
                "device": torch.cuda.get_device_name(),
                "cuda": str(torch.version.cuda),
                "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
                "tf32": "off",
                "integer_kernel": "torch cuda float64 matmul as the carrier of integers",
                "float_kernel": "torch cuda cuDNN, no TF32, deterministic",
            }
        isa = os.environ.get(ISA, "native")
        float_kernel = f"torch oneDNN {isa}" if self._platform.mkldnn else "torch without oneDNN"
        return common | {
            "device": "cpu",
            "mkldnn": "on" if self._platform.mkldnn else "off",
            ISA: isa,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            # One kernel whatever oneDNN's ISA: these platforms are one witness for integers.
            "integer_kernel": "torch int32 matmul",
            "float_kernel": float_kernel,
        }

    def operators(self) -> "Mapping[str, Prepare[Tensor]]":
        """The kernel of every operator, by its ONNX name."""
        from harness.torch_ops import OPERATORS

        return OPERATORS

    def load(self, onnx_model: bytes) -> Session:
        import torch

        from harness.interpreter import compile_graph

        for variable, asked in self._platform.variables.items():
            if os.environ.get(variable) != asked:
                raise FellBack(
                    f"{self._platform.name} asks for {variable}={asked}, this process was started"
                    f" with {variable}={os.environ.get(variable, '')}"
                )
        device = torch.device(self._platform.device)
        with _settings(mkldnn=self._platform.mkldnn):
            program = compile_graph(onnx_model, self.operators(), lambda a: _tensor(a, device), {})
        return TorchSession(program, self._platform)


class TorchSession:
    def __init__(self, program: "Program[Tensor]", platform: TorchPlatform) -> None:
        self._program = program
        self._platform = platform

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        import torch

        device = torch.device(self._platform.device)
        with _settings(mkldnn=self._platform.mkldnn):
            given = {name: _tensor(array, device) for name, array in feeds.items()}
            results = self._program.run(given)
            for name, tensor in results.items():
                if tensor.device.type != device.type:
                    raise FellBack(f"output {name!r} came from {tensor.device}, not from {device}")
            outputs = {name: _array(tensor) for name, tensor in results.items()}
        for port in self._program.outputs:
            if outputs[port.name].dtype.name != port.dtype:
                raise HarnessError(
                    f"output {port.name!r} is declared {port.dtype},"
                    f" torch gave {outputs[port.name].dtype.name}"
                )
        return outputs


@contextmanager
def _settings(*, mkldnn: bool) -> Iterator[None]:
    """Inference, with or without oneDNN, and the process as it was afterwards."""
    import torch

    # torch.backends.mkldnn.flags() also sets TF32, and warns that there is no Intel GPU.
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(mkldnn)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _tensor(array: Array, device: "torch.device") -> "Tensor":
    """A copy of its own: feeds and initializers may be read-only or of any layout."""
    import torch

    native = np.array(array, array.dtype.newbyteorder("="), order="C", copy=True)
    return torch.from_numpy(native).to(device)


def _array(tensor: "Tensor") -> Array:
    return np.array(tensor.cpu().numpy(), order="C")


PLATFORMS.register(TorchPlatform(name="torch"))
PLATFORMS.register(TorchPlatform(name="torch-nomkldnn", mkldnn=False))
PLATFORMS.register(TorchPlatform(name="torch-avx2", variables={ISA: "AVX2"}))
PLATFORMS.register(TorchPlatform(name="torch-sse41", variables={ISA: "SSE41"}))
PLATFORMS.register(TorchPlatform(name="torch-cuda", device="cuda"))
