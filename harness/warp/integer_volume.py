"""The six levels of the warp's volume as int32 nodes. Pictures are [3, H, W], of any size."""

from harness.lowerings.base import GraphBuilder
from harness.lowerings.rows import END
from harness.warp.int32_nodes import cut, shifted, times, total
from harness.warp.specification import (
    BLUR_SHIFT,
    BLUR_TAPS,
    ENLARGE_SHIFT,
    HALVE_SHIFT,
    LEVELS,
)

ROWS, COLUMNS = 1, 2


def _blur(graph: GraphBuilder, x: str, name: str) -> str:
    for axis, way in ((ROWS, "down"), (COLUMNS, "along")):
        x = _filtered(graph, x, axis, f"{name}.{way}")
    return shifted(graph, x, BLUR_SHIFT, name)


def _filtered(graph: GraphBuilder, x: str, axis: int, name: str) -> str:
    """The taps along one axis: they are symmetric, so that two pixels share a product."""
    centre = len(BLUR_TAPS) // 2
    reach = max(d for d in range(centre + 1) if BLUR_TAPS[centre + d])
    first = cut(graph, x, axis, 0, 1, f"{name}.first")
    last = cut(graph, x, axis, -1, END, f"{name}.last")
    around = [first] * reach + [x] + [last] * reach
    padded = graph.node("Concat", around, f"{name}.padded", axis=axis)
    terms = [times(graph, x, BLUR_TAPS[centre], f"{name}.centre")]
    for d in range(1, reach + 1):
        before = cut(graph, padded, axis, reach - d, -reach - d, f"{name}.before_{d}")
        after = cut(graph, padded, axis, reach + d, d - reach or END, f"{name}.after_{d}")
        pair = graph.node("Add", [before, after], f"{name}.pair_{d}")
        terms.append(times(graph, pair, BLUR_TAPS[centre + d], f"{name}.tap_{d}"))
    return total(graph, terms, name)


def _halve(graph: GraphBuilder, x: str, name: str) -> str:
    for axis, way in ((ROWS, "rows"), (COLUMNS, "columns")):
        pair = [cut(graph, x, axis, n, END, f"{name}.{way}_{n}", step=2) for n in (0, 1)]
        x = total(graph, pair, f"{name}.{way}")
    return shifted(graph, x, HALVE_SHIFT, name)


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
    return shifted(graph, wide, ENLARGE_SHIFT, name)


def _between(graph: GraphBuilder, x: str, axis: int, name: str) -> tuple[str, str]:
    """Four times the pixels a quarter before and a quarter after each pixel of an axis."""
    first = cut(graph, x, axis, 0, 1, f"{name}.first")
    last = cut(graph, x, axis, -1, END, f"{name}.last")
    before = graph.node(
        "Concat",
        [first, cut(graph, x, axis, 0, -1, f"{name}.but_last")],
        f"{name}.before",
        axis=axis,
    )
    after = graph.node(
        "Concat",
        [cut(graph, x, axis, 1, END, f"{name}.but_first"), last],
        f"{name}.after",
        axis=axis,
    )
    own = times(graph, x, 3, f"{name}.own")
    return (
        graph.node("Add", [before, own], f"{name}.near"),
        graph.node("Add", [own, after], f"{name}.far"),
    )


def volume(graph: GraphBuilder, picture: str) -> str:
    """The six levels, one after the other: [3, 6 H W]."""
    x = _blur(graph, picture, "level_1")
    levels = [picture, x]
    for halvings in range(1, LEVELS - 1):
        name = f"level_{halvings + 1}"
        x = _blur(graph, _halve(graph, x, f"{name}.halved"), f"{name}.small")
        level = x
        for n in range(halvings):
            level = _enlarge(
                graph, level, name if n == halvings - 1 else f"{name}.enlarged_{n + 1}"
            )
        levels.append(level)
    shape = graph.constant("shape_flat_planes", [3, -1])
    flat = [graph.node("Reshape", [level, shape], f"{level}.flat") for level in levels]
    return graph.node("Concat", flat, "volume", axis=1)
