"""The whole order of a run: which platforms are there, every cell, the gate, the figures. Sees every stage.

Work is cached by content digest within a run, so P platforms cost about P runs, not P^2; nothing of an earlier run
is reused.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from harness.case import Case
from harness.cells import Inputs
from harness.covered import End, Judgement, uncovered
from harness.executors.base import Executor, describe
from harness.group import BROKEN, Work, groups
from harness.lowerings.base import default_lowering
from harness.results import Kernels, Panel, Run
from harness.suite import Expect, Suite
from harness.verdict import Verdict, gate

# The worst broken cells get figures, at most this many,
PANELS = 4
# and beside them the same pairs at the precision that is claimed to hold.
CLAIMED = "w8a8"


@dataclass(frozen=True, kw_only=True)
class Progress:
    done: int
    total: int
    now: str


def probe(suite: Suite, executor: Executor) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Environments of all platforms of the suite (or why they are unavailable), and the names that can run."""
    names = (*suite.required, *suite.optional)
    environments = {name: describe(executor, name) for name in names}
    return environments, [name for name in names if "unavailable" not in environments[name]]


def run_suite(
    suite: Suite,
    inputs: Inputs,
    cases: Mapping[Case, Expect],
    executor: Executor,
    environments: Mapping[str, Mapping[str, str]],
    *,
    controls: bool,
    judgements: Mapping[str, Judgement] | None = None,
    report: Callable[[Progress], None],
    finished: Callable[[Sequence[Verdict]], None],
) -> Run:
    """Run every case. An interrupt ends it early; what is finished by then is in the Run all the same.

    `controls`: whether the controls must diverge (a few chosen cells cannot promise that; the whole suite can).
    `judgements`: what the linter says of every variant, where the gate is to hold platforms to it.
    """
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    panels: list[Panel] = []
    distinct, interrupted = 0, False
    work = [
        Work(
            cases=group,
            inputs=inputs,
            expectations=cases,
            show=len(cases) == 1,
            reconstruct=suite.reconstruct or len(cases) == 1,
        )
        for group in groups(cases)
    ]
    try:
        with closing(executor.run(work)) as results:
            for done in results:
                verdicts += done.verdicts
                panels = _worst(verdicts, [*panels, *done.panels])
                distinct = max(distinct, done.float_results)
                finished(done.verdicts)
                now = str(done.verdicts[-1].case) if done.verdicts else ""
                report(Progress(done=len(verdicts), total=len(cases), now=now))
        with closing(executor.run(_companions(suite, inputs, panels))) as results:
            for done in results:
                verdicts += [v for v in done.verdicts if v.case not in cases]
                panels += done.panels
    except KeyboardInterrupt:
        interrupted = True
    absent = [name for name in suite.required if "unavailable" in environments[name]]
    ran = [environments[name] for name in environments if "unavailable" not in environments[name]]
    return Run(
        suite=suite.name,
        verdicts=tuple(sorted(verdicts, key=lambda v: str(v.case))),
        environments={
            name: {**found, **inputs.chooser.record(name)} for name, found in environments.items()
        },
        gate=gate(
            verdicts,
            required=suite.required,
            absent=absent,
            must_diverge=suite.must_diverge if controls and not interrupted else (),
            may_refuse=suite.refusing,
            uncovered=()
            if judgements is None
            else uncovered(map(_end, verdicts), judgements, environments),
        ),
        panels=tuple(panels),
        seconds=time.perf_counter() - began,
        platform_seconds=executor.seconds,
        kernels=Kernels(
            float_results=distinct,
            integer_kernels=len({e["integer_kernel"] for e in ran}),
            platforms=len(ran),
        ),
        interrupted=interrupted,
        judgements=judgements or {},
    )


def _end(verdict: Verdict) -> End:
    case = verdict.case
    return End(
        case=str(case),
        variant=case.variant,
        encoder=case.encoder,
        decoder=case.decoder,
        diverged=verdict.outcome.ran and not verdict.outcome.ok,
    )


def _worst(verdicts: Sequence[Verdict], panels: Sequence[Panel]) -> list[Panel]:
    """The broken panels to keep: the lowest PSNR between both ends first."""
    damage = {v.case: v.psnr_decoder_vs_encoder or 0.0 for v in verdicts}
    return sorted(panels, key=lambda p: (damage[p.case], str(p.case)))[:PANELS]


def _companions(suite: Suite, inputs: Inputs, panels: Sequence[Panel]) -> list[Work]:
    """The same codec, pair and picture as each broken panel, at the claimed precision."""
    cases = [
        replace(panel.case, precision=CLAIMED, lowering=default_lowering(CLAIMED))
        for panel in panels
        if panel.case.precision == BROKEN  # the one case that was asked for has its own panel
    ]
    return [
        Work(cases=(case,), inputs=inputs, expectations={case: suite.expect(case)}, show=True)
        for case in cases
    ]
