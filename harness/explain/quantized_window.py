"""DequantizeLinear, Conv (or MatMul), perhaps Relu, QuantizeLinear: what optimisers fuse into one integer operator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from harness.errors import Unsupported
from harness.explain.base import Site
from harness.explain.operators import ByteProduct, Rescale
from harness.explain.product import Product, convolution, matrix_product
from harness.graph_node import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedWindow:
    """The same layer seen twice: `integer` on the quantized inputs, `real` on the dequantized ones."""

    integer: ByteProduct
    real: Product
    relu: bool

    @property
    def rescale(self) -> Rescale:
        assert self.integer.rescale is not None
        return self.integer.rescale


def quantized_window(site: Site) -> QuantizedWindow:
    """The parts of such a window. Unsupported if the site is none."""
    graph = site.graph

    def maker(name: str) -> NodeProto:
        if name not in graph.producer:
            raise Unsupported(f"{name} is no node's")
        return graph.nodes[graph.producer[name]]

    if site.node.op_type != "QuantizeLinear":
        raise Unsupported("no QuantizeLinear at the end")
    y_scale, y_zero = site.values[site.node.input[1]], site.values[site.node.input[2]]
    layer = maker(site.node.input[0])
    relu = layer.op_type == "Relu"
    if relu:
        layer = maker(layer.input[0])
    if layer.op_type not in {"Conv", "MatMul"}:
        raise Unsupported(f"{layer.op_type} has no integer form to fuse into")
    x, x_scale, x_zero = _dequantized(site, maker(layer.input[0]))
    w, w_scale, w_zero = _dequantized(site, maker(layer.input[1]))
    bias, real_bias = _bias(site, layer, maker)
    centred, real = x.astype(np.int64) - x_zero.astype(np.int64), _real(x, x_scale, x_zero)
    # The zero point is taken out first, so that the border is a true zero in both forms.
    shape = (-1, *([1] * (w.ndim - 1))) if layer.op_type == "Conv" else (-1,)
    flat = w.astype(np.int64) - w_zero.astype(np.int64).reshape(shape if w_zero.size > 1 else ())
    weights = flat.astype(np.float64) * w_scale.astype(np.float64).reshape(
        shape if w_scale.size > 1 else ()
    )
    view = site.view(layer)
    if layer.op_type == "Conv":
        made = convolution(view, centred, flat, bias), convolution(view, real, weights, real_bias)
    else:
        made = matrix_product(centred, flat), matrix_product(real, weights)
    rescale = Rescale(x_scale=x_scale, w_scale=w_scale, y_scale=y_scale, y_zero=y_zero)
    return QuantizedWindow(
        integer=ByteProduct(product=made[0], row_zero=None, weight_zero=None, rescale=rescale),
        real=made[1],
        relu=relu,
    )


def _dequantized(site: Site, node: NodeProto) -> tuple[Array, Array, Array]:
    """What a DequantizeLinear reads: integers, scale, zero point."""
    if node.op_type != "DequantizeLinear":
        raise Unsupported(f"{node.op_type} where DequantizeLinear was looked for")
    x, scale, zero = (*site.arguments(node), None)[:3]
    if x is None or scale is None:
        raise Unsupported("an omitted input")
    return x, scale, np.zeros(1, x.dtype) if zero is None else zero


def _real(x: Array, scale: Array, zero: Array) -> Array:
    """(x - zero) * scale as DequantizeLinear rounds it, in float32; per tensor."""
    if scale.size != 1:
        raise Unsupported("activations have one scale")
    centred = x.astype(np.int32) - zero.astype(np.int32).reshape(())
    return np.asarray(centred.astype(np.float32) * scale.astype(np.float32).reshape(()))


def _bias(
    site: Site, layer: NodeProto, maker: Callable[[str], NodeProto]
) -> tuple[Array | None, Array | None]:
    """The bias in integers and in float32; it is dequantized too, or folded."""
    if layer.op_type != "Conv" or len(layer.input) < 3 or not layer.input[2]:  # noqa: PLR2004
        return None, None
    values, scale, zero = _dequantized(site, maker(layer.input[2]))
    if zero.any():
        raise Unsupported("a bias with a zero point")
    return values, values.astype(np.float32) * scale.reshape(-1).astype(np.float32)
