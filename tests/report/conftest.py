"""Runs that the report tests share."""

from pathlib import Path

import pytest

from harness.case import Case
from harness.results import Run
from harness.verdict import Gate, Outcome
from tests.report.report_runs import make_grid, make_panel, make_run, usual_outcome


@pytest.fixture(scope="session")
def green_run() -> Run:
    """Everything as expected: fp32 is lost, w8a8-qdq diverges, w8a8 holds."""
    verdicts = make_grid()
    lost = next(v.case for v in verdicts if v.outcome is Outcome.UNDECODABLE)
    held = next(v.case for v in verdicts if v.case.precision == "w8a8")
    run = make_run(verdicts, [make_panel(lost), make_panel(held, lost=False)])
    assert run.gate == Gate(exit_code=0, problems=())
    return run


@pytest.fixture(scope="session")
def red_run() -> Run:
    """One integer cell diverges, one platform is missing, one control never diverges."""

    def outcome(case: Case) -> Outcome:
        if case.precision == "w8a8" and (case.encoder, case.decoder) == ("ort-cpu", "torch"):
            return Outcome.DIVERGED
        if case.precision == "w8a8" and case.decoder == "ort-cpu":
            return Outcome.UNAVAILABLE
        return Outcome.IDENTICAL if case.precision == "fp32" else usual_outcome(case)

    return make_run(make_grid(outcome, inputs=1))


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A path below a file: nobody, not even root, can write there."""
    blocker = tmp_path / "blocker"
    blocker.write_text("a file", encoding="utf-8")
    return blocker / "out"
