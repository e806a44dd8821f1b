"""What a kernel may know of its node when a graph is loaded: attributes and constants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, helper, numpy_helper

from harness.errors import HarnessError, Unsupported

Array = NDArray[np.generic]
# The bit width that numpy 1 asks for here is not ours to say.
Integers = NDArray[np.integer[Any]]
Numbers = NDArray[np.number[Any]]
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | Array
V = TypeVar("V")


class Listable(Protocol):
    """numpy arrays and torch tensors alike."""

    def tolist(self) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Node(Generic[V]):
    """One node at load time. `constants` maps input positions to values that are known already."""

    label: str
    op_type: str
    attributes: Mapping[str, AttributeValue]
    constants: Mapping[int, V]
    inputs: int
    outputs: int

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "an integer")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)):
            raise self._wrong(name, "a number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.attributes.get(name, default)
        if not isinstance(value, tuple):
            raise self._wrong(name, "a list of integers")
        return tuple(int(v) for v in value)

    def array(self, name: str, default: Array) -> Array:
        value = self.attributes.get(name, default)
        if not isinstance(value, np.ndarray):
            raise self._wrong(name, "a tensor")
        return value

    def constant_value(self) -> Array:
        """The value of a Constant node, whichever attribute carries it."""
        for name, value in self.attributes.items():
            if isinstance(value, np.ndarray):
                return value
            if name in ("value_int", "value_ints"):
                return np.array(value, np.int64)
            if name in ("value_float", "value_floats"):
                return np.array(value, np.float32)
        raise self._wrong("value", "a tensor or numbers")

    def _wrong(self, name: str, wanted: str) -> HarnessError:
        return HarnessError(f"{self.label}: attribute {name!r} should be {wanted}")


def integers_at(node: Node[V], position: int) -> Callable[[Listable | None], list[int]]:
    """A reader of the integers (a shape, axes) at an input: read once here if they are constant."""
    known = node.constants.get(position)
    if known is None:
        return as_integers
    fixed = as_integers(known)  # type: ignore[arg-type]

    def reader(_: Listable | None) -> list[int]:
        return fixed

    return reader


def as_integers(value: Listable | None) -> list[int]:
    if value is None:
        raise HarnessError("a tensor of integers was expected, the input is omitted")
    listed = value.tolist()
    return [int(v) for v in listed] if isinstance(listed, list) else [int(str(listed))]


def resolve(
    attribute: AttributeProto, bound: Mapping[str, AttributeProto]
) -> AttributeProto | None:
    """An attribute of a node in a function body may refer to the caller's."""
    if not attribute.ref_attr_name:
        return attribute
    if attribute.ref_attr_name not in bound:
        return None
    resolved = AttributeProto()
    resolved.CopyFrom(bound[attribute.ref_attr_name])
    resolved.name = attribute.name
    return resolved


def attribute_value(attribute: AttributeProto, label: str) -> AttributeValue:
    """The value of a resolved attribute, as kernels read it."""
    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(attribute.t)
    if attribute.type == AttributeProto.STRING:
        return str(value.decode())
    if attribute.type in (AttributeProto.INT, AttributeProto.FLOAT):
        return value  # type: ignore[no-any-return]
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(value)
    raise Unsupported(f"{label}: attribute {attribute.name!r} has no type this walker reads")
