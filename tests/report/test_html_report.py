from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.report import make_figures
from harness.report.html import to_html
from harness.report.json_results import to_results
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_grid, make_panel, make_run, make_verdict

VOID = {"meta", "img", "br", "input"}


class Checker(HTMLParser):
    """Counts tags, collects image sources, and insists that every tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attrs if key in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_page_is_whole_and_self_contained(green_run: Run) -> None:
    results = to_results(green_run)
    page = to_html(results, make_figures(green_run, results))
    found = check(page)
    assert found.tags.count("figure") == 2
    assert len(found.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert "GREEN: 96 of 96 cells are as expected" in page
    assert "31,004 of 49,152 symbols (63.1 %) were decoded wrongly" in page
    assert "first 500" not in page


def test_figures_that_are_gone_are_left_out(green_run: Run) -> None:
    assert check(to_html(to_results(green_run), {})).tags.count("figure") == 0


def test_figures_beyond_the_budget_are_linked(green_run: Run) -> None:
    results = to_results(green_run)
    figures = {figure["name"]: b"x" * 2_000_000 for figure in results["figures"]}
    first, second = check(to_html(results, figures)).sources
    assert first.startswith("data:")
    assert second == f"figures/{results['figures'][1]['name']}.png"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"><img src=x onerror='x'>"])
def test_hostile_text_is_escaped(text: str) -> None:
    verdict = replace(make_verdict(make_case(), Outcome.CRASHED, message=text), reason=text)
    run = replace(make_run([verdict]), suite=text, environments={text: {text: text}})
    found = check(to_html(to_results(run), {}))
    assert found.tags.count("script") == 1
    assert found.sources == []


def test_three_thousand_cells_make_a_page_of_bounded_size() -> None:
    panels = [make_panel(make_case(name="picture0"))]
    run = make_run(make_grid(lambda _: Outcome.DIVERGED, inputs=63), panels)
    page = to_html(to_results(run), {})
    assert len(page.encode()) < 2_000_000
    assert "The first 500 of 3,024" in page
    assert check(page).tags.count("tr") < 900


def test_empty_run_is_a_red_page() -> None:
    page = to_html(to_results(make_run([])), {})
    check(page)
    assert "RED: no cell was run" in page
