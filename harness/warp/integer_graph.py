"""The warp's specification as an ONNX graph: int32 throughout, exact on every runtime that has these operators.

Sums, products, minima and divisions of numbers that are not negative; slices and concatenations; one gather a corner.
Pictures are [3, H, W] in here, planes [H, W]. Positions and sizes are counted from the feeds, so that no arithmetic on
shapes is left to a CPU beside the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import onnx
from onnx import helper

from harness.lowerings.base import DOMAIN, INT32, OPSET, GraphBuilder, feature_map
from harness.lowerings.functions import FUNCTIONS
from harness.lowerings.rows import END, raster
from harness.warp.specification import (
    BLUR_SHIFT,
    BLUR_TAPS,
    ENLARGE_SHIFT,
    HALVE_SHIFT,
    LEVEL_FRACTION_BITS,
    LEVEL_MAX,
    LEVEL_OF_NO_SCALE,
    LEVELS,
    MOTION_HIGH,
    MOTION_LOW,
    PICTURE_MAX,
    POSITION_FRACTION_BITS,
    PREDICTION_SHIFT,
    SIDE_MAX,
    SIDE_MULTIPLE,
    WarpSpecification,
)

# Axes of a picture.
ROWS, COLUMNS = 1, 2
# Weights of the two levels and the two rows together.
SIDE_SHIFT = LEVEL_FRACTION_BITS + POSITION_FRACTION_BITS


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Positions int32 [H, W] along an axis of the volume, its last index, and its length where that has to be counted."""

    position: str
    last: str
    length: str = ""


def build(specification: WarpSpecification, labels: Mapping[str, str]) -> bytes:
    """The ONNX file."""
    graph = GraphBuilder(name="warp", functions=[_rounding_shift(), FUNCTIONS["Requantize"]()])
    picture = _clamped(graph, "reference", 0, PICTURE_MAX)
    motion = _clamped(graph, "motion", MOTION_LOW, MOTION_HIGH)
    flow_x, flow_y, scale = (
        _plane(graph, motion, n, name) for n, name in enumerate(("flow_x", "flow_y", "scale"))
    )
    flow_bits = specification.flow_fraction_bits
    predicted = _sample(
        graph,
        _volume(graph, picture),
        _positions(graph, "x", flow_x, 1, flow_bits),
        _positions(graph, "y", flow_y, 0, flow_bits),
        _level(graph, scale, specification.scale_fraction_bits),
    )
    graph.node("Unsqueeze", [predicted, graph.constant("axis_0", [0])], "prediction")
    return graph.model(
        inputs=[feature_map(name, INT32, 3, "h", "w") for name in ("reference", "motion")],
        outputs=[feature_map("prediction", INT32, 3, "h", "w")],
        metadata=labels,
    )


def _clamped(graph: GraphBuilder, name: str, low: int, high: int) -> str:
    """A [3, H, W] of an input [1, 3, H, W]."""
    inside = graph.node("Max", [name, graph.i32(low)], f"{name}.low")
    inside = graph.node("Min", [inside, graph.i32(high)], f"{name}.clamped")
    return graph.node("Squeeze", [inside, graph.constant("axis_0", [0])], f"{name}.planes")


def _plane(graph: GraphBuilder, planes: str, number: int, name: str) -> str:
    return graph.node("Gather", [planes, graph.i32(number)], name, axis=0)


def _slice(
    graph: GraphBuilder, x: str, axis: int, start: int, end: int, name: str, step: int = 1
) -> str:
    bounds = [graph.constant(f"at_{n}", [n]) for n in (start, end)]
    bounds.append(graph.constant(f"axis_{axis}", [axis]))
    if step != 1:
        bounds.append(graph.constant(f"step_{step}", [step]))
    return graph.node("Slice", [x, *bounds], name)


def _sum(graph: GraphBuilder, values: list[str], name: str) -> str:
    """Added from the left; the last sum is called `name`."""
    total = values[0]
    for n, value in enumerate(values[1:], 2):
        total = graph.node("Add", [total, value], name if n == len(values) else f"{name}.{n}")
    return total


def _times(graph: GraphBuilder, x: str, factor: int, name: str) -> str:
    return x if factor == 1 else graph.node("Mul", [x, graph.i32(factor)], name)


def _shifted(graph: GraphBuilder, x: str, shift: int, name: str) -> str:
    return graph.node("RoundingShift", [x, graph.i32(1 << shift)], name, domain=DOMAIN)


def _requantized(
    graph: GraphBuilder, x: str, rule: tuple[int, int, int, int], high: str, name: str
) -> str:
    constants = [graph.i32(value) for value in rule]
    return graph.node("Requantize", [x, *constants, high], name, domain=DOMAIN)


def _blur(graph: GraphBuilder, x: str, name: str) -> str:
    for axis, way in ((ROWS, "down"), (COLUMNS, "along")):
        x = _filtered(graph, x, axis, f"{name}.{way}")
    return _shifted(graph, x, BLUR_SHIFT, name)


