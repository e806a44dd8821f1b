"""Cells gathered into encoder x decoder matrices, and the words and signs every report shares."""

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.compare import Divergence
from harness.report.schema import CellResult, DivergenceResult, Results
from harness.verdict import REFUSED, Expectation, Outcome, Severity

# From good to bad. A lost picture outweighs a platform that did not run: that says nothing of bits.
WORST_LAST = (
    Outcome.IDENTICAL,
    Outcome.UNSUPPORTED,
    Outcome.UNAVAILABLE,
    Outcome.FELL_BACK,
    Outcome.TIMED_OUT,
    Outcome.CRASHED,
    Outcome.DIVERGED,
    Outcome.UNDECODABLE,
)
# Signs differ in shape, so that no report depends on colour.
SYMBOLS: Mapping[Outcome, str] = {
    Outcome.IDENTICAL: "✓",
    Outcome.DIVERGED: "≠",
    Outcome.UNDECODABLE: "✗",
    Outcome.FELL_BACK: "↩",
    Outcome.UNSUPPORTED: "∅",
    Outcome.UNAVAILABLE: "·",
    Outcome.CRASHED: "!",
    Outcome.TIMED_OUT: "…",
}
MEANINGS: Mapping[Outcome, str] = {
    Outcome.IDENTICAL: "identical: every gated tensor has the same bits",
    Outcome.DIVERGED: "diverged: it decoded, but to something else",
    Outcome.UNDECODABLE: "undecodable: the decoder's own check refused the stream",
    Outcome.FELL_BACK: "fell back: it ran elsewhere than asked",
    Outcome.UNSUPPORTED: "unsupported: the platform cannot run this graph",
    Outcome.UNAVAILABLE: "unavailable: the platform is not here",
    Outcome.CRASHED: "crashed",
    Outcome.TIMED_OUT: "timed out",
}
UNEXPECTED = "*"
SEVERITIES = tuple(severity.value for severity in Severity)
# Coding order; graph order is lost in sorted JSON.
TENSORS = ("z_symbols", "means_hat", "indexes", "y_symbols", "y_hat")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """All cells of one precision and scope that one platform encoded and another decoded."""

    outcomes: Mapping[Outcome, int]
    unexpected: int
    mismatches: Mapping[str, tuple[int, int]]  # tensor -> (mismatched, values), summed

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())

    @property
    def identical(self) -> int:
        return self.outcomes.get(Outcome.IDENTICAL, 0)

    @property
    def undecodable(self) -> int:
        return self.outcomes.get(Outcome.UNDECODABLE, 0)

    @property
    def worst(self) -> Outcome:
        return max(self.outcomes, key=WORST_LAST.index)

    @property
    def label(self) -> str:
        """Sign of the worst outcome, identical cells of all, and a mark if some are unexpected."""
        mark = UNEXPECTED if self.unexpected else ""
        return f"{SYMBOLS[self.worst]} {self.identical}/{self.total}{mark}"

    @property
    def words(self) -> str:
        """All counts in words, good ones first.

        >>> ends = {Outcome.DIVERGED: 2, Outcome.IDENTICAL: 1}
        >>> Entry(outcomes=ends, unexpected=0, mismatches={}).words
        '1 identical, 2 diverged'
        """
        parts = [f"{self.outcomes[o]} {o.value}" for o in WORST_LAST if self.outcomes.get(o)]
        if self.unexpected:
            parts.append(f"{self.unexpected} not as expected")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Encode on row, decode on column."""

    precision: str
    scope: str
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    entries: Mapping[tuple[str, str], Entry]
    control: bool

    @property
    def total(self) -> Entry:
        """All entries taken together."""
        return _merge(self.entries.values())

    @property
    def title(self) -> str:
        return f"{self.precision} ({self.scope} scope{', control' if self.control else ''})"


def matrices(results: Results) -> tuple[Matrix, ...]:
    """One matrix a precision and scope: first the controls, then what must hold."""
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for cell in results["cells"]:
        groups.setdefault((cell["precision"], cell["scope"]), []).append(cell)
    found = [_matrix(precision, scope, cells) for (precision, scope), cells in groups.items()]
    return tuple(
        sorted(found, key=lambda matrix: (not matrix.control, matrix.precision, matrix.scope))
    )


def _matrix(precision: str, scope: str, cells: Sequence[CellResult]) -> Matrix:
    pairs: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        pairs.setdefault((cell["encoder"], cell["decoder"]), []).append(cell)
    return Matrix(
        precision=precision,
        scope=scope,
        encoders=tuple(sorted({encoder for encoder, _ in pairs})),
        decoders=tuple(sorted({decoder for _, decoder in pairs})),
        entries={pair: _merge(map(_entry, found)) for pair, found in sorted(pairs.items())},
        control=any(cell["expected"] == Expectation.DIVERGES.value for cell in cells),
    )


def _entry(cell: CellResult) -> Entry:
    return Entry(
        outcomes={Outcome(cell["outcome"]): 1},
        unexpected=int(not cell["as_expected"]),
        mismatches={
            name: (tensor["mismatched"], tensor["values"])
            for name, tensor in cell["compared"].items()
        },
    )


def _merge(entries: Iterable[Entry]) -> Entry:
    outcomes: Counter[Outcome] = Counter()
    mismatches: dict[str, tuple[int, int]] = {}
    unexpected = 0
    for entry in entries:
        outcomes.update(entry.outcomes)
        unexpected += entry.unexpected
        for name, (mismatched, values) in entry.mismatches.items():
            before = mismatches.get(name, (0, 0))
            mismatches[name] = (before[0] + mismatched, before[1] + values)
    return Entry(outcomes=outcomes, unexpected=unexpected, mismatches=mismatches)


def ends(results: Results) -> list[tuple[Outcome, int]]:
    """How often each outcome happened, those that did, in the enum's order."""
    counts = results["summary"]["by_outcome"]
    return [(outcome, counts[outcome.value]) for outcome in Outcome if counts.get(outcome.value)]


