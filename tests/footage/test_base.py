"""Clips whatever their format: limits, crops, names of formats, what is refused before it is opened."""

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError, UserError
from harness.footage.base import MIRRORINGS, clip_suffixes, create_clip, open_clip
from harness.footage.colour import Coding, from_rgb, to_rgb
from harness.images import MAX_PIXELS, Pixels
from tests.footage.clips import clip_of, error_of, folder_of, frames_of, same, written

FRAMES = frames_of(4, 6, 10)
KINDS = ["clip.y4m", "clip_10x6.yuv", "clip"]  # what is written can be read
EACH_KIND = pytest.mark.parametrize("name", KINDS)


def test_a_clip_may_be_iterated_again_and_twice_at_a_time() -> None:
    clip = clip_of(FRAMES)
    assert same(list(clip), FRAMES)
    pairs = list(zip(clip, clip, strict=True))
    assert same([a for a, _ in pairs], FRAMES)
    assert same([b for _, b in pairs], FRAMES)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("frames", [1, 3, 4, 99])
def test_a_limit_is_an_upper_one(frames: int, known: bool) -> None:
    clip = clip_of(FRAMES, known=known).limited(frames)
    assert clip.frames == (min(frames, 4) if known else None)
    assert same(list(clip), FRAMES[:frames])


def test_no_frame_behind_the_limit_is_read() -> None:
    def source() -> Iterator[Pixels]:
        yield from FRAMES[:2]
        raise AssertionError("read on")

    assert len(list(replace(clip_of(FRAMES), source=source).limited(2))) == 2


def test_a_limit_of_nothing_is_refused() -> None:
    assert "1 or more" in error_of(lambda: clip_of(FRAMES).limited(0))


def test_the_middle_of_1080_rows_starts_at_row_28() -> None:
    rows = np.empty((1080, 2, 3), np.uint8)
    rows[:] = (np.arange(1080) % 251).astype(np.uint8)[:, None, None]
    clip = clip_of([rows]).cropped(1024, 2)
    assert (clip.height, clip.width, clip.frames) == (1024, 2, 1)
    assert same(list(clip), [rows[28:1052]])


def test_crops_and_limits_combine_and_give_frames_of_their_own() -> None:
    clip = clip_of(FRAMES).cropped_at(1, 2, 3, 5).limited(2)
    frames = list(clip)
    assert same(frames, [frame[1:4, 2:7] for frame in FRAMES[:2]])
    assert all(frame.flags.writeable and frame.flags.c_contiguous for frame in frames)
    frames[0][:] = 0
    assert same(list(clip), [frame[1:4, 2:7] for frame in FRAMES[:2]])


@pytest.mark.parametrize("window", [(0, 0, 7, 10), (0, 0, 6, 11), (1, 0, 6, 10), (-1, 0, 2, 2)])
def test_a_window_that_reaches_outside_is_refused(window: tuple[int, int, int, int]) -> None:
    assert "smaller size" in error_of(lambda: clip_of(FRAMES).cropped_at(*window))


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_an_empty_crop_is_refused(size: tuple[int, int]) -> None:
    assert "smaller size" in error_of(lambda: clip_of(FRAMES).cropped(*size))


def test_mirrored_clips_are_the_eight_ways_to_lay_a_frame() -> None:
    clip = clip_of(FRAMES)
    found = [list(clip.mirrored(n)) for n in range(MIRRORINGS)]
    assert same(found[0], FRAMES)
    assert same(found[1], [f[:, ::-1] for f in FRAMES])
    assert same(found[2], [f[::-1] for f in FRAMES])
    assert same(found[4], [f.transpose(1, 0, 2) for f in FRAMES])
    assert same(found[5], [np.rot90(f, -1) for f in FRAMES])
    assert len({frames[0].tobytes() for frames in found}) == MIRRORINGS
    on_its_side = clip.mirrored(7)
    assert (on_its_side.height, on_its_side.width, on_its_side.frames) == (10, 6, 4)


@pytest.mark.parametrize("number", [-1, MIRRORINGS])
def test_no_other_mirroring_is_known(number: int) -> None:
    assert "0 to 7" in error_of(lambda: clip_of(FRAMES).mirrored(number))


def test_a_frame_of_another_size_is_an_error_where_it_comes() -> None:
    clip = clip_of([FRAMES[0], FRAMES[1][:, :8]])
    frames = iter(clip)
    next(frames)
    assert "frame 2 of clip 'made' is 8x6" in error_of(lambda: next(frames))


