"""Sums over axes, running sums and pools."""

from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grid
from harness.lint.intervals import Interval
from harness.lint.kinds import INT64, Kind
from harness.lint.rules import FLOAT_REDUCTION, UNDEFINED
from harness.lint.site import Site, operator
from harness.lint.sums import Sum, repeated
from harness.lint.transfer.arithmetic import maybe_minus
from harness.lint.transfer.products import conclude
from harness.lint.transfer.settle import EXTENTS, representable, rounded
from harness.lint.values import MOST_ELEMENTS, Dims, Value, fit, top

ZERO = Interval.of(0.0, 0.0)


def _axes(site: Site, x: Value) -> tuple[int, ...] | None:
    """Axes that are reduced; None if not known."""
    if x.rank is None:
        return None
    if site.absent(1, "axes"):
        return () if site.node.integer("noop_with_empty_axes", 0) else tuple(range(x.rank))
    listed = site.integers(1, "axes")
    if listed == [] and not site.node.integer("noop_with_empty_axes", 0):
        return tuple(range(x.rank))
    return None if listed is None else tuple(sorted({axis % x.rank for axis in listed}))


def _reduced(site: Site, x: Value, axes: tuple[int, ...] | None) -> tuple[Value, Dims | None]:
    """With one pair of bounds along the axes, and the result's shape."""
    keep = site.node.integer("keepdims", 1)
    if axes is None or x.shape is None:
        return x.collapsed(), x.shape and (None,) * len(x.shape) if keep else None
    merged = x.collapsed(axes) if axes else x
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes)
    if not keep:
        merged = merged.moved(
            lambda a: a.reshape([n for i, n in enumerate(a.shape) if i not in axes]), shape
        )
    return replace(merged, shape=shape), shape


def _count(x: Value, axes: tuple[int, ...] | None) -> int | None:
    if axes is None or x.shape is None:
        return None
    lengths = [x.shape[axis] for axis in axes]
    return None if None in lengths else int(np.prod([n or 0 for n in lengths], dtype=object))


@operator("ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceMean")
def reduce_sum(site: Site) -> list[Value]:
    x = site.operand(0)
    axes = _axes(site, x)
    merged, shape = _reduced(site, x, axes)
    count, term, unit = _count(x, axes), merged.range, g.unit(merged.grids)
    if site.operator == "ReduceL1":
        term = Interval.of(0.0, term.magnitude)
    elif site.operator == "ReduceSumSquare":
        term, unit = term.squared(), unit * 2
    total = repeated(term, unit, count)
    if axes == () and site.operator == "ReduceSum":
        return [x]
    if site.operator == "ReduceMean":
        return [mean(site, x.kind, shape, total, count)]
    return [conclude(site, x.kind, shape, total, count)]


