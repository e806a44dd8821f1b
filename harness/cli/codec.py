"""Commands around one codec: codecs, export, encode, decode."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.app import (
    Calibrate,
    CalibrationFiles,
    Checkpoint,
    FamilyName,
    Json,
    Lowering,
    Precision,
    Pretrained,
    Quality,
    RunsOn,
    Scope,
    app,
    build_for,
    console,
    name_of,
    open_library,
    split_codec,
)
from harness.errors import UserError
from harness.files import write_file


@app.command(epilog="Example: `crosscheck codecs`")
def codecs(as_json: Json = False) -> None:
    """List the codecs that ship: training, digests, rate and distortion."""
    from harness.codecs.checkpoint import shipped
    from harness.library import describe

    described = describe(shipped())
    if as_json:
        typer.echo(json.dumps(described, indent=2, sort_keys=True))
        return
    table = Table("codec", "width N/M", "lambda", "steps", "bpp", "PSNR dB", "digest")
    for record in described:
        rd = record.get("rd")
        bpp, decibel = (
            (f"{rd['bpp']:.3f}", f"{rd['psnr']:.2f}") if isinstance(rd, dict) else ("", "")
        )
        table.add_row(
            str(record["name"]),
            f"{record['n']}/{record['m']}",
            str(record["lmbda"]),
            str(record["steps"]),
            bpp,
            decibel,
            str(record["digest"])[:12],
        )
    console.print(table)


@app.command(
    epilog="""Examples:

- `crosscheck export mbt2018-mean/q3 --precision w8a8 -o exported`
- `crosscheck export mbt2018-mean/q3 --precision w16a16 --scope decoder --lowering auto`
- `crosscheck export mbt2018-mean/q3 --precision bits.json --calibration h_s=mine.safetensors.xz`"""
)
def export(
    codec: Annotated[
        str | None, typer.Argument(help="A shipped codec, such as mbt2018-mean/q3.")
    ] = None,
    precision: Precision = "fp32",
    lowering: Lowering = None,
    scope: Scope = "hyperprior",
    platform: RunsOn = "ort-cpu",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write to.")] = Path(
        "exported"
    ),
    checkpoint: Checkpoint = None,
    quality: Quality = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
) -> None:
    """Write one ONNX file a network, the integer tables and a manifest. `--lowering auto` asks `--platform`."""
    from harness import build as builds

    family, quality = split_codec(codec, quality)
    library = open_library(checkpoint, family, quality, pretrained, calibrate, calibration)
    name = name_of(library, family, quality)
    made = build_for(library, name, precision, lowering, scope, platform)
    for path in builds.export(made, out):
        typer.echo(path)


@app.command(
    epilog="Example: `crosscheck encode photo.jpg -o photo.xchk --codec mbt2018-mean/q3 --precision w8a8 --platform torch`"
)
def encode(
    image: Annotated[Path, typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or PPM; any size.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Bitstream to write.")],
    codec: FamilyName = "mbt2018-mean/q3",
    quality: Quality = None,
    precision: Precision = "w8a8",
    lowering: Lowering = None,
    scope: Scope = "hyperprior",
    platform: RunsOn = "ort-cpu",
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
) -> None:
    """Encode one picture to a bitstream."""
    from harness import endpoints
    from harness.bitstream import pack
    from harness.cells import platform_runner
    from harness.images import psnr, read_image
    from harness.platforms.pool import Pool

    pixels = read_image(image)
    family, quality = split_codec(None if checkpoint else codec, quality)
    library = open_library(checkpoint, family, quality, pretrained, calibrate, calibration)
    name = name_of(library, family, quality)
    made = build_for(library, name, precision, lowering, scope, platform)
    with Pool() as pool:
        encoded = endpoints.encode(made, pixels, platform_runner(pool, platform))
    stream = pack(encoded.bitstream)
    write_file(out, stream)
    decibel = psnr(pixels, encoded.trace.array("picture").astype("uint8"))
    bpp = 8 * encoded.bitstream.payload_bytes / (pixels.shape[0] * pixels.shape[1])
    typer.echo(
        f"{out}: {len(stream)} bytes ({bpp:.4f} bpp of payload), {decibel:.2f} dB on {platform}"
    )


@app.command(epilog="Example: `crosscheck decode photo.xchk -o photo.png --platform ort-cpu-noopt`")
def decode(
    stream: Annotated[Path, typer.Argument(help="A bitstream that `crosscheck encode` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    platform: RunsOn = "ort-cpu",
    lowering: Lowering = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
    bits: Annotated[
        Path | None, typer.Option(help="The table of bits (.json) of a stream of mixed precision.")
    ] = None,
) -> None:
    """Decode a bitstream to a PNG; the codec, the precision and the scope are those it names."""
    from harness import endpoints
    from harness.bitstream import unpack
    from harness.build import split_profile
    from harness.cells import platform_runner
    from harness.errors import StreamError
    from harness.images import write_png
    from harness.platforms.pool import Pool

    try:
        if stream.stat().st_size > 2**30:
            raise UserError(f"{stream} is larger than any stream this codec writes")
        bitstream = unpack(stream.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {stream}: {error.strerror}") from error
    header = bitstream.header
    library = open_library(
        checkpoint, header.codec, header.quality, pretrained, calibrate, calibration
    )
    precision, scope = split_profile(header.profile)
    name = name_of(library, header.codec, header.quality)
    made = build_for(library, name, str(bits or precision), lowering, scope, platform)
    with Pool() as pool:
        decoded = endpoints.decode(made, bitstream, platform_runner(pool, platform))
    if decoded.problem:
        raise StreamError(
            f"{stream}: {decoded.problem}: this platform computes other entropy parameters than the "
            f"encoder did, so the picture would be wrong; nothing was written"
        )
    write_png(out, decoded.trace.array("picture").astype("uint8"))
    typer.echo(
        f"{out}: {header.width}x{header.height}, decoded on {platform}, symbols and indexes as encoded"
    )
