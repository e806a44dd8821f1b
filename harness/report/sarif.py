"""results.json as SARIF 2.1.0: a result for each cell, and each problem of the gate, that makes the run red."""

from collections.abc import Mapping, Sequence

from harness import sarif
from harness.report.headline import headline
from harness.report.json_results import cell_line
from harness.report.matrix import MEANINGS, blamed, evidence, fails, repeat_command, worst_first
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

GATE = "gate"
# Where results.json is, seen from this file.
EVIDENCE = "results.json"
# Code scanners show no more of one run.
MOST = 5_000
_TEXTS: Mapping[str, str] = {
    **{outcome.value.replace(" ", "-"): MEANINGS[outcome] for outcome in Outcome},
    GATE: "gate: the run as a whole does not prove what it should",
}
RULES = tuple(_TEXTS)


def to_sarif(results: Results) -> str:
    """The document. Its results are at the lines of results.json that hold their cells; an absent platform is none."""
    lines = {cell["case"]: cell_line(n) for n, cell in enumerate(results["cells"])}
    named = blamed(results)
    bad = [cell for cell in worst_first(results["cells"]) if fails(cell, named)]
    found = [_of_cell(results["suite"], cell, lines[cell["case"]]) for cell in bad[:MOST]]
    found += [_of_gate(results["suite"], problem) for problem in _other_problems(results, bad)]
    run = {
        "tool": {"driver": {"name": "crosscheck", "rules": [_rule(name) for name in RULES]}},
        "automationDetails": {"id": f"crosscheck/{results['suite']}/"},
        "invocations": [
            {
                "executionSuccessful": not results["summary"]["interrupted"],
                "exitCode": results["summary"]["exit_code"],
            }
        ],
        "artifacts": [{"location": {"uri": EVIDENCE}}],
        "results": found,
        "properties": {"headline": headline(results)},
    }
    return sarif.document([run])


def _other_problems(results: Results, bad: Sequence[CellResult]) -> list[str]:
    """What the gate says of no cell in particular, and what this file leaves out."""
    cases = {cell["case"] for cell in results["cells"]}
    problems = [p for p in results["summary"]["problems"] if cases.isdisjoint(p.split(": ")[:2])]
    if results["summary"]["interrupted"]:
        problems.append(headline(results))
    if len(bad) > MOST:
        problems.append(f"{len(bad) - MOST:,} more cells are not as expected, see {EVIDENCE}")
    return problems


def _rule(name: str) -> dict[str, object]:
    title, _, meaning = _TEXTS[name].partition(": ")
    return {
        "id": name,
        "name": sarif.rule_name(name),
        "shortDescription": {"text": title},
        "fullDescription": {"text": meaning or title},
        "defaultConfiguration": {"level": "error"},
    }


def _of_cell(suite: str, cell: CellResult, line: int) -> dict[str, object]:
    rule = cell["outcome"].replace(" ", "-")
    expected = f"expected: {cell['expected']}" + (f" ({cell['reason']})" if cell["reason"] else "")
    text = f"{cell['case']}: {evidence(cell)}\n{expected}\nrepeat: {repeat_command(suite, cell['case'])}"
    properties = {
        key: cell[key] for key in ("outcome", "severity", "expected", "encoder", "decoder")
    }
    result = _result(rule, text, line, cell["case"])
    return {**result, "properties": properties}


def _of_gate(suite: str, problem: str) -> dict[str, object]:
    return _result(GATE, problem, 1, f"{suite}: {problem}")


def _result(rule: str, text: str, line: int, identity: str) -> dict[str, object]:
    return {
        "ruleId": rule,
        "ruleIndex": RULES.index(rule),
        "level": "error",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": EVIDENCE, "index": 0},
                    "region": {"startLine": line},
                },
                "logicalLocations": [{"fullyQualifiedName": identity, "kind": "member"}],
            }
        ],
        "partialFingerprints": {"crosscheckRun/v1": sarif.fingerprint(rule, identity)},
    }
