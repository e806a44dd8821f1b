"""Shape rules of ONNX operators, as plain integers: what every table of kernels has in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.errors import HarnessError, Unsupported
from harness.graph_node import Node

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class ConvGeometry:
    """A 2-d (transposed) convolution, one group, dilation 1; pads: top, left, bottom, right."""

    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    output_padding: tuple[int, int]


def conv_geometry(node: Node[V]) -> ConvGeometry:
    """Read Conv or ConvTranspose attributes; raises Unsupported for what no codec here needs."""
    if node.integer("group", 1) != 1 or set(node.integers("dilations", (1, 1))) != {1}:
        raise Unsupported(f"{node.label}: groups and dilations are not implemented")
    if node.text("auto_pad", "NOTSET") != "NOTSET" or node.integers("output_shape", ()):
        raise Unsupported(f"{node.label}: auto_pad and output_shape are not implemented")
    strides = node.integers("strides", (1, 1))
    pads = node.integers("pads", (0, 0, 0, 0))
    extra = node.integers("output_padding", (0, 0))
    match strides, pads, extra:
        case (down, right), (top, left, bottom, trailing), (bottom_extra, right_extra):
            return ConvGeometry(
                strides=(down, right),
                pads=(top, left, bottom, trailing),
                output_padding=(bottom_extra, right_extra),
            )
    raise Unsupported(f"{node.label}: only 2-d convolutions are implemented")


def reshape_target(
    shape: Sequence[int], requested: Sequence[int], allow_zero: int
) -> tuple[int, ...]:
    """The shape that Reshape asks for, its zeros copied from the input; -1 is left to be inferred.

    >>> reshape_target((2, 3, 4), (0, -1), 0)
    (2, -1)
    """
    if allow_zero:
        return tuple(requested)
    return tuple(shape[i] if n == 0 else n for i, n in enumerate(requested))


def slices(
    shape: Sequence[int | None], bounds: Sequence[Sequence[int] | None]
) -> tuple[slice, ...]:
    """ONNX Slice's starts, ends, axes, steps as Python slices; those of an axis of unknown length are left as they are.

    ONNX clamps the start of a backward slice to the first element, where Python would leave nothing.

    >>> slices((4, 3), [[0], [2**31 - 1], [-1]])
    (slice(None, None, None), slice(0, 3, 1))
    >>> slices((2,), [[-3], [-(2**63)], [0], [-1]])
    (slice(0, None, -1),)
    """
    starts, ends, axes, steps = [*bounds, None, None][:4]
    if starts is None or ends is None:
        raise HarnessError("Slice without starts and ends")
    where = range(len(starts)) if axes is None else axes
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, where, steps or [1] * len(starts), strict=True):
        length, part = shape[axis], slice(start, end, step)
        result[axis] = part if length is None else _clamped(part, length)
    return tuple(result)


def _clamped(part: slice, length: int) -> slice:
    if part.step > 0 or not length:
        return slice(*part.indices(length))
    start, end = (at + length if at < 0 else at for at in (part.start, part.stop))
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return slice(start, None if end < 0 else end, part.step)


def split_sizes(length: int, outputs: int) -> list[int]:
    """Equal shares of `length`; the last one is smaller if they do not come out even.

    >>> split_sizes(7, 3)
    [3, 3, 1]
    """
    share = -(-length // outputs)
    sizes = [share] * (outputs - 1)
    return [*sizes, length - sum(sizes)]


def pad_widths(rank: int, pads: Sequence[int], axes: Sequence[int]) -> list[tuple[int, int]]:
    """Pad's begins and ends as one pair an axis.

    >>> pad_widths(2, [1, 2], [0])
    [(1, 2), (0, 0)]
    """
    if len(pads) != 2 * len(axes):
        raise HarnessError(f"Pad of {len(axes)} axes takes twice as many pads, got {len(pads)}")
    widths = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        widths[axis] = (pads[position], pads[position + len(axes)])
    return widths


def unsqueezed(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape with ones inserted; axes count in the result.

    >>> unsqueezed((2, 3), [0, -1])
    (1, 2, 3, 1)
    """
    rank = len(shape) + len(axes)
    ones = {axis % rank for axis in axes}
    rest = iter(shape)
    return tuple(1 if axis in ones else next(rest) for axis in range(rank))


def squeezed(shape: Sequence[int], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The shape without the ones at `axes`, or without any.

    >>> squeezed((1, 2, 1), [-1])
    (1, 2)
    """
    rank = len(shape)
    gone = {i for i, n in enumerate(shape) if n == 1} if axes is None else {a % rank for a in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise HarnessError(f"Squeeze of axes {sorted(gone)} of a shape {list(shape)}")
    return tuple(n for axis, n in enumerate(shape) if axis not in gone)


def per_axis(size: Sequence[int], rank: int, axis: int) -> tuple[int, ...]:
    """The shape that spreads a scale or zero point over `axis`; a scalar stays as it is.

    >>> per_axis((5,), 4, 1)
    (1, 5, 1, 1)
    """
    if not size or tuple(size) == (1,):
        return ()
    if len(size) != 1:
        raise Unsupported("blocked quantization is not implemented")
    shape = [1] * rank
    shape[axis] = size[0]
    return tuple(shape)
