"""The contract of a platform: ONNX bytes and feeds in, a trace out. A platform never sees a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.platforms.hosts import LOCAL, Host
from harness.registry import Registry

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
NETWORKS = frozenset({"g_a", "h_a", "h_s", "g_s"})
# The float warp of scale-space flow samples a volume, which few runtimes have operators for: who has them says so.
WITH_WARP = NETWORKS | {"warp"}


class Session(Protocol):
    """One ONNX graph made ready on one platform."""

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        """Execute the graph once; outputs by name, in graph order."""
        ...


class Engine(Protocol):
    """The half of a platform that lives in the child process, after its variables are set."""

    def environment(self) -> Mapping[str, str]:
        """What really runs here: runtime, version, options, kernel ISA.

        `integer_kernel` and `float_kernel` name the code that multiplies: platforms that share one share its value.
        """
        ...

    def load(self, onnx_model: bytes) -> Session:
        """Compile a graph. Raises FellBack where it would run elsewhere than asked."""
        ...


class Platform(Protocol):
    """A provider with its runtime, options and machine, under one name."""

    @property
    def name(self) -> str: ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that the child process is started with."""
        ...

    @property
    def host(self) -> Host:
        """Where the child process lives: this Python, another one, an emulated processor."""
        ...

    @property
    def networks(self) -> frozenset[str]:
        """The networks this platform runs; it borrows the others from `borrows_from`."""
        ...

    @property
    def borrows_from(self) -> str: ...

    def open(self) -> Engine:
        """Import the runtime (in the child). Raises PlatformUnavailable with a remedy."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlatformSpec:
    """What most platforms have in common; a plug-in derives from it and adds `open`."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    host: Host = LOCAL
    networks: frozenset[str] = NETWORKS
    borrows_from: str = "ort-cpu"


PLATFORMS: Registry[Platform] = Registry("platform", "harness.platforms")
