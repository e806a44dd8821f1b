"""Raw planes: what their names say, and that a wrong size or depth is found out."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harness.footage.base import open_clip
from harness.footage.colour import Coding, plane_shapes, to_rgb
from tests.footage.clips import error_of, frames_of, same, written

NAMES = {
    "BasketballDrive_8x4_50": (50, 8),
    "Beauty_8x4_120fps_420_8bit_YUV": (120, 8),
    "Beauty_8x4_120fps_420_10bit_YUV": (120, 10),
    "C_RaceHorses_2frames_8x4_30Hz_8bit_P420": (30, 8),
    "CiscoVT2people_8x4_12fps": (12, 8),
    "Foo_8x4": (25, 8),
    "Foo_8x4_0": (25, 8),
    "Foo_10bit_8x4_24_x": (24, 10),
    "8x4": (25, 8),
}


@pytest.mark.parametrize("stem", NAMES)
def test_size_rate_and_depth_are_taken_from_the_name(tmp_path: Path, stem: str) -> None:
    rate, depth = NAMES[stem]
    path = written(tmp_path / f"{stem}.yuv", frames_of(3, 4, 8), depth=depth)
    clip = open_clip(path)
    assert (clip.name, clip.width, clip.height, clip.frames) == (stem, 8, 4, 3)
    assert (clip.rate, clip.depth) == (Fraction(rate), depth)
    assert len(list(clip)) == 3


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(("height", "width"), [(4, 8), (3, 5), (1, 1)])
def test_planes_one_after_the_other(tmp_path: Path, depth: int, height: int, width: int) -> None:
    coding = Coding(matrix="bt709", full_range=False, depth=depth, chroma="420", siting="left")
    rng = np.random.default_rng(depth)
    planes = [
        [rng.integers(0, 2**depth, shape, dtype=np.uint16) for shape in shapes]
        for shapes in [plane_shapes(height, width, "420")] * 2
    ]
    path = tmp_path / "clip.yuv"
    path.write_bytes(b"".join(p.astype(coding.word).tobytes() for each in planes for p in each))
    clip = open_clip(path, size=(width, height), depth=depth)
    assert (clip.frames, clip.depth) == (2, depth)
    assert same(list(clip), [to_rgb((y, u, v), coding) for y, u, v in planes])


def test_10_bits_are_rounded_once_and_not_through_8(tmp_path: Path) -> None:
    """Y = 506 is 8-bit 126.5, which would go up or down first: 442/876 of 255 is 128.66."""
    path = tmp_path / "clip_2x2_10bit.yuv"
    path.write_bytes(np.array([506] * 4 + [512] * 2, "<u2").tobytes())
    assert set(next(iter(open_clip(path))).flat) == {129}


def test_what_the_caller_says_wins(tmp_path: Path) -> None:
    path = written(tmp_path / "Foo_8x4_50.yuv", frames_of(2, 4, 8))
    clip = open_clip(path, size=(4, 4), rate=Fraction(10))
    assert (clip.width, clip.frames, clip.rate) == (4, 4, 10)


def test_a_name_without_size(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.yuv", frames_of(2, 4, 8))
    assert "does not say the size" in error_of(lambda: open_clip(path))
    assert open_clip(path, size=(8, 4)).frames == 2


@pytest.mark.parametrize("size", [(8, 6), (7, 4), (4096, 2160)])
def test_a_wrong_size_is_told_by_the_length(tmp_path: Path, size: tuple[int, int]) -> None:
    path = written(tmp_path / "clip.yuv", frames_of(2, 4, 8))
    assert "not a multiple" in error_of(lambda: open_clip(path, size=size))


def test_a_cut_off_frame_is_told_by_the_length(tmp_path: Path) -> None:
    path = written(tmp_path / "clip_8x4.yuv", frames_of(2, 4, 8))
    path.write_bytes(path.read_bytes()[:-1])
    assert "95 bytes, which is not a multiple of the 48" in error_of(lambda: open_clip(path))


def test_bytes_taken_for_10_bit_words(tmp_path: Path) -> None:
    path = written(tmp_path / "clip_8x4.yuv", frames_of(2, 4, 8))
    clip = open_clip(path, depth=10)
    assert "beyond 10 bits" in error_of(lambda: list(clip))


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "clip_8x4.yuv", frames_of(2, 4, 8))
    clip = open_clip(path)
    written(path, frames_of(3, 4, 8))
    assert "after 3 of 2 frames" in error_of(lambda: list(clip))
    path.write_bytes(bytes(50))
    assert "not a multiple" in error_of(lambda: list(clip))
    path.unlink()
    assert "cannot read" in error_of(lambda: list(clip))


NOT_READ = {
    "a_8x4_422_8bit": "is 422 by its name",
    "a_8x4_yuv444p": "is 444 by its name",
    "a_8x4_12bit": "12-bit",
    "a_0x4": "impossible",
    "a_99999x99999": "exceeds",
}


@pytest.mark.parametrize("stem", NOT_READ)
def test_names_of_what_is_not_read(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.yuv"
    path.write_bytes(bytes(48))
    assert NOT_READ[stem] in error_of(lambda: open_clip(path))
