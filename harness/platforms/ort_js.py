"""ONNX Runtime from npm, under Node: WebAssembly, the native CPU provider of the JavaScript package, and WebGPU."""

from dataclasses import dataclass

from harness.errors import PlatformUnavailable
from harness.platforms.base import NETWORKS, PLATFORMS, WITH_WARP, Engine, PlatformSpec
from harness.platforms.node import NodeHost, Npm
from harness.platforms.swiftshader import SwiftShaderHost

_WEB = Npm(name="onnxruntime-web", packages=("onnxruntime-web@1.30.0",))
_NODE = Npm(name="onnxruntime-node", packages=("onnxruntime-node@1.30.0",))


@dataclass(frozen=True, kw_only=True)
class OrtJsPlatform(PlatformSpec):
    """Its engine is js/worker.mjs, which the host starts; nothing of it is Python."""

    networks: frozenset[str] = WITH_WARP

    def open(self) -> Engine:
        """Never called by a pool: there is no Python in this platform's process."""
        raise PlatformUnavailable(
            self.name, "it runs under Node, not in this Python", "run it through a pool"
        )


PLATFORMS.register(OrtJsPlatform(name="ort-web-wasm", host=NodeHost(npm=_WEB, provider="wasm")))
PLATFORMS.register(OrtJsPlatform(name="ort-node", host=NodeHost(npm=_NODE, provider="cpu")))
# WebGPU has no GridSample: the warp is borrowed.
PLATFORMS.register(
    OrtJsPlatform(
        name="ort-node-webgpu",
        host=SwiftShaderHost(npm=_NODE, provider="webgpu"),
        networks=NETWORKS,
    )
)
