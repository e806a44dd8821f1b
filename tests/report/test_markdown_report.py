from dataclasses import replace

from harness.case import Case
from harness.report.json_results import to_results
from harness.report.markdown import LIMIT, to_markdown
from harness.results import Run
from harness.verdict import Gate, Outcome
from tests.report.report_runs import make_case, make_grid, make_run, make_verdict, usual_outcome


def test_summary_has_verdict_matrix_and_repeat(green_run: Run) -> None:
    text = to_markdown(to_results(green_run))
    assert text.startswith("# Crosscheck: GREEN")
    assert "| ort-cpu | ✗ 0/2 | ✗ 0/2 | ✓ 2/2 | ✗ 0/2 |" in text
    assert "crosscheck run default --case 'mbt2018-mean/q3/" in text
    assert "## Problems" not in text
    assert "more cells are left out" in text


def test_problems_and_unexpected_cells_come_first(red_run: Run) -> None:
    text = to_markdown(to_results(red_run))
    assert text.startswith("# Crosscheck: RED")
    assert "control fp32 never diverged" in text
    table = text[text.index("## Cells that are not identical") :].splitlines()
    assert "**no**" in table[4]


def test_five_thousand_failing_cells_stay_below_the_limit() -> None:
    def outcome(case: Case) -> Outcome:
        return usual_outcome(case) if case.precision == "fp32" else Outcome.CRASHED

    verdicts = make_grid(outcome, inputs=105)
    assert len(verdicts) > 5_000
    text = to_markdown(to_results(make_run(verdicts)))
    assert len(text) < LIMIT
    assert "4,595 more cells are left out" in text
    assert "more problems are left out" in text


def test_many_platforms_and_long_hostile_texts_stay_below_the_limit() -> None:
    hostile = "<script>|`&\\*" * 5_000
    cases = [
        Case(codec="c", quality=1, precision=f"w{p}", scope="decoder", lowering="l",
             encoder=f"platform-number-{e}", decoder=f"platform-number-{d}", input="i")
        for p in range(4) for e in range(40) for d in range(40)
    ]  # fmt: skip
    verdicts = [make_verdict(case, Outcome.CRASHED, message=hostile) for case in cases]
    run = replace(make_run(verdicts), suite=hostile, environments={hostile: {hostile: hostile}})
    run = replace(run, gate=Gate(exit_code=1, problems=(hostile,) * 1_000))
    text = to_markdown(to_results(run))
    assert len(text.encode()) < LIMIT
    assert "Left out here for length" in text
    assert "<script>" not in text.replace(f"`{hostile[:240]}", "").split("```")[0].split("`")[0]


def test_tables_survive_hostile_text() -> None:
    verdict = make_verdict(make_case("w8a8"), Outcome.CRASHED, message="a | b\n<b>c</b> `d`")
    text = to_markdown(to_results(make_run([verdict])))
    assert "a \\| b &lt;b&gt;c&lt;/b&gt; \\`d\\`" in text


def test_empty_run_is_a_short_red_summary() -> None:
    text = to_markdown(to_results(make_run([])))
    assert text.startswith("# Crosscheck: RED: no cell was run")
    assert "no cell ran" in text
