"""$GITHUB_STEP_SUMMARY as `run` uses it: added to, never beyond what GitHub shows, and no reason for another exit code."""

from pathlib import Path

import pytest

from harness.cli import run as command
from harness.report.json_results import to_results
from harness.report.markdown import to_markdown
from harness.report.schema import Results
from harness.report.step_summary import LIMIT
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_run, make_verdict


@pytest.fixture
def results() -> Results:
    return to_results(make_run([make_verdict(make_case("w8a8"), Outcome.DIVERGED)]))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    return tmp_path / "page.md"


def test_it_is_added_to_what_is_there(results: Results, page: Path) -> None:
    command.add_step_summary(results)
    command.add_step_summary(results)
    assert page.read_text(encoding="utf-8") == 2 * to_markdown(results)
    assert "Crosscheck: RED" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("room", [0, 400])
def test_a_page_never_outgrows_its_limit(results: Results, page: Path, room: int) -> None:
    page.write_bytes(b"x" * (LIMIT - room))
    command.add_step_summary(results)
    assert LIMIT - room <= page.stat().st_size <= LIMIT
    assert (page.stat().st_size > LIMIT - room) == bool(room)


def test_elsewhere_nothing_is_written(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    command.add_step_summary(results)
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_said(
    results: Results, page: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page.mkdir()
    command.add_step_summary(results)
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith("cannot add to $GITHUB_STEP_SUMMARY")
