"""The warp as CompressAI computes it, in float32 operators. A control: its bits depend on who runs it.

Every channel is blurred by the same kernel, so channels are images of one channel in here, [3, 1, H, W], and no
convolution has groups. Pixels are counted, as in the integer graph, so that no arithmetic on shapes is left to a CPU
beside the device.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from harness.lowerings.base import FLOAT32, INT32, GraphBuilder, feature_map
from harness.lowerings.rows import raster
from harness.warp.int32_nodes import cut
from harness.warp.specification import LEVELS

# Sampling a volume came with this version.
OPSET = 20
# CompressAI's taps (sigma 1.5): data, as an exponential is not the same everywhere.
HALF_GAUSSIAN = (0.26601171, 0.21300553, 0.10936068, 0.036000773, 0.007598756, 0.0010283804)
REACH = len(HALF_GAUSSIAN) - 1


def kernel() -> NDArray[np.float32]:
    """CompressAI's Gaussian, float32 [1, 1, 11, 11]."""
    line = np.array(HALF_GAUSSIAN[:0:-1] + HALF_GAUSSIAN, np.float32)
    return np.outer(line, line)[None, None]


def build(labels: Mapping[str, str]) -> bytes:
    """The ONNX file: `reference` float32 [1, 3, H, W] (0..1) and `motion` float32 [1, 3, H, W] to `prediction`."""
    graph = GraphBuilder(name="warp", opset=OPSET)
    stack = _volume(graph, "reference")
    grid = _grid(graph, "motion")
    sampled = graph.node(
        "GridSample", [stack, grid], "sampled", mode="linear", padding_mode="border"
    )
    graph.node("Squeeze", [sampled, graph.constant("axis_2", [2])], "prediction")
    return graph.model(
        inputs=[feature_map(name, FLOAT32, 3, "h", "w") for name in ("reference", "motion")],
        outputs=[feature_map("prediction", FLOAT32, 3, "h", "w")],
        metadata=labels,
    )


def _volume(graph: GraphBuilder, picture: str) -> str:
    """The six levels [1, 3, 6, H, W]."""
    images = graph.node("Transpose", [picture], "level_0", perm=[1, 0, 2, 3])
    x = _blur(graph, images, "level_1")
    levels = [images, x]
    for times in range(1, LEVELS - 1):
        name = f"level_{times + 1}"
        halved = graph.node(
            "AveragePool", [x], f"{name}.halved", kernel_shape=[2, 2], strides=[2, 2]
        )
        x = _blur(graph, halved, f"{name}.small")
        level = x
        for n in range(1, times + 1):
            label = name if n == times else f"{name}.enlarged_{n}"
            level = _enlarge(graph, level, label)
        levels.append(level)
    stack = graph.node("Concat", levels, "levels", axis=1)
    return graph.node("Unsqueeze", [stack, graph.constant("axis_0", [0])], "volume")


def _blur(graph: GraphBuilder, x: str, name: str) -> str:
    ends = graph.constant("blur_ends", [0, 0, REACH, REACH, 0, 0, REACH, REACH])
    padded = graph.node("Pad", [x, ends], f"{name}.padded", mode="edge")
    weight = graph.constant("gaussian", kernel())
    return graph.node("Conv", [padded, weight], name, kernel_shape=[2 * REACH + 1] * 2)


def _enlarge(graph: GraphBuilder, x: str, name: str) -> str:
    scales = graph.constant("scales", np.array([1, 1, 2, 2], np.float32))
    return graph.node("Resize", [x, "", scales], name, mode="linear")


def _grid(graph: GraphBuilder, motion: str) -> str:
    """Where each pixel is sampled, in [-1, 1] of the volume: [1, 1, H, W, 3] of x, y and level."""
    names = ["flow_x", "flow_y", "scale"]
    graph.nodes.append(
        helper.make_node("Split", [motion], names, "split", axis=1, num_outputs=len(names))
    )
    # int32 of any values in the shape of a plane: no cast of a float that may be out of range, or no number.
    nowhere = graph.node("Less", ["flow_x", "flow_x"], "nowhere")
    plane = graph.node("Cast", [nowhere], "plane", to=INT32)
    x = graph.node("Add", [_centres(graph, plane, 3, "columns"), "flow_x"], "x")
    y = graph.node("Add", [_centres(graph, plane, 2, "rows"), "flow_y"], "y")
    planes = graph.node("Concat", [x, y, "scale"], "positions", axis=1)
    last = graph.node("Transpose", [planes], "positions_last", perm=[0, 2, 3, 1])
    return graph.node("Unsqueeze", [last, graph.constant("axis_1", [1])], "grid")


def _centres(graph: GraphBuilder, plane: str, axis: int, name: str) -> str:
    """(2 i - 1) / n - 1 for i = 1 .. n, along one of the last two axes of a `plane` [1, 1, H, W], of length n."""
    line = cut(graph, plane, 5 - axis, 0, 1, f"{name}.line")
    count, length = raster(graph, name, line)
    numbers = graph.node("Cast", [count], f"{name}.numbers", to=FLOAT32)
    whole = graph.node("Cast", [length], f"{name}.length", to=FLOAT32)
    one, two = (graph.constant(f"f32_{n}", np.asarray(n, np.float32)) for n in (1, 2))
    doubled = graph.node("Mul", [numbers, two], f"{name}.doubled")
    odd = graph.node("Sub", [doubled, one], f"{name}.odd")
    share = graph.node("Div", [odd, whole], f"{name}.share")
    return graph.node("Sub", [share, one], name)
