"""The step's page on GitHub: red where the run is, and never longer than what is shown."""

import pytest

from harness.report.json_results import to_results
from harness.report.markdown import to_markdown
from harness.report.step_summary import LIMIT, step_summary
from harness.results import Run


def test_it_is_the_summary_where_there_is_room(green_run: Run, red_run: Run) -> None:
    for run, word in ((green_run, "GREEN"), (red_run, "RED")):
        results = to_results(run)
        page = step_summary(results).decode()
        assert page == to_markdown(results)
        assert word in page.splitlines()[0]
    assert "ort-cpu+torch/picture0" in page
    assert LIMIT == 1024 * 1024


@pytest.mark.parametrize("room", [-5, 0, 30, 120, 121, 1_000, 5_000])
def test_it_is_cut_at_the_end_of_a_line(red_run: Run, room: int) -> None:
    results = to_results(red_run)
    page = step_summary(results, room)
    assert len(page) <= max(room, 0)
    assert len(to_markdown(results).encode()) > room
    if not page:
        return
    lines = page.decode().splitlines()
    assert lines[-1].startswith("_Cut here")
    kept = [line for line in lines[:-1] if line]
    assert kept
    assert set(kept) <= set(to_markdown(results).splitlines())


def test_a_page_with_room_for_its_first_line_has_it(red_run: Run) -> None:
    results = to_results(red_run)
    first = to_markdown(results).splitlines()[0]
    assert step_summary(results, len(first.encode()) + 60).decode().startswith(first)
