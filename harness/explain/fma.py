"""x * y + z in float32 with one rounding, as an FMA unit does it."""

import numpy as np
from numpy.typing import NDArray

from harness.graph_node import Array

F32 = NDArray[np.float32]


def fused_multiply_add(x: Array, y: Array, z: Array) -> F32:
    """float32 arrays that broadcast; finite results are exact to the last bit.

    >>> one = np.float32(1 + 2.0**-12)
    >>> fused_multiply_add(one, one, np.float32(-1)).item() == 2.0**-11 + 2.0**-24
    True
    """
    product = np.multiply(x, y, dtype=np.float64)  # 48 bits: exact
    sums = np.asarray(product + z, np.float64)
    taken = sums - product
    lost = (product - (sums - taken)) + (z - taken)
    # Rounded to odd at 53 bits, so that rounding again to 24 is as rounding once.
    even = (sums.view(np.int64) & 1) == 0
    towards = np.where(lost > 0, np.inf, -np.inf)
    odd = np.where((lost != 0) & even, np.nextafter(sums, towards), sums)
    return odd.astype(np.float32)
