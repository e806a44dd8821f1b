"""What a platform produced: named tensors as canonical bytes, and the environment that really ran.

Knows neither models nor platforms. Everything that is ever compared is a tensor record: symbols, indexes,
means and pixels too, so that there is one comparator.
"""

import hashlib
import io
import json
import lzma
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, UserError
from harness.files import write_file

DTYPES = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)
FORMAT = 1
MAX_TRACE_BYTES = 2**30
# What zipfile and json raise at damage; RuntimeError is for encryption and for nesting without end.
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ValueError,
    HarnessError,
)


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """One tensor: name, dtype (numpy's name), shape, and its elements little-endian in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise HarnessError(f"tensor {self.name!r}: dtype {self.dtype!r} is not one of {DTYPES}")
        # Python's integers: a product of int64 wraps, and of two negative sizes is positive.
        expected = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if min(self.shape, default=0) < 0 or len(self.data) != expected:
            raise HarnessError(
                f"tensor {self.name!r}: {self.dtype}{list(self.shape)} takes {expected} bytes, got {len(self.data)}"
            )

    @classmethod
    def of(cls, name: str, array: NDArray[np.generic]) -> "TensorRecord":
        """Record `array`, of any layout and byte order, canonically."""
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        return cls(name=name, dtype=array.dtype.name, shape=array.shape, data=little.tobytes())

    def array(self) -> NDArray[np.generic]:
        """The tensor as a read-only numpy array in native byte order."""
        little = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<")).reshape(
            self.shape
        )
        return little.astype(self.dtype, copy=False)

    @property
    def values(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over dtype, shape and elements; the name is not part of it."""
        head = f"{self.dtype}{list(self.shape)}".encode()
        return hashlib.sha256(head + b"\0" + self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Tensors in graph order and the environment (runtime, version, options, machine) they were made in."""

    tensors: tuple[TensorRecord, ...]
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if not names or len(set(names)) != len(names):
            raise HarnessError(f"a trace needs at least one tensor and distinct names, got {names}")

    def __getitem__(self, name: str) -> TensorRecord:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise HarnessError(
            f"no tensor {name!r} in the trace; it has {[t.name for t in self.tensors]}"
        )

    def array(self, name: str) -> NDArray[np.generic]:
        return self[name].array()

    def save(self, path: Path) -> None:
        """Write a zip of a JSON manifest and raw tensors; equal traces give equal bytes."""
        manifest = {
            "format": FORMAT,
            "environment": dict(sorted(self.environment.items())),
            "tensors": [
                {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "sha256": t.digest}
                for t in self.tensors
            ],
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(
                _entry("manifest.json"), json.dumps(manifest, indent=2, sort_keys=True) + "\n"
            )
            for number, tensor in enumerate(self.tensors):
                archive.writestr(_entry(f"{number}.bin"), tensor.data)
        write_file(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Trace":
        """Read what `save` wrote; anything else, or a digest that does not match, is a UserError."""
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MAX_TRACE_BYTES:
                    raise UserError(f"trace {path} claims more than {MAX_TRACE_BYTES} bytes")
                manifest = json.loads(archive.read("manifest.json"))
                if manifest["format"] != FORMAT:
                    raise UserError(
                        f"trace {path} has format {manifest['format']}; this version reads {FORMAT}"
                    )
                tensors = tuple(
                    TensorRecord(
                        name=str(entry["name"]),
                        dtype=str(entry["dtype"]),
                        shape=tuple(int(n) for n in entry["shape"]),
                        data=archive.read(f"{number}.bin"),
                    )
                    for number, entry in enumerate(manifest["tensors"])
                )
                digests = [entry["sha256"] for entry in manifest["tensors"]]
            if [tensor.digest for tensor in tensors] != digests:
                raise UserError("it is damaged: a tensor does not match its digest")
            environment = {str(key): str(value) for key, value in manifest["environment"].items()}
            return cls(tensors=tensors, environment=environment)
        except _UNREADABLE as error:
            raise UserError(f"cannot read trace {path}: {error}") from error


class Shared:
    """Equal tensors as one object, for as long as somebody holds it.

    What an integer cell decodes is what was encoded: eight decoders of a clip need not keep it eight times.
    """

    def __init__(self) -> None:
        self._records: WeakValueDictionary[tuple[str, str], TensorRecord] = WeakValueDictionary()

    def __call__(self, trace: Trace) -> Trace:
        tensors = (self._records.setdefault((t.name, t.digest), t) for t in trace.tensors)
        return replace(trace, tensors=tuple(tensors))


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry without a clock, so that equal content gives equal bytes."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
