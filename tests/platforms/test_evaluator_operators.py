"""Operators in place of the ONNX evaluator's own: the same bits, wherever the evaluator gives any."""

import hashlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from harness.platforms import evaluator_operators
from harness.platforms.base import PLATFORMS
from harness.platforms.evaluator_operators import replacements

OPSETS = [helper.make_opsetid("", 19)]


def rng(name):
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    )


def both(operator, feeds, **attributes):
    """What the evaluator's own operator gives, and what ours does; ours must be the one that ran."""
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), None)
        for n, a in feeds.items()
    ]
    out = helper.make_tensor_value_info("out", 0, None)
    node = helper.make_node(operator, list(feeds), ["out"], **attributes)
    model = helper.make_model(helper.make_graph([node], "g", inputs, [out]), opset_imports=OPSETS)
    own, ours = ReferenceEvaluator(model), ReferenceEvaluator(model, new_ops=replacements())
    assert type(ours.rt_nodes_[0]) is not type(own.rt_nodes_[0])
    return own.run(None, feeds)[0], ours.run(None, feeds)[0]


def assert_same(own, ours):
    assert (own.dtype, own.shape) == (ours.dtype, ours.shape)
    assert own.tobytes() == ours.tobytes()
    assert own.size


@pytest.mark.parametrize("right", [np.uint8, np.int8])
@pytest.mark.parametrize("left", [np.uint8, np.int8])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (96, 257, 33)])
def test_matmul_integer_of_random_and_extreme_operands(left, right, shape):
    rows, inner, columns = shape
    draw = rng(f"{left}{right}{shape}")
    a = draw.integers(np.iinfo(left).min, np.iinfo(left).max, (rows, inner), left, endpoint=True)
    b = draw.integers(
        np.iinfo(right).min, np.iinfo(right).max, (inner, columns), right, endpoint=True
    )
    a[0], b[:, 0] = np.iinfo(left).max, np.iinfo(right).min
    a[-1], b[:, -1] = np.iinfo(left).min, np.iinfo(right).max
    zeros = {"a_zero": np.array(np.iinfo(left).max), "b_zero": np.array(np.iinfo(right).min)}
    zeros = {"a_zero": zeros["a_zero"].astype(left), "b_zero": zeros["b_zero"].astype(right)}
    assert_same(*both("MatMulInteger", {"a": a, "b": b}))
    own, ours = both("MatMulInteger", {"a": a, "b": b, **zeros})
    assert_same(own, ours)
    exact = (a.astype(object) - int(zeros["a_zero"])) @ (b.astype(object) - int(zeros["b_zero"]))
    assert ours.tolist() == exact.tolist()


def test_matmul_integer_wraps_as_int32_does():
    inner = 33_100  # 33,100 * 255 * 255 is just over 2^31
    a, b = np.full((2, inner), 255, np.uint8), np.full((inner, 2), 255, np.uint8)
    own, ours = both("MatMulInteger", {"a": a, "b": b})
    assert_same(own, ours)
    assert inner * 255 * 255 >= 2**31
    assert ours.tolist() == [[inner * 255 * 255 - 2**32] * 2] * 2


def test_matmul_integer_takes_a_zero_point_a_column():
    draw = rng("columns")
    a = draw.integers(0, 256, (4, 6)).astype(np.uint8)
    b = draw.integers(-128, 128, (6, 5)).astype(np.int8)
    zeros = {"a_zero": np.array(3, np.uint8), "b_zero": np.array([-128, 127, 0, 1, -1], np.int8)}
    assert_same(*both("MatMulInteger", {"a": a, "b": b, **zeros}))


def test_matmul_integer_of_stacks_is_the_evaluators_own():
    draw = rng("stacks")
    a = draw.integers(0, 256, (2, 3, 4)).astype(np.uint8)
    b = draw.integers(0, 256, (2, 4, 5)).astype(np.uint8)
    assert_same(*both("MatMulInteger", {"a": a, "b": b}))


GEOMETRIES = {
    "h_s": {"kernel_shape": [5, 5], "strides": [2, 2], "pads": [2, 2, 2, 2], "output_padding": [1, 1]},
    "plain": {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0, 0, 0, 0]},
    "uneven": {"kernel_shape": [3, 2], "strides": [3, 2], "pads": [0, 1, 2, 0], "output_padding": [2, 0]},
    "dilated": {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [2, 3]},
    "gaps": {"kernel_shape": [1, 1], "strides": [2, 3], "pads": [0, 0, 0, 0]},
    "cropped": {"kernel_shape": [5, 5], "strides": [2, 2], "pads": [4, 4, 4, 4]},
    "none": {},
    "same": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "sized": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0], "output_shape": [9, 11]},
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_conv_transpose_gives_the_same_bits(name, images, bias):
    attributes = GEOMETRIES[name]
    draw = rng(f"{name}{images}")
    kernel = attributes.get("kernel_shape", [3, 3])
    # Six orders of magnitude: another order of additions would show.
    x = (
        draw.standard_normal((images, 4, 4, 5)) * 10.0 ** draw.integers(-3, 4, (images, 4, 4, 5))
    ).astype(np.float32)
    w = draw.standard_normal((4, 6, *kernel)).astype(np.float32)
    x[0, 0, 0], x[0, 1, 1] = 0.0, -0.0
    feeds = {"x": x, "w": w}
    if bias:
        feeds["bias"] = draw.standard_normal(6).astype(np.float32)
    own, ours = both("ConvTranspose", feeds, **attributes)
    assert_same(own, ours)


def test_groups_are_left_to_the_evaluator_which_refuses_them():
    draw = rng("groups")
    x = draw.standard_normal((1, 4, 4, 5)).astype(np.float32)
    w = draw.standard_normal((4, 3, 3, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="reshape"):
        both("ConvTranspose", {"x": x, "w": w}, group=2)


def test_another_order_of_taps_would_show(monkeypatch):
    def backwards(*ranges):
        return reversed(list(itertools.product(*ranges)))

    draw = rng("order")
    feeds = {"x": draw.standard_normal((1, 4, 4, 5)), "w": draw.standard_normal((4, 6, 5, 5))}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    assert_same(*both("ConvTranspose", feeds, **GEOMETRIES["h_s"]))
    monkeypatch.setattr(evaluator_operators, "itertools", SimpleNamespace(product=backwards))
    own, ours = both("ConvTranspose", feeds, **GEOMETRIES["h_s"])
    assert own.tobytes() != ours.tobytes()
    assert np.abs(own - ours).max() < 1e-4  # the same sums, rounded otherwise


def test_the_environment_names_what_is_replaced():
    environment = PLATFORMS["onnx-reference"].open().environment()
    assert environment["replaced_operators"] == "GatherElements MatMulInteger ConvTranspose"
    assert environment["integer_kernel"] == "numpy int32 einsum"
