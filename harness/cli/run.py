"""`crosscheck run` and `crosscheck report`: the gate and its evidence."""
# ruff: noqa: PLC0415

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import (
    Calibrate,
    Checkpoint,
    FamilyName,
    Pretrained,
    Quality,
    app,
    console,
    open_library,
    progress_bar,
    split_codec,
)
from harness.cli.fleet import address_of
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.executors.base import Executor
    from harness.library import Library
    from harness.pipeline import Progress as Step
    from harness.report import Results
    from harness.results import Run
    from harness.verdict import Verdict

LOCAL = "local"
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder of the report; default reports/SUITE.")
]


@app.command(
    epilog="""Examples:

- `crosscheck run` - the default suite, on the codecs and images that ship
- `crosscheck run default --case '*/w8a8/*/ort-cpu+torch/*'` - some cells of it
- `crosscheck run --images photos --checkpoint mine.pth` - your pictures and your weights
- `crosscheck run default --executor dask://10.0.0.1:8786` - on a cluster, each end where its platform is
- `crosscheck run selftest` - does the harness itself catch what it must?

Exit codes: 0 as expected, 1 not as expected, 2 wrong usage or bad input, 3 nothing ran or a required platform is missing."""
)
def run(
    suite: Annotated[
        str, typer.Argument(help="default, selftest, or a TOML file of your own.")
    ] = "default",
    case: Annotated[str, typer.Option(help="Only cases whose name matches this pattern.")] = "*",
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures in place of the shipped ones.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of clips in place of the shipped ones.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Of each clip, the first so many frames.")
    ] = None,
    out: Out = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Groups of cells worked on at once.")
    ] = 2,
    add: Annotated[
        list[str] | None, typer.Option(help="Require one more platform; may be repeated.")
    ] = None,
    executor: Annotated[
        str,
        typer.Option(help="local, or dask://HOST:PORT: a cluster of `crosscheck worker`s."),
    ] = LOCAL,
    checkpoint: Checkpoint = None,
    codec: FamilyName = None,
    quality: Quality = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
) -> None:
    """Run a suite: encode here, decode there, compare every bit; ends with a gate and a report."""
    folder = out or Path("reports") / Path(suite).stem
    if suite == "selftest":
        from harness import selftest

        given = (case, images, clips, frames, add, checkpoint, codec, executor)
        if given != ("*", *[None] * 6, LOCAL):
            raise UserError("run selftest takes --out alone: it always makes all of its checks")

        finished = selftest.run()
    else:
        finished = _run_suite(
            suite,
            case,
            (images, clips, frames),
            add or [],
            folder,
            _executor(executor, jobs),
            open_library(checkpoint, *split_codec(codec, quality), pretrained, calibrate),
        )
    raise typer.Exit(_conclude(finished, folder))


def _run_suite(
    name: str,
    pattern: str,
    sources: tuple[Path | None, Path | None, int | None],
    add: Sequence[str],
    folder: Path,
    opened: "AbstractContextManager[Executor]",
    library: "Library",
) -> "Run":
    from harness import pipeline, suite
    from harness.cells import Inputs
    from harness.library import pictures
    from harness.platforms.base import PLATFORMS
    from harness.video.library import VideoLibrary
    from harness.video.library import clips as readers

    images, clips, frames = sources
    for extra in add:
        PLATFORMS[extra]  # unknown names end here
    chosen = suite.load(name).with_platforms(add)
    available, videos = pictures(images), VideoLibrary()
    if images is not None:
        chosen = suite.on_all_images(chosen)
    if clips is not None:
        chosen = suite.on_all_clips(chosen)
    moving = readers(clips, frames) if any(block.clips for block in chosen.blocks) else {}
    if library.is_foreign:
        chosen = suite.on_all_codecs(chosen)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened as executor:
        with console.status("starting platforms"):
            environments, ready = pipeline.probe(chosen, executor)
        for platform, record in environments.items():
            if "unavailable" in record:
                console.print(
                    f"{platform}: unavailable: {record['unavailable']}; {record['remedy']}",
                    style="yellow",
                    markup=False,
                )
        cases = chosen.cases(
            codecs=library.names(),
            images=list(available),
            videos=[] if library.is_foreign else videos.names(),
            clips=list(moving),
            platforms=ready,
            pattern=pattern,
        )
        if not cases:
            raise UserError(
                f"no case of suite {name} matches {pattern!r}; a case is named like "
                "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/astronaut"
            )
        judgements = None
        if chosen.linted:
            from harness import linted

            with console.status("linting"):
                judgements = linted.judgements(cases, library.build)
            cases = linted.expectations(cases, judgements, environments)
        inputs = Inputs(
            build=library.build, build_video=videos.build, pictures=available, clips=moving
        )
        journal = _Journal(folder)
        with progress_bar() as bar:
            task = bar.add_task("cells", total=len(cases), now="")

            def report(step: "Step") -> None:
                bar.update(task, completed=step.done, now=step.now.rpartition("/")[2] or "")

            return pipeline.run_suite(
                chosen,
                inputs,
                cases,
                executor,
                environments,
                controls=pattern == "*",
                judgements=judgements,
                report=report,
                finished=journal.append,
            )


