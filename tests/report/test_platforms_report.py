"""The matrix of platforms: a row a platform, what no rule covers is said, and all of it from the results alone."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.case import Case
from harness.compare import Comparison
from harness.covered import Judgement
from harness.report import Results, load, make_figures, read_figures, to_results, write_reports
from harness.report.json_results import dumps
from harness.report.platforms_figure import platforms_figure
from harness.report.platforms_markdown import to_platforms_markdown
from harness.report.platforms_table import columns, rows, uncovered_cells
from harness.results import Run
from harness.verdict import Outcome, Verdict
from tests.report.report_runs import make_run, make_verdict

X86 = {"machine": "x86_64", "cpu": "a cpu", "cpu_flags": "avx2 avx512_vnni"}
THERE: Mapping[str, Mapping[str, str]] = {
    "ort-cpu": {"runtime": "onnxruntime 1.31.1", **X86},
    "ort-old": {"runtime": "onnxruntime 1.31.1", **X86, "cpu_flags": "avx2", "emulator": "QEMU 10"},
    "torch": {"runtime": "torch 2.13.0", "device": "cpu", **X86},
    "dsp-floor": {"runtime": "crosscheck simulated DSP", "rounding": "floor", **X86},
    "torch-cuda": {"unavailable": "no GPU | here", "remedy": "get one"},
}
FLOAT, QDQ = ("fp32", "float32"), ("w8a8-qdq", "qdq")
INTEGER = [("w8a8", "mmi-u8u8"), ("w8a8", "mmi-u8s8"), ("w16a16", "mmi-u8u8")]


def usual(decoder: str, precision: str, lowering: str) -> Outcome:
    if decoder == "ort-cpu":
        return Outcome.IDENTICAL
    if precision == "fp32":
        return Outcome.DIVERGED
    if precision == "w8a8-qdq":
        return Outcome.UNSUPPORTED
    broken = decoder == "dsp-floor" or (decoder, lowering) == ("ort-old", "mmi-u8s8")
    return Outcome.UNDECODABLE if broken else Outcome.IDENTICAL


def with_bits(verdict: Verdict) -> Verdict:
    """Two differing bits for every differing value."""
    comparison = verdict.comparison
    if comparison is None:
        return verdict
    tensors = {
        name: replace(tensor, differing_bits=2 * tensor.mismatched)
        for name, tensor in comparison.tensors.items()
    }
    made = Comparison(tensors=tensors, first=comparison.first, first_gated=comparison.first_gated)
    return replace(verdict, comparison=made)


def make(*changed: tuple[str, str, str]) -> Run:
    """A run of four platforms; `changed`: cells that diverge besides."""
    verdicts, judged = [], {}
    for precision, lowering in [FLOAT, QDQ, *INTEGER]:
        for decoder in [name for name, record in THERE.items() if "runtime" in record]:
            case = Case(
                codec="c", quality=1, precision=precision, scope="hyperprior", lowering=lowering,
                encoder="ort-cpu", decoder=decoder, input="x",
            )  # fmt: skip
            outcome = usual(decoder, precision, lowering)
            if (decoder, precision, lowering) in changed:
                outcome = Outcome.DIVERGED
            message = "platform p: no such | operator" if outcome is Outcome.UNSUPPORTED else ""
            verdict = replace(make_verdict(case, outcome, message=message), borrowed=())
            verdicts.append(with_bits(verdict))
            exact = (precision, lowering) in INTEGER
            judged[case.variant] = Judgement(
                verdict="exact under stated conditions" if exact else "order-dependent",
                deviations=(
                    {"pair-saturation": ("onnxruntime", "torch")} if lowering == "mmi-u8s8" else {}
                ),
            )
    return replace(make_run(verdicts), suite="platforms", environments=THERE, judgements=judged)


@pytest.fixture
def results() -> Results:
    return to_results(make())


def test_columns_are_controls_then_integer_precisions_by_width(results: Results) -> None:
    assert [(c.precision, c.lowering) for c in columns(results)] == [FLOAT, QDQ, *INTEGER]


def test_rows_are_machines_then_planted_mistakes_then_what_is_absent(results: Results) -> None:
    found = rows(results)
    assert [row.platform for row in found] == [
        "ort-cpu", "ort-old", "torch", "dsp-floor", "torch-cuda"
    ]  # fmt: skip
    assert found[1].where == "a cpu, QEMU 10"
    assert found[3].mistake == "rounding floor"
    assert found[4].absent == "no GPU | here; get one"
    assert found[4].tallies == {}


def test_page_has_counts_flips_and_reasons(results: Results) -> None:
    page = to_platforms_markdown(results, "p.png")
    lines = page.splitlines()
    row = next(line for line in lines if line.startswith("| torch | torch 2.13.0 | host |"))
    assert "**diverged**: 271,119 of 643,072 values (542,238 bits), 3 index flips" in row
    assert r"unsupported: no such \| operator" in row
    assert "**identical** in all that is gated; 150,000 of 643,072 values differ" in row
    same = next(line for line in lines if line.startswith("| ort-cpu | onnxruntime 1.31.1 |"))
    assert "**identical**: 643,072 values" in same
    assert "![Platforms by precision and lowering](p.png)" in page
    assert "| ort-old | I | X\\* | I |" in lines
    assert any("w8a8 mmi-u8s8" in line and "`pair-saturation`" in line for line in lines)
    assert "**CUDA was never run here**: no line of this page speaks of torch-cuda." in page
    assert r"| torch-cuda | no GPU \| here; get one |" in lines
    assert "**0 that nothing covers**" in page
    assert "8 are identical, 1 differ" in page


def test_what_was_not_asked_for_is_no_absence(results: Results) -> None:
    results["cells"] = [
        cell
        for cell in results["cells"]
        if (cell["decoder"], cell["lowering"]) != ("torch", "mmi-u8s8")
    ]
    assert "| torch | I | . | I |" in to_platforms_markdown(results, "p.png").splitlines()


def test_cuda_is_not_said_to_be_missing_where_it_ran(results: Results) -> None:
    del results["environment"]["torch-cuda"]
    assert "CUDA" not in to_platforms_markdown(results, "p.png")


@pytest.mark.parametrize(
    "planted", [("torch", "w8a8", "mmi-u8u8"), ("ort-old", "w16a16", "mmi-u8u8")]
)
def test_a_divergence_that_no_rule_covers_is_found(
    results: Results, planted: tuple[str, str, str]
) -> None:
    assert uncovered_cells(results) == []
    red = to_results(make(planted))
    (line,) = uncovered_cells(red)
    assert f"ort-cpu+{planted[0]}" in line
    page = to_platforms_markdown(red, "p.png")
    assert "**1 that nothing covers**" in page
    assert "**none**" in page


def test_results_without_the_linters_word_cover_nothing(results: Results) -> None:
    results["lint"] = {}
    assert len(uncovered_cells(results)) == len(results["cells"])


def test_page_and_figure_are_of_the_results_alone(results: Results, tmp_path: Path) -> None:
    run = make()
    written = write_reports(results, make_figures(run, results), tmp_path / "one")
    names = {str(path.relative_to(tmp_path / "one")) for path in written}
    assert {"platforms.md", "figures/platforms.png"} <= names
    again = load(tmp_path / "one" / "results.json")
    write_reports(again, read_figures(again, tmp_path / "one"), tmp_path / "two")
    for name in ("platforms.md", "figures/platforms.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert platforms_figure(again) == (tmp_path / "one" / "figures/platforms.png").read_bytes()


def test_other_runs_have_no_such_page(green_run: Run, tmp_path: Path) -> None:
    results = to_results(green_run)
    assert "lint" not in results
    written = write_reports(results, make_figures(green_run, results), tmp_path)
    assert "platforms.md" not in {path.name for path in written}


def test_results_of_before_the_linter_was_asked_still_load(
    results: Results, tmp_path: Path
) -> None:
    old = json.loads(dumps(results))
    del old["lint"]
    for cell in old["cells"]:
        for tensor in cell["compared"].values():
            del tensor["differing_bits"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(old))
    assert len(load(path)["cells"]) == len(results["cells"])


def test_the_figure_reads_without_colour(results: Results) -> None:
    """Grey levels of the fills differ, and the letters are there besides."""
    picture = Image.open(io.BytesIO(platforms_figure(results))).convert("L")
    assert picture.width > 500
    levels = {level for count, level in picture.getcolors(256) if count > 1000}
    assert len(levels) >= 4