def tensor_order(names: Iterable[str]) -> list[str]:
    """Tensors in coding order, then the others by name, the picture last."""

    def rank(name: str) -> tuple[int, str]:
        if name in TENSORS:
            return TENSORS.index(name), name
        return len(TENSORS) + (name == "picture"), name

    return sorted(set(names), key=rank)


def worst_first(cells: Iterable[CellResult]) -> list[CellResult]:
    """Cells that are not identical: unexpected ones first, then by severity, then by name."""
    good = Outcome.IDENTICAL.value
    bad = [cell for cell in cells if cell["outcome"] != good or not cell["as_expected"]]
    return sorted(
        bad, key=lambda c: (c["as_expected"], -SEVERITIES.index(c["severity"]), c["case"])
    )


def divergence_line(divergence: DivergenceResult | None) -> str:
    """The comparator's own sentence about its first difference; empty if there was none."""
    if divergence is None:
        return ""
    return str(
        Divergence(
            tensor=divergence["tensor"],
            kind=divergence["kind"],
            gated=divergence["gated"],
            index=tuple(divergence["index"]),
            expected=divergence["expected"],
            actual=divergence["actual"],
            mismatched=divergence["mismatched"],
            values=divergence["values"],
            identical_before=divergence["identical_before"],
        )
    )


def evidence(cell: CellResult) -> str:
    """What is wrong with a cell, in one line: the gated divergence, the message, or the words."""
    gated = divergence_line(cell["first_gated_divergence"])
    parts = [part for part in (gated, " ".join(cell["message"].split())) if part]
    if not parts or (cell["outcome"] == Outcome.IDENTICAL.value and not cell["as_expected"]):
        words = f"expected {cell['expected']}, {cell['outcome']}"
        parts.append(f"{words}: {cell['reason']}" if cell["reason"] else words)
    return "; ".join(parts)


def blamed(results: Results) -> frozenset[str]:
    """The cases that a problem of the gate names: it reads "case: ..." or "outcome: case: ..."."""
    problems = results["summary"]["problems"]
    return frozenset(part for problem in problems for part in problem.split(": ")[:2])


def fails(cell: CellResult, named: Collection[str]) -> bool:
    """Whether a cell is a fault: not as expected, and no absence that the gate (which names cases) lets pass."""
    refused = Outcome(cell["outcome"]) in REFUSED
    return not cell["as_expected"] and (not refused or cell["case"] in named)


def repeat_command(suite: str, case: str) -> str:
    """The command that runs one case again.

    >>> repeat_command("default", "a/b")
    "crosscheck run default --case 'a/b'"
    """
    quoted = case.replace("'", "'\"'\"'")
    return f"crosscheck run {shlex.quote(suite)} --case '{quoted}'"
