"""Which product a node is: float reductions, and 8-bit products with what follows their sums."""

from dataclasses import dataclass, replace

import numpy as np

from harness.errors import Unsupported
from harness.explain.base import Site
from harness.explain.product import (
    Product,
    convolution,
    matrix_product,
    transposed_convolution,
)
from harness.graph_node import Array

FLOAT_OPERATORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "ReduceSum"})


def float_product(site: Site) -> Product:
    """The sums of a float reduction, whose order ONNX leaves open. Unsupported for any other node."""
    node = site.node
    if not site.single or node.op_type not in FLOAT_OPERATORS or site.got.dtype.kind != "f":
        raise Unsupported(f"{node.op_type} is no float reduction")
    x, *others = site.arguments()
    assert x is not None
    return _float_product(site, x, [*others, None, None])


def _float_product(site: Site, x: Array, others: list[Array | None]) -> Product:
    view, (w, bias) = site.view(), others[:2]
    match site.node.op_type:
        case "Conv" if w is not None:
            return convolution(view, x, w, bias)
        case "ConvTranspose" if w is not None:
            return transposed_convolution(view, x, w, bias)
        case "MatMul" if w is not None:
            return matrix_product(x, w)
        case "Gemm" if w is not None:
            if view.number("alpha", 1) != 1 or view.number("beta", 1) != 1:
                raise Unsupported("Gemm with factors")
            left = x.T if view.integer("transA", 0) else x
            right = w.T if view.integer("transB", 0) else w
            return matrix_product(left, right, None if bias is None else bias.reshape(-1))
        case _:
            axes = range(x.ndim) if w is None else [int(axis) % x.ndim for axis in w.tolist()]
            kept = [axis for axis in range(x.ndim) if axis not in axes]
            rows = x.transpose(*kept, *axes).reshape(-1, int(np.prod([x.shape[a] for a in axes])))
            ones = np.ones((rows.shape[1], 1), x.dtype)
            return Product(
                rows=rows, weights=ones, bias=None, taps=1, fold=lambda s: s.reshape(site.got.shape)
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescale:
    """What QLinear operators do to sums: scales float32 (of the weights one, or one a column), output zero point."""

    x_scale: Array
    w_scale: Array
    y_scale: Array
    y_zero: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class ByteProduct:
    """An 8-bit product: raw rows and weights, their zero points, and the rescaling if there is one."""

    product: Product
    row_zero: Array | None
    weight_zero: Array | None
    rescale: Rescale | None


def byte_product(site: Site) -> ByteProduct:
    """The product of a ConvInteger, MatMulInteger, QLinearConv or QLinearMatMul. Unsupported for any other node."""
    if not site.single:
        raise Unsupported("more than one node")
    node, given = site.node, (*site.arguments(), None, None)
    match node.op_type:
        case "ConvInteger":
            x, w, x_zero, w_zero = given[:4]
            assert x is not None
            assert w is not None
            product = convolution(site.view(), x, w, None, x_zero)
            return ByteProduct(product=product, row_zero=x_zero, weight_zero=w_zero, rescale=None)
        case "MatMulInteger":
            x, w, x_zero, w_zero = given[:4]
            assert x is not None
            assert w is not None
            product = matrix_product(x, w)
            return ByteProduct(product=product, row_zero=x_zero, weight_zero=w_zero, rescale=None)
        case "QLinearConv" | "QLinearMatMul":
            x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = given[:9]
            assert x is not None
            assert w is not None
            if any(v is None for v in (x_scale, w_scale, y_scale, y_zero)):
                raise Unsupported(f"{node.op_type} without its scales")
            convolves = node.op_type == "QLinearConv"
            made = (
                convolution(site.view(), x, w, bias, x_zero) if convolves else matrix_product(x, w)
            )
            rescale = Rescale(x_scale=x_scale, w_scale=w_scale, y_scale=y_scale, y_zero=y_zero)  # type: ignore[arg-type]
            return ByteProduct(product=made, row_zero=x_zero, weight_zero=w_zero, rescale=rescale)
    raise Unsupported(f"{node.op_type} is no 8-bit product")


def integer_product(site: Site) -> Product:
    """An integer product whose sums are what the node puts out, zero points taken out, in int64. Unsupported for others."""
    if site.single and site.node.op_type == "MatMul" and site.got.dtype.kind in "iu":
        x, w = site.arguments()
        assert x is not None
        assert w is not None
        return matrix_product(x.astype(np.int64), w.astype(np.int64))
    given = byte_product(site)
    if given.rescale is not None:
        raise Unsupported("its sums are not what it puts out")
    rows, weights = given.product.rows.astype(np.int64), given.product.weights.astype(np.int64)
    if given.row_zero is not None:
        rows = rows - given.row_zero.reshape(-1)[:1].astype(np.int64)
    if given.weight_zero is not None:
        weights = weights - given.weight_zero.reshape(-1).astype(np.int64)
    return replace(given.product, rows=rows, weights=weights)
