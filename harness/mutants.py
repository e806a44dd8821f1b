"""Traces that are wrong in one way each: what the self-test lets loose on the comparison."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from harness.case import rng
from harness.trace import TensorRecord, Trace

Mutant = Callable[[Trace, str], Trace]


def flip(data: bytes, bit: int) -> bytes:
    r"""`data` with one bit flipped, counted from the lowest bit of the first byte.

    >>> flip(bytes(2), 9)
    b'\x00\x02'
    """
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _with(trace: Trace, *records: TensorRecord) -> Trace:
    """`trace` with some tensors exchanged."""
    new = {record.name: record for record in records}
    return replace(trace, tensors=tuple(new.get(tensor.name, tensor) for tensor in trace.tensors))


def flip_bit(trace: Trace, name: str) -> Trace:
    data = trace[name].data
    bit = int(rng(f"selftest/flip-bit/{name}").integers(8 * len(data)))
    return _with(trace, replace(trace[name], data=flip(data, bit)))


def drop_tensor(trace: Trace, name: str) -> Trace:
    return replace(trace, tensors=tuple(tensor for tensor in trace.tensors if tensor.name != name))


def widen_dtype(trace: Trace, name: str) -> Trace:
    return _with(trace, TensorRecord.of(name, trace.array(name).astype(np.int64)))


def flatten_shape(trace: Trace, name: str) -> Trace:
    return _with(trace, replace(trace[name], shape=(trace[name].values,)))


def swap_channels(trace: Trace, name: str) -> Trace:
    return _with(trace, TensorRecord.of(name, np.flip(trace.array(name), axis=1)))


def swap_tensors(trace: Trace, name: str) -> Trace:
    """`name` and the next tensor of its dtype and shape carry each other's elements."""
    names = [tensor.name for tensor in trace.tensors]
    this = trace[name]
    other = next(
        t
        for t in trace.tensors[names.index(name) + 1 :]
        if (t.dtype, t.shape) == (this.dtype, this.shape)
    )
    return _with(trace, replace(other, name=name), replace(this, name=other.name))


MUTANTS: Mapping[str, Mutant] = {
    "flip-bit": flip_bit,
    "drop-tensor": drop_tensor,
    "widen-dtype": widen_dtype,
    "flatten-shape": flatten_shape,
    "swap-channels": swap_channels,
}
