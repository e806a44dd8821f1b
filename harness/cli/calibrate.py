"""`crosscheck calibrate` and `calibrators`: ranges and clips from real pictures, as a file of ours or AIMET's."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harness.cli.app import (
    Checkpoint,
    Json,
    Pretrained,
    app,
    console,
    name_of,
    open_library,
    progress_bar,
    split_codec,
)
from harness.errors import UserError
from harness.files import write_file

if TYPE_CHECKING:
    from harness.calibration import Calibration
    from harness.calibrators.base import Granularity
    from harness.calibrators.findings import Finding
    from harness.codecs.base import Codec
    from harness.precision import Precision
    from harness.problems import Latents
    from harness.specification import IntegerNet

# What is counted, how far it is, of how much, what is being done.
Step = Callable[[str, int, int, str], None]
OURS, AIMET = "crosscheck", "aimet-"


@app.command(epilog="Example: `crosscheck calibrators`")
def calibrators(as_json: Json = False) -> None:
    """List the rules that ranges can be set by."""
    from harness.calibrators.base import CALIBRATORS

    found = {rule.name: rule.summary for rule in CALIBRATORS}
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    table = Table("calibrator", "rule")
    for name, summary in found.items():
        table.add_row(name, summary)
    console.print(table)


@app.command(
    epilog="""Examples:

- `crosscheck calibrate mbt2018-mean/q3 --images photos --calibrator mse --precision w4a4 -o c.safetensors.xz`
- `crosscheck calibrate mbt2018-mean/q3 --images photos --calibrator mse -o c.json --format aimet-1.0.0`
- then `crosscheck encode photo.png --codec mbt2018-mean/q3 --precision w4a4 --calibration h_s=c.safetensors.xz ...`"""
)
def calibrate(
    images: Annotated[
        Path, typer.Option(help="Folder of photographs (and folders in it); at most 64 are used.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="File to write; with scope decoder, one for h_s and one for g_s."
        ),
    ],
    codec: Annotated[
        str | None, typer.Argument(help="Codec, such as mbt2018-mean/q3; none with --checkpoint.")
    ] = None,
    calibrator: Annotated[str, typer.Option(help="See `crosscheck calibrators`.")] = "min-max",
    precision: Annotated[
        str, typer.Option(help="w2a2 to w16a16, such as w4a4-o4, or a .json table of bits.")
    ] = "w8a8",
    scope: Annotated[
        str, typer.Option(help="hyperprior (h_s) or decoder (h_s and g_s).")
    ] = "hyperprior",
    weights_per: Annotated[
        str, typer.Option(help="One scale of weights per channel or per tensor.")
    ] = "channel",
    activations_per: Annotated[
        str | None,
        typer.Option(help="One scale of activations per channel or tensor; AIMET: per tensor."),
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="crosscheck, aimet-0.6.1 or aimet-1.0.0.")
    ] = OURS,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    as_json: Json = False,
) -> None:
    """Set the ranges of a codec's networks by a rule and write them to a file."""
    from harness.build import DECODER, HYPERPRIOR
    from harness.calibrators.base import CHANNEL, TENSOR, Granularity
    from harness.images import list_images_below
    from harness.library import MOST_IMAGES
    from harness.precision import read_precision

    _check_format(file_format, out, activations_per == CHANNEL)
    if scope not in {HYPERPRIOR, DECODER}:
        raise UserError(f"no scope {scope!r}; there are {HYPERPRIOR} and {DECODER}")
    granularity = Granularity(
        weights=weights_per,
        activations=activations_per or (CHANNEL if file_format == OURS else TENSOR),
    )
    parsed = read_precision(precision)
    paths = list_images_below(images, MOST_IMAGES)
    family, number = split_codec(codec, None)
    library = open_library(checkpoint, family, number, pretrained, images)
    name = name_of(library, family, number)
    networks = ["h_s", "g_s"] if scope == DECODER else ["h_s"]
    calibrations, found = _work(
        library.codec(name), networks, calibrator, parsed, granularity, paths, quiet=as_json
    )
    files: dict[str, str] = {}
    for network, calibration in calibrations.items():
        path = out if len(networks) == 1 else _for_network(out, network)
        data = _bytes(calibration, library.codec(name), network, parsed, file_format)
        write_file(path, data)
        files[network] = str(path)
    _show(name, parsed.name, calibrations, found, files, as_json)


