"""results.sarif: what SARIF 2.1.0 requires, spelled out (the schema itself is not shipped), and what it says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.report import sarif
from harness.report.json_results import dumps, to_results
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_run, make_verdict

BROKEN = "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/picture0"


def document(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sarif.to_sarif(to_results(run)))
    check(found)
    return found


def check(content: dict[str, Any]) -> None:
    """The rules of the standard's schema for every object that is written."""
    assert set(content) == {"$schema", "version", "runs"}
    assert content["version"] == "2.1.0"
    (run,) = content["runs"]
    assert set(run) <= {
        "tool", "automationDetails", "invocations", "artifacts", "results", "properties",
    }  # fmt: skip
    driver = run["tool"]["driver"]
    assert driver["name"]
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(set(rules)) == len(rules)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    for invocation in run["invocations"]:
        assert type(invocation["executionSuccessful"]) is bool
        assert type(invocation["exitCode"]) is int
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        artifact = run["artifacts"][place["artifactLocation"]["index"]]["location"]
        assert artifact["uri"] == place["artifactLocation"]["uri"]
        assert place["region"]["startLine"] >= 1
        assert all(location["logicalLocations"][0].values())
        assert all(type(value) is str for value in result["partialFingerprints"].values())
    fingerprints = [json.dumps(result["partialFingerprints"]) for result in run["results"]]
    assert len(set(fingerprints)) == len(fingerprints)


def test_a_green_run_has_no_result(green_run: Run) -> None:
    (run,) = document(green_run)["runs"]
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 0}]
    assert run["properties"]["headline"].startswith("GREEN")


def test_a_divergence_is_a_result_at_its_line_of_the_evidence(red_run: Run) -> None:
    (run,) = document(red_run)["runs"]
    results = to_results(red_run)
    (found,) = [r for r in run["results"] if r["ruleId"] == "diverged"]
    assert found["level"] == "error"
    assert found["message"]["text"].startswith(f"{BROKEN}: means_hat[")
    assert "expected -5, got -4" in found["message"]["text"]
    assert f"repeat: crosscheck run default --case '{BROKEN}'" in found["message"]["text"]
    line = found["locations"][0]["physicalLocation"]["region"]["startLine"]
    cell = json.loads(dumps(results).splitlines()[line - 1].strip().rstrip(","))
    assert cell["case"] == BROKEN
    assert run["invocations"][0]["exitCode"] == 1


def test_what_the_gate_says_of_no_cell_is_a_result_too(red_run: Run) -> None:
    (run,) = document(red_run)["runs"]
    gate = [r["message"]["text"] for r in run["results"] if r["ruleId"] == sarif.GATE]
    assert any(text.startswith("control fp32 never diverged") for text in gate)
    assert not any(BROKEN in text for text in gate)
    # Each required platform's lost cells are results of their own.
    lost = [r for r in run["results"] if r["ruleId"] == "unavailable"]
    assert lost
    assert all("ort-cpu" in r["message"]["text"] for r in lost)


def test_a_platform_that_nothing_requires_may_be_absent() -> None:
    verdicts = [
        make_verdict(make_case("w8a8"), Outcome.IDENTICAL),
        make_verdict(make_case("w8a8", "onnx-reference", "onnx-reference"), Outcome.UNAVAILABLE),
    ]
    (run,) = document(make_run(verdicts))["runs"]
    assert run["results"] == []


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.ok], ids=lambda o: o.value)
def test_every_way_to_fail_has_its_rule(outcome: Outcome) -> None:
    (run,) = document(make_run([make_verdict(make_case("w8a8"), outcome)]))["runs"]
    assert outcome.value.replace(" ", "-") in {r["ruleId"] for r in run["results"]}


def test_an_expected_divergence_that_turns_identical_is_a_result() -> None:
    (run,) = document(make_run([make_verdict(make_case("fp32"), Outcome.IDENTICAL)]))["runs"]
    assert "identical" in {r["ruleId"] for r in run["results"]}


def test_empty_and_interrupted_runs_are_never_clean(green_run: Run) -> None:
    (run,) = document(make_run([]))["runs"]
    assert [r["message"]["text"] for r in run["results"]] == ["no cell ran"]
    (run,) = document(replace(green_run, interrupted=True))["runs"]
    assert [r["ruleId"] for r in run["results"]] == [sarif.GATE]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_more_results_than_are_shown_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST", 2)
    cells = [
        make_verdict(make_case("w8a8", name=f"p{n}"), Outcome.DIVERGED, message="\udc80 \x00")
        for n in range(5)
    ]
    (run,) = document(make_run(cells))["runs"]
    assert [r["ruleId"] for r in run["results"]] == ["diverged", "diverged", sarif.GATE]
    assert "3 more cells" in run["results"][-1]["message"]["text"]
