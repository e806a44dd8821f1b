"""`crosscheck bundle`, `record` and `compare`: record anywhere, compare here."""
# ruff: noqa: PLC0415 - `crosscheck compare` must not need torch

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import (
    Calibrate,
    CalibrationFiles,
    Checkpoint,
    Json,
    Lowering,
    Pretrained,
    RunsOn,
    Scope,
    app,
    build_for,
    console,
    name_of,
    open_library,
    progress_bar,
    split_codec,
)
from harness.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.bundle import Bundle
    from harness.library import Pictures
    from harness.recording import Recording


@app.command(
    epilog="""Examples:

- `crosscheck bundle mbt2018-mean/q3 --precision fp32 --precision w8a8 --crop 128 -o x.bundle`
- there: `crosscheck record x.bundle --platform torch -o y.trace`
- there, with numpy and a runtime alone: `python -m zipfile -e x.bundle kit`, then
  `python kit/record.pyz x.bundle --platform ort-cpu -o y.trace`
- here: `crosscheck compare x.bundle y.trace --run '*/w8a8/*/h_s'`"""
)
def bundle(
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle to write.")],
    codec: Annotated[
        str | None, typer.Argument(help="Codec, such as mbt2018-mean/q3; none with --checkpoint.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, a control or integers; may be repeated; default w8a8."),
    ] = None,
    scope: Scope = "hyperprior",
    lowering: Lowering = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures in place of the shipped ones.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Only this picture, such as astronaut; may be repeated."),
    ] = None,
    crop: Annotated[
        int, typer.Option(min=0, max=65536, help="The middle N x N pixels of each; 0: all.")
    ] = 0,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Expected tensors whose bytes come along: all (the default), none or a name."
        ),
    ] = None,
    platform: RunsOn = "ort-cpu",
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
) -> None:
    """Write all that another machine needs to be checked against this one, in one file."""
    from harness.bundling import Bundler
    from harness.cells import platform_runner
    from harness.library import pictures
    from harness.one_file import programs
    from harness.platforms.pool import Pool

    if codec is None and checkpoint is None:
        raise UserError("which codec? Name one, such as mbt2018-mean/q3, or give --checkpoint FILE")
    family, quality = split_codec(codec, None)
    library = open_library(checkpoint, family, quality, pretrained, calibrate, calibration)
    name = name_of(library, family, quality)
    builds = [
        build_for(library, name, each, lowering if each != "fp32" else None, scope, platform)
        for each in dict.fromkeys(precision or ["w8a8"])
    ]
    chosen = _chosen(pictures(images), image or [], crop)
    with Pool() as pool, progress_bar() as bar:
        bundler = Bundler(
            run=platform_runner(pool, platform), environment=pool.child(platform).environment()
        )
        task = bar.add_task("pictures", total=len(builds) * len(chosen), now="")
        for made in builds:
            for picture, read in chosen.items():
                bar.update(task, now=f"{made.precision} {picture}")
                bundler.encode(made, picture, read())
                bar.advance(task)
        bar.update(task, now="")
    made_bundle = bundler.bundle(keep or ["all"])
    made_bundle.save(out, programs())
    typer.echo(f"{out}: {_size(out)}, {len(made_bundle.expected.runs)} runs expected on {platform}")


def _chosen(
    available: "Pictures", wanted: list[str], crop: int
) -> "dict[str, Callable[[], NDArray[np.uint8]]]":
    from harness.case import cropped_name

    unknown = sorted(set(wanted) - set(available))
    if unknown:
        raise UserError(f"no picture {unknown[0]!r}; there are {', '.join(available)}")
    names = [name for name in available if not wanted or name in wanted]
    final = [cropped_name(name, crop) if crop else name for name in names]
    return {name: available[name] for name in final}


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"


@app.command(
    epilog="""Examples:

- `crosscheck record x.bundle --platform torch -o y.trace`
- `crosscheck compare x.bundle y.trace` - then, here or elsewhere; `record` itself only counts what differs

Exit codes: 0 recorded, 2 wrong usage or bad input, 3 the platform is missing."""
)
def record(
    file: Annotated[Path, typer.Argument(help="What `crosscheck bundle` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Trace to write.")],
    platform: RunsOn,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Bytes to keep beside digests: all, none, a name, or diverged (from the bundle): the default."
        ),
    ] = None,
) -> None:
    """Run every network of a bundle on a platform, each on the bundle's inputs; write digests of all that comes out."""
    from harness.bundle import Bundle
    from harness.compare_recordings import compare_recordings, to_lines

    kit = Bundle.load(file)
    made = record_on(kit, platform, keep)
    made.save(out)
    typer.echo(f"{out}: {len(made.runs)} runs on {platform}, {len(made.skipped)} skipped")
    if made.runs:
        typer.echo(to_lines(compare_recordings(kit.expected, made))[-1])


def record_on(kit: "Bundle", platform: str, keep: Iterable[str] | None = None) -> "Recording":
    """Record a bundle on a live platform, with a bar."""
    from harness import recorder
    from harness.platforms.base import PLATFORMS
    from harness.platforms.pool import Pool

    chosen = PLATFORMS[platform]
    with Pool() as pool, progress_bar() as bar:
        task = bar.add_task("runs", total=len(kit.expected.runs), now="")

        def report(done: int, total: int, now: str) -> None:
            bar.update(task, completed=done, total=total, now=now)

        return recorder.record(
            kit,
            chosen,
            pool.child(platform),
            keep=list(keep or [recorder.DIVERGED]),
            report=report,
        )


@app.command(
    epilog="""Examples:

- `crosscheck compare x.bundle y.trace --run '*/w8a8/*/h_s'` - the integer networks alone
- `crosscheck compare a.trace b.trace` - two machines with each other

All runs are judged, also those of float networks, which differ between platforms as a rule. Exit codes: 0 identical, 1 diverged, 2 bad input or another specification, 3 nothing to compare. Where there is numpy alone:
`python -m harness.kit.compare A B`."""
)
def compare(
    expected: Annotated[Path, typer.Argument(help="A trace, or a bundle: what it expects.")],
    actual: Annotated[Path, typer.Argument(help="A trace, or a bundle.")],
    run: Annotated[str, typer.Option(help="Only runs whose name matches this pattern.")] = "*",
    every: Annotated[bool, typer.Option("--all", help="List identical tensors too.")] = False,
    as_json: Json = False,
) -> None:
    """Compare two recordings of one bundle, bit for bit; what is identical is counted."""
    from harness.bundle import expectation_or_recording
    from harness.compare_recordings import compare_recordings, to_json, to_lines
    from harness.trace_files import Kind, refuse

    for path in (expected, actual):
        refuse(path, Kind.VALUES)
    found = compare_recordings(
        expectation_or_recording(expected), expectation_or_recording(actual), run
    )
    if as_json:
        typer.echo(json.dumps(to_json(found), indent=2, sort_keys=True))
    else:
        for line in to_lines(found, every=every):
            console.print(line, markup=False)
    raise typer.Exit(found.exit_code)
