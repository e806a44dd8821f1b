"""A run as results.json: the one report that everything else is rebuilt from."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from harness.compare import Comparison, Divergence
from harness.errors import HarnessError, UserError
from harness.report.captions import caption, figure_name
from harness.report.schema import (
    CellResult,
    DivergenceResult,
    FigureResult,
    Results,
    Summary,
    TensorCounts,
    misfit,
)
from harness.results import SCHEMA, Panel, Run
from harness.verdict import Expectation, Outcome, Severity, Verdict

_FILE_NAME = re.compile(r"[A-Za-z0-9._+-]+")  # no separator: a damaged file writes nowhere else


def to_results(run: Run) -> Results:
    """Everything a report may say about `run`, as JSON values; cells sorted by case."""
    verdicts = sorted(run.verdicts, key=lambda verdict: str(verdict.case))
    results: Results = {
        "schema": SCHEMA,
        "suite": run.suite,
        "environment": {
            name: dict(sorted(record.items())) for name, record in sorted(run.environments.items())
        },
        "cells": [cell_result(verdict) for verdict in verdicts],
        "figures": _figures(run.panels, verdicts),
        "summary": _summary(run),
    }
    if run.judgements:
        results["lint"] = {
            variant: {
                "verdict": judgement.verdict,
                "deviations": {
                    rule: list(runtimes) for rule, runtimes in sorted(judgement.deviations.items())
                },
            }
            for variant, judgement in sorted(run.judgements.items())
        }
    return results


def cell_result(verdict: Verdict) -> CellResult:
    case, comparison = verdict.case, verdict.comparison
    return {
        "case": str(case),
        "codec": case.codec,
        "quality": case.quality,
        "precision": case.precision,
        "scope": case.scope,
        "lowering": case.lowering,
        "encoder": case.encoder,
        "decoder": case.decoder,
        "input": case.input,
        "outcome": verdict.outcome.value,
        "severity": verdict.severity.value,
        "expected": verdict.expected.value,
        "as_expected": verdict.as_expected,
        "reason": verdict.reason,
        "message": verdict.message,
        "borrowed": sorted(verdict.borrowed),
        "first_divergence": _divergence(comparison.first if comparison else None),
        "first_gated_divergence": _divergence(comparison.first_gated if comparison else None),
        "compared": _compared(comparison),
        "bpp": _number(verdict.bpp, 6),
        "psnr": _number(verdict.psnr, 4),
        "psnr_decoder_vs_encoder": _number(verdict.psnr_decoder_vs_encoder, 4),
        "pictures_identical": _infinite(verdict.psnr_decoder_vs_encoder),
        "seconds": _number(verdict.seconds, 3) or 0.0,
    }


def _divergence(divergence: Divergence | None) -> DivergenceResult | None:
    if divergence is None:
        return None
    return {
        "tensor": divergence.tensor,
        "kind": divergence.kind,
        "gated": divergence.gated,
        "index": list(divergence.index),
        "expected": divergence.expected,
        "actual": divergence.actual,
        "mismatched": divergence.mismatched,
        "values": divergence.values,
        "identical_before": divergence.identical_before,
    }


def _compared(comparison: Comparison | None) -> dict[str, TensorCounts]:
    if comparison is None:
        return {}
    return {
        name: {
            "values": tensor.values,
            "bytes": tensor.bytes,
            "mismatched": tensor.mismatched,
            "gated": tensor.gated,
            "differing_bits": tensor.differing_bits,
        }
        for name, tensor in sorted(comparison.tensors.items())
    }


def _number(value: float | None, digits: int) -> float | None:
    """`value` for JSON: None for what JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def _infinite(psnr: float | None) -> bool | None:
    return None if psnr is None else psnr == math.inf


def _figures(panels: Iterable[Panel], verdicts: Iterable[Verdict]) -> list[FigureResult]:
    by_case = {verdict.case: verdict for verdict in verdicts}
    figures: list[FigureResult] = []
    for panel in sorted(panels, key=lambda panel: str(panel.case)):
        if panel.case not in by_case:
            raise HarnessError(f"panel {panel.case} belongs to no verdict of this run")
        figures.append(
            {
                "name": figure_name(panel.case),
                "case": str(panel.case),
                "caption": caption(panel, by_case[panel.case]),
            }
        )
    return figures


def _summary(run: Run) -> Summary:
    ends = [verdict.outcome for verdict in run.verdicts]
    comparisons = [verdict.comparison for verdict in run.verdicts if verdict.comparison]
    return {
        "cells": len(run.verdicts),
        "as_expected": sum(verdict.as_expected for verdict in run.verdicts),
        "by_outcome": {outcome.value: ends.count(outcome) for outcome in Outcome},
        "compared_values": sum(comparison.compared_values for comparison in comparisons),
        "exit_code": run.gate.exit_code,
        "problems": list(run.gate.problems),
        "kernels": {
            "float_results": run.kernels.float_results,
            "integer_kernels": run.kernels.integer_kernels,
            "platforms": run.kernels.platforms,
        },
        "seconds": _number(run.seconds, 3) or 0.0,
        "platform_seconds": _number(run.platform_seconds, 3) or 0.0,
        "interrupted": run.interrupted,
    }


def without_timings(results: Results) -> Results:
    """`results` without clocks and machines: equal for two runs that found the same bits."""
    return {
        **results,
        "environment": {},
        "cells": [{**cell, "seconds": 0.0} for cell in results["cells"]],
        "summary": {**results["summary"], "seconds": 0.0, "platform_seconds": 0.0},
    }


def dumps(results: Results) -> str:
    """Canonical JSON: sorted keys, no NaN, one line a cell (`diff` and `grep` show whole cells)."""
    text = json.dumps(
        {**results, "cells": []}, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
    )
    compact = json.JSONEncoder(
        sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    lines = ["    " + compact.encode(cell) for cell in results["cells"]]
    cells = "[\n" + ",\n".join(lines) + "\n  ]" if lines else "[]"
    # "cells" sorts first of the keys, so the first match is the list itself.
    return text.replace('"cells": []', f'"cells": {cells}', 1) + "\n"


def cell_line(position: int) -> int:
    """The line of `dumps`, from 1, that holds this cell: a brace and the list's key come first."""
    return 3 + position


def load(path: Path) -> Results:
    """Read what `dumps` wrote; anything else is a UserError of one line."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise UserError(f"cannot read results {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"results {path} is not JSON: {error}") from error
    if not isinstance(found, dict) or "schema" not in found:
        raise UserError(f"{path} is not a results.json: it has no schema")
    if found["schema"] != SCHEMA:
        raise UserError(
            f"results {path} has schema {found['schema']!r}, this version reads {SCHEMA};"
            " run the suite again"
        )
    if (line := misfit(found, Results)) is not None:
        raise UserError(f"results {path} is damaged: {line}")
    results = cast("Results", found)
    _check_words(results, path)
    for figure in results["figures"]:
        if not _FILE_NAME.fullmatch(figure["name"]):
            raise UserError(f"results {path} is damaged: {figure['name']!r} is no figure's name")
    return results


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _check_words(results: Results, path: Path) -> None:
    """Outcomes, severities and expectations are words that this version knows."""
    outcomes = {outcome.value for outcome in Outcome}
    severities = {severity.value for severity in Severity}
    expectations = {expectation.value for expectation in Expectation}
    for cell in results["cells"]:
        for word, known in (
            (cell["outcome"], outcomes),
            (cell["severity"], severities),
            (cell["expected"], expectations),
        ):
            if word not in known:
                raise UserError(f"results {path} is damaged: {cell['case']}: unknown word {word!r}")
