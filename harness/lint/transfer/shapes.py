"""Shapes as values: sizes, ranges, constants made to measure."""

import numpy as np

from harness.lint import grids as g
from harness.lint.intervals import Interval
from harness.lint.kinds import INT64, OTHER, kind_of
from harness.lint.rules import FLOAT_ROUNDING, UNDEFINED
from harness.lint.site import Site, operator, span
from harness.lint.transfer.settle import EXTENTS, representable, rounded
from harness.lint.values import MOST_BOUNDS, MOST_ELEMENTS, Dims, Value, constant, extents, fit, top


@operator("Constant", moves=True)
def constant_node(site: Site) -> list[Value]:
    if not site.node.attributes.keys() & {
        "value",
        "value_float",
        "value_floats",
        "value_int",
        "value_ints",
    }:
        return [top(OTHER, None)]  # strings and sparse tensors
    return [constant(np.asarray(site.node.constant_value()))]


@operator("Shape", moves=True)
def shape(site: Site) -> list[Value]:
    x = site.operand(0)
    start, end = site.node.integer("start", 0), site.node.attributes.get("end")
    if x.shape is None:
        return [
            Value(
                kind=INT64,
                shape=(None,),
                range=Interval.of(0.0, MOST_ELEMENTS),
                grids=g.INTEGERS,
                extent=True,
            )
        ]
    listed = x.shape[start : end if isinstance(end, int) else None]
    if None not in listed:
        return [constant(np.array(listed, np.int64))]
    return [extents(listed)]


@operator("Size", moves=True)
def size(site: Site) -> list[Value]:
    count = site.operand(0).size
    if count is not None and count < 2**63:
        return [constant(np.array(count, np.int64))]
    return [
        Value(
            kind=INT64,
            shape=(),
            range=Interval.of(0.0, MOST_ELEMENTS),
            grids=g.INTEGERS,
            extent=True,
        )
    ]


@operator("NonZero")
def non_zero(site: Site) -> list[Value]:
    rank = site.operand(0).rank
    positions = Interval.of(0.0, MOST_ELEMENTS)
    return [Value(kind=INT64, shape=(rank, None), range=positions, grids=g.INTEGERS, extent=True)]


@operator("Range", moves=True)
def range_(site: Site) -> list[Value]:
    """start, start + delta, ..: as many as fit before the limit, and never more than a tensor may hold."""
    start, limit, delta = (site.operand(i).collapsed() for i in range(3))
    kind = start.kind
    if delta.range.may_be(0):
        site.flag(UNDEFINED, f"the step lies in {span(delta)}: it may be 0")
        return [top(kind, (None,))]
    known = [v.number() for v in (start, limit, delta)]
    if kind.is_integer and all(v is not None for v in known):
        first, last, step = (int(v.item()) for v in known if v is not None)
        count = max(0, -(-(last - first) // step))
        if count <= MOST_BOUNDS:
            return [constant(np.arange(first, last, step, dtype=kind.dtype))]
    else:
        count = MOST_ELEMENTS
    longest = Interval.of(0.0, min(count, MOST_ELEMENTS) - 1)
    reach = start.range + longest * delta.range
    ends = start.range.join(limit.range)
    span_ = Interval(np.maximum(reach.low, ends.low), np.minimum(reach.high, ends.high))
    shape_: Dims = (None if count == MOST_ELEMENTS else count,)
    if kind.is_integer:
        # The limit itself is not reached.
        step_up, step_down = delta.range.lowest > 0, delta.range.highest < 0
        low = np.where(step_down, np.maximum(span_.low, limit.range.low + 1), span_.low)
        high = np.where(step_up, np.minimum(span_.high, limit.range.high - 1), span_.high)
        extent = limit.extent or start.extent
        if extent:
            site.assume(EXTENTS)
        kept = Interval(np.minimum(low, high), np.maximum(low, high))
        return [fit(Value(kind=kind, shape=shape_, range=kept, grids=g.INTEGERS, extent=extent))]
    unit = np.minimum(g.unit(start.grids), g.unit(delta.grids))
    grids = (g.Grid.multiples(unit),) if (unit > -g.EXACT).all() else ()
    if representable(kind, span_.magnitude, grids):
        return [fit(Value(kind=kind, shape=shape_, range=span_, grids=grids))]
    site.flag(FLOAT_ROUNDING, f"range of {kind.name} from {span(start)} by {span(delta)}")
    return [rounded(kind, shape_, span_, 2.0**-8)]


@operator("ConstantOfShape", moves=True)
def constant_of_shape(site: Site) -> list[Value]:
    vector = site.operand(0).integers()
    fill = site.node.array("value", np.zeros(1, np.float32)).reshape(())
    value = constant(fill)
    dims: Dims | None = None if vector is None else tuple(vector)
    if dims is None and (listed := site.operand(0).shape) and listed[0] is not None:
        dims = (None,) * listed[0]
    return [
        Value(
            kind=value.kind,
            shape=dims,
            range=value.range,
            grids=value.grids,
            minus_zero=value.minus_zero,
        )
    ]


@operator("EyeLike", moves=True)
def eye_like(site: Site) -> list[Value]:
    x = site.operand(0)
    kind = kind_of(site.node.integer("dtype", 0)) if "dtype" in site.node.attributes else x.kind
    return [Value(kind=kind, shape=x.shape, range=Interval.of(0.0, 1.0), grids=g.INTEGERS)]
