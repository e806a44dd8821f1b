"""results.json as summary.md: for a CI job's page or a comment, so always short."""

from collections.abc import Sequence

from harness.report.headline import headline, statements
from harness.report.matrix import (
    MEANINGS,
    SYMBOLS,
    UNEXPECTED,
    Matrix,
    divergence_line,
    ends,
    matrices,
    repeat_command,
    worst_first,
)
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

LIMIT = 60_000  # GitHub cuts comments at 65 536 characters; counted in UTF-8 bytes here
_MOST_PROBLEMS = 15
_MOST_CELLS = 25
_EXAMPLES = 4  # of each precision
_LONGEST_TEXT = 240
_ROOM_FOR_NOTES = 1_000


def to_markdown(results: Results) -> str:
    """The summary. Sections that would not fit are left out, and the last line says which."""
    kept, left_out = [_verdict(results), _problems(results), _repeat(results)], []
    size = sum(map(_size, kept))
    details = [
        *((f"matrix {matrix.title}", _matrix(matrix)) for matrix in matrices(results)),
        ("divergences", _divergences(results)),
        ("platforms", _platforms(results)),
    ]
    tail = kept.pop()
    for name, section in details:
        if size + _size(section) > LIMIT - _ROOM_FOR_NOTES:
            left_out.append(name)
        else:
            kept.append(section)
            size += _size(section)
    kept.append(tail)
    if left_out:
        names = plain_text(", ".join(left_out))
        kept.append(f"_Left out here for length ({len(left_out)}): {names}; see index.html._")
    return "\n\n".join(section for section in kept if section) + "\n"


def _size(section: str) -> int:
    return len(section.encode("utf-8", "backslashreplace")) + 2


def _verdict(results: Results) -> str:
    counts = [f"{SYMBOLS[end]} {end.value} {count:,}" for end, count in ends(results)]
    lines = [
        f"# Crosscheck: {plain_text(headline(results))}",
        f"Suite `{_code(results['suite'])}`: every cell encodes on one platform and decodes on"
        " another, and compares the two bit for bit.",
        *_shown(
            [f"- {plain_text(line)}" for line in statements(results)], _MOST_PROBLEMS, "statement"
        ),
    ]
    values = f"{results['summary']['compared_values']:,} values compared"
    lines.append("**" + " · ".join([*counts, values]) + "**")
    return "\n\n".join((*lines[:2], "\n".join(lines[2:-1]), lines[-1]))


def _problems(results: Results) -> str:
    problems = results["summary"]["problems"]
    if not problems:
        return ""
    shown = _shown([f"- {plain_text(line)}" for line in problems], _MOST_PROBLEMS, "problem")
    return "\n".join(["## Problems", "", *shown])


def _shown(lines: Sequence[str], most: int, noun: str) -> list[str]:
    """The first `most` lines, and a line that says how many more there are."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[:most], f"- ... {len(lines) - most:,} more {noun}s are left out, see index.html"]


def _matrix(matrix: Matrix) -> str:
    lines = [
        f"## {plain_text(matrix.title)}",
        "",
        "Encode on row, decode on column.",
        "",
        table_row(["encoder \\ decoder", *map(plain_text, matrix.decoders)]),
        table_row(["---"] * (len(matrix.decoders) + 1)),
    ]
    used: set[Outcome] = set()
    for encoder in matrix.encoders:
        entries = [matrix.entries.get((encoder, decoder)) for decoder in matrix.decoders]
        lines.append(
            table_row([plain_text(encoder), *(entry.label if entry else "" for entry in entries)])
        )
        used |= {entry.worst for entry in entries if entry}
    legend = [f"{SYMBOLS[outcome]} {MEANINGS[outcome]}" for outcome in Outcome if outcome in used]
    if any(entry.unexpected for entry in matrix.entries.values()):
        legend.append(f"\\{UNEXPECTED} not as expected")
    total = matrix.total
    notes = f"Sign of the worst cell, then identical/all cells. {' · '.join(legend)}."
    return "\n".join([*lines, "", notes, f"In total: {total.words}."])


def _divergences(results: Results) -> str:
    cells = worst_first(results["cells"])
    if not cells:
        return ""
    shown = _examples(cells)
    head = ["case", "outcome", "severity", "as expected", "first gated difference"]
    rows = [table_row(head), table_row(["---"] * len(head)), *map(_divergence, shown)]
    lines = [f"## Cells that are not identical ({len(cells):,})", "", *rows]
    if len(cells) > len(shown):
        lines += ["", f"{len(cells) - len(shown):,} more cells are left out here, see index.html."]
    return "\n".join(lines)


def _examples(cells: Sequence[CellResult]) -> list[CellResult]:
    """The worst unexpected cells, then of each precision a few expected ones of different pairs."""
    shown = [cell for cell in cells if not cell["as_expected"]][:_MOST_CELLS]
    pairs: dict[str, set[tuple[str, str]]] = {}
    for cell in cells:
        seen = pairs.setdefault(cell["precision"], set())
        pair = (cell["encoder"], cell["decoder"])
        if cell["as_expected"] and pair not in seen and len(seen) < _EXAMPLES:
            seen.add(pair)
            shown.append(cell)
    return shown[:_MOST_CELLS]


def _divergence(cell: CellResult) -> str:
    found = divergence_line(cell["first_gated_divergence"]) or cell["message"]
    return table_row(
        [
            f"`{_code(cell['case'])}`",
            cell["outcome"],
            cell["severity"],
            "yes" if cell["as_expected"] else "**no**",
            plain_text(found),
        ]
    )


def _platforms(results: Results) -> str:
    if not results["environment"]:
        return ""
    rows = [
        table_row(
            [
                plain_text(name),
                plain_text(", ".join(f"{key} {value}" for key, value in record.items())),
            ]
        )
        for name, record in results["environment"].items()
    ]
    return "\n".join(
        [
            "<details><summary>Platforms</summary>",
            "",
            table_row(["platform", "environment"]),
            table_row(["---", "---"]),
            *rows,
            "",
            "</details>",
        ]
    )


def _repeat(results: Results) -> str:
    bad = worst_first(results["cells"]) or results["cells"]
    case = bad[0]["case"] if bad else "*"
    command = " ".join(repeat_command(results["suite"], case).split())
    return f"## Repeat one case\n\n```\n{command.replace('```', '')[: _LONGEST_TEXT * 2]}\n```"


def table_row(parts: Sequence[str]) -> str:
    """One row of a markdown table; its parts are made harmless already."""
    return f"| {' | '.join(parts)} |"


def plain_text(text: str) -> str:
    """Any text as one harmless line of a table, not too long."""
    line = " ".join(text.split())
    if len(line) > _LONGEST_TEXT:
        line = f"{line[:_LONGEST_TEXT]}..."
    for sign, harmless in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;")):
        line = line.replace(sign, harmless)
    for sign in "|*_`[]#@":
        line = line.replace(sign, f"\\{sign}")
    return line


def _code(text: str) -> str:
    """Any text between backticks in a table."""
    line = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return line[:_LONGEST_TEXT]
