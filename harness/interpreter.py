"""A generic walker over ONNX graphs: any array type, any table of operators. Knows no runtime.

Everything that does not depend on the feeds happens once, in `compile_graph`: attributes are
parsed, model-local functions are inlined by recursion (or given whole to an intercepting kernel),
nodes whose inputs are all known are executed, and the last use of every value is found.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, numpy_helper

from harness.errors import HarnessError, Unsupported
from harness.graph_node import Array, Node, attribute_value, resolve

V = TypeVar("V")

Kernel = Callable[..., V | tuple[V, ...]]
"""One node at run time: its inputs in order (None where one is omitted) to its outputs."""

Prepare = Callable[[Node[V]], Kernel[V]]
"""One node at load time: whatever can be computed without the feeds is computed here."""

Key = tuple[str, str]
"""Domain and operator; the domain of ONNX itself is the empty string."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of the graph; `dtype` is numpy's name of the declared element type."""

    name: str
    dtype: str
    slot: int


@dataclass(frozen=True, kw_only=True)
class Step(Generic[V]):
    """A node ready to run: slots of its inputs and outputs, and the slots that die with it."""

    label: str
    kernel: Kernel[V]
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    dies: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Program(Generic[V]):
    """A loaded graph; `intercepted` counts function calls that went to an intercepting kernel."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: tuple[Step[V], ...]
    constants: Mapping[int, V]
    slots: int
    operators: frozenset[str]
    intercepted: int

    def run(self, feeds: Mapping[str, V]) -> dict[str, V]:
        """Execute once; outputs by name, in graph order."""
        wanted = [port.name for port in self.inputs]
        if sorted(feeds) != sorted(wanted):
            raise HarnessError(f"the graph takes {sorted(wanted)}, got feeds {sorted(feeds)}")
        values: list[V | None] = [None] * self.slots
        for slot, constant in self.constants.items():
            values[slot] = constant
        for port in self.inputs:
            values[port.slot] = feeds[port.name]
        for step in self.steps:
            arguments = [None if slot is None else values[slot] for slot in step.inputs]
            results = _call(step.kernel, arguments, len(step.outputs), step.label)
            for target, result in zip(step.outputs, results, strict=True):
                if target is not None:
                    values[target] = result
            for dead in step.dies:
                values[dead] = None
        outputs: dict[str, V] = {}
        for port in self.outputs:
            value = values[port.slot]
            if value is None:
                raise HarnessError(f"graph output {port.name!r} was never computed")
            outputs[port.name] = value
        return outputs


def compile_graph(
    onnx_model: bytes,
    operators: Mapping[str, Prepare[V]],
    constant: Callable[[Array], V],
    intercepts: Mapping[Key, Prepare[V]],
) -> Program[V]:
    """Make a graph ready to run. `constant` turns an initializer into a value.

    Raises Unsupported, with the operator and the node, for what is neither in a table nor a
    model-local function.
    """
    model = onnx.load_model_from_string(onnx_model)
    return _Loader(model, operators, constant, intercepts).program(model.graph)


def _call(
    kernel: Kernel[V], arguments: Sequence[V | None], count: int, label: str
) -> tuple[V, ...]:
    try:
        result = kernel(*arguments)
    except NotImplementedError as error:
        raise Unsupported(f"{label}: {error}") from error
    except (ValueError, IndexError, TypeError, RuntimeError) as error:
        raise HarnessError(f"{label} failed: {error}") from error
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != count:
        raise HarnessError(f"{label}: {count} outputs expected, the kernel gave {len(results)}")
    return results


class _Loader(Generic[V]):
    """State of one compilation: slots given out, constants known, steps found so far."""

    def __init__(
        self,
        model: ModelProto,
        operators: Mapping[str, Prepare[V]],
        constant: Callable[[Array], V],
        intercepts: Mapping[Key, Prepare[V]],
    ) -> None:
        self._functions = {(_domain(f.domain), f.name): f for f in model.functions}
        self._operators = operators
        self._constant = constant
        self._intercepts = intercepts
        self._known: dict[int, V] = {}
        self._steps: list[Step[V]] = []
        self._slots = 0
        self._intercepted = 0
        self._used: set[str] = set()

    def program(self, graph: GraphProto) -> Program[V]:
        scope: dict[str, int] = {}
        for initializer in graph.initializer:
            scope[initializer.name] = self._new(self._constant(numpy_helper.to_array(initializer)))
        inputs = tuple(
            Port(name=value.name, dtype=_dtype(value), slot=self._declare(scope, value.name))
            for value in graph.input
            if value.name not in scope
        )
        for node in graph.node:
            self._add(node, scope, {})
        for value in graph.output:
            if value.name not in scope:
                raise HarnessError(f"no node computes the graph output {value.name!r}")
        outputs = tuple(
            Port(name=value.name, dtype=_dtype(value), slot=scope[value.name])
            for value in graph.output
        )
        kept = {port.slot for port in outputs}
        steps = tuple(_with_last_uses(self._steps, kept | set(self._known)))
        read = kept.union(*([s for s in step.inputs if s is not None] for step in steps))
        return Program(
            inputs=inputs,
            outputs=outputs,
            steps=steps,
            constants={slot: value for slot, value in self._known.items() if slot in read},
            slots=self._slots,
            operators=frozenset(self._used),
            intercepted=self._intercepted,
        )

    def _add(
        self, proto: NodeProto, scope: dict[str, int], bound: Mapping[str, AttributeProto]
    ) -> None:
        """Append one node, or the body of the function that it calls."""
        key = (_domain(proto.domain), proto.op_type)
        attributes = [resolve(attribute, bound) for attribute in proto.attribute]
        given = {a.name: a for a in attributes if a is not None}
        if key in self._functions and key not in self._intercepts:
            self._inline(self._functions[key], proto, scope, given)
            return
        label = f"node {proto.name or '/'.join(proto.output)!r} ({proto.op_type})"
        inputs = tuple(self._lookup(scope, name, label) for name in proto.input)
        node = Node[V](
            label=label,
            op_type=proto.op_type,
            attributes={name: attribute_value(a, label) for name, a in given.items()},
            constants={i: self._known[s] for i, s in enumerate(inputs) if s in self._known},
            inputs=len(inputs),
            outputs=len(proto.output),
        )
        kernel = self._prepare(key, node)
        if all(slot is None or slot in self._known for slot in inputs):
            arguments = [None if slot is None else self._known[slot] for slot in inputs]
            results = _call(kernel, arguments, node.outputs, label)
            for name, result in zip(proto.output, results, strict=True):
                scope[name] = self._new(result)
            return
        outputs = tuple(self._declare(scope, name) if name else None for name in proto.output)
        self._steps.append(
            Step(label=label, kernel=kernel, inputs=inputs, outputs=outputs, dies=())
        )

    def _prepare(self, key: Key, node: Node[V]) -> Kernel[V]:
        if key in self._intercepts:
            self._intercepted += 1
            return self._intercepts[key](node)
        self._used.add(node.op_type)
        if key == ("", "Constant"):
            value = self._constant(node.constant_value())
            return lambda: value
        if key[0] or key[1] not in self._operators:
            name = "::".join(filter(None, key))
            raise Unsupported(f"{node.label}: operator {name} is not in this platform's table")
        return self._operators[key[1]](node)

    def _inline(
        self,
        function: FunctionProto,
        call: NodeProto,
        scope: dict[str, int],
        given: Mapping[str, AttributeProto],
    ) -> None:
        bound = {a.name: a for a in function.attribute_proto} | dict(given)
        label = f"call {call.name or '/'.join(call.output)!r} ({call.op_type})"
        inner: dict[str, int] = {}
        for formal, actual in zip(function.input, call.input, strict=False):
            slot = self._lookup(scope, actual, label)
            if slot is not None:
                inner[formal] = slot
        for node in function.node:
            self._add(node, inner, bound)
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual:
                scope[actual] = inner[formal]

    def _lookup(self, scope: Mapping[str, int], name: str, label: str) -> int | None:
        if not name:
            return None
        if name not in scope:
            raise HarnessError(f"{label} reads {name!r}, which nothing computes before it")
        return scope[name]

    def _declare(self, scope: dict[str, int], name: str) -> int:
        scope[name] = self._slots
        self._slots += 1
        return scope[name]

    def _new(self, value: V) -> int:
        self._known[self._slots] = value
        self._slots += 1
        return self._slots - 1


def _with_last_uses(steps: Sequence[Step[V]], kept: set[int]) -> Iterable[Step[V]]:
    """Tell each step which slots nothing reads after it, its own unread outputs included."""
    alive = set(kept)
    reversed_steps: list[Step[V]] = []
    for step in reversed(steps):
        mentioned = {slot for slot in (*step.inputs, *step.outputs) if slot is not None}
        dies = tuple(sorted(mentioned - alive))
        alive |= mentioned
        reversed_steps.append(
            Step(
                label=step.label,
                kernel=step.kernel,
                inputs=step.inputs,
                outputs=step.outputs,
                dies=dies,
            )
        )
    return reversed(reversed_steps)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _dtype(value: onnx.ValueInfoProto) -> str:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
