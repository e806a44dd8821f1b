"""From a comparison to a verdict: outcome, severity, expectation, gate. Knows nothing of how traces are made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from harness.case import Case
from harness.compare import Comparison, Divergence


class Outcome(Enum):
    """Every way a cell can end; exactly one is good."""

    IDENTICAL = "identical"
    DIVERGED = "diverged"  # decoded, and a gated tensor differs
    UNDECODABLE = "undecodable"  # the decoder's own hash or CRC check fails, or it crashes
    FELL_BACK = "fell back"  # it ran, but not where it was asked to
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"

    @property
    def ok(self) -> bool:
        return self is Outcome.IDENTICAL

    @property
    def ran(self) -> bool:
        """Whether both ends really ran, so that the cell says something about bits."""
        return self in {Outcome.IDENTICAL, Outcome.DIVERGED, Outcome.UNDECODABLE}


class Severity(Enum):
    """How bad it is, from nothing to a lost picture."""

    NONE = "none"
    ROUND_OFF = "round-off"  # floats differ, all gated tensors agree
    MEAN = "mean"  # a gated tensor differs, the indexes agree
    INDEX = "index"  # an index differs, the symbols agree
    DESYNC = "desync"  # the entropy decoder lost its place: symbols differ


class Expectation(Enum):
    IDENTICAL = "identical"
    DIVERGES = "diverges"
    INFORMATIONAL = "informational"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one case."""

    case: Case
    outcome: Outcome
    severity: Severity
    expected: Expectation
    reason: str
    comparison: Comparison | None = None
    borrowed: tuple[str, ...] = ()
    message: str = ""
    bpp: float | None = None
    psnr: float | None = None
    psnr_decoder_vs_encoder: float | None = None
    seconds: float = 0.0

    @property
    def as_expected(self) -> bool:
        match self.expected:
            case Expectation.IDENTICAL:
                return self.outcome.ok
            case Expectation.DIVERGES:
                return self.outcome in {Outcome.DIVERGED, Outcome.UNDECODABLE}
            case Expectation.INFORMATIONAL:
                return self.outcome.ran

    @property
    def first_divergence(self) -> Divergence | None:
        return self.comparison.first if self.comparison else None


def judge(comparison: Comparison, *, decodable: bool) -> tuple[Outcome, Severity]:
    """Outcome and severity of a cell both of whose ends ran."""
    differs = {name for name, tensor in comparison.tensors.items() if tensor.mismatched}
    if not decodable:
        outcome = Outcome.UNDECODABLE
    elif comparison.first_gated is not None:
        outcome = Outcome.DIVERGED
    else:
        outcome = Outcome.IDENTICAL
    if not differs and comparison.first is None:
        severity = Severity.NONE
    elif outcome is Outcome.IDENTICAL:
        severity = Severity.ROUND_OFF
    elif "y_symbols" in differs or "z_symbols" in differs:
        severity = Severity.DESYNC
    elif "indexes" in differs:
        severity = Severity.INDEX
    else:
        severity = Severity.MEAN
    return outcome, severity


# Such a cell says nothing of bits; whether that is a problem depends on who requires the platform.
LOST = frozenset({Outcome.FELL_BACK, Outcome.UNAVAILABLE})
# What a platform that may refuse graphs may end with.
REFUSED = LOST | {Outcome.UNSUPPORTED}


def problem(verdict: Verdict, required: Collection[str], may_refuse: Collection[str] = ()) -> str:
    """What the gate has against one cell, in one line; empty if nothing.

    Platforms of `may_refuse` need not run every graph: a cell of theirs that did not run is no fault.
    """
    case, outcome = verdict.case, verdict.outcome
    if outcome in REFUSED and {case.encoder, case.decoder} & set(may_refuse):
        return ""
    if outcome in LOST:
        needed = {case.encoder, case.decoder} & set(required)
        return f"{outcome.value}: {case}: {verdict.message}" if needed else ""
    if verdict.as_expected:
        return ""
    return f"{case}: expected {verdict.expected.value}, {outcome.value}"


def unproven(ends: Collection[tuple[str, Outcome]], must_diverge: Collection[str]) -> list[str]:
    """A line for each control precision of `must_diverge` that, of these (precision, outcome), never diverged."""
    diverged = {
        precision
        for precision, outcome in ends
        if outcome in {Outcome.DIVERGED, Outcome.UNDECODABLE}
    }
    return [
        f"control {precision} never diverged: this run proves nothing about it"
        for precision in sorted(must_diverge)
        if precision not in diverged
    ]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Red or green, and why. `exit_code` as documented: 0, 1, 3."""

    exit_code: int
    problems: tuple[str, ...]

    @property
    def green(self) -> bool:
        return self.exit_code == 0


def gate(
    verdicts: Sequence[Verdict],
    *,
    required: Collection[str],
    absent: Collection[str],
    must_diverge: Collection[str],
    may_refuse: Collection[str] = (),
    uncovered: Sequence[str] = (),
) -> Gate:
    """Judge a whole run.

    `required` platforms must have run (`absent` did not); every cell must be as expected, but for those that a
    platform of `may_refuse` did not run; each control precision of `must_diverge` must have diverged somewhere, or
    the run has shown nothing; and `uncovered` says what the linter's word does not cover.
    """
    missing = [
        f"required platform {name} did not run" for name in sorted(set(required) & set(absent))
    ]
    found = [
        (v.outcome in LOST, line) for v in verdicts if (line := problem(v, required, may_refuse))
    ]
    wrong = [line for is_lost, line in found if not is_lost]
    missing += [line for is_lost, line in found if is_lost]
    if not any(v.outcome.ran for v in verdicts):
        return Gate(exit_code=3, problems=(*wrong, *missing, "no cell ran"))
    wrong += uncovered
    wrong += unproven([(v.case.precision, v.outcome) for v in verdicts], must_diverge)
    exit_code = 1 if wrong else 3 if missing else 0
    return Gate(exit_code=exit_code, problems=(*wrong, *missing))
