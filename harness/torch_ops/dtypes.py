"""torch and the unsigned types of ONNX.

torch has no arithmetic, comparison or gather for uint16 and uint32: `wide` computes those in int64
and narrows (modulo, as ONNX does), `moved` moves their bits as signed integers of the same width,
and so a value has its ONNX type at every point of the graph.
"""

from collections.abc import Callable

import numpy as np
import onnx
import torch
from torch import Tensor

from harness.errors import Unsupported

SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32}


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise Unsupported(f"torch has no dtype {name}")
    return found


def elements(onnx_type: int) -> torch.dtype:
    return _dtype(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(onnx_type)).name)


def wide(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Elementwise `function`, through int64 where torch has no arithmetic for the type."""

    def kernel(*values: Tensor) -> Tensor:
        dtype = values[0].dtype
        if dtype not in SIGNED:
            return function(*values)
        result = function(*(v.to(torch.int64) for v in values))
        return result if result.dtype == torch.bool else result.to(dtype)

    return kernel


def moved(function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """`function`, which only moves elements, of a tensor of any type."""
    signed = SIGNED.get(value.dtype)
    return function(value) if signed is None else function(value.view(signed)).view(value.dtype)
