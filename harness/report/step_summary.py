"""The page that GitHub shows of a CI step: summary.md, cut to the room that is left of it."""

from harness.report.markdown import to_markdown
from harness.report.schema import Results

# GitHub shows nothing of a step whose summary is longer.
LIMIT = 2**20
_CUT = "\n\n_Cut here: no more room in this step's summary._\n"


def step_summary(results: Results, room: int = LIMIT) -> bytes:
    """The markdown in UTF-8, at most `room` bytes, cut at the end of a line; empty where not even the note fits."""
    whole = to_markdown(results).encode("utf-8", "backslashreplace")
    if len(whole) <= room:
        return whole
    note = _CUT.encode()
    lines = whole[: max(room - len(note), 0)].rpartition(b"\n")[0]
    return lines + note if lines else b""
