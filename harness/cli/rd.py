"""`crosscheck rd`: what the codecs cost in bits and are worth in decibels, beside JPEG."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import fnmatch
import platform as machine
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from harness.cli.app import Calibrate, app, console, open_library, write_file
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.build import Build
    from harness.library import Library
    from harness.platforms.pool import Pool
    from harness.rd import Point, Sample, Study

PACKAGES = ("numpy", "pillow", "bjontegaard")


@app.command(
    epilog="""Examples:

- `crosscheck rd --images kodak` - every codec that ships, fp32 and w8a8
- `crosscheck rd --images kodak --codec 'mbt2018-mean/*' --precision fp32 --precision w4a8`
- `crosscheck rd --images photos --codec bmshj2018-hyperprior --bd-method cubic --out reports/photos`

Rates are actual payload bytes, through the real encoder. Exit codes: 0, or 1 if a rate point is below JPEG at
its rate or a curve does not rise, 2 wrong usage or bad input, 3 the platform is missing."""
)
def rd(
    images: Annotated[Path, typer.Option(help="Folder of pictures to measure on, such as Kodak.")],
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Codecs: a pattern such as 'mbt2018-mean/*', or a family; repeatable."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, w8a8-qdq or such as w8a8; repeatable; default fp32 and w8a8."),
    ] = None,
    platform: Annotated[
        str, typer.Option(help="Where to run the networks; see `crosscheck platforms`.")
    ] = "ort-cpu",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path(
        "reports/rd"
    ),
    bd_method: Annotated[
        str, typer.Option(help="Interpolation of the BD-rate: pchip, cubic or akima.")
    ] = "pchip",
    calibrate: Calibrate = None,
) -> None:
    """Measure rate, PSNR and BD-rate of every codec and precision, beside JPEG."""
    from harness import rd as measure
    from harness.images import list_images
    from harness.platforms.base import PLATFORMS
    from harness.platforms.pool import Pool
    from harness.report.rd_report import rd_files

    if bd_method not in measure.BD_METHODS:
        raise UserError(f"no BD-rate method {bd_method!r}; known: {', '.join(measure.BD_METHODS)}")
    PLATFORMS[platform]  # an unknown name ends here
    pictures = list_images(images)
    library = open_library(None, None, None, False, calibrate)
    names = choose(library.names(), codec or ["*"])
    precisions = list(dict.fromkeys(precision or ["fp32", "w8a8"]))
    _make_folder(out)
    with console.status("building codecs"):  # what cannot be built ends here, not after an hour
        for name in names:
            for each in precisions:
                library.build(name, each)
    with Pool() as pool:
        with console.status(f"starting {platform}"):
            record = _environment(pool.child(platform).environment(), images, len(pictures))
        study = _study(library, names, precisions, pictures, pool, platform, bd_method)
    command = _command(images, codec or [], precisions, platform, bd_method, calibrate)
    for name, data in rd_files(study, command=command, environment=record).items():
        write_file(out / name, data)
    _conclude(study, out)
    raise typer.Exit(study.exit_code)


def choose(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The codecs that any pattern matches by name or by family; a pattern that matches none is a mistake."""
    chosen: set[str] = set()
    for pattern in patterns:
        found = {
            name
            for name in names
            if fnmatch.fnmatchcase(name, pattern)
            or fnmatch.fnmatchcase(name.split("/")[0], pattern)
        }
        if not found:
            raise UserError(
                f"no codec matches {pattern!r}; there are: {', '.join(names) or 'none'}"
            )
        chosen |= found
    return [name for name in names if name in chosen]


def _study(
    library: "Library",
    names: Sequence[str],
    precisions: Sequence[str],
    pictures: Sequence[Path],
    pool: "Pool",
    platform: str,
    bd_method: str,
) -> "Study":
    from harness import rd as measure
    from harness.images import read_image

    with _bar() as bar:
        jpeg_task = bar.add_task("jpeg", total=len(pictures))
        total = len(names) * len(pictures) * len(precisions)
        task = bar.add_task(names[0], total=total, start=False)
        sweeps = []
        for path in pictures:
            sweeps.append(measure.jpeg_sweep(path.name, read_image(path)))
            bar.advance(jpeg_task)
        bar.start_task(task)
        points: list[Point] = []
        for name in names:
            bar.update(task, description=name)
            builds = [library.build(name, precision) for precision in precisions]
            points += _points(builds, pictures, pool, platform, lambda: bar.advance(task))
    return measure.study(points, measure.jpeg_curve(sweeps), bd_method)


def _points(
    builds: "Sequence[Build]",
    pictures: Sequence[Path],
    pool: "Pool",
    platform: str,
    advance: Callable[[], None],
) -> "list[Point]":
    """One codec at every precision: they share a picture's g_a and h_a, so each runs once."""
    from harness import rd as measure
    from harness.cells import platform_runner
    from harness.images import read_image
    from harness.ship import sample

    samples: dict[str, list[Sample]] = {made.precision: [] for made in builds}
    for path in pictures:
        pixels = read_image(path)
        run = platform_runner(pool, platform)  # its cache lives as long as the picture
        for made in builds:
            samples[made.precision].append(sample(made, path.name, pixels, run))
            advance()
    lmbda = builds[0].codec.provenance.get("lmbda")
    return [
        measure.Point(
            family=made.codec.family,
            quality=made.codec.quality,
            lmbda=float(lmbda) if isinstance(lmbda, int | float) else None,
            precision=made.precision,
            samples=tuple(samples[made.precision]),
        )
        for made in builds
    ]


def _environment(record: Mapping[str, str], images: Path, count: int) -> dict[str, str]:
    """What ran where. It gets published: no name of a machine, and no kernel release, which can name one."""
    ours = {
        "system": machine.system(),
        "machine": machine.machine(),
        "python": machine.python_version(),
        **{package: version(package) for package in PACKAGES},
        "images": f"{count} of folder {images.resolve().name}",
    }
    return {**record, **ours}


def _command(
    images: Path,
    codecs: Sequence[str],
    precisions: Sequence[str],
    platform: str,
    bd_method: str,
    calibrate: Path | None,
) -> str:
    """The command that makes the same numbers; of a folder, only its name."""
    words = ["crosscheck", "rd", "--images", images.resolve().name]
    for codec in codecs:
        words += ["--codec", codec]
    for precision in precisions:
        words += ["--precision", precision]
    words += ["--platform", platform, "--bd-method", bd_method]
    if calibrate is not None:
        words += ["--calibrate", calibrate.resolve().name]
    return shlex.join(words)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {out}: {error.strerror}; give a writable folder with --out"
        ) from error


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _conclude(study: "Study", out: Path) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("codec", "precision", "bpp", "PSNR", "JPEG", "margin", "verdict"):
        table.add_column(title, no_wrap=True)
    for row in study.rows:
        point = row.point
        numbers = ("" if v is None else f"{v:.2f}" for v in (row.jpeg_psnr, row.margin))
        table.add_row(
            point.name,
            point.precision,
            f"{point.bpp:.4f}",
            f"{point.psnr:.2f}",
            *numbers,
            row.verdict,
        )
    console.print(table)
    for rate in study.bd_rates:
        if rate.percent is not None:
            console.print(
                f"BD-rate ({rate.method}) of {rate.family} {rate.precision}: {rate.percent:+.3f} %"
            )
    for warning in study.warnings:
        console.print(f"- {warning}", markup=False, style="yellow")
    for problem in study.problems:
        console.print(f"! {problem}", markup=False, style="red")
    console.print(f"report: {out / 'rd.md'}   exit code {study.exit_code}", markup=False)
