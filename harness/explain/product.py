"""Convolutions and matrix products in one form: rows [P, K] times weights [K, N], and the way back to the output."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.graph_node import Array, Node
from harness.onnx_shapes import ConvGeometry, conv_geometry

# Rows hold every input once a tap: 2^26 of them take half a gigabyte in float64.
MOST_ELEMENTS = 2**26
MATRIX = 2
F64 = NDArray[np.float64]


class TooLarge(Unsupported):
    """A product that is simulated on a smaller input only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """`rows` [P, K] times `weights` [K, N] plus `bias` [N]; K counts channels outside, `taps` inside.

    `fold` turns [P, N] into the node's output.
    """

    rows: Array
    weights: Array
    bias: Array | None
    taps: int
    fold: Callable[[Array], Array]

    @cached_property
    def exact(self) -> F64:
        """The sums in float64: exact for integers below 2^53, else within its own round-off."""
        return self._summed(lambda x: x.astype(np.float64))

    @cached_property
    def magnitude(self) -> F64:
        """Sums of the magnitudes of what is added."""
        return self._summed(lambda x: np.abs(x.astype(np.float64)))

    @cached_property
    def terms(self) -> F64:
        """How many products that are not zero go into each sum, the bias among them."""
        return self._summed(lambda x: (x != 0).astype(np.float64))

    def _summed(self, of: Callable[[Array], F64]) -> F64:
        sums: F64 = np.matmul(of(self.rows), of(self.weights))
        return sums if self.bias is None else sums + of(self.bias)

    def channels_last(self) -> "Product":
        """K in the order of kernels that keep channels together, an odd last channel beside a zero."""
        channels = len(self.weights) // self.taps
        order = np.arange(len(self.weights)).reshape(channels, self.taps).T
        if channels % 2:
            order = np.pad(order, ((0, 0), (0, 1)), constant_values=len(self.weights))
        rows = np.pad(self.rows, ((0, 0), (0, 1)))[:, order.ravel()]
        weights = np.pad(self.weights, ((0, 1), (0, 0)))[order.ravel()]
        return Product(rows=rows, weights=weights, bias=self.bias, taps=1, fold=self.fold)


def convolution(
    node: Node[Array], x: Array, w: Array, bias: Array | None, zero: Array | None = None
) -> Product:
    """A 2-d Conv, ConvInteger or QLinearConv; the border is filled with the zero point `zero`."""
    _check_images(x, w)
    geometry = conv_geometry(node)
    fill = 0 if zero is None else int(zero.reshape(-1)[0])
    top, left, bottom, right = geometry.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    return _windows(padded, w, bias, geometry.strides)


def transposed_convolution(node: Node[Array], x: Array, w: Array, bias: Array | None) -> Product:
    """A 2-d ConvTranspose as a convolution of the input with zeros between its elements."""
    _check_images(x, w)
    geometry = conv_geometry(node)
    spread = _spread(x, w.shape[2:], geometry)
    return _windows(spread, w[:, :, ::-1, ::-1].swapaxes(0, 1), bias, (1, 1))


def matrix_product(a: Array, b: Array, bias: Array | None = None) -> Product:
    if b.ndim != MATRIX or a.ndim < 1:
        raise Unsupported("only products with one matrix are simulated")
    rows = a.reshape(-1, a.shape[-1])
    shape = (*a.shape[:-1], b.shape[1])
    return Product(rows=rows, weights=b, bias=bias, taps=1, fold=lambda sums: sums.reshape(shape))


def _check_images(x: Array, w: Array) -> None:
    if x.ndim != 4 or w.ndim != 4:  # noqa: PLR2004 - N, C, H, W
        raise Unsupported("only 2-d convolutions are simulated")


def _windows(x: Array, w: Array, bias: Array | None, strides: tuple[int, int]) -> Product:
    """`w` as Conv has it: [N, C, kernel rows, kernel columns]."""
    count, channels = len(w), w.shape[1]
    taps = w.shape[2] * w.shape[3]
    windows: Array = sliding_window_view(x, (1, 1, *w.shape[2:]))[
        :, :, :: strides[0], :: strides[1], 0, 0
    ]
    if windows.size > MOST_ELEMENTS:
        raise TooLarge(f"{windows.size} products a channel are too many to simulate")
    images, _, height, width = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * taps)
    return Product(
        rows=rows,
        weights=np.ascontiguousarray(w).reshape(count, -1).T,
        bias=bias,
        taps=taps,
        fold=lambda s: s.reshape(images, height, width, count).transpose(0, 3, 1, 2),
    )


def _spread(x: Array, kernel: tuple[int, ...], geometry: ConvGeometry) -> Array:
    down, along = geometry.strides
    images, channels, height, width = x.shape
    size = ((height - 1) * down + 1, (width - 1) * along + 1)
    spread = np.zeros((images, channels, *size), x.dtype)
    spread[:, :, ::down, ::along] = x
    top, left, bottom, right = geometry.pads
    rows, columns = kernel
    pads = [
        (rows - 1 - top, rows - 1 - bottom + geometry.output_padding[0]),
        (columns - 1 - left, columns - 1 - right + geometry.output_padding[1]),
    ]
    if min(min(pair) for pair in pads) < 0:
        raise Unsupported("a transposed convolution with pads larger than its kernel")
    return np.pad(spread, ((0, 0), (0, 0), *pads))
