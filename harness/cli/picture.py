"""What `encode` and `decode` do where the codec is one of pictures."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

from pathlib import Path

import typer

from harness.cli.app import Choice, Choosing
from harness.cli.clip_options import DEFAULT_CODEC, is_clip
from harness.errors import UserError
from harness.files import write_file


def encode_picture(choice: Choice, image: Path, out: Path) -> None:
    """Encode `image` to the stream `out`."""
    from harness import endpoints
    from harness.bitstream import pack
    from harness.cells import platform_runner
    from harness.images import psnr, read_image
    from harness.platforms.pool import Pool

    if image.exists() and is_clip(image):
        raise UserError(
            f"{image} is a clip, and {choice.family or 'this codec'} codes pictures: give a PNG, JPEG, WebP, TIFF, BMP or"
            f" PPM file, or a video codec, such as --codec {DEFAULT_CODEC}"
        )
    pixels = read_image(image)
    made = choice.build()
    with Pool() as pool:
        encoded = endpoints.encode(made, pixels, platform_runner(pool, choice.platform))
    stream = pack(encoded.bitstream)
    write_file(out, stream)
    decibel = psnr(pixels, encoded.trace.array("picture").astype("uint8"))
    bpp = 8 * encoded.bitstream.payload_bytes / (pixels.shape[0] * pixels.shape[1])
    typer.echo(
        f"{out}: {len(stream)} bytes ({bpp:.4f} bpp of payload), {decibel:.2f} dB on {choice.platform}"
    )


def decode_picture(choice: Choosing, stream: Path, out: Path) -> None:
    """Decode `stream` to the PNG `out`; nothing is written if it is not as encoded."""
    from harness import endpoints
    from harness.bitstream import unpack
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
    if out.suffix and is_clip(out):
        raise UserError(f"{stream} is of a picture, and {out} would be a clip: name a PNG")
    chosen = choice(header.codec, header.quality, header.profile)
    made = chosen.build()
    with Pool() as pool:
        decoded = endpoints.decode(made, bitstream, platform_runner(pool, chosen.platform))
    if decoded.problem:
        raise StreamError(
            f"{stream}: {decoded.problem}: this platform computes other entropy parameters than the "
            f"encoder did, so the picture would be wrong; nothing was written"
        )
    write_png(out, decoded.trace.array("picture").astype("uint8"))
    typer.echo(
        f"{out}: {header.width}x{header.height}, decoded on {chosen.platform}, symbols and indexes as encoded"
    )
