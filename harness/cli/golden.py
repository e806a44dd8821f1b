"""`crosscheck golden`: goldens checked, accepted, and bundled for other machines."""
# ruff: noqa: PLC0415

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Lowering, RunsOn, app, console
from harness.cli.bundle import record_on
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.bundle import Bundle
    from harness.golden_suite import Wanted
    from harness.goldens import Golden
    from harness.library import Library
    from harness.recording import Recording

STALE = 4
# Streams are encoded and decoded there; every network is then recorded on the platform that is asked for.
BENCH = "ort-cpu"
golden = typer.Typer(
    help="Goldens: accepted digests of every tensor, as text.",
    epilog="Example: `crosscheck golden check` - then, where a change is meant, `crosscheck golden accept`",
    no_args_is_help=True,
)
app.add_typer(golden, name="golden")

Case = Annotated[
    str, typer.Option(help="Only goldens whose codec/qN/precision/scope/input matches this.")
]
Folder = Annotated[
    Path | None, typer.Option(help="Folder with goldens.toml; default: those that ship.")
]


@golden.command(
    epilog="""Examples:

- `crosscheck golden check` - all of them, on ort-cpu
- `crosscheck golden check --platform torch --case 'mbt2018-mean/q3/w8a8/*'`

Integers must be what any platform's golden has; floats that differ are reported. Exit codes: 0 as accepted, 2 wrong usage
or bad input, 3 the platform is missing, 4 missing, unused or stale."""
)
def check(
    case: Case = "*",
    platform: RunsOn = BENCH,
    lowering: Lowering = None,
    folder: Folder = None,
) -> None:
    """Decode the goldens' streams here and compare every digest with what was accepted, of whatever platform."""
    from harness import golden_suite
    from harness.library import Library

    place = _folder(folder)
    wanted = golden_suite.declared(place, case)
    there = list(golden_suite.on_disk(place).values())
    problems = golden_suite.missing_or_unused(place, golden_suite.declared(place), there)
    streams = [each for each in wanted if each.stream(place).is_file()]
    kit, broken = _bundle(place, streams, Library(), lowering, verify=False)
    recording = record_on(kit, platform) if kit else None
    found = golden_suite.check(there, recording) if recording else []
    problems += broken + [
        f"stale golden {each.golden}: {each.text}" for each in found if each.stale
    ]
    for each in found:
        if not each.stale:
            console.print(f"other floats {each.golden}: {each.text}", markup=False)
    for line in problems:
        console.print(f"! {line}", markup=False, style="red")
    runs = recording.runs if recording else ()
    integer = sum(len(run.outputs) for run in runs if run.integer)
    console.print(
        f"{len(there)} goldens, {len(runs)} runs on {platform} ({integer} tensors of integers), {len(problems)} problems"
    )
    raise typer.Exit(STALE if problems or not integer else 0)