def test_a_clip_that_ends_early_is_an_error() -> None:
    clip = replace(clip_of(FRAMES), frames=5)
    assert "after 4 of 5 frames" in error_of(lambda: list(clip))
    clip = replace(clip_of(FRAMES, known=False), source=lambda: iter(()))
    assert "has no frame" in error_of(lambda: list(clip))


# Opening


@EACH_KIND
def test_what_is_written_is_what_the_colour_conversion_makes(tmp_path: Path, name: str) -> None:
    clip = open_clip(written(tmp_path / name, FRAMES, rate=Fraction(25)))
    assert (clip.name, clip.frames, clip.rate) == (Path(name).stem, 4, 25)
    assert (clip.height, clip.width, clip.depth) == (6, 10, 8)
    coding = Coding(matrix="bt709", full_range=False, depth=8, chroma="420", siting="left")
    expected = [to_rgb(from_rgb(frame, coding), coding) for frame in FRAMES]
    assert same(list(clip), FRAMES if name == "clip" else expected)
    assert same(list(clip), list(clip))


@pytest.mark.parametrize("name", KINDS[:2])
def test_matrix_and_range_are_taken_from_the_caller(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, FRAMES)
    readings = [
        np.stack(list(open_clip(path, matrix=matrix, color_range=color_range)))
        for matrix in ("bt601", "bt709")
        for color_range in ("limited", "full")
    ]
    assert len({reading.tobytes() for reading in readings}) == 4
    assert same(list(readings[2]), list(open_clip(path)))


