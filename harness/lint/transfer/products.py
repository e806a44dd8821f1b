"""Matrix products, in floats and in integers: bounds of every sum from the real weights."""

from dataclasses import dataclass, replace

import numpy as np

from harness.lint import grids as g
from harness.lint.grids import Grid
from harness.lint.intervals import I64, Interval
from harness.lint.kinds import FLOAT32, INT32, OTHER, Kind
from harness.lint.rules import ACCUMULATOR, FLOAT_REDUCTION, FLOAT_RESCALE, Rule
from harness.lint.site import Product, Site, number, operator, span
from harness.lint.sums import Sum, repeated, weighted
from harness.lint.transfer.settle import carried, representable, rounded, rounding_evidence, whole
from harness.lint.values import Array, Dims, Value, broadcast, fit, top

_MOST_BATCHES = 64


def conclude(site: Site, kind: Kind, shape: Dims | None, total: Sum, terms: int | None) -> Value:
    """The value of a sum in `kind`: exact, or flagged."""
    if kind is OTHER:
        return top(kind, shape)
    grids: g.Grids = (Grid.multiples(total.unit),) if (total.unit > -g.EXACT // 2).all() else ()
    if not kind.is_float:
        whole(site, kind, shape, total.partial, grids, ACCUMULATOR)
        fits = total.partial.within(kind.low, kind.fits)
        span_ = total.total if fits else Interval.of(kind.low, kind.high)
        return fit(Value(kind=kind, shape=shape, range=span_, grids=grids if fits else g.INTEGERS))
    # A product may be -0, and whether a sum of such is -0 depends on what it is started with.
    signs = any(v.range.lowest < 0 or v.minus_zero or v.open_zero for v in site.given())
    zero = total.total.may_be(0) and signs
    if representable(kind, total.magnitude, grids):
        carried(site, kind, total.magnitude, grids, site.operator)
        return fit(
            Value(
                kind=kind,
                shape=shape,
                range=total.total,
                grids=grids,
                minus_zero=zero,
                open_zero=zero,
            )
        )
    rule = _inexact(kind, grids)
    count = "" if terms is None else f" of {terms:,} terms"
    evidence = rounding_evidence(kind, total.magnitude, grids, f"{site.operator}{count}")
    worst = float(total.magnitude.max(initial=0.0))
    limit = float(np.ldexp(1.0, int(np.clip(total.unit.min() + kind.digits, -1000, 1000))))
    site.flag(rule, evidence, **({"bound": worst, "limit": limit} if grids else {}))
    # The usual bound of a float sum: an error of n units in the last place of the sum of magnitudes.
    slack = total.magnitude * (((terms or 0) + 2) * 2.0 ** (1 - kind.digits))
    unsure = Interval.of(total.total.low - slack, total.total.high + slack)
    if terms is None:
        unsure = Interval.of(-np.inf, np.inf)
    return rounded(kind, shape, unsure, 2.0 ** (1 - kind.digits))


def _inexact(kind: Kind, grids: g.Grids) -> Rule:
    """Integers that outgrow their carrier are one thing, arbitrary floats another."""
    return ACCUMULATOR if kind.is_float and grids and g.all_integers(grids) else FLOAT_REDUCTION


@dataclass(frozen=True, kw_only=True)
class Operand:
    """One factor with its zero point; `value` is the raw tensor."""

    value: Value
    zero: Value | None

    @property
    def real(self) -> Interval:
        return self.value.range if self.zero is None else self.value.range - self.offset

    @property
    def offset(self) -> Interval:
        if self.zero is None:
            return Interval.of(0.0, 0.0)
        return self.zero.range

    @property
    def unit(self) -> I64:
        return np.asarray(0) if self.zero is not None else g.unit(self.value.grids)


def matrix_product(left: Operand, right: Operand) -> tuple[Sum, Dims | None, int | None]:
    """Bounds of left @ right: arrays that broadcast to its shape."""
    a, b = left.value, right.value
    shape = _product_shape(a.shape, b.shape)
    depth = _depth(a, b)
    known = b.number()
    if a.rank is None or b.rank is None or min(a.rank, b.rank) == 0:
        return _coarse(left, right, depth), shape, depth
    if known is not None and known.ndim >= 2 and known.size and _uniform(right, known.ndim - 1):  # noqa: PLR2004
        inner = _hull_but(a, -1, left)
        columns = _batches(inner, left, known, right)
        return (columns if a.rank > 1 else columns.hull()), shape, depth
    known = a.number()
    if known is not None and known.ndim >= 2 and known.size and _uniform(left, 0):  # noqa: PLR2004
        inner = _hull_but(b, -2 if b.rank > 1 else -1, right)
        rows = _batches(inner, right, known.swapaxes(-1, -2), left)
        return (rows.reshaped((known.shape[-2], 1)) if b.rank > 1 else rows.hull()), shape, depth
    return _coarse(left, right, depth), shape, depth


def _uniform(operand: Operand, columns: int) -> bool:
    """Whether the zero point is a known number, or one a column."""
    zero = operand.zero
    if zero is None:
        return True
    points = zero.range
    return points.is_point and (points.low.size == 1 or (columns == 1 and points.low.ndim == 1))


def _coarse(left: Operand, right: Operand, depth: int | None) -> Sum:
    a, b = (_flat(operand.real) for operand in (left, right))
    return repeated(a * b, np.asarray((left.unit + right.unit).min()), depth)


def _flat(interval: Interval) -> Interval:
    return Interval.of(interval.lowest, interval.highest)


def _hull_but(value: Value, axis: int, operand: Operand) -> Interval:
    """Bounds [K] or [] along one axis, the others merged; zero points of rows are merged too."""
    real = operand.real
    if real.low.size == 1 or real.low.ndim != value.rank:
        return _flat(real)
    others = tuple(i for i in range(real.low.ndim) if i != axis % real.low.ndim)
    return Interval(real.low.min(axis=others), real.high.max(axis=others))


def _batches(inner: Interval, left: Operand, known: Array, right: Operand) -> Sum:
    """Columns' sums, the batches of a stack of matrices merged."""
    stack = known.reshape(-1, *known.shape[-2:])
    unit = np.asarray(left.unit.min())
    offset = None if right.zero is None else right.offset
    if len(stack) > _MOST_BATCHES:
        return _coarse(left, right, known.shape[-2])
    sums = [weighted(inner, unit, matrix, offset) for matrix in stack]
    result = sums[0]
    for other in sums[1:]:
        result = result.joined(other)
    return result


def _depth(a: Value, b: Value) -> int | None:
    """How many terms a sum has, if either operand's shape tells."""
    candidates = []
    if a.shape:
        candidates.append(a.shape[-1])
    if b.shape:
        candidates.append(b.shape[-2] if len(b.shape) > 1 else b.shape[0])
    return next((n for n in candidates if n is not None), None)


def _product_shape(a: Dims | None, b: Dims | None) -> Dims | None:
    if not a or not b:
        return None
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    batches = broadcast(a[:-2], b[:-2])
    return None if batches is None else (*batches, *rows, *columns)


def remember(
    site: Site,
    left: Value,
    right: Value,
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    result: Value,
    *,
    convolution: bool = False,
) -> None:
    exact = bool(result.grids) if result.kind.is_float else True
    a, b = left, right
    fused = site.operator in {"Conv", "Gemm", "MatMul"}
    if fused and left.dequantized is not None and right.dequantized is not None:
        # Quantizing runtimes make an integer kernel of these three nodes.
        a, b = left.dequantized, right.dequantized
    site.products.append(
        Product(
            left=a,
            right=b,
            left_axes=axes[0],
            right_axes=axes[1],
            carrier=result.kind,
            convolution=convolution,
            exact=exact,
        )
    )


MATRIX_AXES = ((-1,), (-2,))


@operator("MatMul")
def matmul(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    total, shape, depth = matrix_product(Operand(value=a, zero=None), Operand(value=b, zero=None))
    result = conclude(site, a.kind, shape, total, depth)
    remember(site, a, b, MATRIX_AXES, result)
    return [result]


@operator("MatMulInteger")
def matmul_integer(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(1)
    rows = site.optional(2)
    if rows is not None and rows.rank == 1 and rows.size != 1:
        # One zero point a row: a column vector beside the matrix.
        rows = rows.collapsed()
    left, right = Operand(value=a, zero=rows), Operand(value=b, zero=site.optional(3))
    total, shape, depth = matrix_product(left, right)
    result = conclude(site, INT32, shape, total, depth)
    remember(site, a, b, MATRIX_AXES, result)
    return [result]


@operator("Gemm")
def gemm(site: Site) -> list[Value]:
    a, b, c = site.operand(0), site.operand(1), site.optional(2)
    a = _transposed(a) if site.node.integer("transA", 0) else a
    b = _transposed(b) if site.node.integer("transB", 0) else b
    scale = [site.node.number(name, 1.0) for name in ("alpha", "beta")]
    total, shape, depth = matrix_product(Operand(value=a, zero=None), Operand(value=b, zero=None))
    scaled = any(factor != 1.0 for factor in scale)
    if scaled:
        magnitude = np.asarray(total.magnitude * abs(scale[0]))
        if c is not None:
            magnitude = magnitude + c.range.magnitude * abs(scale[1])
        total = Sum(
            total=Interval.of(-magnitude, magnitude),
            partial=Interval.of(-magnitude, magnitude),
            unit=np.asarray(-g.EXACT),
        )
    elif c is not None:
        total = total.plus(c)
    terms = None if depth is None else depth + 1
    result = conclude(site, a.kind, shape, total, terms)
    remember(site, a, b, MATRIX_AXES, result)
    return [result]


def _transposed(value: Value) -> Value:
    if value.rank != 2:  # noqa: PLR2004
        return value.collapsed()
    shape = None if value.shape is None else (value.shape[1], value.shape[0])
    known = value.constant
    moved = value.moved(lambda array: array.T, shape)
    return moved if known is None else replace(moved, constant=known.T)


@operator("QLinearMatMul")
def qlinear_matmul(site: Site) -> list[Value]:
    a, b = site.operand(0), site.operand(3)
    left, right = Operand(value=a, zero=site.optional(2)), Operand(value=b, zero=site.optional(5))
    total, shape, depth = matrix_product(left, right)
    accumulator = conclude(site, INT32, shape, total, depth)
    remember(site, a, b, MATRIX_AXES, accumulator)
    return [rescaled(site, accumulator, scales=(1, 4, 6), zero=7)]


def rescaled(site: Site, accumulator: Value, *, scales: tuple[int, int, int], zero: int) -> Value:
    """The output of a QLinear operator: rescaled in float, so inexact unless all scales are powers of two."""
    kind = site.operand(zero).kind
    factors = [site.operand(position) for position in scales]
    powers = all(f.range.is_point and (np.frexp(f.range.low)[0] == 0.5).all() for f in factors)  # noqa: PLR2004
    if not powers or accumulator.range.magnitude.max(initial=0.0) > 2.0**24:
        spans = " x ".join(span(f) for f in factors[:2])
        worst = number(float(accumulator.range.magnitude.max(initial=0.0)))
        site.flag(FLOAT_RESCALE, f"accumulator up to {worst} times {spans} over {span(factors[2])}")
        low, high = kind.low, kind.high
        return Value(
            kind=kind, shape=accumulator.shape, range=Interval.of(low, high), grids=g.INTEGERS
        )
    carried(site, FLOAT32, accumulator.range.magnitude, accumulator.grids, site.operator)
    scale = _flat(factors[0].range) * _flat(factors[1].range)
    scale = scale.over(_flat(factors[2].range))
    real = (_flat(accumulator.range) * scale).monotone(np.rint)
    shifted = (real + _flat(site.operand(zero).range)).clamp(kind.low, kind.high)
    return Value(kind=kind, shape=accumulator.shape, range=shifted, grids=g.INTEGERS)
