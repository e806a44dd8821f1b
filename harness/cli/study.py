"""`crosscheck study`: the published studies, repeated with one command."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import app, console
from harness.cli.rd import choose, environment_of, make_folder, replay
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.footage.base import Clip

studies = typer.Typer(
    help="Repeat a published study: table, figures, conclusions.",
    epilog="Example: `crosscheck study ssf --clips clips --frames 96`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(studies, name="study")
PRECISIONS = ("w4a4", "w8a8", "w12a12", "w16a16")
# What the study codes: HEVC class B and UVG, without the rows that 128 does not divide.
PROTOCOL_SIZE = (1024, 1920)
PROTOCOL_LAYOUTS = ("uvg", "hevc-b")


@studies.command(
    epilog="""Examples:

- `crosscheck study ssf --clips UVG --frames 96` - the published protocol on your copy of UVG
- `crosscheck study ssf --clips clips --frames 96 --decoder torch` - drift from ort-cpu to torch too
- `crosscheck study ssf --clips clips --mirrorings 8 --precision w16a16` - how much of its price is the chance of a closed loop
- `crosscheck study ssf --clips clips --variant 'w4a4 mse' --variant 'w4a4 mse:tensor' --calibrate septuplets`

BD-rates are against fp32, payload bytes only, RGB PSNR of 8-bit pictures. Exit codes: 0, or 1 if a curve does not rise with
quality or an integer cell is not identical, 2 wrong usage or bad input, 3 a platform is missing."""
)
def ssf(
    clips: Annotated[
        Path, typer.Option(help="Clips: files, PNG folders, or the layout of UVG or HEVC class B.")
    ],
    frames: Annotated[int, typer.Option(min=2, help="Of each clip, the first so many.")] = 96,
    codec: Annotated[
        list[str] | None, typer.Option(help="Codecs: a pattern such as 'ssf2020/*'; repeatable.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Repeatable; default w4a4 w8a8 w12a12 w16a16 (and always fp32)."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="One more curve: precision, scope and calibrator, as in 'w16a16 decoder', 'w4a4 mse' or 'w4a4 mse:tensor'"
            " (one scale a tensor), or 'fp32 warp' (the fixed-point warp by itself); repeatable."
        ),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Folder of clips for calibrators that do not ship.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Code the middle WxH of each clip; UVG, HEVC-B: 1920x1024.")
    ] = None,
    platform: Annotated[str, typer.Option(help="Where rate points are measured.")] = "ort-cpu",
    decoder: Annotated[
        list[str] | None,
        typer.Option(help="Also decode on this platform, frame by frame; repeatable."),
    ] = None,
    drift: Annotated[
        list[str] | None,
        typer.Option(
            help="What is decoded there; default fp32, w8a8-qdq, w8a8, w8a8 decoder; repeatable."
        ),
    ] = None,
    drift_codec: Annotated[str, typer.Option(help="The codec of the drift.")] = "ssf2020/q5",
    bd_method: Annotated[str, typer.Option(help="pchip, cubic or akima.")] = "pchip",
    mirrorings: Annotated[
        int,
        typer.Option(
            min=1,
            max=8,
            help="Code each clip as it is, left-right, upside down ..., so many in all: BD-rates with their standard errors.",
        ),
    ] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Clips coded at a time.")] = 2,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the report.")] = Path(
        "reports/ssf"
    ),
) -> None:
    """Precision of SSF's hyperprior decoders: BD-rate at W4A4 to W16A16, RD curves, cross-platform mismatch, drift."""
    from harness.bd_rate import BD_METHODS
    from harness.cli.study_task import Task
    from harness.files import write_file
    from harness.footage.datasets import calibration_clips
    from harness.platforms.base import PLATFORMS
    from harness.rd import OWN_CALIBRATOR, Variant, variants
    from harness.report.ssf_report import ssf_files
    from harness.report.ssf_terminal import ssf_lines, ssf_renderables
    from harness.video.library import VideoLibrary

    for name in (platform, *(decoder or ())):
        PLATFORMS[name]  # unknown names end here
    if bd_method not in BD_METHODS:
        raise UserError(f"no method {bd_method!r}; there are: {', '.join(BD_METHODS)}")
    found = open_clips(clips, frames, size)
    names = choose(VideoLibrary().names(), codec or ["*"])
    others = [Variant.parse(each) for each in variant or ()]
    chosen = variants(precision or PRECISIONS, ["hyperprior"], [OWN_CALIBRATOR], others)
    drifting = drift or ["fp32", "w8a8-qdq", "w8a8", "w8a8 decoder"]
    task = Task(
        names=names,
        clips=found,
        calibrate=None if calibrate is None else calibration_clips(calibrate),
        platform=platform,
        bd_method=bd_method,
        jobs=jobs,
        mirrorings=mirrorings,
    )
    make_folder(out)
    study, record = task.run(
        chosen, drift_codec, [Variant.parse(each) for each in drifting], decoder or []
    )
    options = {
        "--frames": [str(frames)],
        "--codec": codec or [],
        "--precision": precision or [],
        "--variant": variant or [],
        "--size": [size] if size else [],
        "--platform": [platform],
        "--decoder": decoder or [],
        "--drift": drift or [],
        "--drift-codec": [drift_codec],
        "--bd-method": [bd_method],
        "--mirrorings": [str(mirrorings)] if mirrorings > 1 else [],
    }
    files = ssf_files(
        study,
        command=replay("study ssf --clips", clips, options, calibrate),
        environment=environment_of(
            record, {"clips": f"{len(found)} of folder {clips.resolve().name}"}
        ),
    )
    for name, data in files.items():
        write_file(out / name, data)
    for item in ssf_renderables(study):
        console.print(item)
    for line in ssf_lines(study):
        console.print(line, markup=False)
    for problem in study.problems:
        console.print(f"! {problem}", markup=False, style="red")
    console.print(f"report: {out / 'ssf.md'}   exit code {study.exit_code}", markup=False)
    raise typer.Exit(study.exit_code)


def open_clips(folder: Path, frames: int, size: str | None) -> "list[Clip]":
    """The clips of a folder, of which the first frames and, where asked for or the protocol has it, the middle."""
    from harness.footage.datasets import find_clips, recognise

    wanted = _size(size) if size else None
    if wanted is None and recognise(folder).layout in PROTOCOL_LAYOUTS:
        wanted = PROTOCOL_SIZE
    opened = [clip.limited(frames) for clip in find_clips(folder)]
    return [clip.cropped(*wanted) if wanted else clip for clip in opened]


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", text)
    if match is None:
        raise UserError(f"no size {text!r}: write width x height, such as 1920x1024")
    return int(match[2]), int(match[1])
