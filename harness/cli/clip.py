"""What `encode`, `decode` and `export` do where the codec is a video codec: frame by frame, whatever the clip's length."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from harness.cli.app import Choice, Choosing, build_for, name_of, progress_bar
from harness.cli.clip_options import Input
from harness.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harness.codecs.video import VideoCodec
    from harness.endpoints import Arrays, Run
    from harness.lowerings.base import Artifact
    from harness.platforms.pool import Pool
    from harness.video.build import VideoBuild
    from harness.video_stream import StreamReader

MAGIC = b"XCKV"
CALIBRATES_ON = "ort-cpu"


class Pace:
    """Frames so far, and how fast they came; a bar that shows them."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task
        self._began = time.monotonic()
        self.frames = 0

    def advance(self, *, total: int | None = None) -> None:
        self.frames += 1
        self._bar.update(self._task, advance=1, now=str(self), total=total)

    def __str__(self) -> str:
        return f"{self.frames / max(time.monotonic() - self._began, 1e-9):.2f} frames/s"


def is_video_codec(family: str | None) -> bool:
    from harness.codecs.video import VIDEO_FAMILIES

    return family in VIDEO_FAMILIES


def is_video_stream(path: Path) -> bool:
    """Whether a file starts as video streams do; a file that cannot be read is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def encode_clip(choice: Choice, path: Path, given: Input, out: Path) -> None:
    """Encode `path` to the stream `out`, which is there whole or not at all."""
    from harness.ends import header_of
    from harness.images import SUFFIXES, psnr
    from harness.video.endpoints import encode
    from harness.video_stream import StreamWriter

    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise UserError(
            f"{path} is a picture, and {choice.family} codes clips: give a .y4m or .yuv file or a folder of PNGs,"
            " or the codec of pictures that is meant, such as --codec mbt2018-mean/q3"
        )
    clip = given.open(path)
    with _built(choice) as (made, run):
        header = header_of(made, (clip.height, clip.width), clip.rate)
        payload, decibels = 0, 0.0
        with StreamWriter(out, header) as writer, _progress("encode", clip.frames) as pace:
            originals, pictures = tee(clip)  # the encoder asks for a frame after this loop has
            frames = encode(made, pictures, run, intra=given.intra)
            for pixels, coded in zip(originals, frames, strict=True):
                writer.write(coded.frame)
                payload += coded.payload_bytes
                decibels += psnr(pixels, coded.trace.array("picture").astype("uint8"))
                pace.advance()
    bpp = 8 * payload / (clip.height * clip.width * pace.frames)
    typer.echo(
        f"{out}: {_count(pace.frames)} of {clip.width}x{clip.height}, {out.stat().st_size} bytes ({bpp:.4f} bpp of payload),"
        f" mean {decibels / pace.frames:.2f} dB, {pace} on {choice.platform}"
    )


def decode_clip(choice: Choosing, stream: Path, out: Path, *, keep_going: bool) -> None:
    """Decode `stream` to the clip `out`: all of it, or what comes before the first frame that is not right.

    Ends with exit code 1 if a frame is not right, and leaves no file if there is none before it.
    """
    from harness.ends import check_header
    from harness.footage.planar import opened
    from harness.video_stream import DamagedStream, StreamReader

    with opened(stream) as file, StreamReader(file) as reader:
        header = reader.header
        chosen = choice(header.codec, header.quality, header.profile)
        with _built(chosen) as (made, run):
            check_header(made, header)
            try:
                seen = _decode(made, run, reader, file, out, keep_going=keep_going)
            except DamagedStream as error:
                _complain(f"{stream}: {error}; nothing was written")
                raise typer.Exit(1) from error
    if seen.failed:
        _complain(
            f"{stream}: {_count(seen.failed)} of {seen.pace.frames} failed a hash, first {seen.first_failure}"
        )
    if seen.damage:
        _complain(f"{stream}: {seen.damage}; {_written(seen.pace.frames, out)}")
    if seen.failed or seen.damage:
        raise typer.Exit(1)
    typer.echo(
        f"{out}: {_count(seen.pace.frames)} of {header.width}x{header.height}, decoded on {chosen.platform} at {seen.pace},"
        f" {'pictures, ' if made.has_integer_pictures else ''}symbols and indexes as encoded"
    )


@dataclass
class _Seen:
    """What became of a stream's frames: how many were written, how many of them failed a hash, what ended them early."""

    pace: "Pace"
    failed: int = 0
    first_failure: str = ""
    damage: str = ""


