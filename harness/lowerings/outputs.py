"""The last layer's rows as the outputs of a network: planes, and of sigma the CDF indexes."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from harness.lowerings.base import INT32, GraphBuilder, feature_map
from harness.specification import IntegerLayer, IntegerNet

UINT8 = TensorProto.UINT8
PICTURE = "picture"


def emit_outputs(
    graph: GraphBuilder, net: IntegerNet, last: IntegerLayer, blocks: list[str], row_of: str
) -> None:
    """Rows of the `last` layer as [1, M, H, W]: int32, of a picture uint8.

    `row_of` [H, W] says which row a pixel is; those of a direct convolution are in raster order.
    """
    planes = _unwoven(graph, blocks, row_of) if last.transposed else _raster(graph, net, blocks)
    like = _like(graph, net, row_of)
    if len(net.outputs) == 1:
        graph.node("Reshape", [planes, like], net.outputs[0])
    else:
        names = [f"{name}.planes" for name in net.outputs]
        graph.nodes.append(
            helper.make_node(
                "Split", [planes], names, "outputs.split", axis=1, num_outputs=len(names)
            )
        )
        for name, part in zip(net.outputs, names, strict=True):
            graph.node("Reshape", [part, like], name)
    if len(net.thresholds):
        _indexes(graph, net, int(last.requantize.high.max()), like)


def output_values(net: IntegerNet) -> list[onnx.ValueInfoProto]:
    kind = UINT8 if net.outputs == (PICTURE,) else INT32
    return [
        feature_map(name, kind, net.output_channels, "out_h", "out_w") for name in output_names(net)
    ]


def output_names(net: IntegerNet) -> tuple[str, ...]:
    return (*net.outputs, "indexes") if len(net.thresholds) else net.outputs


def _raster(graph: GraphBuilder, net: IntegerNet, blocks: list[str]) -> str:
    """Rows in raster order, turned block by block while they are in the cache.

    The Reshape keeps ORT from merging the small transpositions into one of the whole, which takes twice as long.
    """
    turned = []
    shape = graph.constant("shape_planes", [1, net.output_channels * len(net.outputs), -1])
    for block in blocks:
        planes = graph.node("Transpose", [block], f"{block}.planes", perm=[1, 0])
        turned.append(graph.node("Reshape", [planes, shape], f"{block}.image"))
    return graph.node("Concat", turned, "outputs.planes", axis=2)


def _unwoven(graph: GraphBuilder, blocks: list[str], row_of: str) -> str:
    """Rows in any order."""
    rows = graph.node("Concat", blocks, "outputs.rows", axis=0)
    first = graph.node("Sub", [row_of, graph.i32(1)], "outputs.row_of")
    pixels = graph.node("Gather", [rows, first], "outputs.pixels", axis=0)
    planes = graph.node("Transpose", [pixels], "outputs.turned", perm=[2, 0, 1])
    return graph.node("Unsqueeze", [planes, graph.constant("first_axis", [0])], "outputs.planes")


def _like(graph: GraphBuilder, net: IntegerNet, row_of: str) -> str:
    """The shape [1, M, H, W] of one output, taken from a tensor of that shape: no arithmetic on shapes."""
    plane = graph.node("Cast", [row_of], "outputs.plane_u8", to=UINT8)
    pair = graph.constant("axes_image", [0, 1])
    image = graph.node("Unsqueeze", [plane, pair], "outputs.image")
    channels = graph.constant("outputs.channels", [1, net.output_channels, 1, 1])
    whole = graph.node("Expand", [image, channels], "outputs.like")
    return graph.node("Shape", [whole], "outputs.shape")


def _indexes(graph: GraphBuilder, net: IntegerNet, largest: int, like: str) -> None:
    """One entry per sigma. GatherElements copies elements where Gather would move slices of one element."""
    levels = np.arange(largest + 1, dtype=np.int64)
    table = (levels[:, None] > net.thresholds[None, :]).sum(axis=1).astype(np.uint8)
    flat = graph.node("Reshape", ["scales_hat", graph.constant("shape_flat", [-1])], "sigma.flat")
    known = graph.constant("index_table", table)
    found = graph.node("GatherElements", [known, flat], "indexes.flat", axis=0)
    graph.node("Cast", [graph.node("Reshape", [found, like], "indexes.u8")], "indexes", to=INT32)