def _filtered(graph: GraphBuilder, x: str, axis: int, name: str) -> str:
    """The taps along one axis: they are symmetric, so that two pixels share a product."""
    centre = len(BLUR_TAPS) // 2
    reach = max(d for d in range(centre + 1) if BLUR_TAPS[centre + d])
    first = _slice(graph, x, axis, 0, 1, f"{name}.first")
    last = _slice(graph, x, axis, -1, END, f"{name}.last")
    around = [first] * reach + [x] + [last] * reach
    padded = graph.node("Concat", around, f"{name}.padded", axis=axis)
    terms = [_times(graph, x, BLUR_TAPS[centre], f"{name}.centre")]
    for d in range(1, reach + 1):
        before = _slice(graph, padded, axis, reach - d, -reach - d, f"{name}.before_{d}")
        after = _slice(graph, padded, axis, reach + d, d - reach or END, f"{name}.after_{d}")
        pair = graph.node("Add", [before, after], f"{name}.pair_{d}")
        terms.append(_times(graph, pair, BLUR_TAPS[centre + d], f"{name}.tap_{d}"))
    return _sum(graph, terms, name)


def _halve(graph: GraphBuilder, x: str, name: str) -> str:
    for axis, way in ((ROWS, "rows"), (COLUMNS, "columns")):
        pair = [_slice(graph, x, axis, n, END, f"{name}.{way}_{n}", step=2) for n in (0, 1)]
        x = _sum(graph, pair, f"{name}.{way}")
    return _shifted(graph, x, HALVE_SHIFT, name)


def _enlarge(graph: GraphBuilder, x: str, name: str) -> str:
    near, far = _between(graph, x, ROWS, f"{name}.rows")
    # Rows of pixels are woven as they are, without naming the width.
    flat = graph.constant("shape_each_row", [-1, 1, 0])
    woven = [graph.node("Reshape", [v, flat], f"{v}.each") for v in (near, far)]
    both = graph.node("Concat", woven, f"{name}.rows.woven", axis=1)
    tall = graph.node("Reshape", [both, graph.constant("shape_rows", [3, -1, 0])], f"{name}.rows")
    near, far = _between(graph, tall, COLUMNS, f"{name}.columns")
    axis = graph.constant("axis_3", [3])
    woven = [graph.node("Unsqueeze", [v, axis], f"{v}.each") for v in (near, far)]
    both = graph.node("Concat", woven, f"{name}.columns.woven", axis=3)
    wide = graph.node(
        "Reshape", [both, graph.constant("shape_columns", [0, 0, -1])], f"{name}.columns"
    )
    return _shifted(graph, wide, ENLARGE_SHIFT, name)


def _between(graph: GraphBuilder, x: str, axis: int, name: str) -> tuple[str, str]:
    """Four times the pixels a quarter before and a quarter after each pixel of an axis."""
    first = _slice(graph, x, axis, 0, 1, f"{name}.first")
    last = _slice(graph, x, axis, -1, END, f"{name}.last")
    before = graph.node(
        "Concat",
        [first, _slice(graph, x, axis, 0, -1, f"{name}.but_last")],
        f"{name}.before",
        axis=axis,
    )
    after = graph.node(
        "Concat",
        [_slice(graph, x, axis, 1, END, f"{name}.but_first"), last],
        f"{name}.after",
        axis=axis,
    )
    own = _times(graph, x, 3, f"{name}.own")
    return (
        graph.node("Add", [before, own], f"{name}.near"),
        graph.node("Add", [own, after], f"{name}.far"),
    )


def _volume(graph: GraphBuilder, picture: str) -> str:
    """The six levels, one after the other: [3, 6 H W]."""
    x = _blur(graph, picture, "level_1")
    levels = [picture, x]
    for times in range(1, LEVELS - 1):
        name = f"level_{times + 1}"
        x = _blur(graph, _halve(graph, x, f"{name}.halved"), f"{name}.small")
        level = x
        for n in range(times):
            level = _enlarge(graph, level, name if n == times - 1 else f"{name}.enlarged_{n + 1}")
        levels.append(level)
    shape = graph.constant("shape_flat_planes", [3, -1])
    flat = [graph.node("Reshape", [level, shape], f"{level}.flat") for level in levels]
    return graph.node("Concat", flat, "volume", axis=1)


