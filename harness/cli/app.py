"""What the commands share: the application, its options, and how a codec is named."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.library import Library

app = typer.Typer(
    help="Encode here, decode there, compare every bit: determinism checks for learned codecs.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(soft_wrap=True, highlight=False)

Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Your own weights: a .pth state dict (read weights-only) or .safetensors."),
]
FamilyName = Annotated[
    str | None,
    typer.Option("--codec", help="Codec: a family such as mbt2018-mean, or mbt2018-mean/q3."),
]
Quality = Annotated[int | None, typer.Option(help="Rate point, such as 3.")]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Take the weights from CompressAI's model zoo.")
]
Calibrate = Annotated[
    Path | None, typer.Option(help="Folder of images to calibrate activation ranges on.")
]
Precision = Annotated[
    str, typer.Option(help="fp32, w8a8-qdq or an integer precision such as w8a8.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def split_codec(codec: str | None, quality: int | None) -> tuple[str | None, int | None]:
    """Accept `family/q3` wherever `--codec family --quality 3` is."""
    if codec and "/q" in codec:
        family, _, digits = codec.partition("/q")
        if not digits.isdigit():
            raise UserError(f"no codec {codec!r}: write it as family/q3, or give --quality 3")
        return family, int(digits)
    return codec, quality


def open_library(
    checkpoint: Path | None,
    codec: str | None,
    quality: int | None,
    pretrained: bool,
    calibrate: Path | None,
) -> "Library":
    from harness.library import Library, own_codec

    own = own_codec(file=checkpoint, family=codec, quality=quality, pretrained=pretrained)
    return Library(own, calibrate)


def name_of(library: "Library", codec: str | None, quality: int | None) -> str:
    """The one codec that is meant: the user's own, or a shipped one."""
    names = library.names()
    if len(names) == 1:
        return names[0]
    if codec is None or quality is None:
        raise UserError(
            f"which codec? Give --codec and --quality, or --checkpoint FILE; there are: {', '.join(names)}"
        )
    name = f"{codec}/q{quality}"
    if name not in names:
        raise UserError(f"no codec {name!r} ships; there are: {', '.join(names)}")
    return name


def write_file(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; give a writable place with -o"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
