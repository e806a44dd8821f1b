"""Layouts: each is recognised by what it is, and says what is missing."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.footage.base import open_clip
from harness.footage.datasets import SEQUENCES, find_clips, recognise, seeded_crop
from tests.footage.clips import clip_of, error_of, folder_of, frames_of, same, written

HEVC_B = [
    "BasketballDrive_8x4_50",
    "BQTerrace_8x4_60",
    "Cactus_8x4_50",
    "Kimono1_8x4_24",
    "ParkScene_8x4_24",
]
SEPTUPLET = [f"im{number}.png" for number in range(1, 8)]


def raw(folder: Path, *stems: str, depth: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    for stem in stems:
        written(folder / f"{stem}.yuv", frames_of(2, 4, 8), depth=depth)
    return folder


def septuplets(base: Path, *places: str) -> Path:
    for number, place in enumerate(places):
        folder_of(base / place, frames_of(7, 6, 9, seed=number), SEPTUPLET)
    return base


def test_hevc_class_b(tmp_path: Path) -> None:
    dataset = recognise(raw(tmp_path, *HEVC_B))
    assert (dataset.layout, dataset.missing) == ("hevc-b", ())
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == sorted(HEVC_B)
    assert [int(clip.rate) for clip in clips] == [60, 50, 50, 24, 24]


def test_a_part_of_a_set_says_what_is_missing(tmp_path: Path) -> None:
    dataset = recognise(raw(tmp_path, *HEVC_B[:2], "Kimono_8x4_24"))
    assert (dataset.layout, dataset.missing) == ("hevc-b", ("Cactus", "ParkScene"))


def test_uvg_in_8_and_10_bits_and_as_y4m(tmp_path: Path) -> None:
    raw(tmp_path, "Beauty_8x4_120fps_420_8bit_YUV", "ReadySetGo_8x4_120fps_420_8bit_YUV")
    raw(tmp_path, "Beauty_8x4_120fps_420_10bit_YUV", depth=10)
    written(tmp_path / "Jockey.y4m", frames_of(1, 4, 8))
    (tmp_path / "README.txt").touch()
    dataset = recognise(tmp_path)
    assert dataset.layout == "uvg"
    assert dataset.missing == ("Bosphorus", "HoneyBee", "ShakeNDry", "YachtRide")
    clips = find_clips(tmp_path)
    assert [clip.depth for clip in clips] == [10, 8, 8, 8]
    assert [int(clip.rate) for clip in clips] == [120, 120, 25, 120]


def test_sets_name_their_sequences_once() -> None:
    assert [len(SEQUENCES[name]) for name in ("uvg", "hevc-b")] == [7, 5]


def test_any_other_clip_makes_it_a_folder(tmp_path: Path) -> None:
    raw(tmp_path, HEVC_B[0], "Foreman_8x4")
    frames = frames_of(3, 4, 8)
    folder_of(tmp_path / "pngs", frames, ["1.png", "2.png", "3.png"])
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden.y4m").touch()
    assert recognise(tmp_path).layout == "folder"
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == [HEVC_B[0], "Foreman_8x4", "pngs"]
    assert same(list(clips[2]), frames)


def test_one_clip_is_a_set_of_one(tmp_path: Path) -> None:
    frames = frames_of(2, 4, 8)
    folder = folder_of(tmp_path / "pngs", frames, ["1.png", "2.png"])
    assert [clip.name for clip in find_clips(folder)] == ["pngs"]
    path = written(tmp_path / "clip.y4m", frames)
    assert [clip.name for clip in find_clips(path)] == ["clip"]


def test_options_reach_every_clip(tmp_path: Path) -> None:
    for name in "ab":
        written(tmp_path / f"{name}.yuv", frames_of(2, 4, 8))
    assert "does not say the size" in error_of(lambda: find_clips(tmp_path))
    clips = find_clips(tmp_path, opener=partial(open_clip, size=(4, 4)))
    assert [clip.frames for clip in clips] == [4, 4]


def test_the_most_are_evenly_chosen(tmp_path: Path) -> None:
    raw(tmp_path, *(f"{letter}_8x4" for letter in "abcdef"))
    assert [clip.name[0] for clip in find_clips(tmp_path, most=3)] == ["a", "c", "e"]
    assert len(find_clips(tmp_path, most=99)) == 6
    assert "give 1 or more" in error_of(lambda: find_clips(tmp_path, most=0))


def test_two_clips_of_one_name(tmp_path: Path) -> None:
    raw(tmp_path, "a_8x4")
    written(tmp_path / "a_8x4.y4m", frames_of(1, 4, 8))
    assert "two clips named 'a_8x4'" in error_of(lambda: recognise(tmp_path))


def test_no_clips(tmp_path: Path) -> None:
    assert "no clips in" in error_of(lambda: recognise(tmp_path))
    assert "cannot list" in error_of(lambda: recognise(tmp_path / "none"))


# Vimeo-90k


@pytest.mark.parametrize("base", ["sequences", "."])
@pytest.mark.parametrize("places", [("00001/0001", "00001/0002", "00002/0001"), ("a", "b", "c")])
def test_septuplets_of_two_levels_or_one(
    tmp_path: Path, base: str, places: tuple[str, ...]
) -> None:
    septuplets(tmp_path / base, *places)
    assert recognise(tmp_path).layout == "vimeo-90k"
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == [place.replace("/", "-") for place in places]
    assert [clip.frames for clip in clips] == [7, 7, 7]
    assert same(list(clips[1]), frames_of(7, 6, 9, seed=1))


def test_a_subset_is_what_its_list_says(tmp_path: Path) -> None:
    septuplets(tmp_path / "sequences", "00001/0001", "00001/0002", "00002/0001")
    (tmp_path / "sep_trainlist.txt").write_text("00002/0001\n00001/0001\n", encoding="ascii")
    (tmp_path / "sep_testlist.txt").write_text("00001/0002\r\n", encoding="ascii")
    names = [[c.name for c in find_clips(tmp_path, subset=s)] for s in ("train", "test", "all")]
    assert names[:2] == [["00002-0001", "00001-0001"], ["00001-0002"]]
    assert len(names[2]) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00001/0009\n", "00001/0009, which is not there"),
        ("../../etc\n", "has the line"),
        ("\n", "lists nothing"),
        (None, "cannot read"),
    ],
)
def test_a_bad_list(tmp_path: Path, text: str | None, reason: str) -> None:
    septuplets(tmp_path / "sequences", "00001/0001")
    if text is not None:
        (tmp_path / "sep_trainlist.txt").write_text(text, encoding="ascii")
    assert reason in error_of(lambda: find_clips(tmp_path, subset="train"))


def test_only_vimeo_has_subsets(tmp_path: Path) -> None:
    raw(tmp_path, *HEVC_B)
    assert "has no train subset" in error_of(lambda: find_clips(tmp_path, subset="train"))


def test_a_septuplet_that_is_not_whole(tmp_path: Path) -> None:
    septuplets(tmp_path / "sequences", "00001/0001", "00001/0002")
    (tmp_path / "sequences/00001/0002/im4.png").unlink()
    assert "has 6 of 7 frames" in error_of(lambda: find_clips(tmp_path))


def test_an_empty_set(tmp_path: Path) -> None:
    (tmp_path / "sequences").mkdir()
    assert "no septuplets" in error_of(lambda: recognise(tmp_path))


# Crops


def test_a_seeded_crop_is_one_window_that_the_name_decides() -> None:
    rows, columns = np.meshgrid(np.arange(100), np.arange(200), indexing="ij")
    where = np.stack([rows, columns, rows * 0], axis=-1).astype(np.uint8)
    clip = clip_of([where, where])
    frames = list(seeded_crop(clip, 20, 30))
    digest = hashlib.sha256(b"made/0").digest()
    top = int.from_bytes(digest[:8], "little") % 81
    left = int.from_bytes(digest[8:16], "little") % 171
    assert [frame[0, 0].tolist() for frame in frames] == [[top, left, 0]] * 2
    assert frames[0].shape == (20, 30, 3)


def test_seeds_reach_every_window() -> None:
    rows = np.repeat(np.arange(4, dtype=np.uint8), 15).reshape(4, 5, 3)
    places = {
        int(next(iter(seeded_crop(clip_of([rows]), 2, 5, seed=s)))[0, 0, 0]) for s in range(40)
    }
    assert places == {0, 1, 2}
    assert same(list(seeded_crop(clip_of([rows]), 4, 5)), [rows])


def test_a_crop_larger_than_the_clip() -> None:
    assert "smaller size" in error_of(lambda: seeded_crop(clip_of(frames_of(1, 4, 4)), 5, 4))
