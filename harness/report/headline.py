"""The verdict of a run in plain words, for readers who have never seen the project."""

from harness.report.matrix import Entry, Matrix, matrices
from harness.report.schema import Results
from harness.verdict import Outcome

_NOTHING_RAN, _GOLDEN = 3, 4  # exit codes


def headline(results: Results) -> str:
    """One line: red or green, and how many cells say so."""
    summary = results["summary"]
    word = "GREEN" if summary["exit_code"] == 0 else "RED"
    if summary["interrupted"]:
        word = f"INTERRUPTED, {word} so far"
    return f"{word}: {_finding(results)}"


def _finding(results: Results) -> str:
    summary = results["summary"]
    cells, code = summary["cells"], summary["exit_code"]
    bad = cells - summary["as_expected"]
    if not cells:
        return "no cell was run"
    if code == 0:
        rest = ", the others could not run here" if bad else ""
        return f"{cells - bad:,} of {cells:,} cells are as expected{rest}"
    if code == _NOTHING_RAN:
        return f"a required platform is missing or nothing ran ({bad:,} of {cells:,} cells lost)"
    if code == _GOLDEN:
        return "a golden is missing or stale"
    if not bad:
        return f"all {cells:,} cells are as expected, but the gate is not"
    return f"{bad:,} of {cells:,} cells are not as expected"


def statements(results: Results) -> list[str]:
    """What the run showed: one sentence a matrix, then how different the platforms really were."""
    kernels = results["summary"]["kernels"]
    floats = (
        f" up to {_count(kernels['float_results'], 'different FP32 result')}"
        " for one and the same input, and"
    )
    return [
        *(_statement(matrix) + _pictures(results, matrix) for matrix in matrices(results)),
        f"{_count(kernels['platforms'], 'platform')} ran:{floats if kernels['float_results'] else ''}"
        f" {_count(kernels['integer_kernels'], 'different integer kernel')}.",
    ]


def _statement(matrix: Matrix) -> str:
    total = matrix.total
    pairs = f"{_count(len(matrix.encoders), 'encoder')} x {_count(len(matrix.decoders), 'decoder')}"
    ran = sum(count for outcome, count in total.outcomes.items() if outcome.ran)
    if not ran:
        return f"{matrix.title}: none of {_count(total.total, 'cell')} ran."
    rest = "" if ran == total.total else f" {total.total - ran:,} more did not run."
    if total.identical == ran:
        values = sum(values for _, values in total.mismatches.values())
        return (
            f"{matrix.title}: all {ran:,} cells that ran are identical over {pairs};"
            f" {values:,} values compared bit for bit.{rest}"
        )
    return f"{matrix.title}: {_broken(total, ran)} over {pairs}.{rest}"


def _pictures(results: Results, matrix: Matrix) -> str:
    """How many pictures were lost somewhere, if any were."""
    seen, lost = set(), set()
    for cell in results["cells"]:
        if (cell["precision"], cell["scope"]) == (matrix.precision, matrix.scope):
            seen.add(cell["input"])
            if cell["outcome"] == Outcome.UNDECODABLE.value:
                lost.add(cell["input"])
    if not lost:
        return ""
    return f" {len(lost):,} of {_count(len(seen), 'picture')} cannot be decoded on some pair."


def _broken(total: Entry, ran: int) -> str:
    lost = total.outcomes.get(Outcome.UNDECODABLE, 0)
    broken = ran - total.identical
    ends = f" ({'all' if lost == broken else f'{lost:,}'} of these undecodable)" if lost else ""
    return f"{broken:,} of {ran:,} cells are not identical{ends}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
