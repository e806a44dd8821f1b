"""Graphs as ONNX text, and what the linter makes of them."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from harness.lint.analyse import Analysis, Options, Range, examine

HEADER = '<ir_version: 9, opset_import: ["" : {opset}, "crosscheck" : 1]>\n'


def model(text: str, *, opset: int = 19, **constants: np.ndarray) -> onnx.ModelProto:
    """`text` is a graph, model-local functions after it if need be; `constants` become initializers."""
    made = onnx.parser.parse_model(HEADER.format(opset=opset) + text)
    made.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return made


def judged(
    text: str | onnx.ModelProto,
    *,
    ranges: Mapping[str, tuple[float, ...]] | None = None,
    runtimes: tuple[str, ...] = (),
    providers: tuple[str, ...] = (),
    opset: int = 19,
    **constants: np.ndarray,
) -> Analysis:
    made = model(text, opset=opset, **constants) if isinstance(text, str) else text
    options = Options(
        ranges={
            name: Range(low=r[0], high=r[1], step=r[2] if len(r) > 2 else None)
            for name, r in (ranges or {}).items()
        },
        runtimes=runtimes,
        providers=providers,
    )
    return examine(made.SerializeToString(), options=options)


def rules(analysis: Analysis) -> set[str]:
    return {finding.rule for finding in analysis.report.findings}


def at(analysis: Analysis, level: str) -> set[str]:
    return {finding.rule for finding in analysis.report.findings if finding.level.value == level}


def bounds(analysis: Analysis, name: str) -> tuple[float, float]:
    value = analysis.values[name]
    return value.range.lowest, value.range.highest
