"""Convolutions over rows of pixels: which rows lie under which taps, as small integer index graphs.

Activations are kept as rows [pixels, channels] in whatever order they were computed; `row_of`, an int32 [H, W] tensor,
says which row (counted from 1) holds a pixel. Row 0 is the padding. Shared by every lowering that multiplies rows.
"""

from dataclasses import dataclass

import numpy as np

from harness.errors import UserError
from harness.lowerings.base import INT32, GraphBuilder
from harness.specification import IntegerLayer

END = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The taps that reach one output phase of a (transposed) convolution: input offsets and kernel positions."""

    offsets: tuple[tuple[int, int], ...]
    taps: tuple[tuple[int, int], ...]


def phases(layer: IntegerLayer) -> list[Phase]:
    """Output pixel s*i + r takes input i + (r + p - u) / s wherever that is whole; s = 1 if not transposed."""
    k, p = layer.weight.shape[2], layer.padding
    if not layer.transposed:
        if layer.stride != 1 or 2 * p != k - 1:
            raise UserError(
                f"layer {layer.name}: only stride 1 with same padding is lowered, not stride {layer.stride}"
            )
        grid = [(u, v) for u in range(k) for v in range(k)]
        return [Phase(offsets=tuple((u - p, v - p) for u, v in grid), taps=tuple(grid))]
    s = layer.stride
    if layer.output_padding != s - k + 2 * p:
        raise UserError(
            f"layer {layer.name}: only transposed convolutions that enlarge by exactly {s} are lowered"
        )
    axis = {r: [(u, (r + p - u) // s) for u in range(k) if (r + p - u) % s == 0] for r in range(s)}
    return [
        Phase(
            offsets=tuple((du, dv) for _, du in axis[r] for _, dv in axis[c]),
            taps=tuple((u, v) for u, _ in axis[r] for v, _ in axis[c]),
        )
        for r in range(s)
        for c in range(s)
    ]


def pixel_numbers(graph: GraphBuilder, name: str, size: str) -> str:
    """1, 2, .. height * width as int32, from the int64 pair (height, width)."""
    one = graph.constant("one", np.asarray(1, np.int64))
    sides = [
        graph.node(
            "Gather",
            [size, graph.constant(f"axis_{axis}", np.asarray(axis, np.int64))],
            f"{name}.{side}",
        )
        for axis, side in enumerate(("height", "width"))
    ]
    end = graph.node("Add", [graph.node("Mul", sides, f"{name}.pixels"), one], f"{name}.end")
    return graph.node(
        "Cast",
        [graph.node("Range", [one, end, one], f"{name}.count64")],
        f"{name}.count",
        to=INT32,
    )


def rows_under(graph: GraphBuilder, name: str, row_of: str, offsets: list[tuple[int, int]]) -> str:
    """int32 [taps, pixels]: for every input offset, which row lies there (row 0 is the padding)."""
    reach = max(abs(d) for offset in offsets for d in offset)
    padded = graph.node(
        "Pad", [row_of, graph.constant(f"pads_{reach}", [reach] * 4)], f"{name}.row_of_padded"
    )
    plane = graph.node(
        "Unsqueeze", [padded, graph.constant("first_axis", [0])], f"{name}.row_of_plane"
    )
    windows = []
    for du, dv in offsets:
        starts = [reach + du, reach + dv]
        ends = [du - reach or END, dv - reach or END]
        corners = [
            graph.constant(f"starts_{starts[0]}_{starts[1]}", starts),
            graph.constant(f"ends_{ends[0]}_{ends[1]}", ends),
            graph.constant("spatial_axes", [1, 2]),
        ]
        windows.append(graph.node("Slice", [plane, *corners], f"{name}.tap_{du}_{dv}"))
    stacked = graph.node("Concat", windows, f"{name}.taps", axis=0)
    shape = graph.constant(f"shape_taps_{len(offsets)}", [len(offsets), -1])
    return graph.node("Reshape", [stacked, shape], f"{name}.rows_under")


def interleave(graph: GraphBuilder, layer: IntegerLayer, row_of: str) -> str:
    """Map of the enlarged picture: pixel (s i + r, s j + c) is row 1 + (s r + c) * pixels + (i * W + j)."""
    s, name = layer.stride, layer.name
    size = graph.node("Shape", [row_of], f"{name}.size")
    grown = graph.node("Mul", [size, graph.constant(f"enlarge_{s}", [s, s])], f"{name}.out_size")
    count = pixel_numbers(graph, f"{name}.out", grown)
    split = graph.node(
        "Concat", [graph.constant(f"phases_{s}", [s, s]), size], f"{name}.split", axis=0
    )
    blocks = graph.node("Reshape", [count, split], f"{name}.blocks")
    woven = graph.node("Transpose", [blocks], f"{name}.woven", perm=[2, 0, 3, 1])
    return graph.node("Reshape", [woven, grown], f"{name}.row_of")
