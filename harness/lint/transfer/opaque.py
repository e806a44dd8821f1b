"""Operators that are never exact: transcendental functions, normalisations, recurrences, sampling, random numbers."""

from dataclasses import replace

import numpy as np

from harness.lint import grids as g
from harness.lint.intervals import Interval
from harness.lint.kinds import BOOL, FLOAT32, INT64, OTHER, Kind, kind_of
from harness.lint.rules import (
    FLOAT_REDUCTION,
    FLOAT_RESCALE,
    FLOAT_ROUNDING,
    INTERPOLATION,
    RANDOM,
    TRANSCENDENTAL,
    UNKNOWN,
    Rule,
)
from harness.lint.site import TRANSFERS, Site, Transfer, operator, span
from harness.lint.transfer.movement import union, zero_like
from harness.lint.values import Dims, Value, top

# Results that stay in a range whatever the input, with room for the last bit.
_BOUNDED = {
    **dict.fromkeys(("Sigmoid", "Softmax", "HardSigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Erf", "Sin", "Cos"), (-1.0, 1.0)),
    **dict.fromkeys(("Atan", "Asin"), (-2.0, 2.0)),
    **dict.fromkeys(("Exp", "Softplus"), (0.0, np.inf)),
    "Acos": (0.0, 4.0),
}
_ELEMENTWISE = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Gelu", "Log",
    "LogSoftmax", "Mish", "Pow", "Selu", "Sigmoid", "Sin", "Sinh", "Softmax", "Softplus", "Swish", "SwiGLU", "Tan", "Tanh",
)  # fmt: skip
_NORMS = (
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization", "LRN",
    "MeanVarianceNormalization", "RMSNormalization", "ReduceL2", "Det",
)  # fmt: skip
_DEEP = (
    "Attention", "DFT", "GRU", "LSTM", "LinearAttention", "CausalConvWithState", "NegativeLogLikelihoodLoss", "RNN",
    "ReduceLogSum", "ReduceLogSumExp", "RotaryEmbedding", "STFT", "SoftmaxCrossEntropyLoss",
)  # fmt: skip


def _float(kind: Kind, shape: Dims | None, low: float = -np.inf, high: float = np.inf) -> Value:
    room = Interval.of(low, high).widened(2.0**-6, 0.0)
    return Value(kind=kind, shape=shape, range=room, minus_zero=True, open_zero=True)


@operator(*_ELEMENTWISE)
def transcendental(site: Site) -> list[Value]:
    x = site.operand(0)
    site.flag(TRANSCENDENTAL, f"{site.operator} of {x.kind.name} in {span(x)}")
    low, high = _BOUNDED.get(site.operator, (-np.inf, np.inf))
    if x.kind.is_integer:
        return [top(x.kind, None if site.operator == "Pow" else x.shape)]
    return [_float(x.kind, None if site.operator in {"Pow", "SwiGLU"} else x.shape, low, high)]


@operator("HardSigmoid", "Shrink")
def affine(site: Site) -> list[Value]:
    """A product and a sum that a runtime may fuse, clamped or thresholded."""
    x = site.operand(0)
    site.flag(FLOAT_ROUNDING, f"{site.operator} of {x.kind.name} in {span(x)}")
    low, high = _BOUNDED.get(site.operator, (-np.inf, np.inf))
    return [_float(x.kind, x.shape, low, high) if x.kind.is_float else top(x.kind, x.shape)]


def _many(site: Site, rule: Rule, evidence: str) -> list[Value]:
    """Outputs of the first input's type, of shapes not followed."""
    x = site.operand(0)
    site.flag(rule, evidence)
    kind = x.kind if x.kind.is_float or x.kind.is_integer else FLOAT32
    shape = (
        x.shape if site.operator in _NORMS and site.operator not in {"ReduceL2", "Det"} else None
    )
    first = _float(kind, shape) if kind.is_float else top(kind, shape)
    return [first] + [replace(first, shape=None)] * (site.node.outputs - 1)


@operator(*_NORMS, "Col2Im", "DeformConv")
def normalisation(site: Site) -> list[Value]:
    return _many(site, FLOAT_REDUCTION, f"{site.operator}: sums, divisions and roots in float")


