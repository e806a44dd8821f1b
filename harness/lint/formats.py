"""Reports as text, JSON and SARIF: pure functions of them."""

import json
import math
from collections.abc import Sequence
from typing import TypedDict

from harness import sarif
from harness.lint import deviations  # noqa: F401 - its rules join the registry
from harness.lint.findings import Finding, Level, Report, Verdict
from harness.lint.rules import RULES, Rule
from harness.lint.site import number

SCHEMA = 1
_SARIF_LEVELS = {
    Level.INEXACT: "error",
    Level.CONDITION: "warning",
    Level.DEVIATION: "warning",
    Level.NOTE: "note",
}
_HEADLINES = {
    Verdict.EXACT: "one result on every runtime that conforms to ONNX, and none is known to deviate",
    Verdict.CONDITIONAL: "one result, where the conditions below hold",
    Verdict.ORDER_DEPENDENT: "conforming runtimes may differ",
}
# Nodes shown of a group, unless all are asked for.
_SHOWN = 3


def to_text(report: Report, *, every: bool = False) -> str:
    """The verdict, then the findings by rule, worst first, each group with its remedy."""
    lines = [f"{report.model}: {report.verdict.value}", f"  {_headline(report)}"]
    lines.append(f"  {report.nodes:,} nodes judged{_dead(report)}; {_counts(report)}")
    for port in report.inputs:
        shape = "?" if port.shape is None else f"[{', '.join(map(str, port.shape))}]"
        lines.append(
            f"  input {port.name}: {port.kind} {shape} in [{number(port.low)}, {number(port.high)}]"
        )
    lines += [f"  assumed: {assumption}" for assumption in report.assumptions]
    for level in Level:
        for rule, findings in _groups(report.at_level(level)):
            lines += ["", *_group(level, rule, findings, every=every)]
    return "\n".join(lines) + "\n"


def _headline(report: Report) -> str:
    named = sorted({f.runtime for f in report.at_level(Level.INEXACT)})
    if named and "" not in named:
        return f"not exact on a runtime that was named: {'; '.join(named)}"
    return _HEADLINES[report.verdict]


def _dead(report: Report) -> str:
    return f" ({report.dead:,} lead nowhere)" if report.dead else ""


def _counts(report: Report) -> str:
    counts = [
        (len(report.at_level(level)), level.value) for level in Level if report.at_level(level)
    ]
    return ", ".join(f"{count:,} {name}" for count, name in counts) or "nothing found"


def _groups(findings: Sequence[Finding]) -> list[tuple[Rule, list[Finding]]]:
    """By rule, in the order of the registry; within one, the largest excess first."""
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    return [
        (rule, sorted(by_rule[name], key=_excess, reverse=True))
        for name, rule in RULES.items()
        if name in by_rule
    ]


def _excess(finding: Finding) -> float:
    if finding.bound is None or not finding.limit or math.isnan(finding.bound):
        return 0.0
    return abs(finding.bound / finding.limit)


def _group(level: Level, rule: Rule, findings: Sequence[Finding], *, every: bool) -> list[str]:
    runtimes = sorted({finding.runtime for finding in findings if finding.runtime})
    who = f" [{'; '.join(runtimes)}]" if runtimes else ""
    count = f"{len(findings):,} node{'s' if len(findings) > 1 else ''}"
    lines = [f"{level.value}  {rule.name}{who}: {rule.title} ({count})", f"  {rule.why}"]
    shown = findings if every else findings[:_SHOWN]
    lines += [f"  - {finding.node} ({finding.operator}): {finding.message}" for finding in shown]
    if len(shown) < len(findings):
        lines.append(f"  - and {len(findings) - len(shown):,} more (--all)")
    lines.append(f"  remedy: {rule.remedy}")
    if rule.source:
        lines.append(f"  source: {rule.source}")
    return lines


