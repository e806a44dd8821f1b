"""`pytest --crosscheck SUITE`: one test a cell of a suite, judged and worded as `crosscheck run` does.

pytest loads this file in every session of whoever has the package: nothing else is imported until the option is given.
With pytest-xdist every worker has platforms of its own, and the cells of one codec and picture go to one worker.
"""
# ruff: noqa: PLC0415

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.case import Case
    from harness.covered import Judgement
    from harness.group import Group
    from harness.suite import Expect, Suite
    from harness.verdict import Verdict

# What every report carries to where the whole session is judged, and into pytest's own JUnit file.
OUTCOME, PRECISION = "crosscheck_outcome", "crosscheck_precision"
COLLECTOR = "crosscheck"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("crosscheck", "bit-exactness of learned codecs between platforms")
    group.addoption(
        "--crosscheck",
        metavar="SUITE",
        help="Run the cells of this suite (default, or a TOML file of your own) as tests. Without paths, only those.",
    )
    group.addoption(
        "--crosscheck-case",
        metavar="PATTERN",
        default="*",
        help="Only cells whose name matches this pattern.",
    )
    group.addoption(
        "--crosscheck-add",
        metavar="PLATFORM",
        action="append",
        default=[],
        help="Require one more platform; may be repeated.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Cells that share work stay together, unless another way to distribute tests was asked for.

    A wrapper runs before pytest-xdist's own hook, which replaces "no".
    """
    if config.option.crosscheck and getattr(config.option, "dist", "") == "no":
        config.option.dist = "loadgroup"
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.crosscheck:
        return
    from harness.errors import HarnessError

    try:
        cells = Cells(config)
    except HarnessError as error:
        raise pytest.UsageError(f"--crosscheck: {error}") from error
    config.pluginmanager.register(cells, "crosscheck-cells")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


class Cells:
    """The suite of this session, and the platforms that it starts."""

    def __init__(self, config: pytest.Config) -> None:
        from harness import suite
        from harness.cells import Inputs
        from harness.errors import UserError
        from harness.executors.local import LocalExecutor
        from harness.library import Library, pictures
        from harness.platforms.base import PLATFORMS
        from harness.platforms.pool import Pool
        from harness.video.library import VideoLibrary, clips

        self.name: str = config.option.crosscheck
        added, pattern = config.option.crosscheck_add, config.option.crosscheck_case
        for platform in added:
            PLATFORMS[platform]  # unknown names end here
        self.suite: Suite = suite.load(self.name).with_platforms(added)
        library, available = Library(), pictures(None)
        videos = VideoLibrary()
        moving = clips(None) if any(block.clips for block in self.suite.blocks) else {}
        # Every platform, here or not: all workers must collect the same tests.
        self.cases: Mapping[Case, Expect] = self.suite.cases(
            codecs=library.names(),
            images=list(available),
            videos=videos.names(),
            clips=list(moving),
            platforms=(*self.suite.required, *self.suite.optional),
            pattern=pattern,
        )
        if not self.cases:
            raise UserError(f"no case of suite {self.name} matches {pattern!r}")
        self._inputs = Inputs(
            build=library.build, build_video=videos.build, pictures=available, clips=moving
        )
        self._pool = Pool()
        self._executor = LocalExecutor(self._pool, jobs=1)
        self._absent: dict[str, str] = {}
        self._judged: dict[str, Judgement] = {}
        self._current: tuple[tuple[Case, ...], Group] | None = None
        self._seen: Counter[tuple[str, str]] = Counter()
        self._problems: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """Scopes are read off the names: the mark for groups of pytest-xdist 3.8 has no effect under pytest 9.2."""
        if config.option.dist != "loadgroup":
            return None
        from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

        class ByCodecAndPicture(LoadGroupScheduling):  # type: ignore[misc]  # it has no types
            def _split_scope(self, nodeid: str) -> str:
                collector, _, name = nodeid.partition("::")
                if not collector.startswith(f"{COLLECTOR}:"):
                    return str(super()._split_scope(nodeid))
                codec, quality, *_, picture = name.split("/")
                return f"{codec}/{quality}/{picture}"

        return ByCodecAndPicture(config, log)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        items += session.genitems(CellCollector.from_parent(session, name=self.name, cells=self))

    def absent(self, case: "Case") -> str:
        """Which optional platform of a case cannot run here, why, and what would change that; empty if none."""
        from harness.executors.base import describe

        for platform in {case.encoder, case.decoder} - set(self.suite.required):
            if platform not in self._absent:
                found = describe(self._executor, platform)
                self._absent[platform] = (
                    f"{platform} is unavailable: {found['unavailable']}; {found['remedy']}"
                    if "unavailable" in found
                    else ""
                )
            if self._absent[platform]:
                return self._absent[platform]
        return ""

    def verdict(self, group: "tuple[Case, ...]", case: "Case") -> "Verdict":
        """Run one case; what its group shares is kept until a case of another group comes."""
        from harness.cells import LocalEnds
        from harness.group import Group, Work

        if self._current is None or self._current[0] != group:
            work = Work(
                cases=group,
                inputs=self._inputs,
                expectations=self.cases,
                reconstruct=self.suite.reconstruct,
            )
            self._current = group, Group(work, LocalEnds(self._pool, self._inputs))
        verdict, _ = self._current[1].cell(case)
        return self._by_the_linter(case, verdict) if self.suite.linted else verdict

    def _by_the_linter(self, case: "Case", verdict: "Verdict") -> "Verdict":
        """The verdict, judged by what the linter says of this case's graph and of the platforms at hand."""
        from harness import linted
        from harness.executors.base import describe

        if case.variant not in self._judged:
            self._judged |= linted.judgements([case], self._inputs.build)
        ends = {name: describe(self._executor, name) for name in (case.encoder, case.decoder)}
        expect = linted.expectations({case: self.cases[case]}, self._judged, ends)[case]
        return replace(verdict, expected=expect.outcome, reason=expect.reason)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        if report.when == "call" and OUTCOME in found:
            self._seen[str(found[PRECISION]), str(found[OUTCOME])] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What no single cell can say: that any ran, and that every control diverged somewhere."""
        if hasattr(session.config, "workerinput"):
            return  # a worker sees its own cells alone
        from harness.verdict import Outcome, unproven

        ran = {outcome.value for outcome in Outcome if outcome.ran}
        if self._seen and not any(outcome in ran for _, outcome in self._seen):
            self._problems.append("no cell ran")
        elif session.config.option.crosscheck_case == "*" and self._seen.total() == len(self.cases):
            ends = [(precision, Outcome(outcome)) for precision, outcome in self._seen.elements()]
            self._problems += unproven(ends, self.suite.must_diverge)
        if self._problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._problems:
            terminalreporter.write_line(f"crosscheck: {line}", red=True)

    def pytest_unconfigure(self) -> None:
        self._pool.__exit__(None, None, None)


class CellCollector(pytest.Collector):
    """All cells, those that share work side by side, in the same order in every process."""

    def __init__(self, *, name: str, parent: pytest.Session, cells: Cells) -> None:
        super().__init__(name=name, parent=parent, nodeid=f"{COLLECTOR}:{Path(name).stem}")
        self._cells = cells

    def collect(self) -> "Iterator[CellItem]":
        from harness.group import groups

        for group in groups(self._cells.cases):
            for case in group:
                item: CellItem = CellItem.from_parent(
                    self, name=str(case), case=case, group=group, cells=self._cells
                )
                yield item


class CellMismatch(Exception):
    """A cell that the gate would not let pass; the message is its block of lines."""


class CellItem(pytest.Item):
    """One cell."""

    def __init__(
        self,
        *,
        name: str,
        parent: CellCollector,
        case: "Case",
        group: "tuple[Case, ...]",
        cells: Cells,
    ) -> None:
        super().__init__(name=name, parent=parent)
        self._case = case
        self._group = group
        self._cells = cells

    def runtest(self) -> None:
        from harness.report.json_results import cell_result
        from harness.report.terminal import failure_block
        from harness.verdict import Outcome, problem

        self.user_properties.append((PRECISION, self._case.precision))
        if absent := self._cells.absent(self._case):
            self.user_properties.append((OUTCOME, Outcome.UNAVAILABLE.value))
            pytest.skip(absent)
        verdict = self._cells.verdict(self._group, self._case)
        self.user_properties.append((OUTCOME, verdict.outcome.value))
        if problem(verdict, self._cells.suite.required, self._cells.suite.refusing):
            raise CellMismatch("\n".join(failure_block(self._cells.name, cell_result(verdict))))
        if not verdict.outcome.ran:
            pytest.skip(verdict.message)

    def repr_failure(  # type: ignore[override]  # a block of lines stands for the traceback
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        if isinstance(excinfo.value, CellMismatch):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"crosscheck {self.name}"