def _decode(
    made: "VideoBuild",
    run: "Run",
    reader: "StreamReader",
    file: BinaryIO,
    out: Path,
    *,
    keep_going: bool,
) -> _Seen:
    from harness.footage.base import create_clip
    from harness.video.playback import HINT, play
    from harness.video_stream import DamagedStream

    header, length = reader.header, os.fstat(file.fileno()).st_size
    size = (header.height, header.width)
    with (
        create_clip(out, height=size[0], width=size[1], rate=header.rate) as writer,
        _progress("decode", None) as pace,
    ):
        seen = _Seen(pace=pace)
        try:
            for decoded in play(made, reader, size, run, keep_going=keep_going):
                writer.write(decoded.trace.array("picture").astype("uint8"))
                if decoded.problem:
                    seen.failed += 1
                    seen.first_failure = seen.first_failure or f"{decoded.problem}: {HINT}"
                # A stream does not say how long it is; frames so far and bytes so far do.
                pace.advance(total=math.ceil((pace.frames + 1) * length / file.tell()))
        except DamagedStream as error:
            if not pace.frames:
                raise
            seen.damage = str(error)
    return seen


def export_clip_codec(choice: Choice, out: Path) -> None:
    from harness.video.export import export

    with _built(choice) as (made, _):
        for path in export(made, out):
            typer.echo(path)


@contextmanager
def _built(choice: Choice) -> Iterator[tuple["VideoBuild", "Run"]]:
    """The build that is meant, and who runs its networks; UserError if there is none such."""
    from harness.footage.datasets import calibration_clips
    from harness.platforms.pool import Pool
    from harness.video.library import VideoLibrary

    if choice.calibration:
        raise UserError("--calibration is for codecs of pictures: give --calibrate FOLDER of clips")
    folder = choice.calibrate
    with Pool() as pool:
        run = _runner(pool, choice.platform)
        library = VideoLibrary(
            _own(choice),
            calibrate_on=None if folder is None else lambda: calibration_clips(folder),
            run=_runner(pool, CALIBRATES_ON),
        )
        name = name_of(library, choice.family, choice.quality)
        yield (
            build_for(
                library, name, choice.precision, choice.lowering, choice.scope, choice.platform
            ),
            run,
        )


def _own(choice: Choice) -> "VideoCodec | None":
    from harness.codecs import ssf2020
    from harness.codecs.checkpoint import read_checkpoint

    if choice.checkpoint is not None:
        return ssf2020.load_foreign(
            read_checkpoint(choice.checkpoint),
            quality=choice.quality or 0,
            origin=choice.checkpoint.name,
        )
    if not choice.pretrained:
        return None
    if choice.quality is None:
        raise UserError("--pretrained needs a quality, as in --codec ssf2020/q5")
    return ssf2020.load_pretrained(choice.quality)


def _runner(pool: "Pool", platform: str) -> "Run":
    """As `platform_runner`, but nothing is remembered: no frame comes twice, and clips may be long."""
    from harness.cells import platform_runner

    platform_runner(pool, platform)  # says so now if there is none of this name

    def run(network: str, artifact: "Artifact", feeds: "Arrays") -> "Arrays":
        return platform_runner(pool, platform)(network, artifact, feeds)

    return run


@contextmanager
def _progress(what: str, frames: int | None) -> Iterator[Pace]:
    with progress_bar(transient=True) as bar:
        yield Pace(bar, bar.add_task(what, total=frames, now=""))


def _count(frames: int) -> str:
    return f"{frames} frame" if frames == 1 else f"{frames} frames"


def _written(frames: int, out: Path) -> str:
    return f"{out} has frame 0" if frames == 1 else f"{out} has frames 0 to {frames - 1}"


def _complain(line: str) -> None:
    typer.echo(f"crosscheck: {line}", err=True)
