"""The command `platforms`: what runs here, what would make the rest run, and bringing that."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harness.cli.app import Json, app, console, progress_bar

if TYPE_CHECKING:
    from harness.platforms.base import Platform
    from harness.platforms.hosts import Host
    from harness.platforms.pool import Pool

Record = Mapping[str, str]
EVERY = "all"
# Children import runtimes: more at once than this, and they only wait for each other's files.
MOST_AT_ONCE = 8
# What a row may take, so that four columns stay within 100 characters; where there is less room, runtimes are cut.
WIDTHS = {"platform": 26, "state": 11, "runtime": 30, "host": 20}
CUT = "runtime"
BORDERS = 13  # what four columns take beside their content


@app.command(
    epilog="""Examples:

- `crosscheck platforms -v` - why a platform is unavailable, and what to do
- `crosscheck platforms --prepare openvino --prepare tract` - platforms, by the names in this list
- `crosscheck platforms --prepare all` - everything that can be had, about 2.7 GB; some of it needs Debian's apt
- `crosscheck platforms --json`

The private folder is CROSSCHECK_PLATFORMS, or crosscheck in the user's cache. Exit codes: 0, 2 wrong usage, 3 something
could not be prepared."""
)
def platforms(
    prepare: Annotated[
        list[str] | None,
        typer.Option(
            help="Bring what this platform needs into a private folder, or all; may be repeated."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Kernels, and why a platform is unavailable.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every platform: what it runs here, or what would make it run."""
    if prepare:
        _prepare(prepare)
        return
    found = _probe(quiet=as_json)
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    console.print(_table(found))
    if verbose:
        for name, record in found.items():
            console.print(f"{name}: {_details(record)}", markup=False)
    absent = sum("unavailable" in record for record in found.values())
    if absent and not verbose:
        console.print(
            f"{absent} unavailable: -v says why, --prepare NAME (or all) brings what can be had",
            markup=False,
        )


def _prepare(names: Sequence[str]) -> None:
    """Each distinct host once; one that fails stops nobody else, and the exit code is 3 then."""
    from harness.errors import HarnessError
    from harness.platforms.base import PLATFORMS

    chosen = list(PLATFORMS) if EVERY in names else [PLATFORMS[name] for name in names]
    hosts: dict[str, Host] = {platform.host.name: platform.host for platform in chosen}
    failed = []
    for name, host in hosts.items():
        try:
            host.prepare(lambda line: console.print(line, markup=False))
        except HarnessError as error:
            failed.append(name)
            typer.echo(f"crosscheck: {name} could not be prepared: {error}", err=True)
    if failed:
        typer.echo(f"crosscheck: not prepared: {', '.join(failed)}", err=True)
        raise typer.Exit(3)


def _probe(*, quiet: bool) -> dict[str, Record]:
    """Start every platform's process and ask what runs there; by name, in the registry's order."""
    from harness.platforms.base import PLATFORMS
    from harness.platforms.pool import Pool

    found: dict[str, Record] = {}
    chosen = list(PLATFORMS)
    bar = progress_bar()
    # A bar is for people who wait; files and pipes get the result.
    bar.disable = quiet or not sys.stdout.isatty()
    with Pool() as pool, bar, ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1)) as threads:
        task = bar.add_task("platforms", total=len(chosen), now="")
        asked = {threads.submit(_ask, pool, platform): platform for platform in chosen}
        for done in as_completed(asked):
            name = asked[done].name
            found[name] = done.result()
            bar.update(task, advance=1, now=name)
    return {platform.name: found[platform.name] for platform in chosen}


def _ask(pool: "Pool", platform: "Platform") -> Record:
    from harness.errors import PlatformCrashed, PlatformTimedOut, PlatformUnavailable

    try:
        child = pool.child(platform.name)
        record = {**child.environment(), "state": "ready"}
        child.end()
    except PlatformUnavailable as error:
        record = {"state": "unavailable", "unavailable": error.reason, "remedy": error.remedy}
    except (PlatformCrashed, PlatformTimedOut) as error:
        record = {
            "state": "crashed",
            "unavailable": str(error),
            "remedy": "run it alone to see why",
        }
    return {"host": platform.host.name, **record}


def _table(found: Mapping[str, Record]) -> Table:
    rows = [{**record, "platform": name} for name, record in found.items()]
    table = Table()
    longest = {
        title: max(len(title), *(len(record.get(title, "")) for record in rows)) for title in WIDTHS
    }
    widths = {title: min(longest[title], most) for title, most in WIDTHS.items()}
    whole = sum(width for title, width in widths.items() if title != CUT)
    widths[CUT] = max(len(CUT), min(widths[CUT], console.width - whole - BORDERS))
    for title, width in widths.items():
        table.add_column(title, width=width, no_wrap=True, overflow="ellipsis")
    for record in rows:
        style = "" if record["state"] == "ready" else "dim"
        table.add_row(*(record.get(title, "") for title in WIDTHS), style=style)
    return table


def _details(record: Record) -> str:
    if "unavailable" in record:
        return f"{record['unavailable']}; {record['remedy']}"
    return f"integers {record['integer_kernel']}; floats {record['float_kernel']}"
