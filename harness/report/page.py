"""Pieces of a markdown page: tables, lists, and numbers as they stand in cells."""

from collections.abc import Mapping, Sequence

# What the cells that begin a line say.
Line = tuple[str, ...]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> str:
    """The first `words` columns are words and so are notes, the others numbers."""
    rule = [
        "---" if number < words or title == "note" else "---:" for number, title in enumerate(head)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def side_by_side(title: str, head: Line, cells: Mapping[tuple[Line, str], str]) -> str:
    """A section with a line for each of what `head` names and a column a name, of (line, column) -> cell.

    Only lines with two cells and more; empty where there is no such line.
    """
    columns = list(dict.fromkeys(column for _, column in cells))
    lines = list(dict.fromkeys(line for line, _ in cells))
    rows = [
        [*map(text, line), *(cells.get((line, column), "") for column in columns)]
        for line in lines
        if sum((line, column) in cells for column in columns) > 1
    ]
    names = [text(column) for column in columns]
    return f"## {title}\n\n{table([*head, *names], rows, words=len(head))}" if rows else ""


def listing(title: str, lines: Sequence[str]) -> str:
    """A section of one line each; empty without any."""
    return "\n".join([title, "", *(f"- {text(line)}" for line in lines)]) if lines else ""


def percent(value: float | None, error: float | None = None) -> str:
    """With its standard error, in the same unit, where it has one."""
    if value is None:
        return "none"
    return f"{value:+.3f} %" + ("" if error is None else f" ± {error:.3f}")


def text(anything: str) -> str:
    """One line that markdown leaves as it is."""
    plain = " ".join(anything.split()).replace("<", "&lt;").replace("|", "\\|")
    return plain.replace("*", "\\*").replace("_", "\\_")
