"""Real clips, where `CROSSCHECK_DATA` names the folder of data: what they hold, and first frames as goldens."""

import hashlib
import os
from fractions import Fraction
from pathlib import Path

import pytest

from harness.footage.base import open_clip
from harness.footage.datasets import find_clips, recognise, seeded_crop
from tests.footage.clips import error_of

DATA = os.environ.get("CROSSCHECK_DATA")
pytestmark = pytest.mark.skipif(
    DATA is None, reason="CROSSCHECK_DATA does not name the data folder"
)
VIDEO = Path(DATA or "") / "video"
H264 = "raw/VID_1920x1080_cabac_temporal_direct.264"

# Path: width, height, frames, rate, SHA-256 of the first frame's RGB bytes (BT.709 where unstated).
CLIPS = {
    "BasketballPass_416x240": (
        (416, 240, 101, 25),
        "940f88d84808f79469d5549bfb5a367f8de74658a564fc4f8aacc69b11dd0a4f",
    ),
    "raw/park_joy_420_720p50_frm0to9_480x270.y4m": (
        (480, 270, 10, 50),
        "73bc45812a4473e1b83029cd60b5247f3baae34b3f5802c6e2e1be14abce9076",
    ),
    "raw/CiscoVT2people_320x192_12fps.yuv": (
        (320, 192, 9, 12),
        "3d88eac470f4e9e8c4fadcea94190f1bccae0ed194ae49e202b8fd6b5cf832f9",
    ),
    "raw/C_RaceHorses_2frames_832x480_30Hz_8bit_P420.yuv": (
        (832, 480, 2, 30),
        "ce3b32217f3c9761ef1c81b0e90d02cb8e24b45e8b89b6aad560bdc9b96fb132",
    ),
    H264: (
        (1920, 1080, None, 25),
        "aac842c13fc483d15a0f788a657e398717eb3b1d152a02904355c5d823ffb09c",
    ),
}


def place(name: str) -> Path:
    path = VIDEO / name
    if not path.exists():
        pytest.skip(f"{name} is not among the data")
    if path.suffix == ".264":
        pytest.importorskip("av", reason="needs PyAV: pip install 'codec-crosscheck[video]'")
    return path


@pytest.mark.parametrize("name", CLIPS)
def test_size_rate_and_first_frame(name: str) -> None:
    facts, digest = CLIPS[name]
    clip = open_clip(place(name))
    assert (clip.width, clip.height, clip.frames, clip.rate) == (*facts[:3], Fraction(facts[3]))
    assert clip.depth == 8
    (first,) = clip.limited(1)
    assert hashlib.sha256(first.tobytes()).hexdigest() == digest


@pytest.mark.parametrize("name", [name for name in CLIPS if name != H264])
def test_every_frame_is_there(name: str) -> None:
    assert sum(1 for _ in open_clip(place(name))) == CLIPS[name][0][2]


@pytest.mark.slow
def test_54_frames_of_1080p() -> None:
    shapes = [frame.shape for frame in open_clip(place(H264)).cropped(1024, 1920)]
    assert shapes == [(1024, 1920, 3)] * 54


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_1080p_is_reported(tmp_path: Path, damage: str) -> None:
    data = bytearray(place(H264).read_bytes())
    middle = len(data) // 3
    data[middle] ^= 0x10
    (tmp_path / "clip.264").write_bytes(data if damage == "flip" else data[:middle])
    assert "is damaged" in error_of(lambda: list(open_clip(tmp_path / "clip.264")))


def test_septuplets() -> None:
    root = place("vimeo_septuplet")
    assert (recognise(root).layout, len(recognise(root).clips)) == ("vimeo-90k", 16)
    clips = find_clips(root)
    assert {(clip.width, clip.height, clip.frames) for clip in clips} == {(448, 256, 7)}
    crops = [next(iter(seeded_crop(clip, 256, 256))) for clip in clips]
    assert {crop.shape for crop in crops} == {(256, 256, 3)}
    assert clips[0].name == "00001-0001"
