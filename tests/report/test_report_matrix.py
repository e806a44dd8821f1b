from dataclasses import replace

from rich.console import Console

from harness.report.headline import headline, statements
from harness.report.json_results import to_results
from harness.report.matrix import (
    MEANINGS,
    SYMBOLS,
    WORST_LAST,
    matrices,
    tensor_order,
    worst_first,
)
from harness.report.terminal import failure_lines, renderables
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_run, make_verdict


def printed(run: Run) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        for renderable in renderables(to_results(run)):
            console.print(renderable)
    return capture.get()


def test_every_outcome_has_a_rank_a_sign_and_a_meaning() -> None:
    assert set(WORST_LAST) == set(SYMBOLS) == set(MEANINGS) == set(Outcome)
    assert len(set(SYMBOLS.values())) == len(Outcome)


def test_cells_are_counted_where_they_belong() -> None:
    ends = [Outcome.IDENTICAL, Outcome.IDENTICAL, Outcome.DIVERGED, Outcome.UNDECODABLE]
    verdicts = [make_verdict(make_case("w8a8", name=f"i{n}"), end) for n, end in enumerate(ends)]
    verdicts.append(make_verdict(make_case("w8a8", decoder="ort-cpu"), Outcome.IDENTICAL))
    (matrix,) = matrices(to_results(make_run(verdicts)))
    assert (matrix.precision, matrix.encoders, matrix.decoders) == (
        "w8a8",
        ("ort-cpu",),
        ("ort-cpu", "torch"),
    )
    entry = matrix.entries["ort-cpu", "torch"]
    assert (entry.identical, entry.total, entry.undecodable, entry.unexpected) == (2, 4, 1, 2)
    assert entry.worst is Outcome.UNDECODABLE
    assert entry.label == "✗ 2/4*"
    assert entry.mismatches["indexes"] == (6, 4 * 49_152)
    assert matrix.entries["ort-cpu", "ort-cpu"].label == "✓ 1/1"
    assert matrix.total.total == 5


def test_controls_come_first_and_scopes_stay_apart(green_run: Run) -> None:
    found = matrices(to_results(green_run))
    assert [(m.precision, m.control) for m in found] == [
        ("fp32", True),
        ("w8a8-qdq", True),
        ("w8a8", False),
    ]
    case = make_case("w8a8")
    both = [case, replace(case, scope="decoder")]
    run = make_run([make_verdict(case, Outcome.IDENTICAL) for case in both])
    assert [m.scope for m in matrices(to_results(run))] == ["decoder", "hyperprior"]


def test_unexpected_cells_come_before_worse_expected_ones(red_run: Run) -> None:
    cells = worst_first(to_results(red_run)["cells"])
    expected = [cell["as_expected"] for cell in cells]
    assert expected == sorted(expected)
    assert not cells[0]["as_expected"]


def test_tensors_are_listed_in_coding_order() -> None:
    names = ["picture", "y_hat", "a_tap", "indexes", "z_symbols", "means_hat", "y_symbols"]
    assert tensor_order(names) == [
        "z_symbols", "means_hat", "indexes", "y_symbols", "y_hat", "a_tap", "picture",
    ]  # fmt: skip


def test_headline_says_green_or_red(green_run: Run, red_run: Run) -> None:
    assert headline(to_results(green_run)) == "GREEN: 96 of 96 cells are as expected"
    assert headline(to_results(red_run)).startswith("RED: ")
    assert headline(to_results(replace(green_run, interrupted=True))).startswith("INTERRUPTED")
    assert headline(to_results(make_run([]))) == "RED: no cell was run"


def test_statements_say_what_held_and_what_broke(green_run: Run) -> None:
    fp32, qdq, integer, kernels = statements(to_results(green_run))
    assert "24 of 32 cells are not identical (all of these undecodable)" in fp32
    assert "24 of 32 cells are not identical over" in qdq
    assert "all 32 cells that ran are identical over 4 encoders x 4 decoders" in integer
    assert "3 different FP32 results" in kernels


def test_failure_lines_are_the_start_of_the_debugging_session(red_run: Run) -> None:
    lines = failure_lines(to_results(red_run))
    start = lines.index("DIVERGED mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/picture0")
    assert lines[start + 1 : start + 4] == [
        "  means_hat[0, 17, 3, 9]: expected -5, got -4"
        " (20112 of 49152 differ; 3 earlier tensors identical)",
        "  expected: identical (integer only)",
        "  repeat: crosscheck run default --case"
        " 'mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/picture0'",
    ]
    assert failure_lines(to_results(red_run), most=1)[-1].startswith("... and ")


def test_green_run_has_no_failure_lines(green_run: Run) -> None:
    assert failure_lines(to_results(green_run)) == []


def test_terminal_shows_matrices_legend_and_verdict(green_run: Run) -> None:
    text = printed(green_run)
    assert "w8a8-qdq (hyperprior scope, control)" in text
    assert "✗0/2" in text
    assert "✓2/2" in text
    assert text.rstrip().endswith("GREEN: 96 of 96 cells are as expected")


def test_terminal_takes_brackets_literally_and_survives_an_empty_run() -> None:
    run = replace(make_run([]), suite="[bold]x[/]")
    assert "RED: no cell was run" in printed(run)
    verdict = make_verdict(make_case(decoder="ort-cpu", encoder="torch"), Outcome.DIVERGED)
    assert "decoders: 1 ort-cpu" in printed(make_run([verdict]))
