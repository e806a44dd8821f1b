"""A tensor by its digest: what a machine says of a tensor that it does not send. Knows no files, models or platforms."""

import math
import re
from dataclasses import dataclass

import numpy as np

from harness.archive import Fields
from harness.errors import HarnessError, UserError
from harness.trace import DTYPES, TensorRecord

MAX_TENSOR_BYTES = 2**30
MAX_AXES = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TENSOR_NAME = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, kw_only=True)
class TensorDigest:
    """A tensor by its digest: what `TensorRecord.digest` gives for these dtype, shape and elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str

    def __post_init__(self) -> None:
        if not _TENSOR_NAME.fullmatch(self.name):
            raise UserError(
                f"{self.name[:50]!r} is no name of a tensor: 1 to 200 visible characters"
            )
        if self.dtype not in DTYPES:
            raise UserError(f"tensor {self.name}: dtype {self.dtype[:50]!r} is not one of {DTYPES}")
        # Axes first, sizes next: a product of hostile integers grows without end.
        if len(self.shape) > MAX_AXES or not all(0 <= n <= MAX_TENSOR_BYTES for n in self.shape):
            raise UserError(f"tensor {self.name}: its shape has too many axes or impossible sizes")
        # Zeros among the sizes make no tensor of any size: numpy multiplies the others all the same.
        if math.prod(n for n in self.shape if n) * self._itemsize > MAX_TENSOR_BYTES:
            raise UserError(f"tensor {self.name}: it claims more than {MAX_TENSOR_BYTES} bytes")
        check_sha256(f"tensor {self.name}", self.sha256)

    @classmethod
    def of(cls, record: TensorRecord) -> "TensorDigest":
        return cls(name=record.name, dtype=record.dtype, shape=record.shape, sha256=record.digest)

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def _itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    def record(self, data: bytes) -> TensorRecord:
        """The tensor itself, if these are its elements; else a UserError."""
        try:
            record = TensorRecord(name=self.name, dtype=self.dtype, shape=self.shape, data=data)
        except HarnessError as error:
            raise UserError(str(error)) from error
        if record.digest != self.sha256:
            raise UserError(f"tensor {self.name} does not match its digest {self.sha256[:12]}")
        return record

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> "TensorDigest":
        fields.only("name", "dtype", "shape", "sha256")
        return cls(
            name=fields.text("name"),
            dtype=fields.text("dtype"),
            shape=fields.integers("shape"),
            sha256=fields.text("sha256"),
        )


def check_sha256(what: str, digest: str) -> None:
    if not _SHA256.fullmatch(digest):
        raise UserError(f"{what}: {digest[:70]!r} is no SHA-256 in hexadecimal")
