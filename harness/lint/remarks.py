"""What is no matter of ONNX at a node: deviations of runtimes, operators that a provider lacks, rare types."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.lint.deviations import DEVIATIONS
from harness.lint.findings import Level
from harness.lint.providers import Provider, lacks, without_kernel
from harness.lint.rules import FALLBACK, MISSING_KERNEL, RARE_TYPE, Rule
from harness.lint.site import MOVES, Site
from harness.lint.values import Value

# Types that back ends beyond the CPU often lack, where they have to compute in them.
RARE = {
    "bfloat16", "float64", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1", "int2",
    "int4", "int16", "uint2", "uint4", "uint16", "uint32", "uint64",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A finding in the making; without a level, the rule's own."""

    rule: Rule
    message: str
    level: Level | None = None
    bound: float | None = None
    limit: float | None = None
    runtime: str = ""


def remarks(
    site: Site, results: list[Value], providers: Sequence[Provider], runtimes: frozenset[str]
) -> Iterator[Remark]:
    for entry in DEVIATIONS.values():
        evidence = entry.check(site, results)
        if evidence is not None:
            named = runtimes & set(entry.rule.runtimes)
            yield Remark(
                rule=entry.rule,
                message=evidence.message,
                level=Level.INEXACT if named else None,
                bound=evidence.bound,
                limit=evidence.limit,
            )
    for provider in providers:
        if (reason := lacks(provider, site, results)) is not None:
            known = provider.source.partition(":")[0]
            yield Remark(rule=FALLBACK, message=f"{reason}; {known}", runtime=provider.name)
    if (reason := without_kernel(site, results)) is not None:
        yield Remark(rule=MISSING_KERNEL, message=reason)
    rare = sorted({value.kind.name for value in results if value.kind.name in RARE})
    if rare and site.operator not in MOVES:
        yield Remark(rule=RARE_TYPE, message=f"{site.operator} gives {', '.join(rare)}")
