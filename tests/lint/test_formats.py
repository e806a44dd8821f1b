"""Text, JSON and SARIF say the same; each is a function of the report alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.lint import formats
from harness.lint.findings import Finding, Level, Report, Verdict
from harness.lint.rules import RULES
from harness.lint.site import number
from tests.lint.graphs import judged

MIXED = """g (float[n, 3] x, int32[n] k) => (float[n, 2] y, uint8[n] z) {
  sums = MatMul (x, w)
  y = Exp (sums)
  z = Cast <to = 2> (k)
}"""


@pytest.fixture(scope="module")
def report() -> Report:
    return judged(MIXED, w=np.full((3, 2), 0.1, np.float32)).report


def test_levels_are_ordered_worst_first() -> None:
    assert [level.rank for level in Level] == [0, 1, 2, 3]
    assert [level for level in Level if level.at_least(Level.CONDITION)] == [
        Level.INEXACT,
        Level.CONDITION,
    ]


def test_the_verdict_follows_from_the_worst_finding(report: Report) -> None:
    def only(*levels: Level) -> Report:
        kept = tuple(replace(report.findings[0], level=level) for level in levels)
        return replace(report, findings=kept)

    assert only().verdict is Verdict.EXACT
    assert only(Level.NOTE).verdict is Verdict.EXACT
    assert only(Level.DEVIATION, Level.NOTE).verdict is Verdict.CONDITIONAL
    assert only(Level.CONDITION).verdict is Verdict.CONDITIONAL
    assert only(Level.CONDITION, Level.INEXACT).verdict is Verdict.ORDER_DEPENDENT


def test_failures_are_by_level_or_by_rule(report: Report) -> None:
    assert {f.rule for f in report.failures([Level.INEXACT])} == {
        "float-reduction",
        "transcendental",
    }
    assert {f.rule for f in report.failures([Level.CONDITION])} == {
        "float-reduction",
        "transcendental",
        "cast-wraps",
        "signed-zero",
    }
    assert {f.rule for f in report.failures(["cast-wraps"])} == {"cast-wraps"}
    assert report.failures([]) == ()


def test_text_begins_with_the_verdict_and_ends_each_group_with_a_remedy(report: Report) -> None:
    lines = formats.to_text(report).splitlines()
    assert lines[0] == "model.onnx: order-dependent"
    assert "2 inexact, 2 condition" in lines[2]
    assert "  input x: float32 [n, 3] in [-inf, inf]" in lines
    assert "  input k: int32 [n] in [-2,147,483,648, 2,147,483,647]" in lines
    heads = [line.split(":")[0] for line in lines if line[:1].strip() and line is not lines[0]]
    assert heads == [
        "inexact  float-reduction",
        "inexact  transcendental",
        "condition  cast-wraps",
        "condition  signed-zero",
    ]
    assert sum(line.startswith("  remedy: ") for line in lines) == len(heads)
    assert "  - y (Exp): Exp of float32 in [-inf, inf]" in lines


def test_text_shows_the_worst_of_many() -> None:
    body = (
        "\n".join(f"t{i} = Mul (x, c{i})" for i in range(6))
        + "\ny = Sum ("
        + ", ".join(f"t{i}" for i in range(6))
        + ")"
    )
    text = f"g (int32[n] x) => (int32[n] y) {{ {body} }}"
    constants = {f"c{i}": np.array(2 + i, np.int32) for i in range(6)}
    analysis = judged(text, ranges={"x": (0, 2**30)}, **constants)
    shown = [
        line for line in formats.to_text(analysis.report).splitlines() if line.startswith("  - ")
    ]
    assert "- t5 (Mul)" in shown[0] or "- y (Sum)" in shown[0]
    assert any(line.endswith("more (--all)") for line in shown)
    every = formats.to_text(analysis.report, every=True)
    assert all(f"- t{i} (Mul)" in every for i in range(6))


def test_text_of_an_exact_graph() -> None:
    text = formats.to_text(judged("g (int32[n] x) => (int32[n] y) { y = Max (x, x) }").report)
    assert text.splitlines()[0] == "model.onnx: exact"
    assert "nothing found" in text


def test_json_holds_everything(report: Report) -> None:
    content = json.loads(formats.to_json([report], "1.2"))
    assert content["schema"] == 1
    assert content["tool"]["version"] == "1.2"
    (only,) = content["reports"]
    assert only["verdict"] == "order-dependent"
    assert only["counts"] == {"inexact": 2, "condition": 2, "deviation": 0, "note": 0}
    assert [f["rule"] for f in only["findings"]] == [f.rule for f in report.findings]
    assert only["inputs"][0] == {
        "name": "x",
        "kind": "float32",
        "shape": ["n", 3],
        "low": None,
        "high": None,
    }
    assert set(only["findings"][0]) == set(Finding.__dataclass_fields__)
    assert len(only["sha256"]) == 64


def test_json_is_canonical(report: Report) -> None:
    assert formats.to_json([report], "1") == formats.to_json([report], "1")
    assert "Infinity" not in formats.to_json([report], "1")
    assert "NaN" not in formats.to_sarif([report], "1")


def test_sarif_has_the_structure_of_2_1_0(report: Report) -> None:
    """What the schema requires, spelled out: the schema itself is not shipped."""
    content = json.loads(formats.to_sarif([report, replace(report, model="b c.onnx")], "1.2"))
    assert content["version"] == "2.1.0"
    assert content["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = content["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("crosscheck lint", "1.2")
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert "helpUri" not in rule
    assert [a["location"]["uri"] for a in run["artifacts"]] == ["model.onnx", "b%20c.onnx"]
    assert len(run["results"]) == 2 * len(report.findings)
    for result, finding in zip(run["results"], report.findings, strict=False):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        assert finding.message in result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"] == {"uri": "model.onnx", "index": 0}
        assert location["logicalLocations"][0]["fullyQualifiedName"] == finding.node
    levels = {result["ruleId"]: result["level"] for result in run["results"]}
    assert levels == {
        "float-reduction": "error",
        "transcendental": "error",
        "cast-wraps": "warning",
        "signed-zero": "warning",
    }
    assert len(
        {result["partialFingerprints"]["crosscheckLint/v1"] for result in run["results"]}
    ) == len(report.findings)


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("inf"), "inf"), (float("nan"), "nan"), (-0.0, "0"), (1e300, "1e+300")],
)
def test_numbers_that_are_none(value: float, text: str) -> None:
    assert number(value) == text
