"""Convolutions, direct and transposed, in floats and in integers."""

from dataclasses import dataclass
from itertools import product as every

import numpy as np

from harness.errors import UserError
from harness.lint.intervals import Interval
from harness.lint.kinds import INT32
from harness.lint.site import Site, operator
from harness.lint.sums import Sum, repeated, weighted
from harness.lint.transfer.products import Operand, conclude, remember, rescaled
from harness.lint.values import Array, Dims, Value

# Output channel first: what is summed over is all the rest.
DIRECT_AXES = ((1,), (1, 2, 3, 4, 5))


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Kernel [M, C / group, *k] (ONNX's transposed one is [C, M / group, *k]); `channels` counts outputs."""

    group: int
    channels: int | None
    taps: int | None
    shape: Dims | None
    padded: bool


def _geometry(site: Site, x: Value, w: Value, *, transposed: bool) -> Geometry:
    node, group = site.node, site.node.integer("group", 1)
    if group < 1 or (w.shape is not None and len(w.shape) < 2):  # noqa: PLR2004
        raise UserError(f"{node.label}: not a convolution: group {group}, kernel of rank {w.rank}")
    kernel = None if w.shape is None else w.shape[2:]
    channels = None if w.shape is None else w.shape[1 if transposed else 0]
    if transposed and channels is not None:
        channels *= group
    known = None if kernel is None or None in kernel else [n or 0 for n in kernel]
    pads = node.integers("pads", ())
    padded = any(pads) or node.text("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}
    if x.rank is None:
        shape: Dims | None = None
    else:
        space = (None,) * (x.rank - 2) if x.shape is None else _space(site, x, known, transposed)
        shape = (x.shape[0] if x.shape else None, channels, *space)
    return Geometry(
        group=group,
        channels=channels,
        taps=None if known is None else int(np.prod(known)),
        shape=shape,
        padded=padded,
    )


def _space(site: Site, x: Value, kernel: list[int] | None, transposed: bool) -> Dims:
    """Spatial lengths of the result, where they are plain to see."""
    node, space = site.node, (x.shape or ())[2:]
    unknown = (None,) * len(space)
    if kernel is None or len(kernel) != len(space) or node.text("auto_pad", "NOTSET") != "NOTSET":
        return unknown
    rank = len(space)
    strides, dilations = (
        node.integers("strides", (1,) * rank),
        node.integers("dilations", (1,) * rank),
    )
    pads, extra = (
        node.integers("pads", (0,) * 2 * rank),
        node.integers("output_padding", (0,) * rank),
    )
    if node.attributes.get("output_shape") or len(pads) != 2 * rank or 0 in strides:
        return unknown
    lengths: list[int | None] = []
    for i, n in enumerate(space):
        reach, pad = dilations[i] * (kernel[i] - 1) + 1, pads[i] + pads[i + rank]
        if n is None:
            lengths.append(None)
        elif transposed:
            lengths.append(strides[i] * (n - 1) + reach - pad + extra[i])
        else:
            lengths.append((n + pad - reach) // strides[i] + 1)
    return tuple(lengths)


def _inputs(x: Operand, geometry: Geometry, *, optional: bool) -> Interval:
    """Bounds [C] or [] of the inputs; terms that padding or stride leave out count as 0."""
    real = x.real
    if real.low.size == 1 or x.value.rank is None or real.low.ndim != x.value.rank:
        flat = Interval.of(real.lowest, real.highest)
    else:
        others = tuple(i for i in range(real.low.ndim) if i != 1)
        flat = Interval(real.low.min(axis=others), real.high.max(axis=others))
        flat = flat if flat.low.size > 1 else Interval.of(flat.lowest, flat.highest)
    return flat.join(Interval.of(0.0, 0.0)) if optional or geometry.padded else flat


def _sum(site: Site, x: Operand, w: Operand, geometry: Geometry, *, transposed: bool) -> Sum:
    kernel, unit = w.value.number(), np.asarray(x.unit.min())
    inputs = _inputs(x, geometry, optional=transposed)
    uniform = w.zero is None or (w.offset.is_point and (w.offset.low.size == 1 or not transposed))
    if kernel is None or kernel.size == 0 or not uniform:
        return _unknown_kernel(x, w, inputs, geometry, transposed=transposed)
    results: list[Sum] = []
    kernels = np.split(kernel, geometry.group) if kernel.shape[0] % geometry.group == 0 else None
    if kernels is None:
        raise UserError(f"{site.node.label}: {kernel.shape[0]} kernels in {geometry.group} groups")
    for number, part in enumerate(kernels):
        matrix = part if not transposed else part.swapaxes(0, 1)  # [M, C, *k]
        outputs, depth = matrix.shape[:2]
        own = _share(inputs, number, depth)
        offset = _offset(w, number, outputs)
        phases = [part_of.reshape(outputs, -1) for part_of in _phases(site, matrix, transposed)]
        taps = [phase.shape[1] // depth for phase in phases]
        sums = [
            weighted(_spread(own, n), unit, phase.T, offset)
            for phase, n in zip(phases, taps, strict=True)
        ]
        whole = sums[0]
        for other in sums[1:]:
            whole = whole.joined(other)
        results.append(whole)
    return _concatenated(results, [k.shape[1 if transposed else 0] for k in kernels])


def _phases(site: Site, matrix: Array, transposed: bool) -> list[Array]:
    """The taps that meet in one output: all of a direct convolution, those of one residue of a transposed one."""
    rank = matrix.ndim - 2
    strides = site.node.integers("strides", (1,) * rank)
    dilations = site.node.integers("dilations", (1,) * rank)
    if not transposed or len(strides) != rank or len(dilations) != rank or set(strides) == {1}:
        return [matrix]
    chosen = []
    for index in every(
        *(_residues(matrix.shape[2 + i], dilations[i], strides[i]) for i in range(rank))
    ):
        phase = matrix
        for axis, taps in enumerate(index, 2):
            phase = phase.take(taps, axis)
        chosen.append(phase)
    return chosen or [matrix]


def _residues(length: int, dilation: int, stride: int) -> list[list[int]]:
    """Taps of one axis that meet: those that lie alike modulo the stride."""
    groups: dict[int, list[int]] = {}
    for tap in range(length):
        groups.setdefault(tap * dilation % max(stride, 1), []).append(tap)
    return list(groups.values())


def _share(inputs: Interval, number: int, depth: int) -> Interval:
    if inputs.low.size == 1:
        return inputs
    part = slice(number * depth, (number + 1) * depth)
    return Interval(inputs.low[part], inputs.high[part])


def _spread(inputs: Interval, taps: int) -> Interval:
    """Bounds of a channel, repeated for each of its taps."""
    if inputs.low.size == 1:
        return Interval.of(inputs.lowest, inputs.highest)
    return Interval(np.repeat(inputs.low, taps), np.repeat(inputs.high, taps))


def _offset(w: Operand, number: int, outputs: int) -> Interval | None:
    if w.zero is None:
        return None
    if w.offset.low.size == 1:
        return Interval.of(w.offset.lowest, w.offset.highest)
    part = slice(number * outputs, (number + 1) * outputs)
    return Interval(w.offset.low[part], w.offset.high[part])


def _concatenated(sums: list[Sum], widths: list[int]) -> Sum:
    units = [np.broadcast_to(s.unit, (n,)) for s, n in zip(sums, widths, strict=True)]
    return Sum(
        total=Interval(
            *(np.concatenate([getattr(s.total, end) for s in sums]) for end in ("low", "high"))
        ),
        partial=Interval(
            *(np.concatenate([getattr(s.partial, end) for s in sums]) for end in ("low", "high"))
        ),
        unit=np.concatenate(units),
    )


def _unknown_kernel(
    x: Operand, w: Operand, inputs: Interval, geometry: Geometry, *, transposed: bool
) -> Sum:
    term = Interval.of(inputs.lowest, inputs.highest)
    raw = Interval.of(w.value.range.lowest, w.value.range.highest)
    weights = raw - Interval.of(w.offset.lowest, w.offset.highest)
    weights = weights.join(Interval.of(0.0, 0.0))
    shape = w.value.shape
    depth = None if shape is None else shape[0 if transposed else 1]
    count = None if depth is None or geometry.taps is None else depth * geometry.taps
    return repeated(term * weights, np.asarray((x.unit + w.unit).min()), count)


def _convolve(
    site: Site, x: Operand, w: Operand, bias: Value | None, *, transposed: bool
) -> tuple[Sum, Dims | None, int | None]:
    geometry = _geometry(site, x.value, w.value, transposed=transposed)
    total = _sum(site, x, w, geometry, transposed=transposed)
    if bias is not None:
        total = total.plus(bias) if bias.rank == 1 else total.hull().plus(bias.collapsed())
    kernel = w.value.shape
    depth = None if kernel is None or geometry.taps is None else kernel[0 if transposed else 1]
    terms = None if depth is None else depth * (geometry.taps or 0) + (bias is not None)
    width = total.total.low.size
    if geometry.shape is None or width == 1 or width != geometry.channels:
        return total.hull(), geometry.shape, terms
    return total.reshaped((width, *(1,) * (len(geometry.shape) - 2))), geometry.shape, terms


@operator("Conv", "ConvTranspose")
def conv(site: Site) -> list[Value]:
    x, w = site.operand(0), site.operand(1)
    transposed = site.operator == "ConvTranspose"
    total, shape, terms = _convolve(
        site,
        Operand(value=x, zero=None),
        Operand(value=w, zero=None),
        site.optional(2),
        transposed=transposed,
    )
    result = conclude(site, x.kind, shape, total, terms)
    axes = ((1,), (0, 2, 3, 4, 5)) if transposed else DIRECT_AXES
    remember(site, x, w, axes, result, convolution=True)
    return [result]


@operator("ConvInteger")
def conv_integer(site: Site) -> list[Value]:
    x, w = site.operand(0), site.operand(1)
    left, right = Operand(value=x, zero=site.optional(2)), Operand(value=w, zero=site.optional(3))
    total, shape, terms = _convolve(site, left, right, None, transposed=False)
    result = conclude(site, INT32, shape, total, terms)
    remember(site, x, w, DIRECT_AXES, result, convolution=True)
    return [result]


@operator("QLinearConv")
def qlinear_conv(site: Site) -> list[Value]:
    x, w = site.operand(0), site.operand(3)
    left, right = Operand(value=x, zero=site.optional(2)), Operand(value=w, zero=site.optional(5))
    total, shape, terms = _convolve(site, left, right, site.optional(8), transposed=False)
    accumulator = conclude(site, INT32, shape, total, terms)
    remember(site, x, w, DIRECT_AXES, accumulator, convolution=True)
    return [rescaled(site, accumulator, scales=(1, 4, 6), zero=7)]
