"""Where named runtimes are known not to conform: one entry a deviation, with its source and the test that finds it.

Exactness is a claim about runtimes that conform to ONNX. Each entry here is a condition of its own on that claim, and
becomes a finding as bad as any when its runtime is named. "Measured" was run by this project; "documented" was read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from harness.lint.findings import Level
from harness.lint.rules import Rule, register
from harness.lint.site import Site
from harness.lint.values import Value


@dataclass(frozen=True, kw_only=True)
class Evidence:
    message: str
    bound: float | None = None
    limit: float | None = None


Check = Callable[[Site, list[Value]], Evidence | None]


@dataclass(frozen=True, kw_only=True)
class Deviation:
    rule: Rule
    check: Check


DEVIATIONS: dict[str, Deviation] = {}


def deviation(
    name: str, *runtimes: str, title: str, why: str, remedy: str, source: str
) -> Callable[[Check], Check]:
    """Register the check below it under a rule of its own."""

    def keep(check: Check) -> Check:
        rule = Rule(
            name=name,
            level=Level.DEVIATION,
            title=title,
            why=why,
            remedy=remedy,
            runtimes=runtimes,
            source=source,
        )
        DEVIATIONS[name] = Deviation(rule=register(rule), check=check)
        return check

    return keep


def runtimes() -> list[str]:
    return sorted({name for entry in DEVIATIONS.values() for name in entry.rule.runtimes})
