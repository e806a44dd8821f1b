"""results.json for a terminal: renderables for rich, and the lines a failure is debugged from."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.headline import headline, statements
from harness.report.matrix import (
    MEANINGS,
    SYMBOLS,
    UNEXPECTED,
    Entry,
    Matrix,
    blamed,
    divergence_line,
    fails,
    matrices,
    repeat_command,
)
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

_STYLES: Mapping[Outcome, str] = {
    Outcome.IDENTICAL: "green",
    Outcome.DIVERGED: "yellow",
    Outcome.UNDECODABLE: "bold magenta",
}
_NOT_RUN = "dim"


def renderables(results: Results) -> list[RenderableType]:
    """Everything to print after a run, in order; the verdict is last, where the eye is."""
    found: list[RenderableType] = [matrix_table(matrix) for matrix in matrices(results)]
    if found:
        found.append(legend(results))
    found += [Text(f"- {line}") for line in statements(results)]
    return [*found, Text(headline(results), style=_headline_style(results))]


def matrix_table(matrix: Matrix) -> RenderableType:
    """Encode on row, decode on column; numbered columns let nine platforms fit in."""
    numbers = {decoder: str(number) for number, decoder in enumerate(matrix.decoders, 1)}
    table = Table(
        title=Text(matrix.title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("encode \\ decode", no_wrap=True)
    for decoder in matrix.decoders:
        table.add_column(numbers[decoder], justify="right", no_wrap=True)
    for encoder in matrix.encoders:
        row = [_entry(matrix.entries.get((encoder, decoder))) for decoder in matrix.decoders]
        number = f"{numbers[encoder]} " if encoder in numbers else ""
        table.add_row(Text(f"{number}{encoder}"), *row)
    if set(matrix.decoders) <= set(matrix.encoders):
        return table
    names = "  ".join(f"{number} {decoder}" for decoder, number in numbers.items())
    return Group(table, Text(f"decoders: {names}"))


def _entry(entry: Entry | None) -> Text:
    if entry is None:
        return Text("")
    style = _STYLES.get(entry.worst, _NOT_RUN)
    return Text(
        entry.label.replace(" ", ""), style=f"{style} reverse" if entry.unexpected else style
    )


def legend(results: Results) -> Text:
    """The signs that the matrices of these results use."""
    used = {entry.worst for matrix in matrices(results) for entry in matrix.entries.values()}
    lines = [f"{SYMBOLS[outcome]} {MEANINGS[outcome]}" for outcome in Outcome if outcome in used]
    lines.append(f"n/m: n of m cells identical; {UNEXPECTED} not as expected")
    return Text("\n".join(lines), style=_NOT_RUN)


def _headline_style(results: Results) -> str:
    good = results["summary"]["exit_code"] == 0 and not results["summary"]["interrupted"]
    return "bold green" if good else "bold red"


def failure_lines(results: Results, most: int = 20) -> list[str]:
    """For each cell that is a fault: what, where it differs first, how to repeat it."""
    named = blamed(results)
    cells = [cell for cell in results["cells"] if fails(cell, named)]
    lines = [line for cell in cells[:most] for line in failure_block(results["suite"], cell)]
    if len(cells) > most:
        lines.append(f"... and {len(cells) - most:,} more cells that are not as expected")
    return lines


def failure_block(suite: str, cell: CellResult) -> list[str]:
    """One cell: what became of it, where it differs first, what was expected, how to repeat it."""
    lines = [f"{cell['outcome'].upper()} {cell['case']}"]
    found = cell["first_gated_divergence"] or cell["first_divergence"]
    if found is not None:
        lines.append(f"  {divergence_line(found)}")
    if cell["message"]:
        lines.append(f"  {' '.join(cell['message'].split())}")
    lines.append(f"  expected: {cell['expected']}" + _because(cell["reason"]))
    return [*lines, f"  repeat: {repeat_command(suite, cell['case'])}"]


def _because(reason: str) -> str:
    return f" ({' '.join(reason.split())})" if reason else ""