@operator(*_DEEP)
def deep(site: Site) -> list[Value]:
    site.flag(
        TRANSCENDENTAL, f"{site.operator} computes exponentials, logarithms or angles in float"
    )
    return _many(site, FLOAT_REDUCTION, f"{site.operator}: float sums inside")


@operator("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")
def window(site: Site) -> list[Value]:
    site.flag(TRANSCENDENTAL, f"{site.operator} computes cosines or logarithms")
    return [_float(kind_of(site.node.integer("output_datatype", 1)), None)]


@operator("Hardmax")
def hardmax(site: Site) -> list[Value]:
    """One where the largest value first stands: a choice, not a sum."""
    x = site.operand(0)
    return [Value(kind=x.kind, shape=x.shape, range=Interval.of(0.0, 1.0), grids=g.INTEGERS)]


@operator(
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
def random(site: Site) -> list[Value]:
    site.flag(
        RANDOM, f"{site.operator} with {'a' if 'seed' in site.node.attributes else 'no'} seed"
    )
    given = site.optional(0)
    fallback = given.kind if given is not None else FLOAT32
    kind = kind_of(site.node.integer("dtype", 0)) if "dtype" in site.node.attributes else fallback
    return [top(kind, None)]


@operator("Dropout")
def dropout(site: Site) -> list[Value]:
    x, training = site.operand(0), site.optional(2)
    mask = Value(kind=BOOL, shape=x.shape, range=Interval.of(0.0, 1.0), grids=g.INTEGERS)
    if training is None or not training.range.may_be(1):
        return [x, mask][: site.node.outputs]
    site.flag(RANDOM, "training mode is on, or may be")
    return [_float(x.kind, x.shape), mask][: site.node.outputs]


@operator("Resize", "Upsample")
def resize(site: Site) -> list[Value]:
    """Exact for nearest neighbours by whole factors, coordinates asymmetric and floored: each pixel is repeated."""
    x = site.operand(0)
    mode = site.node.text("mode", "nearest")
    old = site.operator == "Upsample"
    how = site.node.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    nearest = site.node.text("nearest_mode", "floor" if old else "round_prefer_floor")
    scales = site.optional(1 if old else 2)
    factors = None if scales is None or scales.size == 0 else scales.number()
    if factors is None and "scales" in site.node.attributes:
        listed = site.node.attributes["scales"]
        factors = np.array(listed) if isinstance(listed, tuple) else None
    shape = None if x.rank is None else (None,) * x.rank
    whole = factors is not None and bool(
        (factors == np.floor(factors)).all() and (np.asarray(factors, np.float64) >= 1).all()
    )
    if mode == "nearest" and how == "asymmetric" and nearest == "floor" and whole:
        return [replace(x.collapsed(), shape=shape, dequantized=None)]
    site.flag(
        INTERPOLATION,
        f"{mode}, coordinates {how}, {nearest if mode == 'nearest' else 'weights in float'}",
    )
    if mode == "nearest":
        return [union([x, zero_like(x)], shape)]
    return [_float(x.kind, shape) if x.kind.is_float else top(x.kind, shape)]


@operator("GridSample", "RoiAlign", "MaxRoiPool", "AffineGrid")
def sample(site: Site) -> list[Value]:
    x = site.operand(0)
    site.flag(INTERPOLATION, f"{site.operator}: coordinates are computed in {FLOAT32.name}")
    return [_float(x.kind, None) if x.kind.is_float else top(x.kind, None)]


@operator("NonMaxSuppression")
def suppression(site: Site) -> list[Value]:
    site.flag(FLOAT_ROUNDING, "overlaps are quotients of float areas")
    return [top(INT64, (None, 3))]


def unknown(site: Site) -> list[Value]:
    """What no transfer function is there for."""
    name = site.operator
    quantized = "::" in name and any(
        part in name for part in ("QLinear", "QGemm", "Quantize", "QAttention", "IntegerToFloat")
    )
    if quantized:
        site.flag(FLOAT_RESCALE, f"{name} rescales in float")
    else:
        site.flag(UNKNOWN, f"{name} is outside what the linter models")
    return [top(OTHER, None)] * site.node.outputs


def transfer_of(name: str) -> Transfer:
    return TRANSFERS.get(name, unknown)
