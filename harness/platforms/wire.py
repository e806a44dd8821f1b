"""Messages between the harness and a platform's process: a JSON head and raw tensor bytes, nothing unpickled."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from harness.errors import HarnessError
from harness.trace import TensorRecord

_LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 2**31


def send(
    stream: BinaryIO,
    head: Mapping[str, object],
    blob: bytes = b"",
    tensors: Sequence[TensorRecord] = (),
) -> None:
    """Write one message: `head`, an opaque blob (an ONNX file), and tensors."""
    described = [
        {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "bytes": len(t.data)}
        for t in tensors
    ]
    text = json.dumps({**head, "blob": len(blob), "tensors": described}).encode()
    stream.write(_LENGTH.pack(len(text)))
    stream.write(text)
    stream.write(blob)
    for tensor in tensors:
        stream.write(tensor.data)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, object], bytes, tuple[TensorRecord, ...]]:
    """Read one message; EOFError if the other side is gone, HarnessError if it does not speak this language."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        raise HarnessError("it wrote something that is not a message")
    try:
        head = json.loads(_exactly(stream, length))
        blob = _exactly(stream, head.pop("blob"))
        tensors = tuple(
            TensorRecord(
                name=t["name"],
                dtype=t["dtype"],
                shape=tuple(t["shape"]),
                data=_exactly(stream, t["bytes"]),
            )
            for t in head.pop("tensors")
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise HarnessError("it wrote something that is not a message") from error
    return head, blob, tensors


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data