@EACH_KIND
def test_memory_does_not_grow_with_length(tmp_path: Path, name: str) -> None:
    big = frames_of(2, 64, 96)
    name = name.replace("10x6", "96x64")

    def peak(frames: int) -> int:
        path = tmp_path / str(frames) / name
        path.parent.mkdir()
        tracemalloc.start()
        written(path, big * (frames // 2))
        assert sum(1 for _ in open_clip(path)) == frames
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)  # what is loaded once
    assert peak(60) < peak(4) + 8 * big[0].nbytes  # and 56 more frames went through


@EACH_KIND
def test_a_limited_clip_closes_its_file(tmp_path: Path, name: str) -> None:
    """An unclosed file is a ResourceWarning, which fails."""
    clip = open_clip(written(tmp_path / name, FRAMES))
    assert len(list(clip.limited(1))) == 1
    next(iter(clip))


def test_size_and_depth_of_a_file_that_states_them_may_be_given_only_as_they_are(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "clip.y4m", FRAMES)
    assert open_clip(path, size=(10, 6), depth=8).frames == 4
    assert "is 10x6, not 6x10" in error_of(lambda: open_clip(path, size=(6, 10)))
    assert "8-bit samples, not 10-bit" in error_of(lambda: open_clip(path, depth=10))


def test_the_rate_of_the_caller_wins(tmp_path: Path) -> None:
    for name in KINDS:
        path = written(tmp_path / name, FRAMES)
        assert open_clip(path, rate=Fraction(30000, 1001)).rate == Fraction(30000, 1001)


BAD_CALLS: dict[str, Callable[[Path], object]] = {
    "no file": lambda p: open_clip(p / "none.y4m"),
    "no clip that we know": lambda p: open_clip(p / "text.txt"),
    "is empty": lambda p: open_clip(p / "empty.y4m"),
    "no PNG files": open_clip,
    "9 bits": lambda p: open_clip(p / "text.txt", depth=9),
    "rate of 0": lambda p: open_clip(p / "text.txt", rate=Fraction(0)),
    "0x4 pixels": lambda p: open_clip(p / "text.txt", size=(0, 4)),
    "exceeds": lambda p: open_clip(p / "text.txt", size=(MAX_PIXELS, 2)),
}


@pytest.mark.parametrize("reason", BAD_CALLS)
def test_what_cannot_be_opened_is_one_clear_line(tmp_path: Path, reason: str) -> None:
    (tmp_path / "text.txt").write_text("no clip", encoding="utf-8")
    (tmp_path / "empty.y4m").touch()
    assert reason in error_of(partial(BAD_CALLS[reason], tmp_path))


def test_a_file_without_suffix_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(b"YUV4MPEG2")
    assert "no clip that we know" in error_of(lambda: open_clip(tmp_path / "clip"))


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    path = written(tmp_path / "CLIP.Y4M", FRAMES)
    assert open_clip(path).frames == 4
    assert {".y4m", ".yuv", ".mp4", ".264", ".mkv"} <= clip_suffixes()


# Writing


@EACH_KIND
def test_nothing_is_there_before_the_end_and_all_after(tmp_path: Path, name: str) -> None:
    with create_clip(tmp_path / name, height=6, width=10, rate=Fraction(25)) as clip:
        clip.write(FRAMES[0])
        assert not (tmp_path / name).exists()
    clip.close()  # again: nothing happens
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(HarnessError, match="is finished"):
        clip.write(FRAMES[0])


@EACH_KIND
def test_an_exception_leaves_nothing(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        with create_clip(tmp_path / name, height=6, width=10, rate=Fraction(25)) as clip:
            clip.write(FRAMES[0])
            raise UserError("stop; go home")

    assert error_of(fail) == "stop; go home"
    assert list(tmp_path.iterdir()) == []


@EACH_KIND
def test_a_clip_without_frames_is_refused(tmp_path: Path, name: str) -> None:
    assert "at least one" in error_of(
        lambda: create_clip(tmp_path / name, height=6, width=10, rate=Fraction(25)).close()
    )
    assert list(tmp_path.iterdir()) == []


@EACH_KIND
def test_a_frame_of_another_shape_or_dtype_is_a_mistake(tmp_path: Path, name: str) -> None:
    with create_clip(tmp_path / name, height=6, width=10, rate=Fraction(25)) as clip:
        for wrong in (FRAMES[0][:5], FRAMES[0].astype(np.int16), FRAMES[0][..., :2]):
            with pytest.raises(HarnessError, match="a frame of"):
                clip.write(wrong)
        clip.write(FRAMES[0])
    assert open_clip(tmp_path / name).frames == 1


@EACH_KIND
def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for folder in ("none", "file"):
        path = tmp_path / folder / name
        assert "existing, writable folder" in error_of(lambda path=path: written(path, FRAMES))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@EACH_KIND
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert "No space left" in error_of(lambda: written(tmp_path / name, FRAMES))
    assert list(tmp_path.iterdir()) == []


def test_two_clips_may_grow_in_one_folder(tmp_path: Path) -> None:
    arguments = {"height": 6, "width": 10, "rate": Fraction(25)}
    with (
        create_clip(tmp_path / "a.y4m", **arguments) as a,
        create_clip(tmp_path / "b.y4m", **arguments) as b,
    ):
        a.write(FRAMES[0])
        b.write(FRAMES[1])
        a.write(FRAMES[0])
    assert (open_clip(tmp_path / "a.y4m").frames, open_clip(tmp_path / "b.y4m").frames) == (2, 1)


def test_a_file_is_replaced_and_a_full_folder_is_not(tmp_path: Path) -> None:
    for name in KINDS[:2]:
        written(tmp_path / name, FRAMES)
        written(tmp_path / name, FRAMES[:1])
        assert open_clip(tmp_path / name).frames == 1
    folder = folder_of(tmp_path / "clip", FRAMES[:1], ["old.png"])
    assert "not empty" in error_of(lambda: written(folder, FRAMES))
    assert [path.name for path in folder.iterdir()] == ["old.png"]


BAD_FILES: dict[str, Callable[[Path], object]] = {
    "read, not written": lambda p: written(p / "clip.mp4", FRAMES),
    "no clip that we know": lambda p: written(p / "clip.gif", FRAMES),
    "PNG frames have 8 bits": lambda p: written(p / "clip", FRAMES, depth=10),
    "raw files are 420": lambda p: written(p / "clip.yuv", FRAMES, chroma="444"),
    "does not name the size 10x6": lambda p: written(p / "clip_6x10.yuv", FRAMES),
    "12 bits": lambda p: written(p / "clip.y4m", FRAMES, depth=12),
    "rate of -1": lambda p: written(p / "clip.y4m", FRAMES, rate=Fraction(-1)),
    "exceeds": lambda p: create_clip(p / "a.y4m", height=2**20, width=2**20, rate=Fraction(1)),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_what_cannot_be_created_is_one_clear_line(tmp_path: Path, reason: str) -> None:
    assert reason in error_of(partial(BAD_FILES[reason], tmp_path))
    assert list(tmp_path.iterdir()) == []