def rules_text() -> str:
    """Every rule, for `--rules`."""
    lines = []
    for rule in RULES.values():
        who = f" [{', '.join(rule.runtimes)}]" if rule.runtimes else ""
        lines.append(f"{rule.level.value:<9}  {rule.name}{who}: {rule.title}")
        lines.append(f"           {rule.why}")
        lines.append(f"           remedy: {rule.remedy}")
        if rule.source:
            lines.append(f"           source: {rule.source}")
    return "\n".join(lines) + "\n"


class FindingResult(TypedDict):
    rule: str
    level: str
    node: str
    operator: str
    call: str
    output: str
    message: str
    remedy: str
    bound: float | None
    limit: float | None
    runtime: str


def to_json(reports: Sequence[Report], version: str) -> str:
    """All that was found, with sorted keys; JSON has no infinity, so unbounded values are null."""
    content = {
        "schema": SCHEMA,
        "tool": {"name": "crosscheck lint", "version": version},
        "reports": [_report(report) for report in reports],
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _report(report: Report) -> dict[str, object]:
    return {
        "model": report.model,
        "sha256": report.sha256,
        "verdict": report.verdict.value,
        "nodes": report.nodes,
        "dead": report.dead,
        "operators": dict(report.operators),
        "counts": {level.value: len(report.at_level(level)) for level in Level},
        "assumptions": list(report.assumptions),
        "inputs": [
            {
                "name": port.name,
                "kind": port.kind,
                "shape": None if port.shape is None else list(port.shape),
                "low": _finite(port.low),
                "high": _finite(port.high),
            }
            for port in report.inputs
        ],
        "findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Finding) -> FindingResult:
    return {
        "rule": finding.rule,
        "level": finding.level.value,
        "node": finding.node,
        "operator": finding.operator,
        "call": finding.call,
        "output": finding.output,
        "message": finding.message,
        "remedy": finding.remedy,
        "bound": _finite(finding.bound),
        "limit": _finite(finding.limit),
        "runtime": finding.runtime,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def to_sarif(reports: Sequence[Report], version: str) -> str:
    """SARIF 2.1.0: one run, an artifact a model, a result a finding."""
    order = {name: position for position, name in enumerate(RULES)}
    run = {
        "tool": {
            "driver": {
                "name": "crosscheck lint",
                "version": version,
                "rules": [_sarif_rule(rule) for rule in RULES.values()],
            }
        },
        "artifacts": [
            {"location": {"uri": sarif.uri(report.model)}, "hashes": {"sha-256": report.sha256}}
            for report in reports
        ],
        "results": [
            _sarif_result(report, position, finding, order[finding.rule])
            for position, report in enumerate(reports)
            for finding in report.findings
        ],
        "properties": {"verdicts": {report.model: report.verdict.value for report in reports}},
    }
    return sarif.document([run])


def _sarif_rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.name,
        "name": sarif.rule_name(rule.name),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": _SARIF_LEVELS[rule.level]},
        "properties": {
            "severity": rule.level.value,
            "runtimes": list(rule.runtimes),
            "source": rule.source,
        },
    }


def _sarif_result(report: Report, artifact: int, finding: Finding, rule: int) -> dict[str, object]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": _SARIF_LEVELS[finding.level],
        "message": {"text": f"{finding.message}. {finding.remedy}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": sarif.uri(report.model), "index": artifact}
                },
                "logicalLocations": [
                    {
                        "name": finding.node.rpartition("/")[2],
                        "fullyQualifiedName": finding.node,
                        "kind": "function" if finding.call else "module",
                    }
                ],
            }
        ],
        "partialFingerprints": {
            "crosscheckLint/v1": sarif.fingerprint(finding.rule, finding.node, finding.output)
        },
        "properties": {
            "severity": finding.level.value,
            "operator": finding.operator,
            "call": finding.call,
            "bound": _finite(finding.bound),
            "limit": _finite(finding.limit),
            "runtime": finding.runtime,
        },
    }
