"""Bounds, grids and shapes against what a runtime computes: moved elements, products, convolutions."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.lint import grids as g
from harness.lint.analyse import Analysis, Options, Range, examine
from harness.lint.values import Value


def check(value: Value, seen: np.ndarray, where: str) -> None:
    """The tensor is one of those that the abstract value stands for."""
    numbers = seen.astype(np.float64)
    assert value.kind.name == seen.dtype.name, where
    if value.shape is not None:
        assert len(value.shape) == seen.ndim, f"{where}: {value.shape} for {seen.shape}"
        assert all(n in (None, m) for n, m in zip(value.shape, seen.shape, strict=True)), where
    if not seen.size:
        return
    low, high = (np.broadcast_to(a, seen.shape) for a in (value.range.low, value.range.high))
    assert ((low <= numbers) & (numbers <= high)).all(), f"{where}: {numbers} not in {low}..{high}"
    if value.grids:
        on = [g.two_adic(numbers - grid.residue) >= grid.step for grid in value.grids]
        assert np.logical_or.reduce(np.broadcast_arrays(*on)).all(), f"{where}: off the grid"
    known = value.number()
    if known is not None:
        assert known.tobytes() == seen.tobytes(), where


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX's own evaluator has bugs of its own here: GatherElements beyond 32 entries, empty Flatten, grouped ConvTranspose."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Chain:
    """Random moves, one after another; `now` is the tensor, whose real shape is kept beside it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shape = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(1, 4))))
        self.first = self.shape
        self.now = "x"

    def constant(self, values: object, dtype: object = np.int64) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> None:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        self.now = output

    def axis(self) -> int:
        return int(self.rng.integers(len(self.shape)))

    def channels(self) -> None:
        """Bounds and grids that differ by position along a random axis."""
        shape = [1] * len(self.shape)
        axis = self.axis()
        shape[axis] = self.shape[axis]
        shape = shape[axis:] if self.rng.random() < 0.5 else shape
        low = self.constant(self.rng.integers(-50, 20, shape), np.int32)
        high = self.constant(self.rng.integers(20, 60, shape), np.int32)
        self.add("Max", self.now, low)
        self.add("Min", self.now, high)
        if self.rng.random() < 0.5:
            self.add("Mul", self.now, self.constant(2 ** self.rng.integers(0, 4, shape), np.int32))

    def step(self) -> None:
        moves = ["transpose", "reshape", "slice", "concat", "gather", "unsqueeze", "squeeze", "split", "pad", "tile",
                 "expand", "channels", "flatten", "elements"]  # fmt: skip
        getattr(self, moves[int(self.rng.integers(len(moves)))])()

    def transpose(self) -> None:
        order = self.rng.permutation(len(self.shape)).tolist()
        self.add("Transpose", self.now, perm=order)
        self.shape = tuple(self.shape[i] for i in order)

    def reshape(self) -> None:
        size = int(np.prod(self.shape))
        if not size:
            return
        factors = [n for n in range(1, size + 1) if size % n == 0]
        first = factors[int(self.rng.integers(len(factors)))]
        target = [[size // first, first], [-1, first], [first, -1], [-1]][int(self.rng.integers(4))]
        if self.rng.random() < 0.3:
            self.add("Shape", self.now)
            whole = self.now
            self.now = self.nodes[-1].input[0]
            self.add("Reshape", self.now, whole)
            return
        self.add("Reshape", self.now, self.constant(target))
        self.shape = np.zeros(self.shape).reshape(target).shape

    def slice(self) -> None:
        axis, n = self.axis(), 0
        n = self.shape[axis]
        start, end = int(self.rng.integers(-n - 1, n + 1)), int(self.rng.integers(-n, n + 2))
        step = int(self.rng.choice([1, 1, 2, -1]))
        if self.rng.random() < 0.2:
            end = 2**63 - 1 if step > 0 else -(2**63)
        self.add("Slice", self.now, *(self.constant([v]) for v in (start, end, axis, step)))
        index = [slice(None)] * len(self.shape)
        index[axis] = slice(start, end, step)
        self.shape = np.zeros(self.shape)[tuple(index)].shape

    def concat(self) -> None:
        axis = self.axis()
        other = list(self.shape)
        other[axis] = int(self.rng.integers(1, 3))
        extra = self.constant(self.rng.integers(-9, 9, other), np.int32)
        pair = [self.now, extra] if self.rng.random() < 0.5 else [extra, self.now]
        self.add("Concat", *pair, axis=axis)
        other[axis] += self.shape[axis]
        self.shape = tuple(other)

    def gather(self) -> None:
        axis = self.axis()
        if not self.shape[axis]:
            return
        wanted = self.rng.integers(
            -self.shape[axis],
            self.shape[axis],
            tuple(self.rng.integers(1, 3, int(self.rng.integers(0, 3)))),
        )
        self.add("Gather", self.now, self.constant(wanted), axis=axis)
        self.shape = (*self.shape[:axis], *wanted.shape, *self.shape[axis + 1 :])
        if not self.shape:
            self.unsqueeze()

    def elements(self) -> None:
        axis = self.axis()
        if not np.prod(self.shape):
            return
        wanted = self.rng.integers(0, self.shape[axis], self.shape)
        self.add("GatherElements", self.now, self.constant(wanted), axis=axis)

    def unsqueeze(self) -> None:
        axis = int(self.rng.integers(len(self.shape) + 1))
        self.add("Unsqueeze", self.now, self.constant([axis]))
        self.shape = (*self.shape[:axis], 1, *self.shape[axis:])

    def squeeze(self) -> None:
        ones = [i for i, n in enumerate(self.shape) if n == 1]
        if ones and len(self.shape) > 1:
            self.add("Squeeze", self.now, self.constant([ones[0]]))
            self.shape = tuple(n for i, n in enumerate(self.shape) if i != ones[0])

    def split(self) -> None:
        axis = self.axis()
        n = self.shape[axis]
        if n < 2:
            return
        at = int(self.rng.integers(1, n))
        output = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(
                "Split", [self.now, self.constant([at, n - at])], [f"{output}a", output], axis=axis
            )
        )
        self.now = output
        self.shape = (*self.shape[:axis], n - at, *self.shape[axis + 1 :])

    def pad(self) -> None:
        widths = self.rng.integers(0, 2, 2 * len(self.shape))
        value = [self.constant(7, np.int32)] if self.rng.random() < 0.5 else []
        self.add("Pad", self.now, self.constant(widths), *value)
        half = len(self.shape)
        self.shape = tuple(int(n + widths[i] + widths[i + half]) for i, n in enumerate(self.shape))

    def tile(self) -> None:
        repeats = self.rng.integers(1, 3, len(self.shape))
        self.add("Tile", self.now, self.constant(repeats))
        self.shape = tuple(int(n * r) for n, r in zip(self.shape, repeats, strict=True))

    def expand(self) -> None:
        if not np.prod(self.shape):
            return
        target = [
            int(self.rng.integers(1, 3)),
            *(n if n != 1 else int(self.rng.integers(1, 4)) for n in self.shape),
        ]
        self.add("Expand", self.now, self.constant(target))
        self.shape = tuple(target)

    def flatten(self) -> None:
        axis = int(self.rng.integers(len(self.shape) + 1))
        self.add("Flatten", self.now, axis=axis)
        self.shape = (int(np.prod(self.shape[:axis])), int(np.prod(self.shape[axis:])))

    def analysis(self, *, dynamic: bool) -> tuple[onnx.ModelProto, Analysis]:
        names = [
            f"d{i}" if dynamic and self.rng.random() < 0.6 else n for i, n in enumerate(self.first)
        ]
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.INT32, names)],
            [helper.make_tensor_value_info(self.now, TensorProto.UNDEFINED, None)], self.initializers,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        options = Options(ranges={"x": Range(low=-100, high=100)})
        return model, examine(model.SerializeToString(), options=options)


