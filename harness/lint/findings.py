"""What the linter says: a finding a node, a report a file. Plain frozen values; `formats` turns them into text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a finding takes from exactness, worst first.

    `inexact`: two conforming runtimes may give different bits. `condition`: exact if the runtime does what is stated.
    `deviation`: a named runtime is known not to conform here. `note`: exactness is untouched.
    """

    INEXACT = "inexact"
    CONDITION = "condition"
    DEVIATION = "deviation"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Level).index(self)

    def at_least(self, other: "Level") -> bool:
        """As bad as `other`, or worse.

        >>> Level.INEXACT.at_least(Level.NOTE), Level.NOTE.at_least(Level.CONDITION)
        (True, False)
        """
        return self.rank <= other.rank


class Verdict(Enum):
    """`exact`: one result on every runtime that conforms to ONNX, and no known runtime deviates."""

    EXACT = "exact"
    CONDITIONAL = "exact under stated conditions"
    ORDER_DEPENDENT = "order-dependent"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One hazard at one node.

    `node` is the path of the node, the calls of model-local functions that it lies in first; `call` is those calls
    alone. `bound` is the value that proves the hazard and `limit` what it would have to keep to, where both are
    numbers. `runtime` names who deviates, "" where any conforming runtime may.
    """

    rule: str
    level: Level
    node: str
    operator: str
    call: str
    output: str
    message: str
    remedy: str
    bound: float | None = None
    limit: float | None = None
    runtime: str = ""


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of the graph and the values it was taken to hold."""

    name: str
    kind: str
    shape: tuple[int | str, ...] | None
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """One file judged. `nodes` counts those that reach an output, function bodies included; `dead` those that do not."""

    model: str
    sha256: str
    inputs: tuple[Input, ...]
    findings: tuple[Finding, ...]
    assumptions: tuple[str, ...]
    operators: Mapping[str, int]
    nodes: int
    dead: int

    @property
    def verdict(self) -> Verdict:
        levels = {finding.level for finding in self.findings}
        if Level.INEXACT in levels:
            return Verdict.ORDER_DEPENDENT
        if levels & {Level.CONDITION, Level.DEVIATION}:
            return Verdict.CONDITIONAL
        return Verdict.EXACT

    def at_level(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is level)

    def failures(self, fail_on: Sequence[Level | str]) -> tuple[Finding, ...]:
        """Findings at or above any of the levels named, or of a rule named."""
        return tuple(
            finding
            for finding in self.findings
            if any(
                finding.level.at_least(wanted)
                if isinstance(wanted, Level)
                else finding.rule == wanted
                for wanted in fail_on
            )
        )
