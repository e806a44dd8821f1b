import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError, UserError
from harness.report.json_results import dumps, load, to_results, without_timings
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_grid, make_panel, make_run, make_verdict

CELL_KEYS = {
    "case", "codec", "quality", "precision", "scope", "lowering", "encoder", "decoder", "input",
    "outcome", "severity", "expected", "as_expected", "reason", "message", "borrowed",
    "first_divergence", "first_gated_divergence", "compared", "bpp", "psnr",
    "psnr_decoder_vs_encoder", "pictures_identical", "seconds",
}  # fmt: skip
SUMMARY_KEYS = {
    "cells", "as_expected", "by_outcome", "compared_values", "exit_code", "problems", "kernels",
    "seconds", "platform_seconds", "interrupted",
}  # fmt: skip


def test_results_have_the_documented_keys(green_run: Run) -> None:
    found = json.loads(dumps(to_results(green_run)))
    assert set(found) == {"schema", "suite", "environment", "cells", "figures", "summary"}
    assert set(found["summary"]) == SUMMARY_KEYS
    assert all(set(cell) == CELL_KEYS for cell in found["cells"])
    assert [cell["case"] for cell in found["cells"]] == sorted(
        str(v.case) for v in green_run.verdicts
    )


def test_summary_counts_what_the_cells_say(green_run: Run) -> None:
    results = to_results(green_run)
    summary = results["summary"]
    assert (summary["cells"], summary["as_expected"], summary["exit_code"]) == (96, 96, 0)
    assert summary["by_outcome"]["undecodable"] == 24
    assert sum(summary["by_outcome"].values()) == 96
    cells = results["cells"]
    assert summary["compared_values"] == sum(
        tensor["values"] for cell in cells for tensor in cell["compared"].values()
    )


def test_load_gives_back_what_dumps_wrote(green_run: Run, tmp_path: Path) -> None:
    results = to_results(green_run)
    path = tmp_path / "results.json"
    path.write_text(dumps(results), encoding="utf-8")
    assert load(path) == results
    assert dumps(load(path)) == dumps(results)


def test_equal_results_give_equal_bytes_whatever_the_clock_and_the_order(green_run: Run) -> None:
    later = replace(
        green_run,
        verdicts=tuple(replace(v, seconds=9.75) for v in reversed(green_run.verdicts)),
        panels=tuple(reversed(green_run.panels)),
        environments={"other": {"machine": "elsewhere"}},
        seconds=99.0,
        platform_seconds=98.0,
    )
    first, second = to_results(green_run), to_results(later)
    assert dumps(first) != dumps(second)
    assert dumps(without_timings(first)) == dumps(without_timings(second))
    assert first["cells"][0]["seconds"] == 0.25, "without_timings must not change its argument"


@pytest.mark.parametrize(
    ("psnr", "written", "identical"),
    [(math.inf, None, True), (math.nan, None, False), (8.75, 8.75, False), (None, None, None)],
)
def test_json_has_no_infinity(
    psnr: float | None, written: float | None, identical: bool | None
) -> None:
    verdict = replace(make_verdict(make_case(), Outcome.DIVERGED), psnr_decoder_vs_encoder=psnr)
    text = dumps(to_results(make_run([verdict])))
    assert "NaN" not in text
    assert "Infinity" not in text
    cell = json.loads(text)["cells"][0]
    assert (cell["psnr_decoder_vs_encoder"], cell["pictures_identical"]) == (written, identical)


def test_text_is_written_as_it_is_with_one_line_a_cell() -> None:
    verdict = make_verdict(make_case(), Outcome.CRASHED, message='sägte "cells": [] \n ab')
    text = dumps(to_results(make_run([verdict])))
    assert "sägte" in text
    assert text.endswith("}\n")
    assert sum(line.startswith('    {"as_expected"') for line in text.splitlines()) == 1
    assert json.loads(text)["cells"][0]["message"] == verdict.message


def test_three_thousand_cells_stay_below_six_megabytes() -> None:
    verdicts = [v for n in range(63) for v in make_grid(lambda _: Outcome.DIVERGED, inputs=1)]
    assert len(verdicts) > 3_000
    assert len(dumps(to_results(make_run(verdicts))).encode()) < 6_000_000


def test_empty_run_round_trips(tmp_path: Path) -> None:
    results = to_results(make_run([]))
    assert results["summary"]["exit_code"] == 3
    (tmp_path / "r.json").write_text(dumps(results), encoding="utf-8")
    assert load(tmp_path / "r.json") == results


def test_panel_of_no_verdict_is_an_error() -> None:
    with pytest.raises(HarnessError, match="belongs to no verdict"):
        to_results(make_run([], [make_panel(make_case())]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[1]", "it has no schema"),
        ('{"schema": 99}', "has schema 99, this version reads 1"),
        ('{"schema": 1}', "damaged: results.suite: missing"),
        ('{"schema": 1, "suite": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_missing_and_undecodable_files_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read results"):
        load(tmp_path / "none.json")
    (tmp_path / "r.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match="is not JSON"):
        load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"outcome":"identical"', '"outcome":"fine"', "unknown word 'fine'"),
        ('"quality":3', '"quality":"3"', "quality: expected int, got str"),
        ('"name": "mbt', '"name": "../mbt', "is no figure's name"),
    ],
)
def test_damaged_results_are_refused(
    green_run: Run, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = dumps(to_results(green_run))
    assert old in text
    (tmp_path / "r.json").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "r.json")