def _positions(graph: GraphBuilder, name: str, flow: str, axis: int, fraction_bits: int) -> Axis:
    """Positions along an axis of the flow's plane, whose length is counted."""
    line = _slice(graph, flow, 1 - axis, 0, 1, f"{name}.line")
    count, length = raster(graph, name, line)
    length = graph.node("Min", [length, graph.i32(SIDE_MAX)], f"{name}.length")
    count = graph.node("Min", [count, graph.i32(SIDE_MAX)], f"{name}.counted")
    units = graph.node("Div", [length, graph.i32(SIDE_MULTIPLE)], f"{name}.units")
    moved = graph.node("Mul", [flow, units], f"{name}.moved")
    # flow * (W / 2) * 2^6 / 2^F is flow * (W / 16) / 2^(F - 9).
    shift = fraction_bits - 9
    pixel = 1 << (POSITION_FRACTION_BITS + shift)
    start = _times(graph, count, pixel, f"{name}.start")
    position = graph.node("Add", [start, moved], f"{name}.unrounded")
    last = graph.node("Sub", [length, graph.i32(1)], f"{name}.last")
    high = _times(graph, last, 1 << POSITION_FRACTION_BITS, f"{name}.high")
    # Counting begins at 1.
    rule = (-pixel, 1, 1 << shift, 0)
    rounded = _requantized(graph, position, rule, high, f"{name}.position")
    return Axis(position=rounded, length=length, last=last)


def _level(graph: GraphBuilder, scale: str, fraction_bits: int) -> Axis:
    # scale * 3 * 2^4 / 2^S is scale * 3 / 2^(S - 4).
    rule = (0, LEVELS // 2, 1 << (fraction_bits - LEVEL_FRACTION_BITS), -LEVEL_OF_NO_SCALE)
    high = graph.i32(LEVEL_MAX - LEVEL_OF_NO_SCALE)
    moved = _requantized(graph, scale, rule, high, "z.moved")
    position = graph.node("Add", [moved, graph.i32(LEVEL_OF_NO_SCALE)], "z.position")
    return Axis(position=position, last=graph.i32(LEVELS - 1))


def _neighbours(
    graph: GraphBuilder, name: str, position: str, fraction_bits: int, last: str
) -> tuple[list[str], list[str]]:
    """The two indices, at most `last`, that positions lie between, and their weights; all [H, W]."""
    whole = graph.i32(1 << fraction_bits)
    near = graph.node("Div", [position, whole], f"{name}.near")
    after = graph.node("Add", [near, graph.i32(1)], f"{name}.after")
    far = graph.node("Min", [after, last], f"{name}.far")
    far_weight = graph.node("Mod", [position, whole], f"{name}.far_weight")
    near_weight = graph.node("Sub", [whole, far_weight], f"{name}.near_weight")
    return [near, far], [near_weight, far_weight]


def _sample(graph: GraphBuilder, stack: str, x: Axis, y: Axis, z: Axis) -> str:
    """The pixels [3, H, W] of the volume [3, 6 H W] at positions x, y and z."""
    area = graph.node("Mul", [y.length, x.length], "area")
    xs, x_weights = _neighbours(graph, "x", x.position, POSITION_FRACTION_BITS, x.last)
    ys, y_weights = _neighbours(graph, "y", y.position, POSITION_FRACTION_BITS, y.last)
    zs, z_weights = _neighbours(graph, "z", z.position, LEVEL_FRACTION_BITS, z.last)
    # Pixel (z, y, x) lies at z H W + y W + x.
    levels = [graph.node("Mul", [near, area], f"{near}.start") for near in zs]
    rows = [graph.node("Mul", [near, x.length], f"{near}.start") for near in ys]
    starts, weights = {}, {}
    for dz, dy in product((0, 1), repeat=2):
        starts[dz, dy] = graph.node("Add", [levels[dz], rows[dy]], f"start_{dz}{dy}")
        weights[dz, dy] = graph.node("Mul", [z_weights[dz], y_weights[dy]], f"weight_{dz}{dy}")
    sides = []
    for dx in (0, 1):
        terms = []
        for (dz, dy), start in starts.items():
            corner = f"{dz}{dy}{dx}"
            place = graph.node("Add", [start, xs[dx]], f"place_{corner}")
            pixel = graph.node("Gather", [stack, place], f"pixel_{corner}", axis=1)
            terms.append(graph.node("Mul", [pixel, weights[dz, dy]], f"term_{corner}"))
        mixed = _sum(graph, terms, f"side_{dx}.sum")
        # Changes nothing, as the weights sum to 2^10: it lets a checker of bounds know.
        mixed = graph.node("Min", [mixed, graph.i32(PICTURE_MAX << SIDE_SHIFT)], f"side_{dx}")
        sides.append(graph.node("Mul", [mixed, x_weights[dx]], f"side_{dx}.weighted"))
    return _shifted(graph, _sum(graph, sides, "predicted.sum"), PREDICTION_SHIFT, "predicted")


def _rounding_shift() -> onnx.FunctionProto:
    """floor(value / divisor + 1/2) of a value that is not negative and an even divisor."""
    two = helper.make_tensor("two", INT32, [], [2])
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Div", ["divisor", "two"], ["half"]),
        helper.make_node("Add", ["value", "half"], ["raised"]),
        helper.make_node("Div", ["raised", "divisor"], ["result"]),
    ]
    opset = helper.make_opsetid("", OPSET)
    return helper.make_function(
        DOMAIN, "RoundingShift", ["value", "divisor"], ["result"], nodes, [opset]
    )
