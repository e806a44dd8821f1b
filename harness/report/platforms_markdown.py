"""The published matrix of platforms as a page: a row a platform, from results.json alone."""

from collections.abc import Sequence

from harness.covered import ORDER_DEPENDENT
from harness.report.markdown import plain_text as _text
from harness.report.markdown import table_row as _row
from harness.report.platforms_table import (
    Column,
    Row,
    Tally,
    columns,
    default_columns,
    judgements,
    rows,
    uncovered_cells,
)
from harness.report.schema import Results
from harness.verdict import Outcome

# What a cell of the matrix and of the figure shows; letters, so that neither depends on colour.
LETTERS = {
    Outcome.IDENTICAL: "I",
    Outcome.DIVERGED: "D",
    Outcome.UNDECODABLE: "X",
    Outcome.UNSUPPORTED: "u",
    Outcome.FELL_BACK: "f",
    Outcome.UNAVAILABLE: "-",
    Outcome.CRASHED: "C",
    Outcome.TIMED_OUT: "T",
}
ABSENT, NOT_ASKED = "-", "."
BORROWED = "b"
WORDS = {
    "I": "identical: every gated tensor has the same bits",
    "D": "diverged: it decoded, but to something else",
    "X": "undecodable: the decoder's own check refused the stream",
    "u": "unsupported: the platform refuses this graph",
    "f": "fell back: its runtime would have left nodes to another device",
    "-": "the platform is not there: it never ran",
    NOT_ASKED: "not asked for",
    "C": "crashed",
    "T": "timed out",
    BORROWED: "runs no such network and borrowed it from another platform",
}
_BROKEN = {Outcome.DIVERGED, Outcome.UNDECODABLE}


