from pathlib import Path

import pytest

from harness.errors import UserError
from harness.report import load, make_figures, read_figures, to_results, write_reports
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_run, make_verdict

TEXTS = ("results.json", "junit.xml", "results.sarif", "summary.md", "index.html")


def test_everything_is_written_and_nothing_else(green_run: Run, tmp_path: Path) -> None:
    results = to_results(green_run)
    written = write_reports(results, make_figures(green_run, results), tmp_path / "deep" / "out")
    found = {path for path in (tmp_path / "deep" / "out").rglob("*") if path.is_file()}
    assert found == set(written)
    assert {path.name for path in written} >= {*TEXTS, "matrix.png"}
    assert sum(path.suffix == ".png" for path in written) == 3


def test_reports_are_rebuilt_from_the_results_alone(green_run: Run, tmp_path: Path) -> None:
    results = to_results(green_run)
    write_reports(results, make_figures(green_run, results), tmp_path / "one")
    again = load(tmp_path / "one" / "results.json")
    write_reports(again, read_figures(again, tmp_path / "one"), tmp_path / "two")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == twin.read_bytes(), path.name


def test_lone_surrogates_can_be_written_and_read_back(tmp_path: Path) -> None:
    run = make_run([make_verdict(make_case(), Outcome.CRASHED, message="bad name \udc80")])
    results = to_results(run)
    write_reports(results, {}, tmp_path)
    assert load(tmp_path / "results.json") == results


def test_empty_run_is_written(tmp_path: Path) -> None:
    run = make_run([])
    results = to_results(run)
    assert len(write_reports(results, make_figures(run, results), tmp_path)) == 6


def test_unwritable_folder_is_one_line(unwritable: Path) -> None:
    with pytest.raises(UserError, match="cannot write ") as caught:
        write_reports(to_results(make_run([])), {}, unwritable)
    assert "\n" not in str(caught.value)


def test_failed_write_leaves_the_old_report_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "summary.md").mkdir()
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot write "):
        write_reports(to_results(make_run([])), {}, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