@pytest.mark.parametrize("seeds", [range(k * 60, k * 60 + 60) for k in range(6)], ids=str)
def test_moved_elements_stay_within_bounds_and_shapes(seeds: range) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        chain = Chain(rng)
        chain.channels()
        for _ in range(int(rng.integers(1, 7))):
            chain.step()
        model, analysis = chain.analysis(dynamic=seed % 2 == 1)
        names = list(analysis.values)
        kinds = {"int32": TensorProto.INT32, "int64": TensorProto.INT64}
        outputs = [
            helper.make_tensor_value_info(n, kinds[analysis.values[n].kind.name], None)
            for n in names
        ]
        del model.graph.output[:]
        model.graph.output.extend(outputs)
        evaluator = session(model)
        for x in (
            np.full(chain.first, 100),
            np.full(chain.first, -100),
            rng.integers(-100, 101, chain.first),
        ):
            seen = evaluator.run(None, {"x": x.astype(np.int32)})
            for name, tensor in zip(names, seen, strict=True):
                where = f"seed {seed} {name}\n{onnx.printer.to_text(model.graph)}"
                check(analysis.values[name], np.asarray(tensor), where)


def conv_model(
    operator: str, kernel: np.ndarray, bias: np.ndarray | None, channels: int, **attributes: object
) -> onnx.ModelProto:
    names = ["x", "w", *(["b"] if bias is not None else [])]
    tensors = [numpy_helper.from_array(kernel, "w")]
    tensors += [numpy_helper.from_array(bias, "b")] if bias is not None else []
    kind = TensorProto.FLOAT if kernel.dtype == np.float32 else TensorProto.UINT8
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", kind, [1, channels, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)], tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("seed", range(24))
def test_bounds_of_convolutions_hold_and_are_reached(seed: int) -> None:
    rng = np.random.default_rng(seed)
    transposed = bool(seed % 2)
    group = int(rng.choice([1, 1, 2]))
    c_in, c_out = group * int(rng.integers(1, 3)), group * int(rng.integers(1, 3))
    k, stride, dilation = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    padding = int(rng.integers(0, k))
    shape = (c_in, c_out // group, k, k) if transposed else (c_out, c_in // group, k, k)
    kernel = rng.integers(-5, 6, shape).astype(np.float32)
    bias = rng.integers(-9, 9, c_out).astype(np.float32) if seed % 3 else None
    extra = (
        {"output_padding": [stride - 1] * 2} if transposed and stride > 1 and seed % 4 == 1 else {}
    )
    model = conv_model(
        "ConvTranspose" if transposed else "Conv", kernel, bias, c_in,
        group=group, strides=[stride] * 2, dilations=[dilation] * 2, pads=[padding] * 4, **extra,
    )  # fmt: skip
    low, high = int(rng.integers(-4, 1)), int(rng.integers(1, 6))
    options = Options(ranges={"x": Range(low=low, high=high, step=1)})
    analysis = examine(model.SerializeToString(), options=options)
    found = analysis.values["y"]
    assert not [f for f in analysis.report.findings if f.level.value == "inexact"]
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    run = session(model)
    # Each input at its worst for one output at a time is reached by ascent: the response is linear.
    size = (dilation * (k - 1) + 1) + 2 * stride
    probe = np.zeros((1, c_in, size, size), np.float32)
    base = run.run(None, {"x": probe})[0]
    rows = []
    for index in range(probe.size):
        x = probe.copy()
        x.flat[index] = 1
        rows.append((run.run(None, {"x": x})[0] - base).ravel())
    response = np.stack(rows)
    worst = (np.maximum(response, 0) * high + np.minimum(response, 0) * low).sum(0) + base.ravel()
    least = (np.maximum(response, 0) * low + np.minimum(response, 0) * high).sum(0) + base.ravel()
    spans = [a.reshape(base.shape) for a in (least, worst)]
    tops, bottoms = (np.broadcast_to(a, base.shape) for a in (found.range.high, found.range.low))
    assert (spans[1] <= tops).all()
    assert (spans[0] >= bottoms).all()
    reached = spans[1].max(axis=(0, 2, 3)), spans[0].min(axis=(0, 2, 3))
    if padding == 0 and not (transposed and low > 0):
        assert reached[0].tolist() == tops.max(axis=(0, 2, 3)).tolist()
        assert reached[1].tolist() == bottoms.min(axis=(0, 2, 3)).tolist()
