"""The entry: bytes of an ONNX file in, a report out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from harness.errors import UserError
from harness.lint import grids as g
from harness.lint.deviations import runtimes
from harness.lint.findings import Input, Report
from harness.lint.intervals import Interval
from harness.lint.loading import Limits, declared, parse
from harness.lint.providers import provider_named
from harness.lint.site import number
from harness.lint.values import Value
from harness.lint.walk import Walk


@dataclass(frozen=True, kw_only=True)
class Range:
    """What an input is taken to hold: low to high, and multiples of `step` where that is given (a power of two)."""

    low: float
    high: float
    step: float | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """`runtimes` named here have no excuse: their deviations are findings as bad as any."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    providers: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The report, and what was found out of every tensor (by name, calls first)."""

    report: Report
    values: Mapping[str, Value]


def lint(onnx_model: bytes, *, name: str = "model.onnx", options: Options | None = None) -> Report:
    """Judge a graph; `name` is what the report calls it. Raises UserError for what is no ONNX file."""
    return examine(onnx_model, name=name, options=options).report


def examine(
    onnx_model: bytes, *, name: str = "model.onnx", options: Options | None = None
) -> Analysis:
    """As `lint`, with the bounds of every tensor besides."""
    chosen = options or Options()
    for runtime in chosen.runtimes:
        if runtime not in runtimes():
            raise UserError(f"no runtime {runtime!r}; known: {', '.join(runtimes())}")
    providers = [provider_named(provider) for provider in chosen.providers]
    model = parse(onnx_model, name)
    walk = Walk(
        functions={(_domain(f.domain), f.name, f.overload): f for f in model.functions},
        providers=providers,
        runtimes=frozenset(chosen.runtimes),
        limits=chosen.limits,
    )
    inputs, ports = _inputs(model.graph, chosen.ranges, walk)
    # Bounds that overflow are infinities here, and sound.
    with np.errstate(all="ignore"):
        walk.model(model, inputs)
    report = Report(
        model=name,
        sha256=hashlib.sha256(onnx_model).hexdigest(),
        inputs=ports,
        findings=tuple(sorted(walk.findings, key=lambda f: f.level.rank)),
        assumptions=tuple(walk.assumptions),
        operators=dict(sorted(walk.operators.items())),
        nodes=sum(walk.operators.values()),
        dead=walk.dead,
    )
    return Analysis(report=report, values=walk.values)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _inputs(
    graph: onnx.GraphProto, ranges: Mapping[str, Range], walk: Walk
) -> tuple[dict[str, Value], tuple[Input, ...]]:
    """The values of what is fed, and how the report tells of them."""
    own = {tensor.name for tensor in graph.initializer}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    fed = [info for info in graph.input if info.name not in own]
    if len(fed) < len(graph.input):
        walk.assumptions.setdefault("initializers that are listed as inputs too keep their values")
    unknown = sorted(set(ranges) - {info.name for info in fed})
    if unknown:
        known = ", ".join(info.name for info in fed) or "none"
        raise UserError(f"no input {unknown[0]!r} to give a range for; inputs: {known}")
    values = {info.name: declared(info) for info in fed}
    for name, wanted in ranges.items():
        values[name] = _narrowed(name, values[name], wanted)
        walk.assumptions.setdefault(
            f"input {name} lies in [{number(wanted.low)}, {number(wanted.high)}]"
            + (f", in steps of {number(wanted.step)}" if wanted.step else "")
        )
    if any(value.kind.is_float for value in values.values()):
        walk.assumptions.setdefault("float inputs are finite numbers")
    ports = tuple(
        Input(
            name=info.name,
            kind=values[info.name].kind.name,
            shape=_written_shape(info),
            low=values[info.name].range.lowest,
            high=values[info.name].range.highest,
        )
        for info in fed
    )
    return values, ports


def _narrowed(name: str, value: Value, wanted: Range) -> Value:
    kind = value.kind
    if not wanted.low <= wanted.high:
        raise UserError(f"range of {name}: {wanted.low} lies above {wanted.high}")
    if kind.is_integer and (wanted.low < kind.low or wanted.high > kind.high):
        raise UserError(
            f"range of {name}: {kind.name} holds [{number(kind.low)}, {number(kind.high)}]"
        )
    if wanted.step is not None:
        mantissa, exponent = np.frexp(wanted.step)
        if mantissa != 0.5:  # noqa: PLR2004
            raise UserError(f"range of {name}: a step is a power of two, such as 1 or 0.25")
        grids: g.Grids = (g.Grid.multiples(int(exponent) - 1),)
    else:
        grids = value.grids
    return replace(value, range=Interval.of(wanted.low, wanted.high), grids=grids)


def _written_shape(info: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        int(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in tensor.shape.dim
    )
