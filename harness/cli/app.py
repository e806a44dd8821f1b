"""What the commands share: the application, its options, and how a codec is named."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.build import Build, Quantized
    from harness.library import Library
    from harness.video.library import VideoLibrary

B_co = TypeVar("B_co", bound="Quantized", covariant=True)

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
    typer.Option(
        "--codec",
        help="Codec: a family such as mbt2018-mean or ssf2020, or one such as ssf2020/q5.",
    ),
]
Quality = Annotated[int | None, typer.Option(help="Rate point, such as 3.")]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Take the weights from CompressAI's model zoo.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        help="Folder of images (of a video codec: clips) to calibrate activation ranges on."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, a control such as w8a8-qdq, integers w2a2 to w16a16, or a .json table of bits."
    ),
]
Lowering = Annotated[
    str | None,
    typer.Option(
        help="How integer networks are realised in ONNX, or auto: the fastest that gives the known answers here."
    ),
]
Scope = Annotated[
    str,
    typer.Option(
        help="What is in integers: hyperprior (h_s) or decoder (h_s and g_s; of video: the whole P-frame loop)."
    ),
]
RunsOn = Annotated[
    str, typer.Option("--platform", help="Where networks run; see `crosscheck platforms`.")
]
CalibrationFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration",
        help="h_s=FILE or g_s=FILE: a calibration, or AIMET encodings (.json); may be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which codec, in which arithmetic, where: what the options said."""

    family: str | None
    quality: int | None
    checkpoint: Path | None
    pretrained: bool
    calibrate: Path | None
    calibration: Sequence[str] | None
    precision: str
    scope: str
    lowering: str | None
    platform: str

    def build(self) -> "Build":
        """The build of a codec of pictures that is meant; UserError if there is none such."""
        library = open_library(
            self.checkpoint,
            self.family,
            self.quality,
            self.pretrained,
            self.calibrate,
            self.calibration,
        )
        name = name_of(library, self.family, self.quality)
        return build_for(library, name, self.precision, self.lowering, self.scope, self.platform)


# Makes of the family, the quality and the profile that a stream names what decodes it.
Choosing = Callable[[str, int, str], Choice]


def progress_bar(*, transient: bool = False) -> Progress:
    """What is counted, how far it is, the time gone and left, and (a task's field `now`) what is being done.

    A transient one is gone in the end, and not shown at all where there is no terminal.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
        console=console,
        transient=transient,
        disable=transient and not console.is_terminal,
    )


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
    calibration: Sequence[str] | None = None,
) -> "Library":
    from harness.library import Library, own_codec

    own = own_codec(file=checkpoint, family=codec, quality=quality, pretrained=pretrained)
    library = Library(own, calibrate)
    for given in calibration or []:
        network, _, file = given.partition("=")
        if network not in {"h_s", "g_s"} or not file:
            raise UserError(f"--calibration wants h_s=FILE or g_s=FILE, not {given!r}")
        library.use(network, Path(file))
    return library


class Builder(Protocol[B_co]):
    """A library, of pictures or of clips."""

    def build(
        self, name: str, precision: str, lowering: str | None = None, *, scope: str = ...
    ) -> B_co: ...


def build_for(
    library: Builder[B_co],
    name: str,
    precision: str,
    lowering: str | None,
    scope: str,
    platform: str,
) -> B_co:
    """A build whose lowering, where it is `auto`, is chosen on the platform that will run it; the choice is told."""
    from harness.auto import AUTO, choose
    from harness.cells import platform_runner
    from harness.platforms.pool import Pool

    if lowering != AUTO:
        return library.build(name, precision, lowering, scope=scope)
    made = library.build(name, precision, scope=scope)
    with Pool() as pool:
        choice = choose(made, platform_runner(pool, platform))
    typer.echo(f"lowering on {platform}: {choice}")
    return library.build(name, precision, choice.lowering, scope=scope)


def name_of(library: "Library | VideoLibrary", codec: str | None, quality: int | None) -> str:
    """The one codec that is meant: the user's own, or a shipped one."""
    names = library.names()
    if len(names) == 1 and (codec is None or quality is None):
        return names[0]
    there_are = ", ".join(names) or "none"
    if codec is None or quality is None:
        raise UserError(
            f"which codec? Give --codec and --quality, or --checkpoint FILE; there are: {there_are}"
        )
    name = f"{codec}/q{quality}"
    if name not in names:
        raise UserError(f"no codec {name!r} ships; there are: {there_are}")
    return name
