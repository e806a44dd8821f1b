"""The warp's specification as an ONNX graph: int32 throughout, exact on every runtime that has these operators.

Sums, products, minima and divisions of numbers that are not negative; slices and concatenations; one gather a corner.
Pictures are [3, H, W] in here, planes [H, W]. Positions and sizes are counted from the feeds, so that no arithmetic on
shapes is left to a CPU beside the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from harness.lowerings.base import DOMAIN, INT32, GraphBuilder, feature_map
from harness.lowerings.functions import FUNCTIONS
from harness.lowerings.rows import raster
from harness.warp.int32_nodes import clamped, cut, rounding_shift, shifted, times, total
from harness.warp.integer_volume import volume
from harness.warp.specification import (
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
    graph = GraphBuilder(name="warp", functions=[rounding_shift(), FUNCTIONS["Requantize"]()])
    picture = _planes(graph, "reference", 0, PICTURE_MAX)
    motion = _planes(graph, "motion", MOTION_LOW, MOTION_HIGH)
    flow_x, flow_y, scale = (
        _plane(graph, motion, n, name) for n, name in enumerate(("flow_x", "flow_y", "scale"))
    )
    flow_bits = specification.flow_fraction_bits
    predicted = _sample(
        graph,
        volume(graph, picture),
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


def _planes(graph: GraphBuilder, name: str, low: int, high: int) -> str:
    """A clamped [3, H, W] of an input [1, 3, H, W]."""
    inside = clamped(graph, name, low, high, f"{name}.clamped")
    return graph.node("Squeeze", [inside, graph.constant("axis_0", [0])], f"{name}.planes")


def _plane(graph: GraphBuilder, planes: str, number: int, name: str) -> str:
    return graph.node("Gather", [planes, graph.i32(number)], name, axis=0)


def _requantized(
    graph: GraphBuilder, x: str, rule: tuple[int, int, int, int], high: str, name: str
) -> str:
    constants = [graph.i32(value) for value in rule]
    return graph.node("Requantize", [x, *constants, high], name, domain=DOMAIN)


def _positions(graph: GraphBuilder, name: str, flow: str, axis: int, fraction_bits: int) -> Axis:
    """Positions along an axis of the flow's plane, whose length is counted."""
    line = cut(graph, flow, 1 - axis, 0, 1, f"{name}.line")
    count, length = raster(graph, name, line)
    length = graph.node("Min", [length, graph.i32(SIDE_MAX)], f"{name}.length")
    count = graph.node("Min", [count, graph.i32(SIDE_MAX)], f"{name}.counted")
    units = graph.node("Div", [length, graph.i32(SIDE_MULTIPLE)], f"{name}.units")
    moved = graph.node("Mul", [flow, units], f"{name}.moved")
    # flow * (W / 2) * 2^5 / 2^F is flow * (W / 16) / 2^(F - 8).
    shift = fraction_bits - 3 - POSITION_FRACTION_BITS
    pixel = 1 << (POSITION_FRACTION_BITS + shift)
    start = times(graph, count, pixel, f"{name}.start")
    position = graph.node("Add", [start, moved], f"{name}.unrounded")
    last = graph.node("Sub", [length, graph.i32(1)], f"{name}.last")
    high = times(graph, last, 1 << POSITION_FRACTION_BITS, f"{name}.high")
    # Counting begins at 1.
    rule = (-pixel, 1, 1 << shift, 0)
    rounded = _requantized(graph, position, rule, high, f"{name}.position")
    return Axis(position=rounded, length=length, last=last)


def _level(graph: GraphBuilder, scale: str, fraction_bits: int) -> Axis:
    # scale * 3 * 2^6 / 2^S is scale * 3 / 2^(S - 6).
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
    start = graph.node("Mul", [near, whole], f"{name}.near_start")
    rest = graph.node("Sub", [position, start], f"{name}.rest")
    # What remains of a division is less than the divisor: a checker of bounds takes that from the clamp.
    far_weight = clamped(graph, rest, 0, (1 << fraction_bits) - 1, f"{name}.far_weight")
    near_weight = graph.node("Sub", [whole, far_weight], f"{name}.near_weight")
    return [near, far], [near_weight, far_weight]


def _sample(graph: GraphBuilder, stack: str, x: Axis, y: Axis, z: Axis) -> str:
    """The pixels [3, H, W] of the volume [3, 6 H W] at positions x, y and z."""
    area = graph.node("Mul", [y.length, x.length], "area")
    xs, x_weights = _neighbours(graph, "x", x.position, POSITION_FRACTION_BITS, x.last)
    ys, y_weights = _neighbours(graph, "y", y.position, POSITION_FRACTION_BITS, y.last)
    zs, z_weights = _neighbours(graph, "z", z.position, LEVEL_FRACTION_BITS, z.last)
    # Pixel (z, y, x) lies at z H W + y W + x.
    levels = [graph.node("Mul", [near, area], f"{near}.offset") for near in zs]
    rows = [graph.node("Mul", [near, x.length], f"{near}.offset") for near in ys]
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
        mixed = total(graph, terms, f"side_{dx}.sum")
        # Changes nothing, as the weights sum to 2^11: it lets a checker of bounds know.
        mixed = graph.node("Min", [mixed, graph.i32(PICTURE_MAX << SIDE_SHIFT)], f"side_{dx}")
        sides.append(graph.node("Mul", [mixed, x_weights[dx]], f"side_{dx}.weighted"))
    return shifted(graph, total(graph, sides, "predicted.sum"), PREDICTION_SHIFT, "predicted")