def to_platforms_markdown(results: Results, figure: str) -> str:
    """The page; `figure` is where the matrix's picture lies beside it."""
    every = rows(results)
    machines = [row for row in every if not row.mistake and not row.absent]
    planted = [row for row in every if row.mistake and not row.absent]
    absent = [row for row in every if row.absent]
    sections = [
        _head(results, machines, planted, absent),
        f"![Platforms by precision and lowering]({figure})",
        _check(results, [*machines, *planted]),
        _measured("Each platform", results, machines),
        _lowerings(results, machines),
        _known(machines),
        _measured("Simulated machines with a planted mistake", results, planted),
        _absent(absent),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(
    results: Results, machines: Sequence[Row], planted: Sequence[Row], absent: Sequence[Row]
) -> str:
    encoder = ", ".join(sorted({cell["encoder"] for cell in results["cells"]})) or "nobody"
    pictures = ", ".join(sorted({cell["input"] for cell in results["cells"]}))
    codecs = ", ".join(sorted({f"{cell['codec']}/q{cell['quality']}" for cell in results["cells"]}))
    host = next(
        (r for r in results["environment"].values() if "cpu" in r and "emulator" not in r), {}
    )
    kernels = results["summary"]["kernels"]
    lines = [
        "# Platforms",
        "",
        f"`crosscheck run {_text(results['suite'])}`: {_text(encoder)} encodes, and each platform decodes; codec"
        f" {_text(codecs)}, picture {_text(pictures)}, scope hyperprior: what decides which symbols are decoded. Values are"
        " of all tensors that both ends have, compared bit for bit, without tolerance.",
        "",
        f"{len(machines)} platforms ran, and {len(planted)} simulated machines with a planted mistake;"
        f" {len(absent)} are not here. For one and the same stream they gave"
        f" {kernels['float_results']} different FP32 results; they have {kernels['integer_kernels']} different integer"
        f" kernels. Host: {_text(host.get('cpu', 'unknown'))} ({_text(host.get('cpu_flags', ''))}).",
    ]
    cuda = [row.platform for row in absent if row.platform.endswith("cuda")]
    if cuda:
        lines += [
            "",
            f"**CUDA was never run here**: no line of this page speaks of {', '.join(cuda)}.",
        ]
    return "\n".join(lines)


def _check(results: Results, ran: Sequence[Row]) -> str:
    """Whether what the linter calls exact is, and how often that was put to the test."""
    judged = judgements(results)
    exact = {name for name, each in judged.items() if each.verdict != ORDER_DEPENDENT}
    tallies = [
        (row, tally)
        for row in ran
        for column, tally in row.tallies.items()
        if not column.is_control and tally.outcome in {Outcome.IDENTICAL, *_BROKEN}
    ]
    broken = [(row, tally) for row, tally in tallies if tally.outcome in _BROKEN]
    missing = uncovered_cells(results)
    planted = sum(bool(row.mistake) for row, _ in broken)
    lines = [
        "## What the linter calls exact",
        "",
        f"The linter calls {len(exact)} of {len(judged)} graphs exact under the conditions it states. Platforms took"
        f" integer graphs {len(tallies)} times: {len(tallies) - len(broken)} are identical,"
        f" {len(broken) - planted - len(missing)} differ as the linter's table of deviations says of that runtime on"
        f" that graph, {planted} on simulated machines that make a mistake on purpose, and **{len(missing)} that"
        " nothing covers**.",
        *(["", *(f"- {_text(line)}" for line in missing)] if missing else []),
    ]
    return "\n".join(lines)


def _measured(title: str, results: Results, shown: Sequence[Row]) -> str:
    """Precisions in their default lowering."""
    if not shown:
        return ""
    chosen = default_columns(results)
    head = ["platform", "runtime", "where", *(column.precision for column in chosen)]
    lines = [f"## {title}", "", _row(head), _row(["---"] * len(head))]
    for row in shown:
        name = f"{_text(row.platform)}<br>{_text(row.mistake)}" if row.mistake else row.platform
        cells = [_words(row.tallies.get(column)) for column in chosen]
        lines.append(_row([name, _text(row.runtime), _text(row.where), *cells]))
    return "\n".join(lines)


def _words(tally: Tally | None) -> str:
    if tally is None:
        return "not run"
    if tally.borrowed:
        return "borrowed"
    if tally.outcome not in {Outcome.IDENTICAL, *_BROKEN}:
        return f"{tally.outcome.value}: {_text(_short(tally.message))}"
    if tally.outcome is Outcome.IDENTICAL and not tally.differing:
        return f"**identical**: {tally.values:,} values"
    if tally.outcome is Outcome.IDENTICAL:
        return (
            f"**identical** in all that is gated; {tally.differing:,} of {tally.values:,} values differ"
            f" ({tally.bits:,} bits)"
        )
    flips = f"{tally.flips:,} index flip{'' if tally.flips == 1 else 's'}"
    return (
        f"**{tally.outcome.value}**: {tally.differing:,} of {tally.values:,} values"
        f" ({tally.bits:,} bits), {flips}"
    )


def _short(message: str) -> str:
    """The reason alone: the row names the platform."""
    return message.split(": ", 1)[-1][:100]


def letter(row: Row, column: Column) -> str:
    """The sign of one cell of the matrix: `*` marks a divergence that is known beforehand."""
    tally = row.tallies.get(column)
    if tally is None:
        return ABSENT if row.absent else NOT_ASKED
    if tally.borrowed:
        return BORROWED
    mark = "*" if tally.outcome in _BROKEN and tally.known and not column.is_control else ""
    return LETTERS[tally.outcome] + mark


def _lowerings(results: Results, shown: Sequence[Row]) -> str:
    chosen = [column for column in columns(results) if not column.is_control]
    head = ["platform", *(f"{column.precision}<br>{column.lowering}" for column in chosen)]
    lines = ["## Every integer lowering", "", _row(head), _row(["---"] * len(head))]
    used: set[str] = set()
    for row in shown:
        letters = [letter(row, column) for column in chosen]
        used |= {sign[0] for sign in letters}
        lines.append(_row([row.platform, *(sign.replace("*", r"\*") for sign in letters)]))
    legend = [f"{sign} {WORDS[sign]}" for sign in WORDS if sign in used]
    return "\n".join([*lines, "", f"{'; '.join(legend)}; \\* as the linter's table says."])


def _known(shown: Sequence[Row]) -> str:
    """Each divergence of an integer graph and the rules that foresee it."""
    found = [
        _row([
            row.platform, f"{column.precision} {column.lowering}", _words(tally),
            ", ".join(f"`{rule}`" for rule in tally.known) or "**none**",
        ])
        for row in shown
        for column, tally in row.tallies.items()
        if not column.is_control and tally.outcome in _BROKEN
    ]  # fmt: skip
    if not found:
        return ""
    head = ["platform", "graph", "result", "rules of `crosscheck lint --rules`"]
    return "\n".join(
        ["## Known deviations that were seen", "", _row(head), _row(["---"] * 4), *found]
    )


def _absent(shown: Sequence[Row]) -> str:
    if not shown:
        return ""
    lines = [_row([row.platform, _text(row.absent)]) for row in shown]
    head = [_row(["platform", "why, and what would bring it"]), _row(["---", "---"])]
    return "\n".join(["## Not here", "", *head, *lines])
