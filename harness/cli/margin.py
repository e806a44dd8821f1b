"""`crosscheck margin`: how close an FP32 decoder's sigmas come to flipping a CDF index, and how often they will."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Checkpoint, app, console, open_library, progress_bar
from harness.errors import UserError
from harness.files import write_file

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harness.library import Library
    from harness.margin import CodecMargin

DEFAULT_PLATFORMS = ("ort-cpu", "ort-cpu-noopt", "torch", "torch-nomkldnn", "torch-sse41")
DEFAULT_ROUNDOFFS = (1, 16, 256)
MOST_ULPS = 2**31
FIGURE = "margin.png"


@app.command(
    epilog="""Examples:

- `crosscheck margin mbt2018-mean/q3 --images kodak` - the platforms that come with the installation
- `crosscheck margin '*/q3' --images kodak --platform ort-cpu --platform ort-cuda` - any two
- `crosscheck margin mbt2018-mean/q3 --images kodak --roundoff 4` - also what a round-off of 4 ULPs would flip
- `crosscheck margin --checkpoint mine.pth --images photos --limit 8 -o risk` - your own weights

The prediction takes the two platforms' differences and how densely sigmas lie near thresholds, never the flips. Exit
codes: 0, 2 wrong usage or bad input, 3 a platform is missing or failed."""
)
def margin(
    images: Annotated[
        Path, typer.Option(help="Folder of pictures (and folders in it), such as Kodak.")
    ],
    codecs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Codecs, such as mbt2018-mean/q3, a family or a pattern.", metavar="CODEC.."
        ),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare this platform; may be repeated; see `crosscheck platforms`. Default: "
            f"{' '.join(DEFAULT_PLATFORMS)}."
        ),
    ] = None,
    roundoff: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=MOST_ULPS,
            help="Also predict the flips if every sigma were off by so many ULPs; may be repeated; default "
            f"{' '.join(map(str, DEFAULT_ROUNDOFFS))}.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=4096, help="Most pictures, evenly chosen from the folder.")
    ] = 64,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path(
        "reports/margin"
    ),
    checkpoint: Checkpoint = None,
) -> None:
    """Measure how far FP32 sigmas are from the next CDF index, and predict and count the flips between platforms."""
    from harness.cli.rd import choose
    from harness.images import list_images_below
    from harness.report.margin_figure import margin_figure
    from harness.report.margin_report import dumps_margin, to_margin_markdown, to_margin_results

    if not codecs and checkpoint is None:
        raise UserError("which codec? Name one, such as mbt2018-mean/q3, or give --checkpoint FILE")
    named = _platforms(platform or DEFAULT_PLATFORMS)
    roundoffs = sorted(set(roundoff or DEFAULT_ROUNDOFFS))
    paths = list_images_below(images, limit)
    library = open_library(checkpoint, None, None, False, None)
    names = choose(library.names(), codecs or ["*"])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {out}: {error.strerror}; give a writable folder with --out"
        ) from error
    margins, environment = _measure(library, names, paths, named, roundoffs)
    results = to_margin_results(
        margins,
        command=_command(codecs or [], checkpoint, images, named, roundoffs, limit),
        images=[path.name for path in paths],
        environment=environment,
    )
    files = {
        "margin.json": dumps_margin(results).encode("utf-8", "backslashreplace"),
        "margin.md": to_margin_markdown(results, FIGURE).encode(),
        FIGURE: margin_figure(results),
    }
    for name, data in files.items():
        write_file(out / name, data)
    _conclude(margins, out)


def _platforms(wanted: Sequence[str]) -> list[str]:
    from harness.platforms.base import PLATFORMS

    named = list(dict.fromkeys(wanted))
    for name in named:
        if "h_s" not in PLATFORMS[name].networks:
            raise UserError(
                f"platform {name} does not run a float h_s: it has no sigmas to look at"
            )
    return named


def _measure(
    library: "Library",
    names: Sequence[str],
    paths: Sequence[Path],
    platforms: Sequence[str],
    roundoffs: Sequence[int],
) -> "tuple[list[CodecMargin], dict[str, Mapping[str, str]]]":
    """The margins of every codec, and what each platform was."""
    from harness.cells import platform_runner
    from harness.images import read_image
    from harness.margin_study import measure_margin
    from harness.platforms.pool import Pool

    margins = []
    with Pool() as pool, progress_bar() as bar:
        # A platform that is missing ends here, not after an hour.
        environment = {name: pool.child(name).environment() for name in platforms}
        total = len(names) * len(paths) * len(platforms)
        task = bar.add_task("h_s runs", total=total, now="")
        for name in names:
            h_s = library.build(name, "fp32").artifacts["h_s"]
            margins.append(
                measure_margin(
                    library.codec(name),
                    h_s,
                    map(read_image, paths),
                    {each: partial(platform_runner, pool, each) for each in platforms},
                    roundoffs=roundoffs,
                    advance=partial(_advance, bar, task, name),
                )
            )
        bar.update(task, now="")
    return margins, environment


def _advance(bar: "Progress", task: "TaskID", name: str, platform: str) -> None:
    bar.update(task, advance=1, now=f"{name} {platform}")


def _command(
    codecs: Sequence[str],
    checkpoint: Path | None,
    images: Path,
    platforms: Sequence[str],
    roundoffs: Sequence[int],
    limit: int,
) -> str:
    """The command that makes the same numbers; of files and folders, only their names."""
    words = ["crosscheck", "margin", *codecs]
    if checkpoint is not None:
        words += ["--checkpoint", checkpoint.name]
    words += ["--images", images.resolve().name]
    for platform in platforms:
        words += ["--platform", platform]
    for roundoff in roundoffs:
        words += ["--roundoff", str(roundoff)]
    return shlex.join([*words, "--limit", str(limit)])


def _conclude(margins: "Sequence[CodecMargin]", out: Path) -> None:
    from rich.table import Table

    from harness.margin import CONFIDENCE, poisson_interval

    for codec in margins:
        columns = ("platforms", "predicted flips", "measured", f"{CONFIDENCE:.0%} interval")
        table = Table(*columns, title=codec.codec)
        for pair in codec.pairs:
            low, high = poisson_interval(pair.measured)
            platforms, predicted = " + ".join(pair.platforms), f"{pair.predicted:.2f}"
            table.add_row(platforms, predicted, str(pair.measured), f"{low:.2f} to {high:.2f}")
        if table.row_count:
            console.print(table)
    console.print(f"report: {out / 'margin.md'}", markup=False)
