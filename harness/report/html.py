"""results.json as one self-contained page: it loads nothing and runs nothing but a filter."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from harness.report.headline import headline, statements
from harness.report.matrix import (
    MEANINGS,
    SYMBOLS,
    UNEXPECTED,
    Entry,
    Matrix,
    ends,
    evidence,
    matrices,
    repeat_command,
    tensor_order,
    worst_first,
)
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

_MOST_CELLS = 500
_MOST_PROBLEMS = 50
_MOST_PAIRS = 200
_LONGEST_TEXT = 400
_FIGURE_BYTES = 3_000_000  # embedded at most, before base64; what does not fit is linked


@dataclass(frozen=True, kw_only=True)
class _Picture:
    name: str
    caption: str
    case: str
    source: str


def to_html(results: Results, figures: Mapping[str, bytes]) -> str:
    """The page. `figures` are PNG files by their names in `results["figures"]`."""
    pictures = _pictures(results, figures)
    found = matrices(results)
    bad = worst_first(results["cells"])
    used = {entry.worst for matrix in found for entry in matrix.entries.values()}
    problems = [_short(line) for line in results["summary"]["problems"]]
    return _template().render(
        results=results,
        summary=results["summary"],
        headline=headline(results),
        green=results["summary"]["exit_code"] == 0 and not results["summary"]["interrupted"],
        statements=statements(results),
        problems=problems[:_MOST_PROBLEMS],
        problems_left=max(len(problems) - _MOST_PROBLEMS, 0),
        matrices=found,
        legend=[(o, SYMBOLS[o], MEANINGS[o]) for o in Outcome if o in used],
        unexpected=UNEXPECTED,
        symbols=SYMBOLS,
        tensors=[table for table in map(_tensors, found) if table["rows"]],
        pictures=pictures,
        cells=[_cell(results["suite"], cell) for cell in bad[:_MOST_CELLS]],
        bad=len(bad),
        outcomes=sorted({cell["outcome"] for cell in bad[:_MOST_CELLS]}),
        precisions=sorted({cell["precision"] for cell in bad[:_MOST_CELLS]}),
        environments=results["environment"],
        ends=ends(results),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["slug"] = lambda text: text.replace(" ", "-")
    return environment.get_template("index.html.j2")


def _pictures(results: Results, figures: Mapping[str, bytes]) -> list[_Picture]:
    """The figures of these results that are there, embedded while they fit."""
    found: list[_Picture] = []
    room = _FIGURE_BYTES
    for figure in results["figures"]:
        data = figures.get(figure["name"])
        if data is None:
            continue
        room -= len(data)
        found.append(
            _Picture(
                name=figure["name"],
                caption=figure["caption"],
                case=figure["case"],
                source="data:image/png;base64," + base64.b64encode(data).decode("ascii")
                if room >= 0
                else f"figures/{figure['name']}.png",
            )
        )
    return found


def _tensors(matrix: Matrix) -> dict[str, object]:
    """Mismatched values per tensor and pair: the pairs that have any, those with most first."""
    names = tensor_order(name for entry in matrix.entries.values() for name in entry.mismatches)
    rows = [
        (pair, entry)
        for pair, entry in matrix.entries.items()
        if any(mismatched for mismatched, _ in entry.mismatches.values())
    ]
    return {
        "title": matrix.title,
        "names": names,
        "rows": [(pair, _counts(entry, names)) for pair, entry in rows[:_MOST_PAIRS]],
        "left": max(len(rows) - _MOST_PAIRS, 0),
        "clean": len(matrix.entries) - len(rows),
        "pairs": len(matrix.entries),
    }


def _counts(entry: Entry, names: list[str]) -> list[tuple[int, int, float]]:
    found = [entry.mismatches.get(name, (0, 0)) for name in names]
    return [(some, values, 100 * some / values if values else 0.0) for some, values in found]


def _cell(suite: str, cell: CellResult) -> dict[str, object]:
    return {
        "case": cell["case"],
        "precision": cell["precision"],
        "outcome": cell["outcome"],
        "sign": SYMBOLS[Outcome(cell["outcome"])],
        "severity": cell["severity"],
        "as_expected": cell["as_expected"],
        "reason": _short(cell["reason"]),
        "evidence": _short(evidence(cell)),
        "repeat": repeat_command(suite, cell["case"]),
    }


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
