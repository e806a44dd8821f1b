"""Results as JSON and as CSV: sorted keys, no clock, nothing that depends on where they were written."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence

_SERIES = re.compile(r"\[\n[^\[\]{}\"]*\n *\]")


def to_json(results: object) -> str:
    """Indented, a list of numbers on one line."""
    indented = json.dumps(results, sort_keys=True, indent=2, allow_nan=False)
    return _SERIES.sub(_on_one_line, indented) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\n *", " ", found[0]).replace("[ ", "[", 1)[:-2] + "]"


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A line of titles, then a line a row; a column that a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rounded(value: float | None, digits: int = 6) -> float | None:
    return None if value is None else round(value, digits)