def _check_format(file_format: str, out: Path, per_channel: bool) -> None:
    """What is wrong ends here, not after an hour."""
    from harness.encodings import VERSIONS

    formats = [OURS, *(f"{AIMET}{version}" for version in VERSIONS)]
    if file_format not in formats:
        raise UserError(f"no format {file_format!r}; there are {', '.join(formats)}")
    if file_format != OURS and per_channel:
        raise UserError(
            "AIMET encodings cannot say that activations have a scale a channel: give --activations-per tensor"
        )
    if (out.suffix == ".json") != (file_format != OURS):
        wanted = "a name ending in .json" if file_format != OURS else "another name than .json"
        raise UserError(f"cannot write {out}: format {file_format} takes {wanted}")
    if not out.parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}")


def _for_network(out: Path, network: str) -> Path:
    """`c.safetensors.xz` becomes `c.g_s.safetensors.xz`."""
    stem, dot, suffixes = out.name.partition(".")
    return out.with_name(f"{stem}.{network}{dot}{suffixes}")


def _work(
    codec: "Codec",
    networks: list[str],
    calibrator: str,
    precision: "Precision",
    granularity: "Granularity",
    paths: list[Path],
    *,
    quiet: bool,
) -> tuple[dict[str, "Calibration"], dict[str, list["Finding"]]]:
    from harness.calibrators.base import CALIBRATORS
    from harness.calibrators.findings import findings
    from harness.images import read_image
    from harness.problems import latents, problem

    rule = CALIBRATORS[calibrator]
    calibrations: dict[str, Calibration] = {}
    found: dict[str, list[Finding]] = {}
    specifications: dict[str, IntegerNet] = {}
    with ExitStack() as stack:
        step = _silent if quiet else _progress(stack)
        seen: list[Latents] = []
        for number, path in enumerate(paths):
            step("images", number, len(paths), path.name)
            seen.append(latents(codec, read_image(path)))
        step("images", len(paths), len(paths), "")
        for number, network in enumerate(networks):
            posed = problem(
                codec,
                network,
                precision,
                seen,
                granularity=granularity,
                h_s=lambda: specifications["h_s"],
                report=partial(_told, step, number, len(networks)),
            )
            calibrations[network] = rule.calibrate(posed)
            specifications[network] = posed.quantize(calibrations[network], None)
            found[network] = findings(posed, calibrations[network])
        step("networks", len(networks), len(networks), "")
    return calibrations, found


def _told(step: Step, done: int, total: int, text: str) -> None:
    step("networks", done, total, text)


def _silent(what: str, done: int, total: int, now: str) -> None:
    """Say nothing: standard output is for JSON."""


def _progress(stack: ExitStack) -> Step:
    bar = stack.enter_context(progress_bar())
    tasks = {}

    def step(what: str, done: int, total: int, now: str) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total, now=now)
        bar.update(tasks[what], completed=done, now=now)

    return step


def _bytes(
    calibration: "Calibration",
    codec: "Codec",
    network: str,
    precision: "Precision",
    file_format: str,
) -> bytes:
    from harness.encodings import encodings_of

    if file_format == OURS:
        return calibration.to_bytes()
    version = file_format.removeprefix(AIMET)
    return encodings_of(calibration, codec.networks[network], precision, version).to_bytes()


def _show(
    codec: str,
    precision: str,
    calibrations: Mapping[str, "Calibration"],
    found: Mapping[str, list["Finding"]],
    files: Mapping[str, str],
    as_json: bool,
) -> None:
    if as_json:
        record = {
            network: {
                "calibrator": calibration.calibrator,
                "samples": calibration.samples,
                "file": files[network],
                "tensors": [asdict(each) for each in found[network]],
            }
            for network, calibration in calibrations.items()
        }
        typer.echo(
            json.dumps(
                {"codec": codec, "precision": precision, "networks": record},
                indent=2,
                sort_keys=True,
            )
        )
        return
    for network, calibration in calibrations.items():
        table = Table("tensor", "width", "range", "ranges", "clipped")
        for row in found[network]:
            limits = f"{row.low:.4g} .. {row.high:.4g}"
            clipped = f"{100 * row.clipped:.3f} %"
            table.add_row(row.tensor, row.width, limits, str(row.ranges), clipped)
        console.print(table)
        typer.echo(
            f"{files[network]}: {codec} {network} at {precision} by {calibration.calibrator}, "
            f"{calibration.samples} pictures"
        )