def mean(site: Site, kind: Kind, shape: Dims | None, total: Sum, count: int | None) -> Value:
    """A sum over `count`; exact where that is a power of two and every partial sum fits."""
    if not kind.is_float:
        site.flag(UNDEFINED, "ONNX does not say how the mean of integers is rounded")
        return top(kind, shape)
    if count is None or count < 1 or count & (count - 1):
        what = "an unknown number of" if count is None else str(count)
        site.flag(FLOAT_REDUCTION, f"{site.operator}: mean of {what} {kind.name} values")
        return rounded(kind, shape, total.total.join(ZERO), 2.0**-4)
    by = Interval.of(1.0 / count, 1.0 / count)
    shift = count.bit_length() - 1
    # The terms may be scaled first or last.
    fine: g.Grids = (
        (Grid.multiples(total.unit - shift),) if (total.unit > -g.EXACT // 2).all() else ()
    )
    if representable(kind, total.magnitude, fine):
        scaled = Sum(total=total.total * by, partial=total.partial, unit=total.unit - shift)
        return conclude(site, kind, shape, scaled, count)
    return conclude(
        site,
        kind,
        shape,
        Sum(total=total.total * by, partial=total.partial, unit=np.asarray(-g.EXACT)),
        count,
    )


@operator("ReduceMax", "ReduceMin")
def reduce_extreme(site: Site) -> list[Value]:
    x = site.operand(0)
    merged, shape = _reduced(site, x, _axes(site, x))
    unlike = x.kind.is_float and maybe_minus(x) and x.range.may_be(0)
    return [replace(fit(replace(merged, shape=shape)), open_zero=unlike, dequantized=None)]


@operator("ReduceProd", "CumProd")
def reduce_product(site: Site) -> list[Value]:
    x = site.operand(0)
    shape = x.shape if site.operator == "CumProd" else _reduced(site, x, _axes(site, x))[1]
    unknown = Sum(
        total=top(x.kind, None).range,
        partial=Interval.of(-np.inf, np.inf),
        unit=np.asarray(-g.EXACT),
    )
    return [conclude(site, x.kind, shape, unknown, None)]


@operator("CumSum")
def cumulative(site: Site) -> list[Value]:
    x = site.operand(0)
    axis = site.integers(1, "axis")
    known = x.shape is not None and axis is not None and len(axis) == 1
    count = x.shape[axis[0]] if known and x.shape and axis else None
    merged = x.collapsed()
    total = repeated(merged.range.join(ZERO), g.unit(merged.grids), count)
    if count is None and x.kind.is_integer and (x.extent or merged.range.is_point):
        # No feed changes it, only shapes do: a count, or a position.
        site.assume(EXTENTS)
        reach = total.total.clamp(-MOST_ELEMENTS, MOST_ELEMENTS).clamp(x.kind.low, x.kind.fits)
        return [Value(kind=x.kind, shape=x.shape, range=reach, grids=g.INTEGERS, extent=True)]
    return [conclude(site, x.kind, x.shape, total, count)]


@operator("MaxPool", "GlobalMaxPool")
def max_pool(site: Site) -> list[Value]:
    x = site.operand(0)
    if x.rank is None or x.rank < 3 or x.shape is None:  # noqa: PLR2004
        merged = replace(x.collapsed(), shape=None)
    else:
        space = tuple(range(2, x.rank))
        last = 1 if site.operator == "GlobalMaxPool" else None
        merged = replace(x.collapsed(space), shape=(*x.shape[:2], *(last,) * len(space)))
    unlike = x.kind.is_float and maybe_minus(x) and x.range.may_be(0)
    positions = Interval.of(0.0, MOST_ELEMENTS)
    indices = Value(kind=INT64, shape=merged.shape, range=positions, grids=g.INTEGERS, extent=True)
    return [replace(fit(merged), open_zero=unlike, dequantized=None), indices][: site.node.outputs]


@operator("AveragePool", "GlobalAveragePool", "LpPool", "GlobalLpPool")
def average_pool(site: Site) -> list[Value]:
    x = site.operand(0)
    shape: Dims | None = None
    if x.rank is not None and x.shape is not None:
        length = 1 if site.operator.startswith("Global") else None
        shape = (*x.shape[:2], *(length,) * (x.rank - 2))
    merged = x.collapsed()
    if "Lp" in site.operator:
        site.flag(FLOAT_REDUCTION, f"{site.operator} of {x.kind.name} values")
        return [rounded(x.kind, shape, Interval.of(0.0, np.inf), 0.0)]
    kernel = site.node.integers("kernel_shape", ())
    padded = any(site.node.integers("pads", ())) or site.node.text("auto_pad", "NOTSET") != "NOTSET"
    ragged = site.node.integer("ceil_mode", 0)
    count: int | None = None
    if site.operator == "GlobalAveragePool" and x.shape is not None:
        count = _count(x, tuple(range(2, len(x.shape))))
    elif kernel and not padded and not ragged:
        count = int(np.prod(kernel))
    return [mean(site, x.kind, shape, repeated(merged.range, g.unit(merged.grids), count), count)]


@operator("Einsum")
def einsum(site: Site) -> list[Value]:
    """A general sum of products: bounded by the number of terms, where the shapes tell it."""
    values = site.given()
    left, _, right = site.node.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    lengths: dict[str, int | None] = {}
    for letters, value in zip(terms, values, strict=False):
        if value.shape is not None and len(value.shape) == len(letters):
            lengths |= {k: n for k, n in zip(letters, value.shape, strict=True) if n is not None}
    summed = {k for k in left if k.isalpha() and k not in right}
    explicit = bool(right) and "." not in left and all(k in lengths for k in summed)
    count = int(np.prod([lengths[k] or 0 for k in summed], dtype=object)) if explicit else None
    term, unit = Interval.of(1.0, 1.0), np.asarray(0, np.int64)
    for value in values:
        flat = value.collapsed()
        term, unit = term * flat.range, unit + g.unit(flat.grids)
    shape = tuple(lengths.get(k) for k in right) if explicit else None
    return [conclude(site, values[0].kind, shape, repeated(term, unit, count), count)]
