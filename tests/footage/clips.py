"""Small clips for the tests of `harness.footage`, and what an error has to look like."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UserError
from harness.footage.base import Clip, create_clip
from harness.images import Pixels, write_png


def frames_of(count: int, height: int, width: int, *, seed: int = 0) -> list[Pixels]:
    """Noise, so that any row, column or channel out of place shows."""
    shape = (count, height, width, 3)
    return list(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def clip_of(frames: Sequence[Pixels], *, known: bool = True) -> Clip:
    height, width, _ = frames[0].shape
    return Clip(
        name="made",
        height=height,
        width=width,
        frames=len(frames) if known else None,
        rate=Fraction(25),
        depth=8,
        source=lambda: iter(frames),
    )


def written(path: Path, frames: Sequence[Pixels], **options: object) -> Path:
    height, width, _ = frames[0].shape
    arguments = {"height": height, "width": width, "rate": Fraction(25), **options}
    with create_clip(path, **arguments) as clip:
        for frame in frames:
            clip.write(frame)
    return path


def folder_of(path: Path, frames: Sequence[Pixels], names: Sequence[str]) -> Path:
    path.mkdir(parents=True)
    for frame, name in zip(frames, names, strict=True):
        write_png(path / name, frame)
    return path


def same(read: Sequence[Pixels], expected: Sequence[Pixels]) -> bool:
    """Equal in number, dtype, shape and bytes."""
    told = [[(str(f.dtype), f.shape, f.tobytes()) for f in each] for each in (read, expected)]
    return bool(told[0]) and told[0] == told[1]


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert ";" in message, "says what to do"
    return message
