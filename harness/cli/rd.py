"""`crosscheck rd`: what the codecs cost in bits and are worth in decibels, at every precision, beside JPEG."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import fnmatch
import platform as machine
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Calibrate, app, console, open_library
from harness.errors import UserError
from harness.files import write_file

if TYPE_CHECKING:
    from harness.rd import Study

PACKAGES = ("numpy", "pillow", "bjontegaard", "pytorch-msssim", "torch")
PRECISIONS = ("fp32", "w4a4", "w8a8", "w12a12", "w16a16")


@app.command(
    epilog="""Examples:

- `crosscheck rd --images kodak` - every codec that ships, fp32 and four integer precisions
- `crosscheck rd --images kodak --codec 'mbt2018-mean/*' --precision w4a8 --scope hyperprior --scope decoder`
- `crosscheck rd --images kodak --precision w4a4 --calibrator own --calibrator mse --calibrate photos` - side by side
- `crosscheck rd --images kodak --variant 'w4a4 decoder' --variant w4a4-o4` - single curves, named as in the report
- `crosscheck rd --images photos --precision fp32 --narrowest 1.0` - narrowest widths that cost at most 1 %

Rates are actual payload bytes, through the real encoder; BD-rates are against fp32, which is always measured.
The gate judges fp32, and precisions of at least 8 bits in scope hyperprior with the codec's own calibration: each point
must be above JPEG at its rate and each curve must rise. Of other variants the same is only reported. Exit codes: 0, or
1 if one of those judged fails, 2 wrong usage or bad input, 3 the platform is missing."""
)
def rd(
    images: Annotated[Path, typer.Option(help="Folder of pictures to measure on, such as Kodak.")],
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Codecs: a pattern such as 'mbt2018-mean/*', or a family; repeatable."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="fp32, w8a8-qdq, such as w8a8, w4a4-o4 (outputs too) or a table of bits; repeatable; "
            f"default {' '.join(PRECISIONS)}."
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What is quantized: hyperprior (h_s; default) or decoder (g_s too); repeatable."
        ),
    ] = None,
    calibrator: Annotated[
        list[str] | None,
        typer.Option(
            help="Who sets the ranges; repeatable; default own: what ships with the codec, or min-max on --calibrate "
            "FOLDER if no other calibrator is asked for."
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="One more curve: precision, scope and calibrator, as in 'w4a4 decoder mse'; repeatable."
        ),
    ] = None,
    lowering: Annotated[
        str | None, typer.Option(help="Lowering of all precisions but fp32; default: its own.")
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
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Pictures measured at a time.")] = 2,
    narrowest: Annotated[
        float | None,
        typer.Option(help="Also search the narrowest widths of at most this BD-rate in percent."),
    ] = None,
    calibrate: Calibrate = None,
) -> None:
    """Measure rate, PSNR, MS-SSIM and BD-rate of every codec and precision, beside JPEG."""
    from harness.cli.rd_task import Task
    from harness.images import list_images
    from harness.rd import DEFAULT_SCOPE, OWN_CALIBRATOR, Variant, variants
    from harness.report.rd_report import rd_files

    wanted = {
        "--codec": codec or [],
        "--precision": precision or ([] if variant else [*PRECISIONS]),
        "--scope": scope or [DEFAULT_SCOPE],
        "--calibrator": calibrator or [OWN_CALIBRATOR],
        "--variant": variant or [],
        "--lowering": [lowering] if lowering else [],
        "--platform": [platform],
        "--bd-method": [bd_method],
        "--narrowest": [] if narrowest is None else [f"{narrowest:g}"],
    }
    _check(wanted["--scope"], lowering, platform, bd_method, narrowest)
    axes = (wanted["--scope"], wanted["--calibrator"])
    chosen = variants(wanted["--precision"], *axes, [Variant.parse(each) for each in variant or ()])
    pictures = list_images(images)
    library = open_library(None, None, None, False, calibrate)
    named = {*wanted["--calibrator"], *(each.calibrator for each in chosen)} != {OWN_CALIBRATOR}
    task = Task(
        library=library,
        shipped=open_library(None, None, None, False, None) if named else library,
        names=choose(library.names(), codec or ["*"]),
        pictures=pictures,
        lowering=lowering,
        bd_method=bd_method,
        jobs=jobs,
    )
    make_folder(out)
    study, record = task.run(chosen, *axes, platform, narrowest)
    files = rd_files(
        study,
        command=replay("rd --images", images, wanted, calibrate),
        environment=environment_of(
            record, {"images": f"{len(pictures)} of folder {images.resolve().name}"}
        ),
    )
    for name, data in files.items():
        write_file(out / name, data)
    _conclude(study, out)
    raise typer.Exit(study.exit_code)


def _check(
    scopes: Sequence[str],
    lowering: str | None,
    platform: str,
    bd_method: str,
    narrowest: float | None,
) -> None:
    """What is wrong ends here, in one line, not after an hour."""
    from harness.bd_rate import BD_METHODS
    from harness.lowerings.base import LOWERINGS
    from harness.platforms.base import PLATFORMS
    from harness.rd import SCOPES

    if bd_method not in BD_METHODS:
        raise UserError(f"no BD-rate method {bd_method!r}; known: {', '.join(BD_METHODS)}")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise UserError(f"no scope {unknown[0]!r}; known: {', '.join(SCOPES)}")
    if narrowest is not None and not narrowest >= 0:
        raise UserError(f"no budget of {narrowest:g} %: give 0 or more, such as --narrowest 1.0")
    PLATFORMS[platform]
    if lowering is not None:
        LOWERINGS[lowering]


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


def environment_of(record: Mapping[str, str], inputs: Mapping[str, str]) -> dict[str, str]:
    """What ran where. It gets published: no name of a machine, and no kernel release, which can name one."""
    ours = {
        "system": machine.system(),
        "machine": machine.machine(),
        "python": machine.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    return {**record, **ours, **inputs}


def replay(
    command: str, folder: Path, options: Mapping[str, Sequence[str]], calibrate: Path | None
) -> str:
    """The command that makes the same numbers; of a folder or a table of bits, only its name."""
    words = ["crosscheck", *command.split(), folder.resolve().name]
    for option, values in options.items():
        for value in dict.fromkeys(values):
            table = option in {"--precision", "--variant"} and ".json" in value
            words += [option, value.rpartition("/")[2] if table else value]
    if calibrate is not None:
        words += ["--calibrate", calibrate.resolve().name]
    return shlex.join(words)


def make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {out}: {error.strerror}; give a writable folder with --out"
        ) from error


def _conclude(study: "Study", out: Path) -> None:
    from harness.report.rd_terminal import rd_renderables, search_lines

    for item in rd_renderables(study):
        console.print(item)
    for line in search_lines(study):
        console.print(line, markup=False)
    for warning in study.warnings:
        console.print(f"- {warning}", markup=False, style="yellow")
    for problem in study.problems:
        console.print(f"! {problem}", markup=False, style="red")
    console.print(f"report: {out / 'rd.md'}   exit code {study.exit_code}", markup=False)
