"""Element types of ONNX tensors: the range of each, and how many bits its floats carry exactly."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from onnx import TensorProto, helper


class Family(Enum):
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`low` and `high` enclose every value; an integer result fits if it lies in [low, fits].

    A float of `digits` significand bits holds every multiple of 2^u up to 2^(digits + u), for u >= `smallest`
    (smaller ones may be flushed to zero).
    """

    name: str
    family: Family
    low: float
    high: float
    fits: float = np.inf
    digits: int = 0
    smallest: int = 0

    @property
    def is_float(self) -> bool:
        return self.family is Family.FLOAT

    @property
    def is_integer(self) -> bool:
        return self.family is Family.INTEGER

    @property
    def modulus(self) -> int:
        """2^n of an unsigned type, 0 of any other."""
        if not self.name.startswith("uint"):
            return 0
        return 1 << int(self.name.removeprefix("uint"))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(helper.tensor_dtype_to_np_dtype(getattr(TensorProto, _ONNX[self.name])))


# The name in ONNX's enumeration, by the name people use (numpy's where numpy has one).
_ONNX = {
    "bool": "BOOL",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "float8e4m3fn": "FLOAT8E4M3FN",
    "float8e4m3fnuz": "FLOAT8E4M3FNUZ",
    "float8e5m2": "FLOAT8E5M2",
    "float8e5m2fnuz": "FLOAT8E5M2FNUZ",
    "float4e2m1": "FLOAT4E2M1",
    **{
        f"{sign}int{bits}": f"{sign}int{bits}".upper()
        for sign in ("", "u")
        for bits in (2, 4, 8, 16, 32, 64)
    },
}
# Significand bits, exponent of the smallest normal number, largest finite number.
_FLOATS: dict[str, tuple[int, int, float]] = {
    "float16": (11, -14, 65504.0),
    "bfloat16": (8, -126, 2.0**127 * (2 - 2**-7)),
    "float32": (24, -126, 2.0**127 * (2 - 2**-23)),
    "float64": (53, -1022, float(np.finfo(np.float64).max)),
    "float8e4m3fn": (4, -6, 448.0),
    "float8e4m3fnuz": (4, -7, 240.0),
    "float8e5m2": (3, -14, 57344.0),
    "float8e5m2fnuz": (3, -15, 57344.0),
    "float4e2m1": (2, 0, 6.0),
}


def _kind(name: str) -> Kind:
    if name == "bool":
        return Kind(name=name, family=Family.BOOL, low=0.0, high=1.0)
    if name in _FLOATS:
        digits, smallest, largest = _FLOATS[name]
        return Kind(
            name=name,
            family=Family.FLOAT,
            low=-np.inf,
            high=np.inf,
            fits=largest,
            digits=digits,
            smallest=smallest,
        )
    bits = int(name.rpartition("int")[2])
    low, top = (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    # 2^63 - 1 is no float64: the enclosing number lies above it, the fitting one below.
    fits = float(top) if float(top) <= top else float(np.nextafter(float(top), 0.0))
    return Kind(name=name, family=Family.INTEGER, low=float(low), high=float(top), fits=fits)


KINDS = {name: _kind(name) for name in _ONNX if hasattr(TensorProto, _ONNX[name])}
OTHER = Kind(name="other", family=Family.OTHER, low=-np.inf, high=np.inf)
_BY_NUMBER = {getattr(TensorProto, _ONNX[name]): kind for name, kind in KINDS.items()}

BOOL, INT32, INT64 = KINDS["bool"], KINDS["int32"], KINDS["int64"]
FLOAT32 = KINDS["float32"]


def kind_of(element_type: int) -> Kind:
    """By ONNX's number; strings, complex numbers and types yet to come are OTHER."""
    return _BY_NUMBER.get(element_type, OTHER)


def kind_of_array(dtype: np.dtype[np.generic]) -> Kind:
    try:
        return kind_of(helper.np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError, TypeError):
        return OTHER
