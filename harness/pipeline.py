"""The whole order of a run: which platforms are there, every cell, the gate, the figures. Sees every stage.

Work is cached by content digest within a run, so P platforms cost about P runs, not P^2; nothing of an earlier run
is reused.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import groupby

from harness.case import Case
from harness.cells import BROKEN, Group, Inputs
from harness.errors import PlatformCrashed, PlatformTimedOut, PlatformUnavailable
from harness.lowerings.base import default_lowering
from harness.platforms.pool import Pool
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


def probe(suite: Suite, pool: Pool) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Environments of all platforms of the suite (or why they are unavailable), and the names that can run."""
    environments: dict[str, dict[str, str]] = {}
    ready = []
    for name in (*suite.required, *suite.optional):
        try:
            environments[name] = dict(pool.child(name).environment())
            ready.append(name)
        except PlatformUnavailable as error:
            environments[name] = {"unavailable": error.reason, "remedy": error.remedy}
        except (PlatformCrashed, PlatformTimedOut) as error:
            environments[name] = {"unavailable": str(error), "remedy": "run it alone to see why"}
    return environments, ready


def run_suite(
    suite: Suite,
    inputs: Inputs,
    cases: Mapping[Case, Expect],
    pool: Pool,
    environments: Mapping[str, Mapping[str, str]],
    *,
    jobs: int,
    controls: bool,
    report: Callable[[Progress], None],
    finished: Callable[[Sequence[Verdict]], None],
) -> Run:
    """Run every case. An interrupt ends it early; what is finished by then is in the Run all the same.

    `controls`: whether the controls must diverge (a few chosen cells cannot promise that; the whole suite can).
    """
    began = time.perf_counter()
    stop = threading.Event()
    verdicts: list[Verdict] = []
    panels: list[Panel] = []
    distinct, interrupted = 0, False
    groups = list(_groups(cases))
    executor = ThreadPoolExecutor(jobs)
    futures: dict[Future[tuple[list[Verdict], list[Panel], int]], list[Case]] = {}
    for group in groups:
        worker = Group(
            pool=pool,
            inputs=inputs,
            expectations=cases,
            stop=stop,
            show=len(cases) == 1,
            reconstruct=suite.reconstruct or len(cases) == 1,
        )
        futures[executor.submit(worker.run, group)] = group
    try:
        for future in as_completed(futures):
            done, worst, floats = future.result()
            del futures[future]
            verdicts += done
            panels = _worst(verdicts, panels + worst)
            distinct = max(distinct, floats)
            finished(done)
            report(
                Progress(
                    done=len(verdicts), total=len(cases), now=str(done[-1].case) if done else ""
                )
            )
        extra, companions = _companions(suite, inputs, pool, panels, stop)
        verdicts += [v for v in extra if v.case not in cases]
        panels += companions
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()
        executor.shutdown(wait=not interrupted, cancel_futures=True)
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
        ),
        panels=tuple(panels),
        seconds=time.perf_counter() - began,
        platform_seconds=pool.seconds,
        kernels=Kernels(
            float_results=distinct,
            integer_kernels=len({e["integer_kernel"] for e in ran}),
            platforms=len(ran),
        ),
        interrupted=interrupted,
    )


def _groups(cases: Mapping[Case, Expect]) -> Iterator[list[Case]]:
    def key(case: Case) -> tuple[str, int, str]:
        return case.codec, case.quality, case.input

    for _, group in groupby(sorted(cases, key=lambda c: (key(c), str(c))), key):
        yield list(group)


def _worst(verdicts: Sequence[Verdict], panels: Sequence[Panel]) -> list[Panel]:
    """The broken panels to keep: the lowest PSNR between both ends first."""
    damage = {v.case: v.psnr_decoder_vs_encoder or 0.0 for v in verdicts}
    return sorted(panels, key=lambda p: (damage[p.case], str(p.case)))[:PANELS]


def _companions(
    suite: Suite, inputs: Inputs, pool: Pool, panels: Sequence[Panel], stop: threading.Event
) -> tuple[list[Verdict], list[Panel]]:
    """The same codec, pair and picture as each broken panel, at the claimed precision."""
    verdicts, made = [], []
    for panel in panels:
        if panel.case.precision != BROKEN:
            continue  # the one case that was asked for has its own panel
        case = replace(panel.case, precision=CLAIMED, lowering=default_lowering(CLAIMED))
        expected = {case: suite.expect(case)}
        group = Group(pool=pool, inputs=inputs, expectations=expected, stop=stop, show=True)
        done, worst, _ = group.run([case])
        verdicts += done
        made += worst
    return verdicts, made