@golden.command(
    epilog="""Examples:

- `make accept CASE='mbt2018-mean/*'` - what ort-cpu makes here
- `crosscheck golden accept --trace cuda.trace` - what another machine recorded of `crosscheck golden bundle`"""
)
def accept(
    case: Case = "*",
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Accept what `crosscheck record` wrote elsewhere, instead of running here."
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Write goldens: the one command that does. Commit what changes, with the reason. Refuses where CI is set."""
    from harness import golden_suite
    from harness.files import write_file
    from harness.goldens import goldens_of
    from harness.library import Library
    from harness.recording import Recording
    from harness.trace_files import Kind, refuse

    if os.environ.get("CI"):
        raise UserError(
            "goldens are not accepted where CI is set: accept them by hand and commit them"
        )
    if trace is not None:
        refuse(trace, Kind.VALUES, Kind.BUNDLE)
    place = _folder(folder)
    wanted = golden_suite.declared(place, case)
    recording = Recording.load(trace) if trace else _record_here(place, wanted, Library())
    made = [g for g in goldens_of(recording) if any(g.subject == each.subject for each in wanted)]
    before = golden_suite.on_disk(place)
    _refuse(made, wanted, golden_suite.current(place, wanted, before.values()) if trace else [])
    for new in made:
        path = golden_suite.golden_path(place, new)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, new.to_text().encode())
        typer.echo(f"ACCEPT {new.name}  {_change(before.get(new.name), new)}")
    if not trace:
        _remove_unused(place, case)
    typer.echo(f"{len(made)} goldens of {recording.name} written; commit them with the reason")


@golden.command(
    "bundle",
    epilog="Example: `crosscheck golden bundle -o goldens.bundle`; then there `crosscheck record goldens.bundle`.",
)
def bundle_goldens(
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle to write.")],
    case: Case = "*",
    lowering: Lowering = None,
    folder: Folder = None,
) -> None:
    """Write what another machine needs to record the goldens' streams."""
    from harness import golden_suite
    from harness.library import Library
    from harness.one_file import programs

    place = _folder(folder)
    wanted = golden_suite.declared(place, case)
    kit, broken = _bundle(place, wanted, Library(), lowering, verify=True)
    if broken or kit is None:
        raise UserError(broken[0] if broken else "there is nothing to bundle")
    kit.save(out, programs())
    typer.echo(f"{out}: {len(kit.expected.runs)} runs")


def _folder(given: Path | None) -> Path:
    from harness import fixtures

    return given or fixtures.root() / "goldens"


def _bundle(
    place: Path,
    wanted: "Sequence[Wanted]",
    library: "Library",
    lowering: str | None,
    *,
    verify: bool,
) -> "tuple[Bundle | None, list[str]]":
    from harness.bundling import Bundler
    from harness.cells import platform_runner
    from harness.golden_suite import bundle_of
    from harness.platforms.pool import Pool

    with Pool() as pool:
        bundler = Bundler(
            run=platform_runner(pool, BENCH),
            environment=pool.child(BENCH).environment(),
            verify=verify,
        )
        return bundle_of(place, wanted, library.build, bundler, lowering)


def _record_here(place: Path, wanted: "Sequence[Wanted]", library: "Library") -> "Recording":
    """Renew the streams that are of another specification, and record them all."""
    from harness.cells import platform_runner
    from harness.golden_suite import renew_stream
    from harness.library import pictures
    from harness.platforms.pool import Pool

    available = pictures(None)
    with Pool() as pool:
        run = platform_runner(pool, BENCH)
        for each in wanted:
            made = library.build(each.codec, each.precision, scope=each.scope)
            try:
                read = available[each.input]
            except KeyError:
                raise UserError(
                    f"no picture {each.input!r}; there are {', '.join(available)}"
                ) from None
            if renew_stream(place, each, made, read, run):
                typer.echo(f"ENCODE {each.variant}/{each.input}")
    kit, broken = _bundle(place, wanted, library, None, verify=True)
    if broken or kit is None:
        raise UserError(broken[0] if broken else "there is nothing to accept")
    return record_on(kit, BENCH)


def _refuse(
    made: "Sequence[Golden]", wanted: "Sequence[Wanted]", before: "Sequence[Golden]"
) -> None:
    """A golden must be declared, and one from elsewhere must have the integers that are accepted already."""
    from harness.goldens import differences

    platforms = {each.subject: each.platforms for each in wanted}
    for new in made:
        if new.platform not in platforms[new.subject]:
            raise UserError(
                f"goldens.toml declares no golden of {new.variant}/{new.input} on {new.platform}: add the platform there first"
            )
        for old in before:
            if old.subject != new.subject or old.platform == new.platform:
                continue
            stale = [each for each in differences(old, new) if each.stale]
            if stale:
                raise UserError(
                    f"{new.name} is not what {old.name} has: {stale[0].text}; a golden never accepts other integers"
                )
    if not made:
        raise UserError("nothing in this recording is declared in goldens.toml")


def _change(old: "Golden | None", new: "Golden") -> str:
    """The first line that is another than before."""
    if old is None:
        return "new"
    before = {tensor.name: tensor for tensor in old.tensors}
    for tensor in new.tensors:
        if before.get(tensor.name) != tensor:
            was = before[tensor.name].sha256[:8] if tensor.name in before else "absent"
            return f"first change {tensor.name}: {was} -> {tensor.sha256[:8]}"
    return "unchanged" if old == new else "environment changed"


def _remove_unused(place: Path, case: str) -> None:
    """With all goldens accepted, whatever is not declared goes; a part of them removes nothing."""
    from harness import golden_suite

    if case != "*":
        return
    every = golden_suite.declared(place)
    wanted = {(*each.subject, platform) for each in every for platform in each.platforms}
    for name, old in golden_suite.on_disk(place).items():
        if (*old.subject, old.platform) not in wanted:
            golden_suite.golden_path(place, old).unlink()
            typer.echo(f"REMOVE {name}")
    streams = {each.stream(place) for each in every}
    for path in set((place / golden_suite.STREAMS).rglob("*.xchk")) - streams:
        path.unlink()
        typer.echo(f"REMOVE {path.relative_to(place)}")
