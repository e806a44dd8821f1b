"""Shifts and bitwise logic."""

from functools import reduce

import numpy as np

from harness.lint import grids as g
from harness.lint import links
from harness.lint.grids import Grid
from harness.lint.intervals import F64, Interval
from harness.lint.kinds import Kind
from harness.lint.rules import OVERFLOW, UNDEFINED
from harness.lint.site import Site, operator, span
from harness.lint.transfer.arithmetic import single
from harness.lint.transfer.settle import whole
from harness.lint.values import Dims, Value, broadcast, fit, top


@operator("BitShift")
def shift(site: Site) -> list[Value]:
    x, by = site.operand(0), site.operand(1)
    shape, bits = broadcast(x.shape, by.shape), 8 * x.kind.dtype.itemsize
    if not by.range.within(0, bits - 1):
        site.flag(
            UNDEFINED,
            f"shift by {span(by)} of {bits} bits",
            bound=by.range.highest,
            limit=float(bits - 1),
        )
        return [top(x.kind, shape)]
    factor = by.range.monotone(lambda n: np.ldexp(1.0, n.astype(np.int32)))
    if site.node.text("direction", "") == "LEFT":
        real = x.range * factor
        if not real.within(x.kind.low, x.kind.fits):
            return [top(x.kind, shape)]  # bits that leave at the top are gone, by definition
        grids = g.combine(x.grids, (Grid.multiples(by.range.lowest),), Grid.__mul__)
        return [fit(Value(kind=x.kind, shape=shape, range=real, grids=grids))]
    quotients = x.range.over(factor).monotone(np.floor)
    exact = Interval.of(
        np.floor(np.minimum(x.range.low / factor.low, x.range.low / factor.high)),
        np.floor(np.maximum(x.range.high / factor.low, x.range.high / factor.high)),
    )
    real = exact if x.range.within(-(2.0**53), 2.0**53) else quotients
    link = links.floored(links.link_of(x), single(Value(kind=x.kind, shape=None, range=factor)))
    return [fit(Value(kind=x.kind, shape=shape, range=real, grids=g.INTEGERS, link=link))]


@operator("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
def bitwise(site: Site) -> list[Value]:
    x = site.operand(0)
    if site.operator == "BitwiseNot":
        mirrored = (
            Interval.of(-1.0, -1.0) if x.kind.low < 0 else Interval.of(x.kind.high, x.kind.high)
        )
        return [whole(site, x.kind, x.shape, mirrored - x.range, g.INTEGERS, OVERFLOW)]
    y = site.operand(1)
    shape = broadcast(x.shape, y.shape)
    bounds = [v.range for v in (x, y) if v.range.lowest >= 0]
    if site.operator == "BitwiseAnd" and bounds:
        most = reduce(np.minimum, [bound.high for bound in bounds])
        return [fit(_natural(x.kind, shape, most))]
    if len(bounds) == 2:  # noqa: PLR2004
        largest = np.maximum(bounds[0].high, bounds[1].high)
        most = np.minimum(np.ldexp(1.0, np.frexp(largest)[1]) - 1, x.kind.high)
        return [fit(_natural(x.kind, shape, most))]
    return [top(x.kind, shape)]


def _natural(kind: Kind, shape: Dims | None, most: F64) -> Value:
    return Value(
        kind=kind, shape=shape, range=Interval.of(np.zeros_like(most), most), grids=g.INTEGERS
    )
