"""The contract of a lowering, the artifact it makes, and a small builder of ONNX graphs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from harness.calibration import Calibration
from harness.network import Network
from harness.registry import Registry
from harness.specification import IntegerNet

OPSET = 19
IR_VERSION = 9
DOMAIN = "crosscheck"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An ONNX file and what one must know to feed it.

    `input` is the graph's input; `integer` says that it takes z symbols (int32) and itself yields `indexes`, rather
    than float tensors. `specification` identifies the function that both ends must share.
    """

    network: str
    lowering: str
    onnx_model: bytes
    input: str
    outputs: tuple[str, ...]
    integer: bool
    specification: str

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.onnx_model).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a lowering may draw on; `integer` is there for integer precisions, `ranges` for the quantized controls.

    `codec` is the name that the artifact's metadata carries.
    """

    network: Network
    codec: str = ""
    ranges: Calibration | None = None
    integer: IntegerNet | None = None

    def labels(self, lowering: str, precision: str) -> dict[str, str]:
        """Metadata that every artifact carries."""
        return {
            "crosscheck.codec": self.codec,
            "crosscheck.network": self.network.name,
            "crosscheck.lowering": lowering,
            "crosscheck.precision": precision,
        }


class Lowering(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """One line for people: what it is."""
        ...

    @property
    def realises(self) -> str:
        """The function it computes: `fp32`, `w8a8-qdq`, `w8a8-qoperator` or `integer` for any specification."""
        ...

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        """Make the graph; with `taps`, every layer's output becomes an output of the graph too."""
        ...


@runtime_checkable
class IntegerLowering(Lowering, Protocol):
    """A lowering that realises every integer specification, where it is exact."""

    @property
    def exact_where(self) -> str:
        """One line: on which machines and runtimes it equals the specification."""
        ...

    @property
    def rank(self) -> int:
        """Its place in order of speed on ONNX Runtime's CPU provider, the fastest first."""
        ...


LOWERINGS: Registry[Lowering] = Registry("lowering", "harness.lowerings")


def integer_lowerings() -> list[IntegerLowering]:
    """Every lowering that realises integer specifications, the fastest first."""
    every = [LOWERINGS[name] for name in LOWERINGS.names()]
    found = [lowering for lowering in every if isinstance(lowering, IntegerLowering)]
    return sorted(found, key=lambda lowering: lowering.rank)


# Which lowering a precision takes unless told otherwise; integer precisions take INTEGER.
FLOAT, QDQ, QOPERATOR, INTEGER = "float32", "qdq", "qoperator", "mmi-u8u8"


def default_lowering(precision: str) -> str:
    return {"fp32": FLOAT, "w8a8-qdq": QDQ, "w8a8-qoperator": QOPERATOR}.get(precision, INTEGER)


@dataclass
class GraphBuilder:
    """Collects nodes and initializers; every method returns the name of the tensor it makes."""

    name: str
    opset: int = OPSET
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    functions: list[onnx.FunctionProto] = field(default_factory=list)

    def constant(self, name: str, array: NDArray[np.generic] | Sequence[int]) -> str:
        """An initializer; a plain sequence becomes int64 (as shape operators want it)."""
        values = array if isinstance(array, np.ndarray) else np.asarray(array, np.int64)
        # Not np.ascontiguousarray, which makes lists of scalars.
        self.initializers.setdefault(
            name, numpy_helper.from_array(np.asarray(values, order="C"), name)
        )
        return name

    def i32(self, number: int) -> str:
        """An int32 scalar, called by its value."""
        return self.constant(f"i32_{number}", np.asarray(number, np.int32))

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        domain: str = "",
        **attributes: int | float | str | Sequence[int],
    ) -> str:
        self.nodes.append(
            helper.make_node(
                operator, list(inputs), [output], output, None, domain, None, **attributes
            )
        )
        return output

    def model(
        self,
        *,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: Mapping[str, str],
    ) -> bytes:
        """Assemble, check and serialise; equal content gives equal bytes."""
        graph = helper.make_graph(
            self.nodes, self.name, list(inputs), list(outputs), list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if self.functions:
            opsets.append(helper.make_opsetid(DOMAIN, 1))
        model = helper.make_model(
            graph,
            functions=self.functions,
            opset_imports=opsets,
            producer_name=DOMAIN,
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(sorted(metadata.items())))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def per_channel(
    graph: GraphBuilder, name: str, values: NDArray[np.int64], dtype: DTypeLike = np.int32
) -> str:
    """One number a channel, or one for all where they agree: optimisers drop an addition of a scalar 0."""
    uniform = (values == values[0]).all()
    return graph.constant(name, np.asarray(values[0] if uniform else values, dtype))


def feature_map(
    name: str, dtype: int, channels: int, height: str, width: str
) -> onnx.ValueInfoProto:
    """A [1, C, height, width] graph input or output whose spatial size is dynamic."""
    return helper.make_tensor_value_info(name, dtype, [1, channels, height, width])


FLOAT32 = TensorProto.FLOAT
INT32 = TensorProto.INT32
