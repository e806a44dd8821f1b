"""Convolutions over rows of pixels: which rows lie under which taps, as small integer index graphs.

Activations are kept as rows [pixels, channels] in whatever order they were computed; `row_of`, an int32 [H, W] tensor,
says which row (counted from 1) holds a pixel. Row 0 is the padding. Shared by every lowering that multiplies rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import helper

from harness.errors import UserError
from harness.lowerings.base import GraphBuilder
from harness.specification import I64, IntegerLayer

END = 2**31 - 1
Tap = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One matrix product a block of rows: input offsets, and per output phase the kernel position at each of them.

    A direct convolution is one phase; a transposed one has stride^2, a plan each or all in one plan side by side.
    """

    offsets: tuple[Tap, ...]
    phases: tuple[tuple[Tap | None, ...], ...]

    @property
    def suffix(self) -> str:
        """Tells the plans of one layer apart, by their first kernel position."""
        first = self.phases[0][0]
        return f"_{first[0]}_{first[1]}" if len(self.phases) == 1 and first else ""

    def matrix(self, weight: I64) -> I64:
        """Weights [out, in, k, k] as int64 [offsets * in, phases * out]; where a phase has no tap they are 0."""
        nothing = np.zeros(weight.shape[1::-1], np.int64)
        return np.concatenate(
            [
                np.concatenate([nothing if t is None else weight[:, :, *t].T for t in phase])
                for phase in self.phases
            ],
            axis=1,
        )


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows computed together; `index` int32 [pixels, offsets] says which input rows lie under the taps.

    `index` is "" where every pixel only reads itself.
    """

    label: str
    plan: Plan
    index: str


def plans(layer: IntegerLayer, *, together: bool) -> list[Plan]:
    """Output pixel s*i + r takes input i + (r + p - u) / s wherever that is whole; s = 1 if not transposed."""
    k, p = layer.weight.shape[2], layer.padding
    if not layer.transposed:
        if layer.stride != 1 or 2 * p != k - 1:
            raise UserError(
                f"layer {layer.name}: only stride 1 with same padding is lowered, not stride {layer.stride}"
            )
        taps = [(u, v) for u in range(k) for v in range(k)]
        return [Plan(offsets=tuple((u - p, v - p) for u, v in taps), phases=(tuple(taps),))]
    s = layer.stride
    if layer.output_padding != s - k + 2 * p:
        raise UserError(
            f"layer {layer.name}: only transposed convolutions that enlarge by exactly {s} are lowered"
        )
    axis = [{(r + p - u) // s: u for u in range(k) if (r + p - u) % s == 0} for r in range(s)]
    phases = [
        {(du, dv): (u, v) for du, u in down.items() for dv, v in along.items()}
        for down in axis
        for along in axis
    ]
    if not together:
        return [Plan(offsets=tuple(phase), phases=(tuple(phase.values()),)) for phase in phases]
    offsets = sorted(set().union(*phases))
    every = tuple(tuple(phase.get(offset) for offset in offsets) for phase in phases)
    return [Plan(offsets=tuple(offsets), phases=every)]


def blocks(
    graph: GraphBuilder, layer: IntegerLayer, row_of: str, *, tiles: int, together: bool
) -> Iterator[Block]:
    """Every block of a layer, in the order of its rows: output phases, each cut into tiles."""
    name, chosen = layer.name, plans(layer, together=together)
    offsets = sorted({offset for plan in chosen for offset in plan.offsets})
    under = rows_under(graph, name, row_of, offsets)
    for number, plan in enumerate(chosen):
        label, taps = name, under
        if len(chosen) > 1:
            label = f"{name}.phase{number}"
            positions = np.array([offsets.index(o) for o in plan.offsets], np.int32)
            wanted = graph.constant(f"{label}.taps", positions)
            taps = graph.node("Gather", [under, wanted], f"{label}.rows_under", axis=0)
        index = graph.node("Transpose", [taps], f"{label}.index", perm=[1, 0])
        for tile, part in split(graph, label, index, tiles):
            yield Block(label=tile, plan=plan, index=part)


def split(graph: GraphBuilder, label: str, value: str, tiles: int) -> list[tuple[str, str]]:
    """Labels and names of `tiles` equal parts of the first axis, whose length they must divide."""
    if tiles == 1:
        return [(label, value)]
    labels = [f"{label}.tile{number}" for number in range(tiles)]
    names = [f"{tile}.index" for tile in labels]
    node = helper.make_node("Split", [value], names, f"{label}.tiles", axis=0, num_outputs=tiles)
    graph.nodes.append(node)
    return list(zip(labels, names, strict=True))


def raster(graph: GraphBuilder, name: str, plane: str) -> tuple[str, str]:
    """1, 2, .. as int32 in the shape of the int32 `plane` [H, W], and how many there are, int32 [1].

    Counted on the device, without arithmetic on shapes: runtimes would move that to the CPU.
    """
    nothing = graph.node("Mul", [plane, graph.i32(0)], f"{name}.zeros")
    ones = graph.node("Add", [nothing, graph.i32(1)], f"{name}.ones")
    flat = graph.node("Reshape", [ones, graph.constant("shape_flat", [-1])], f"{name}.ones_flat")
    numbers = graph.node("CumSum", [flat, graph.i32(0)], f"{name}.count_flat")
    shape = graph.node("Shape", [plane], f"{name}.size")
    corners = [graph.constant(f"{n}", [v]) for n, v in (("last", -1), ("end", END))]
    return (
        graph.node("Reshape", [numbers, shape], f"{name}.count"),
        graph.node("Slice", [numbers, *corners], f"{name}.total"),
    )


def rows_under(graph: GraphBuilder, name: str, row_of: str, offsets: list[Tap]) -> str:
    """int32 [taps, pixels]: for every input offset, which row lies there (row 0 is the padding)."""
    reach = max(abs(d) for offset in offsets for d in offset)
    padded = _surrounded(graph, name, row_of, reach)
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


def _surrounded(graph: GraphBuilder, name: str, row_of: str, reach: int) -> str:
    """A frame of zeros around an int32 plane: providers run Pad of integers elsewhere."""
    for axis, side in enumerate(("rows", "columns") if reach else ()):
        corners = [graph.constant(f"to_{n}", [n]) for n in (0, 1)]
        corners.append(graph.constant(f"axes_{axis}", [axis]))
        edge = graph.node("Slice", [row_of, *corners], f"{name}.edge_{side}")
        frame = [graph.node("Mul", [edge, graph.i32(0)], f"{name}.frame_{side}")] * reach
        row_of = graph.node("Concat", [*frame, row_of, *frame], f"{name}.framed_{side}", axis=axis)
    return row_of


def interleave(graph: GraphBuilder, layer: IntegerLayer, row_of: str, *, together: bool) -> str:
    """Map of the enlarged picture: pixel (s i + r, s j + c) is phase k = s r + c of input pixel n = i W + j.

    That is row 1 + k * pixels + n, or 1 + n s^2 + k where phases were computed together.
    """
    s, name = layer.stride, layer.name
    count, pixels = raster(graph, name, row_of)
    if together:
        spread = graph.node("Mul", [count, graph.i32(s * s)], f"{name}.spread")
    rows = []
    for r in range(s):
        planes = []
        for c in range(s):
            label, k = f"{name}.row_of_{r}_{c}", s * r + c
            if together:
                plane = graph.node("Add", [spread, graph.i32(k + 1 - s * s)], label)
            else:
                before = graph.node("Mul", [pixels, graph.i32(k)], f"{label}.before")
                plane = graph.node("Add", [count, before], label)
            axes = graph.constant("axis_after", [2])
            planes.append(graph.node("Unsqueeze", [plane, axes], f"{label}.column"))
        woven = graph.node("Concat", planes, f"{name}.columns_{r}", axis=2)
        flat = graph.constant("shape_rows", [0, -1])
        row = graph.node("Reshape", [woven, flat], f"{name}.row_{r}")
        axes = graph.constant("axis_between", [1])
        rows.append(graph.node("Unsqueeze", [row, axes], f"{name}.row_{r}.plane"))
    stacked = graph.node("Concat", rows, f"{name}.stacked", axis=1)
    turned = graph.node("Transpose", [stacked], f"{name}.turned", perm=[2, 0, 1])
    merged = graph.node("Reshape", [turned, flat], f"{name}.merged")
    return graph.node("Transpose", [merged], f"{name}.row_of", perm=[1, 0])
