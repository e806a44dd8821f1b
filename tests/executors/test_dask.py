"""A cluster on this machine: a real scheduler, workers as users start them, cells whose ends are on different workers."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness import pipeline
from harness.case import Case
from harness.cells import Failed, Inputs, decoder_runs, encoder_runs
from harness.cli import invoke
from harness.executors.base import Executor, describe
from harness.executors.local import LocalExecutor
from harness.library import Library, pictures
from harness.platforms.pool import Pool
from harness.report import to_results
from harness.report.json_results import dumps, without_timings
from harness.results import Run
from harness.suite import Block, Expect, Suite
from harness.verdict import Outcome, Verdict

distributed = pytest.importorskip(
    "distributed", reason="pip install 'codec-crosscheck[fleet]' (Dask's distributed)"
)
from harness.executors import dask as fleet  # noqa: E402 - needs what was just asked for

pytestmark = [pytest.mark.platform, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
CODEC = "mbt2018-mean/q1"
A, B, DSP, WRONG = "ort-cpu", "ort-cpu-noopt", "dsp-exact32", "dsp-floor"
# Two machines: both have A; B is on the second alone, the DSPs on the first.
FIRST, SECOND = (A, DSP, WRONG), (A, B)


@pytest.fixture
def cluster() -> Iterator[str]:
    if CODEC not in Library().names():
        pytest.skip("no codec ships yet: make fixtures")
    with distributed.LocalCluster(
        n_workers=0, processes=True, dashboard_address=None, protocol="tcp"
    ) as made:
        yield made.scheduler_address.removeprefix("tcp://")


class Machine:
    """A process of `crosscheck worker`, in a session of its own so that all of it can be killed."""

    def __init__(self, address: str, platforms: Sequence[str]) -> None:
        offered = [word for name in platforms for word in ("--platform", name)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from harness.cli import main; main()",
             "worker", f"dask://{address}", *offered],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )  # fmt: skip

    def offers(self) -> set[str]:
        """Waits until it is part of the cluster."""
        assert self.process.stdout is not None
        said = ""
        while not said.startswith("offers "):
            said = self.process.stdout.readline()
            assert said, "the worker ended"
        return set(said.removeprefix("offers ").strip().split(", "))

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def machines(cluster: str) -> Iterator[tuple[Machine, Machine]]:
    found = Machine(cluster, FIRST), Machine(cluster, SECOND)
    yield found
    for machine in found:
        machine.kill()


def suite(
    *required: str, images: Sequence[str] = ("rocket",), lowerings: Sequence[str] = ()
) -> Suite:
    return Suite(
        name="trial", summary="", scope="hyperprior", reconstruct=False,
        required=required, optional=(), must_diverge=(), expectations={},
        blocks=(
            Block(
                codecs=(CODEC,), precisions=("w8a8",), images=tuple(images), crop=64,
                encoders=(A, B), decoders=("*",), lowerings=tuple(lowerings),
            ),
        ),
    )  # fmt: skip


def execute(
    plan: Suite, executor: Executor, finished: "Finish | None" = None
) -> tuple[Run, Mapping[Case, Expect]]:
    available = pictures(None)
    environments, ready = pipeline.probe(plan, executor)
    cases = plan.cases(codecs=[CODEC], images=list(available), platforms=ready)
    done = pipeline.run_suite(
        plan,
        Inputs(build=Library().build, pictures=available),
        cases,
        executor,
        environments,
        controls=True,
        report=lambda _: None,
        finished=finished or (lambda _: None),
    )
    return done, cases


class Finish:
    """Counts the cells that are finished, and kills a machine after the first ones."""

    def __init__(self, victim: Machine) -> None:
        self.victim = victim
        self.seen: Counter[Case] = Counter()

    def __call__(self, verdicts: Sequence[Verdict]) -> None:
        self.victim.kill()
        self.seen.update(verdict.case for verdict in verdicts)


def test_a_fleet_of_two_machines(cluster: str, machines: tuple[Machine, Machine]) -> None:
    """One cluster for all questions: starting it is most of the time."""
    first, second = machines
    assert first.offers() == set(FIRST)
    assert second.offers() == set(SECOND)
    it_reports_what_one_machine_does(cluster, suite(A, B, DSP, WRONG), red={WRONG})
    it_reports_what_one_machine_does(cluster, suite(A, B, DSP, lowerings=["auto"]), red=set())
    what_no_worker_has_is_unavailable_with_its_remedy(cluster)
    a_worker_killed_in_mid_run_loses_no_cell(cluster, second)
    assert first.process.poll() is None


def it_reports_what_one_machine_does(cluster: str, plan: Suite, *, red: set[str]) -> None:
    """Also for cells whose ends are on different workers, for a divergence, for a lowering chosen there."""
    with fleet.DaskExecutor(cluster, jobs=2) as executor:
        there, cases = execute(plan, executor)
    with Pool() as pool:
        here, _ = execute(plan, LocalExecutor(pool, jobs=1))
    assert len(there.verdicts) == len(cases) == 2 * len(plan.required)
    one, other = (dumps(without_timings(to_results(run))) for run in (there, here))
    assert one == other
    assert there.gate.exit_code == int(bool(red))
    assert {v.case.decoder for v in there.verdicts if not v.as_expected} == red
    split = [v for v in there.verdicts if (v.case.encoder, v.case.decoder) == (B, DSP)]
    assert [v.outcome for v in split] == [Outcome.IDENTICAL]
    assert there.platform_seconds > 0
    assert set(there.environments) == set(plan.required)
    assert [there.environments[name]["workers"] for name in (A, B)] == ["2", "1"]
    for name, found in here.environments.items():
        assert there.environments[name].items() >= found.items()


def what_no_worker_has_is_unavailable_with_its_remedy(cluster: str) -> None:
    with fleet.DaskExecutor(cluster, jobs=1, patience=0) as executor:
        found = describe(executor, "torch")
        run, _ = execute(suite(A, "torch"), executor)
        # Each is there, but on no worker together: a simulated DSP cannot borrow over the network.
        apart = executor.ask(fleet.worker.encode, [DSP, B])()
    assert "no worker of crosscheck-" in found["unavailable"]
    assert f"crosscheck worker dask://{cluster} --platform torch" in found["remedy"]
    assert run.gate.problems == ("required platform torch did not run",)
    assert run.gate.exit_code == 3
    assert isinstance(apart, Failed)
    assert apart.outcome is Outcome.UNAVAILABLE
    assert f"offers {DSP} together with {B}" in apart.message
    assert f"--platform {DSP} --platform {B}" in apart.message


def a_worker_killed_in_mid_run_loses_no_cell(cluster: str, victim: Machine) -> None:
    plan = suite(A, B, DSP, images=("rocket", "coffee", "hopper", "chelsea"))
    finish = Finish(victim)
    with fleet.DaskExecutor(cluster, jobs=1, patience=3) as executor:
        run, cases = execute(plan, executor, finish)
    assert victim.process.poll() is not None
    # Every cell once, in the report and on the way there.
    assert [v.case for v in run.verdicts] == sorted(cases, key=str)
    assert finish.seen == Counter(cases.keys())
    for verdict in run.verdicts:
        if B not in {verdict.case.encoder, verdict.case.decoder}:
            # What both had went on with the one that is left.
            assert verdict.outcome is Outcome.IDENTICAL, verdict.message
        elif verdict.outcome is not Outcome.IDENTICAL:
            assert verdict.outcome is Outcome.UNAVAILABLE
            remedy = f"start `crosscheck worker dask://{cluster} --platform {B}` on a machine"
            assert remedy in verdict.message
    lost = [v for v in run.verdicts if v.outcome is Outcome.UNAVAILABLE]
    assert lost
    assert run.gate.exit_code == 3
    assert any(str(lost[0].case) in problem for problem in run.gate.problems)


def test_a_scheduler_that_is_gone_is_said_for_every_cell() -> None:
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as made:
        address = made.scheduler_address.removeprefix("tcp://")
        executor = fleet.DaskExecutor(address, jobs=1)
    with executor:
        for _ in range(2):
            lost = executor.ask(fleet.worker.encode, [A])()
            assert isinstance(lost, Failed)
            assert lost.outcome is Outcome.UNAVAILABLE
            assert lost.message.startswith(f"the Dask scheduler at dask://{address} is gone")
    ended = executor.ask(fleet.worker.encode, [A])()
    assert isinstance(ended, Failed)


def test_an_end_needs_the_platform_it_borrows_from() -> None:
    (case,) = suite(A).cases(codecs=[CODEC], images=["rocket"], platforms=[A])
    assert fleet.placed(case, A, encoder_runs(case)) == [A]
    assert fleet.placed(case, DSP, encoder_runs(case)) == [DSP, A]
    assert fleet.placed(case, DSP, decoder_runs(case)) == [DSP, A]
    assert fleet.placed(case, DSP, ["h_s"]) == [DSP]
    assert fleet.placed(replace(case, precision="fp32"), DSP, ["h_s"]) == [DSP]


def test_no_scheduler_is_one_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["run", "default", "--out", str(tmp_path), "--executor"]
    assert invoke([*arguments, "dask://127.0.0.1:9"]) == 3
    assert invoke([*arguments, "127.0.0.1:8786"]) == 2
    assert invoke([*arguments, "cloud"]) == 2
    assert invoke(["worker", "cloud"]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 4
    assert re.match(r"crosscheck: platform 'dask://127.0.0.1:9' is unavailable: no Dask", lines[0])
    assert "dask://HOST:PORT" in lines[1]
    assert not list(tmp_path.iterdir())
