"""OpenCV's dnn module with its new graph engine: float networks, and integers that are carried in float32."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from harness.errors import PlatformUnavailable, Unsupported
from harness.platforms.base import (
    PLATFORMS,
    WITH_WARP,
    Array,
    Engine,
    Feeds,
    PlatformSpec,
    Session,
)
from harness.platforms.hosts import PREPARE, Venv
from harness.platforms.ports import Ports, inlined, read_ports

if TYPE_CHECKING:
    import cv2

HOST = Venv(
    name="opencv-dnn",
    requirements=("numpy==2.2.6", "onnx==1.23.2", "opencv-python-headless==5.0.0.93"),
)


@dataclass(frozen=True, kw_only=True)
class OpenCvPlatform(PlatformSpec):
    host: Venv = HOST
    networks: frozenset[str] = WITH_WARP

    def open(self) -> Engine:
        try:
            import cv2
        except ImportError as error:
            raise PlatformUnavailable(
                self.name, str(error), PREPARE.format(name=self.name)
            ) from error
        cv2.setNumThreads(1)
        return OpenCvEngine()


class OpenCvEngine:
    """Child side of OpenCV's dnn module."""

    def environment(self) -> Mapping[str, str]:
        import cv2

        kernel = f"OpenCV dnn {_dispatched()}"
        return {
            "runtime": f"opencv {cv2.__version__}",
            "provider": "OpenCV dnn CPU, new engine",
            "threads": str(cv2.getNumThreads()),
            "dispatch": _dispatched(),
            "integer_kernel": f"{kernel} float32",
            "float_kernel": kernel,
        }

    def load(self, onnx_model: bytes) -> Session:
        import cv2

        data = np.frombuffer(inlined(onnx_model), np.uint8)
        with _log() as log:
            try:
                # By default OpenCV takes another engine, in silence, where this one lacks an operator.
                net = cv2.dnn.readNetFromONNX(data, engine=cv2.dnn.ENGINE_NEW)
            except cv2.error as error:
                raise Unsupported(f"OpenCV refuses the graph: {_reason(error)}") from error
            log.seek(0)
            said = log.read().decode(errors="replace")
        if net.empty():
            # It raises nothing then, and names the operators in its log alone.
            operators = " ".join(said.partition("Unsupported operations:")[2].split("[")[0].split())
            raise Unsupported(f"OpenCV has no {operators or 'way to read the graph'}")
        return OpenCvSession(net, read_ports(onnx_model))


class OpenCvSession:
    def __init__(self, net: "cv2.dnn.Net", ports: Ports) -> None:
        self._net = net
        self._ports = ports

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        import cv2

        arrays = self._ports.ordered(feeds)
        try:
            for name, array in zip(self._ports.inputs, arrays, strict=True):
                self._net.setInput(array, name)
            results = self._net.forward(list(self._ports.outputs))
        except cv2.error as error:
            raise Unsupported(f"OpenCV refuses the graph: {_reason(error)}") from error
        return self._ports.named(results)


def _dispatched() -> str:
    """The instruction sets that this build has kernels for and this processor runs."""
    import cv2

    return str(cv2.getCPUFeaturesLine()).replace("?", "").strip()


@contextmanager
def _log() -> Iterator[IO[bytes]]:
    """What OpenCV writes to descriptor 2 meanwhile."""
    with tempfile.TemporaryFile() as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _reason(error: "cv2.error") -> str:
    """What went wrong, without OpenCV's account of its own source."""
    return " ".join(str(error.err or error).split()).removeprefix("> ").partition(" (expected")[0]


PLATFORMS.register(OpenCvPlatform(name="opencv-dnn"))
