"""Commands around one codec, of pictures or of clips: codecs, export, encode, decode."""
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
    Choice,
    FamilyName,
    Json,
    Lowering,
    Precision,
    Pretrained,
    Quality,
    RunsOn,
    Scope,
    app,
    console,
    split_codec,
)
from harness.cli.clip import (
    decode_clip,
    encode_clip,
    export_clip_codec,
    is_video_codec,
    is_video_stream,
)
from harness.cli.clip_options import (
    DEFAULT_CODEC,
    Depth,
    Frames,
    Input,
    Intra,
    KeepGoing,
    MatrixName,
    RangeName,
    Rate,
    Size,
    is_clip,
)
from harness.cli.picture import decode_picture, encode_picture
from harness.errors import UserError

PICTURE_CODEC = "mbt2018-mean/q3"


@app.command(epilog="Example: `crosscheck codecs`")
def codecs(as_json: Json = False) -> None:
    """List the codecs that ship, of pictures and of clips: training, digests, rate and distortion."""
    from harness.codecs import ssf2020
    from harness.codecs.checkpoint import shipped

    codecs_that_ship = shipped() | ssf2020.shipped()
    described = [{"name": name, **files.read_record()} for name, files in codecs_that_ship.items()]
    if as_json:
        typer.echo(json.dumps(described, indent=2, sort_keys=True))
        return
    table = Table("codec", "width N/M/K", "lambda", "steps", "bpp", "PSNR dB", "digest")
    for record in described:
        rd = record.get("rd")
        bpp, decibel = (
            (f"{rd['bpp']:.3f}", f"{rd['psnr']:.2f}") if isinstance(rd, dict) else ("", "")
        )
        table.add_row(
            str(record["name"]),
            "/".join(str(record[width]) for width in ("n", "m", "k") if width in record),
            str(record.get("lmbda", "")),
            str(record.get("steps", "")),
            bpp,
            decibel,
            str(record.get("digest", ""))[:12],
        )
    console.print(table)


@app.command(
    epilog="""Examples:

- `crosscheck export mbt2018-mean/q3 --precision w8a8 -o exported`
- `crosscheck export mbt2018-mean/q3 --precision w16a16 --scope decoder --lowering auto`
- `crosscheck export mbt2018-mean/q3 --precision bits.json --calibration h_s=mine.safetensors.xz`
- `crosscheck export ssf2020/q5 --precision w8a8 --scope decoder -o exported` - 15 networks and the warp
- `crosscheck export ssf2020 --checkpoint mine.pth --calibrate clips --precision w8a8`"""
)
def export(
    codec: Annotated[
        str | None, typer.Argument(help="A shipped codec, such as mbt2018-mean/q3 or ssf2020/q5.")
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
    choice = Choice(
        family=family,
        quality=quality,
        checkpoint=checkpoint,
        pretrained=pretrained,
        calibrate=calibrate,
        calibration=calibration,
        precision=precision,
        scope=scope,
        lowering=lowering,
        platform=platform,
    )
    if is_video_codec(family):
        export_clip_codec(choice, out)
        return
    for path in builds.export(choice.build(), out):
        typer.echo(path)


@app.command(
    epilog="""Examples:

- `crosscheck encode photo.jpg -o photo.xchk --codec mbt2018-mean/q3 --precision w8a8 --platform torch`
- `crosscheck encode clip.y4m -o clip.xckv --codec ssf2020/q5 --precision w8a8 --scope decoder`
- `crosscheck encode Foo.yuv -o foo.xckv --size 416x240 --rate 30 --frames 96 --intra 32`
- `crosscheck encode frames/ -o mine.xckv --checkpoint mine.pth --calibrate clips`

Without `--codec`: mbt2018-mean/q3 for pictures, ssf2020/q5 for clips. A clip is coded frame by frame, however long it is."""
)
def encode(  # noqa: PLR0913 - clips have options of their own
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURE|CLIP",
            help="PNG, JPEG, WebP, TIFF, BMP or PPM; or .y4m, .yuv, a video file, a folder of PNGs. Any size.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Bitstream to write.")],
    codec: FamilyName = None,
    quality: Quality = None,
    precision: Precision = "w8a8",
    lowering: Lowering = None,
    scope: Scope = "hyperprior",
    platform: RunsOn = "ort-cpu",
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
    size: Size = None,
    depth: Depth = None,
    matrix: MatrixName = "auto",
    color_range: RangeName = "auto",
    rate: Rate = None,
    frames: Frames = None,
    intra: Intra = 0,
) -> None:
    """Encode one picture or one clip to a bitstream."""
    given = Input(
        size=size,
        depth=depth,
        matrix=matrix,
        color_range=color_range,
        rate=rate,
        frames=frames,
        intra=intra,
    )
    if checkpoint is None:
        codec = codec or (DEFAULT_CODEC if is_clip(source) else PICTURE_CODEC)
    elif is_clip(source):  # of a codec of pictures, its tensors tell the family
        codec = codec or DEFAULT_CODEC.partition("/")[0]
    family, quality = split_codec(codec, quality)
    choice = Choice(
        family=family,
        quality=quality,
        checkpoint=checkpoint,
        pretrained=pretrained,
        calibrate=calibrate,
        calibration=calibration,
        precision=precision,
        scope=scope,
        lowering=lowering,
        platform=platform,
    )
    if is_video_codec(family):
        encode_clip(choice, source, given, out)
    else:
        given.require_none()
        encode_picture(choice, source, out)


@app.command(
    epilog="""Examples:

- `crosscheck decode photo.xchk -o photo.png --platform ort-cpu-noopt`
- `crosscheck decode clip.xckv -o clip.y4m --platform torch` - or a `.yuv` file, or `-o frames/` for PNGs
- `crosscheck decode clip.xckv -o seen.y4m --platform torch --keep-going` - what a user would see

The codec, the precision and the scope are those that the stream names. PNGs have every bit of a clip; .y4m and .yuv files
are 4:2:0 in 8 bits, BT.709, limited range. Of a clip whose stream is damaged, or that this
platform decodes otherwise than the encoder did, the frames before the first wrong one are written, and the exit code is 1."""
)
def decode(
    stream: Annotated[Path, typer.Argument(help="A bitstream that `crosscheck encode` wrote.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="PNG to write; of a clip: .y4m, .yuv, or a folder for PNGs."
        ),
    ],
    platform: RunsOn = "ort-cpu",
    lowering: Lowering = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    calibrate: Calibrate = None,
    calibration: CalibrationFiles = None,
    bits: Annotated[
        Path | None, typer.Option(help="The table of bits (.json) of a stream of mixed precision.")
    ] = None,
    keep_going: KeepGoing = False,
) -> None:
    """Decode a bitstream to a PNG or a clip."""
    from harness.build import split_profile

    def choice(family: str, quality: int, profile: str) -> Choice:
        precision, scope = split_profile(profile)
        return Choice(
            family=family,
            quality=quality,
            checkpoint=checkpoint,
            pretrained=pretrained,
            calibrate=calibrate,
            calibration=calibration,
            precision=str(bits or precision),
            scope=scope,
            lowering=lowering,
            platform=platform,
        )

    if is_video_stream(stream):
        decode_clip(choice, stream, out, keep_going=keep_going)
        return
    if keep_going:
        raise UserError(f"--keep-going is of clips, and {stream} is no stream of one")
    decode_picture(choice, stream, out)
