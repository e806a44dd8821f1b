"""ONNX Runtime: the CPU provider with and without graph optimisation, and CUDA without any fallback."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.errors import FellBack, PlatformUnavailable, Unsupported
from harness.platforms.base import (
    PLATFORMS,
    WITH_WARP,
    Array,
    Engine,
    Feeds,
    PlatformSpec,
    Session,
)

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class OrtPlatform(PlatformSpec):
    """ONNX Runtime with one execution provider; `optimise` is the graph optimisation level all or none."""

    provider: str
    optimise: bool = True
    provider_options: Mapping[str, str] | None = None
    remedy: str = "pip install onnxruntime"
    networks: frozenset[str] = WITH_WARP

    def open(self) -> Engine:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), self.remedy) from error
        if self.provider not in ort.get_available_providers():
            raise PlatformUnavailable(
                self.name,
                f"onnxruntime {ort.__version__} has no {self.provider} on this machine",
                self.remedy,
            )
        return OrtEngine(self)


class OrtEngine:
    """Child side of an ONNX Runtime platform."""

    def __init__(self, platform: OrtPlatform) -> None:
        self._platform = platform

    def environment(self) -> Mapping[str, str]:
        import onnxruntime as ort

        kernel = "MLAS" if self._platform.provider == CPU else self._platform.provider
        return {
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": self._platform.provider,
            "graph_optimization": "all" if self._platform.optimise else "none",
            "threads": "1",
            "integer_kernel": kernel,
            "float_kernel": f"{kernel} {'NCHWc' if self._platform.optimise else 'NCHW'}",
        }

    def load(self, onnx_model: bytes) -> Session:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_ALL if self._platform.optimise else level.ORT_DISABLE_ALL
        )
        options.log_severity_level = 3
        provider = self._platform.provider
        if provider == CPU:
            _share_arena()
            options.add_session_config_entry("session.use_env_allocators", "1")
            options.enable_mem_pattern = False  # a plan for a shape takes its whole block beside it
        else:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        chosen = [(provider, dict(self._platform.provider_options or {}))]
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as MissingKernel

        try:
            session = ort.InferenceSession(onnx_model, options, providers=chosen)
        except MissingKernel as error:
            raise Unsupported(_missing(str(error))) from error
        if session.get_providers()[0] != provider:
            raise FellBack(f"asked for {provider}, got {session.get_providers()[0]}")
        return OrtSession(session)


@cache
def _share_arena() -> None:
    """One arena for all sessions of this process, grown by what is asked for.

    Every session would keep its own, as large as its largest run was: 6.0 GB for a video codec's networks at 1080p.
    """
    import onnxruntime as ort

    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    as_requested = 1
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, as_requested, -1, -1))


def _missing(message: str) -> str:
    """Which operator has no kernel, of its message.

    >>> _missing("[..] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Max(13) node with name 'top'")
    "onnxruntime has no kernel for Max (version 13), node 'top'"
    """
    found = re.search(r"implementation for (\S+)\((\d+)\) node with name ('.*')", message)
    if found is None:
        return message.splitlines()[0]
    return f"onnxruntime has no kernel for {found[1]} (version {found[2]}), node {found[3]}"


class OrtSession:
    def __init__(self, session: object) -> None:
        self._session = session
        self._names = [output.name for output in session.get_outputs()]  # type: ignore[attr-defined]

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        outputs: list[NDArray[np.generic]] = self._session.run(self._names, dict(feeds))  # type: ignore[attr-defined]
        return dict(zip(self._names, outputs, strict=True))


PLATFORMS.register(OrtPlatform(name="ort-cpu", provider=CPU))
PLATFORMS.register(OrtPlatform(name="ort-cpu-noopt", provider=CPU, optimise=False))
PLATFORMS.register(
    OrtPlatform(
        name="ort-cuda",
        provider="CUDAExecutionProvider",
        # TF32 rounds the inputs of a float product to 10 bits; a search may choose another algorithm each run.
        provider_options={"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"},
        remedy="on a machine with an NVIDIA GPU: pip install onnxruntime-gpu in place of onnxruntime",
    )
)
