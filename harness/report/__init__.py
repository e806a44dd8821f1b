"""Results to files: JSON is the result, every other report is a pure function of it."""

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UserError
from harness.files import write_file
from harness.report.captions import figure_name
from harness.report.figures import matrix_figure, panel_figure
from harness.report.html import to_html
from harness.report.json_results import dumps, load, to_results, without_timings
from harness.report.junit import to_junit
from harness.report.markdown import to_markdown
from harness.report.platforms_figure import platforms_figure
from harness.report.platforms_markdown import to_platforms_markdown
from harness.report.sarif import to_sarif
from harness.report.schema import Results
from harness.results import Run

__all__ = [
    "Results",
    "load",
    "make_figures",
    "read_figures",
    "to_results",
    "without_timings",
    "write_reports",
]

MATRIX = "matrix"
# The page of a run that asked the linter, and its figure.
PLATFORMS = "platforms"


def make_figures(run: Run, results: Results) -> dict[str, bytes]:
    """Every figure of `run` by name: one a panel, the matrix of all precisions, and that of platforms."""
    verdicts = {verdict.case: verdict for verdict in run.verdicts}
    figures = {figure_name(p.case): panel_figure(p, verdicts[p.case]) for p in run.panels}
    figures |= {MATRIX: matrix_figure(results, ())}
    return figures | ({PLATFORMS: platforms_figure(results)} if "lint" in results else {})


def read_figures(results: Results, folder: Path) -> dict[str, bytes]:
    """The figures that an earlier `write_reports` left in `folder`, as far as they are there."""
    names = [*(figure["name"] for figure in results["figures"]), MATRIX, PLATFORMS]
    paths = {name: folder / "figures" / f"{name}.png" for name in names}
    try:
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
    except OSError as error:
        raise UserError(f"cannot read figures in {folder}: {error.strerror or error}") from error


def write_reports(results: Results, figures: Mapping[str, bytes], out: Path) -> tuple[Path, ...]:
    """Write every report below `out`, each file whole or not at all; returns the files written."""
    texts = {
        "results.json": dumps(results),
        "junit.xml": to_junit(results),
        "results.sarif": to_sarif(results),
        "summary.md": to_markdown(results),
        "index.html": to_html(results, figures),
    }
    if "lint" in results:
        texts[f"{PLATFORMS}.md"] = to_platforms_markdown(results, f"figures/{PLATFORMS}.png")
    # A lone surrogate (an undecodable file name) becomes its escape, which is JSON's own notation.
    files = {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}
    files |= {f"figures/{name}.png": data for name, data in figures.items()}
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = error.filename or out
        raise UserError(f"cannot write reports to {where}: {error.strerror or error}") from error
    for name, data in files.items():
        write_file(out / name, data)
    return tuple(out / name for name in files)
