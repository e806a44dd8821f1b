"""Slice in both directions, with every bound on either side of every edge: as ONNX Runtime does it."""

from itertools import product

import numpy as np
import onnxruntime

from harness.onnx_shapes import slices
from tests.platforms.prepared import graph, node

FAR = 2**31
EDGES = (-FAR, -7, -6, -5, -1, 0, 1, 4, 5, 7, FAR)


def test_slices_are_those_of_onnx_runtime() -> None:
    x = np.arange(5, dtype=np.float32)
    names = ("starts", "ends", "axes", "steps")
    feeds = {"x": x, **{name: np.zeros(1, np.int64) for name in names}}
    model = graph([node("Slice", "x starts ends axes steps", "y")], feeds, {"y": np.float32})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for axis, start, end, step in product((0, -1), EDGES, EDGES, (-3, -2, -1, 1, 2, 3)):
        bounds = {
            name: np.array([value])
            for name, value in zip(names, (start, end, axis, step), strict=True)
        }
        (want,) = session.run(None, {"x": x, **bounds})
        got = x[slices(x.shape, [[start], [end], [axis], [step]])]
        assert got.tolist() == want.tolist(), (start, end, step)


def test_an_axis_of_unknown_length_keeps_its_bounds() -> None:
    assert slices((None, 4), [[-9, 1], [9, -1]]) == (slice(-9, 9, 1), slice(1, 3, 1))
