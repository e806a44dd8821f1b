"""A folder of frames: their order, their size, and the files that are none."""

from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from harness.footage.base import open_clip
from harness.images import MAX_PIXELS
from tests.footage.clips import error_of, folder_of, frames_of, same, written

FRAMES = frames_of(4, 5, 7)


def test_natural_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES, ["f10.png", "f2.png", "f1.PNG", "f011.png"])
    clip = open_clip(folder)
    assert (clip.name, clip.frames, clip.rate, clip.depth) == ("clip", 4, Fraction(25), 8)
    assert same(list(clip), [FRAMES[n] for n in (2, 1, 0, 3)])


def test_what_is_no_frame_is_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:2], ["1.png", ".2.png"])
    (folder / "MD5SUMS").write_text("none", encoding="utf-8")
    (folder / "more.png").mkdir()
    assert same(list(open_clip(folder)), FRAMES[:1])


def test_the_folder_that_one_is_in_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_of(tmp_path / "clip", FRAMES[:1], ["1.png"]))
    assert open_clip(Path()).name == "clip"


def test_written_names_keep_their_order(tmp_path: Path) -> None:
    folder = written(tmp_path / "clip", FRAMES * 3)
    names = sorted(path.name for path in folder.iterdir())
    assert (names[0], names[-1]) == ("f00001.png", "f00012.png")
    assert same(list(open_clip(folder)), FRAMES * 3)


def test_mixed_sizes_are_found_before_any_frame_is_decoded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", [*FRAMES[:2], FRAMES[2][:4]], ["1.png", "2.png", "3.png"])
    message = error_of(lambda: open_clip(folder))
    assert "3.png' is 7x4" in message
    assert "'1.png' 7x5" in message


def test_a_frame_that_exif_turns_is_of_another_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:1], ["1.png"])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FRAMES[1]).save(folder / "2.png", exif=exif)
    clip = open_clip(folder)
    assert "frame 2 of clip 'clip' is 5x7" in error_of(lambda: list(clip))


def test_a_file_that_is_no_png(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:1], ["1.png"])
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"P6 1 1 255 abc" * 9):
        (folder / "2.png").write_bytes(data)
        assert "2.png' is no PNG file" in error_of(lambda: open_clip(folder))


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:2], ["1.png", "2.png"])
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2])
    clip = open_clip(folder)
    assert "2.png" in error_of(lambda: list(clip))


@pytest.mark.parametrize(("side", "reason"), [(2**20, f"exceeds {MAX_PIXELS}"), (0, "impossible")])
def test_a_claimed_size(tmp_path: Path, side: int, reason: str) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:1], ["1.png"])
    data = bytearray((folder / "1.png").read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    (folder / "1.png").write_bytes(data)
    assert reason in error_of(lambda: open_clip(folder))


def test_a_frame_that_disappears(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", FRAMES[:3], ["1.png", "2.png", "3.png"])
    clip = open_clip(folder)
    (folder / "2.png").unlink()
    assert "after 2 of 3 frames" in error_of(lambda: list(clip))
