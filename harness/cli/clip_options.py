"""The options of `encode` and `decode` that only clips have, and the clip that they say."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.footage.base import Clip

DEFAULT_CODEC = "ssf2020/q5"
SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
RATE = re.compile(r"([0-9]{1,10})(?:/([0-9]{1,10}))?")

Size = Annotated[
    str | None,
    typer.Option(
        help="Clips: WIDTHxHEIGHT of a raw .yuv whose name does not say it, as in 416x240."
    ),
]
Depth = Annotated[int | None, typer.Option(help="Clips: bits of raw samples, 8 or 10.")]
MatrixName = Annotated[
    Literal["auto", "bt601", "bt709"],
    typer.Option("--matrix", help="Clips: the Y'CbCr matrix; auto: as the file says, else BT.709."),
]
RangeName = Annotated[
    Literal["auto", "limited", "full"],
    typer.Option(
        "--range", help="Clips: the range of samples; auto: as the file says, else limited."
    ),
]
Rate = Annotated[str | None, typer.Option(help="Clips: frames a second, such as 25 or 30000/1001.")]
Frames = Annotated[
    int | None, typer.Option("--frames", min=1, help="Clips: this many frames at most.")
]
Intra = Annotated[
    int, typer.Option("--intra", min=0, help="Clips: a key frame every so many; 0: only the first.")
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going", help="Clips: write frames that fail a hash too, as a user would see them."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Input:
    """How a clip is to be read, in the options' own words."""

    size: str | None = None
    depth: int | None = None
    matrix: Literal["auto", "bt601", "bt709"] = "auto"
    color_range: Literal["auto", "limited", "full"] = "auto"
    rate: str | None = None
    frames: int | None = None
    intra: int = 0

    def require_none(self) -> None:
        """UserError if anything is said that only clips have."""
        if self != Input():
            raise UserError(
                "--size, --depth, --matrix, --range, --rate, --frames and --intra are of clips: give a video codec,"
                f" such as --codec {DEFAULT_CODEC}"
            )

    def open(self, path: Path) -> "Clip":
        from harness.footage.base import open_clip

        clip = open_clip(
            path,
            size=_size(self.size),
            depth=self.depth,
            matrix=self.matrix,
            color_range=self.color_range,
            rate=_rate(self.rate),
        )
        return clip if self.frames is None else clip.limited(self.frames)


def is_clip(path: Path) -> bool:
    """Whether this is a folder, or a file that has the name of a clip."""
    from harness.footage.base import clip_suffixes

    return path.is_dir() or path.suffix.lower() in clip_suffixes()


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = SIZE.fullmatch(text)
    if not match:
        raise UserError(f"--size {text!r} is no size: write WIDTHxHEIGHT, as in 416x240")
    return int(match[1]), int(match[2])


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    match = RATE.fullmatch(text)
    if not match or not int(match[2] or 1):
        raise UserError(f"--rate {text!r} is no rate: write 25 or 30000/1001")
    return Fraction(int(match[1]), int(match[2] or 1))