@contextmanager
def _executor(named: str, jobs: int) -> "Iterator[Executor]":
    """Who runs the cells, as `--executor` says; it ends what it started."""
    if named == LOCAL:
        from harness.executors.local import LocalExecutor
        from harness.platforms.pool import Pool

        with Pool() as pool:
            yield LocalExecutor(pool, jobs)
        return
    scheduler = address_of(named, "--executor")
    from harness.executors.dask import DaskExecutor

    with DaskExecutor(scheduler, jobs) as cluster:
        yield cluster


class _Journal:
    """Finished cells, one JSON line each, so that even a killed run leaves them readable."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "cells.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._path.write_text("")
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; give a writable folder with --out"
            ) from error

    def append(self, verdicts: "Sequence[Verdict]") -> None:
        from harness.report.json_results import cell_result

        with self._path.open("a", encoding="utf-8") as journal:
            journal.writelines(
                json.dumps(cell_result(verdict), sort_keys=True) + "\n" for verdict in verdicts
            )


def _conclude(finished: "Run", folder: Path) -> int:
    from harness.report import make_figures, to_results, write_reports
    from harness.report.terminal import failure_lines, renderables

    results = to_results(finished)
    write_reports(results, make_figures(finished, results), folder)
    (folder / "cells.jsonl").unlink(missing_ok=True)
    add_step_summary(results)
    for item in renderables(results):
        console.print(item)
    for line in failure_lines(results):
        console.print(line, markup=False)
    for problem in finished.gate.problems[:20]:
        console.print(f"! {problem}", markup=False, style="red")
    console.print(
        f"report: {folder / 'index.html'}   exit code {_exit_code(finished)}", markup=False
    )
    return _exit_code(finished)


def add_step_summary(results: "Results") -> None:
    """On GitHub the summary is added to the page of the CI step; where that fails, the gate stands all the same."""
    from harness.report.step_summary import LIMIT, step_summary

    named = os.environ.get("GITHUB_STEP_SUMMARY")
    if not named:
        return
    page = Path(named)
    try:
        taken = page.stat().st_size if page.exists() else 0
        with page.open("ab") as stream:
            stream.write(step_summary(results, LIMIT - taken))
    except OSError as error:
        console.print(
            f"cannot add to $GITHUB_STEP_SUMMARY, {page}: {error.strerror or error}",
            style="yellow",
            markup=False,
        )


def _exit_code(finished: "Run") -> int:
    return 130 if finished.interrupted else finished.gate.exit_code


@app.command(epilog="Example: `crosscheck report reports/default`")
def report(folder: Annotated[Path, typer.Argument(help="Folder with a results.json.")]) -> None:
    """Make JUnit, markdown and HTML again from results.json and the figures beside it."""
    from harness.report import load, read_figures, write_reports

    results = load(folder / "results.json")
    for path in write_reports(results, read_figures(results, folder), folder):
        typer.echo(path)
