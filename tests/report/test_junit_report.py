from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from harness.report.json_results import to_results
from harness.report.junit import to_junit
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_run, make_verdict


def parse(run: Run) -> ET.Element:
    return ET.fromstring(to_junit(to_results(run)))


def test_one_testcase_a_cell_and_one_for_the_gate(green_run: Run) -> None:
    root = parse(green_run)
    cases = root.findall("testsuite/testcase")
    assert len(cases) == 97
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("97", "0", "0")
    assert cases[0].get("classname") == "mbt2018-mean/q3/fp32/hyperprior/float32"
    assert cases[-1].get("name") == "gate"


def test_failures_name_the_case_and_how_to_repeat_it(red_run: Run) -> None:
    root = parse(red_run)
    name = "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/picture0"
    failure = root.find(f".//testcase[@name='{name}']/failure")
    assert failure is not None
    assert "expected -5, got -4" in failure.get("message", "")
    assert f"repeat: crosscheck run default --case '{name}'" in (failure.text or "")


def test_required_platform_that_did_not_run_is_an_error_and_the_gate_fails(red_run: Run) -> None:
    root = parse(red_run)
    name = "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/torch+ort-cpu/picture0"
    error = root.find(f".//testcase[@name='{name}']/error")
    assert error is not None
    assert error.get("type") == "unavailable"
    assert root.find(".//skipped") is None
    gate = root.find(".//testcase[@name='gate']/failure")
    assert gate is not None
    assert "control fp32 never diverged" in (gate.text or "")


def test_platform_that_nothing_requires_is_skipped() -> None:
    verdicts = [
        make_verdict(make_case("w8a8"), Outcome.IDENTICAL),
        make_verdict(
            make_case("w8a8", "onnx-reference", "onnx-reference"), Outcome.UNAVAILABLE, message="no"
        ),
    ]
    root = parse(make_run(verdicts))
    assert root.get("skipped") == "1"
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.UNSUPPORTED])
def test_cells_that_did_not_run_are_errors(outcome: Outcome) -> None:
    root = parse(make_run([make_verdict(make_case("w8a8"), outcome)]))
    assert root.get("errors") == "1"


def test_hostile_text_stays_text() -> None:
    message = "]]> <failure/> \x00\x1b[31m & \udc80 \"'"
    verdict = make_verdict(make_case("w8a8"), Outcome.CRASHED, message=message)
    run = replace(make_run([verdict]), suite="<&\x01>")
    found = parse(run).find(".//error")
    assert found is not None
    assert found.get("message", "").startswith("]]> <failure/> \ufffd\ufffd[31m & \ufffd")


def test_empty_and_interrupted_runs_fail_the_gate(green_run: Run) -> None:
    assert parse(make_run([])).get("failures") == "1"
    assert parse(replace(green_run, interrupted=True)).get("failures") == "1"
