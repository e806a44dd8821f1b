"""Compressed video: the planes are the decoder's, the colour is ours; damage that the decoder notices is reported."""

import builtins
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.footage.base import open_clip
from harness.footage.colour import Coding, plane_shapes, to_rgb
from tests.footage.clips import error_of, same

av = pytest.importorskip("av", reason="needs PyAV: pip install 'codec-crosscheck[video]'")

Frames = list[list[NDArray[np.uint16]]]
STUDIO = Coding(matrix="bt709", full_range=False, depth=8, chroma="420", siting="left")
HEIGHT, WIDTH = 50, 70  # rows are padded in memory


def noise(coding: Coding, count: int = 3, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    rng = np.random.default_rng(coding.depth)
    return [
        [rng.integers(0, 2**coding.depth, shape, dtype=np.uint16) for shape in shapes]
        for shapes in [plane_shapes(height, width, coding.chroma)] * count
    ]


def video(
    path: Path,
    frames: Frames,
    *,
    codec: str = "ffv1",  # lossless: the planes that come out are those that went in
    samples: str = "yuv420p",
    colorspace: int = 2,
    color_range: int = 1,
    form: str | None = None,
) -> Path:
    height, width = frames[0][0].shape
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = width, height, samples
        stream.codec_context.colorspace = colorspace
        stream.codec_context.color_range = color_range
        for planes in frames:
            container.mux(stream.encode(frame_of(planes, samples, colorspace, color_range)))
        container.mux(stream.encode(None))
    return path


def frame_of(
    planes: Sequence[NDArray[np.uint16]], samples: str, colorspace: int, color_range: int
) -> Any:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, samples)
    frame.colorspace, frame.color_range = colorspace, color_range
    word = np.dtype("<u2" if samples.endswith("10le") else "u1")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((values.shape[0], plane.line_size // word.itemsize), word)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame


def coding_of(samples: str, *, matrix: str = "bt709", full: bool = False) -> Coding:
    depth = 10 if samples.endswith("10le") else 8
    chroma = samples.removeprefix("yuvj").removeprefix("yuv")[:3]
    return Coding(matrix=matrix, full_range=full, depth=depth, chroma=chroma, siting="left")


@pytest.mark.parametrize(
    "samples",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"],
)
def test_planes_of_every_kind(tmp_path: Path, samples: str) -> None:
    coding = coding_of(samples)
    frames = noise(coding)
    clip = open_clip(video(tmp_path / "clip.mkv", frames, samples=samples))
    assert (clip.name, clip.height, clip.width) == ("clip", HEIGHT, WIDTH)
    assert (clip.frames, clip.rate, clip.depth) == (None, Fraction(30000, 1001), coding.depth)
    expected = [to_rgb((y, u, v), coding) for y, u, v in frames]
    assert same(list(clip), expected)
    assert same(list(clip.limited(2)), expected[:2])


@pytest.mark.parametrize(
    ("colorspace", "matrix"), [(1, "bt709"), (2, "bt709"), (5, "bt601"), (6, "bt601")]
)
@pytest.mark.parametrize(("color_range", "full"), [(1, False), (2, True)])
def test_the_matrix_and_range_that_the_file_states(
    tmp_path: Path, colorspace: int, matrix: str, color_range: int, full: bool
) -> None:
    frames = noise(STUDIO, 1)
    path = video(tmp_path / "clip.mkv", frames, colorspace=colorspace, color_range=color_range)
    y, u, v = frames[0]
    expected = to_rgb((y, u, v), coding_of("yuv420p", matrix=matrix, full=full))
    assert same(list(open_clip(path)), [expected])
    other = to_rgb((y, u, v), coding_of("yuv420p", matrix="bt601", full=not full))
    opened = open_clip(path, matrix="bt601", color_range="limited" if full else "full")
    assert same(list(opened), [other])


def test_a_matrix_that_is_not_known_has_to_be_given(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.mkv", noise(STUDIO, 1), colorspace=9)  # BT.2020
    assert "states matrix 9" in error_of(lambda: open_clip(path))
    assert len(list(open_clip(path, matrix="bt709"))) == 1


@pytest.mark.parametrize("samples", ["gray", "bgr0"])
def test_samples_that_are_not_known(tmp_path: Path, samples: str) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, samples
        container.mux(stream.encode(av.VideoFrame(16, 16, samples)))
        container.mux(stream.encode(None))
    assert f"of kind '{samples}'" in error_of(lambda: open_clip(path))


def test_odd_sizes(tmp_path: Path) -> None:
    frames = noise(STUDIO, 2, 33, 47)
    clip = open_clip(video(tmp_path / "clip.mkv", frames))
    assert same(list(clip), [to_rgb((y, u, v), STUDIO) for y, u, v in frames])


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("clip.264", "libx264", "h264"),
        ("clip.mp4", "libx264", None),
        ("clip.hevc", "libx265", "hevc"),
        ("clip.webm", "libvpx-vp9", None),
    ],
)
def test_lossy_files_of_the_common_kinds(
    tmp_path: Path, name: str, codec: str, form: str | None
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec} to make the file with")
    flat = [
        [np.full(p.shape, v, np.uint16) for p in each] for v, each in enumerate(noise(STUDIO), 100)
    ]
    even = [
        [p[: 48 // s, : 64 // s] for p, s in zip(each, (1, 2, 2), strict=True)] for each in flat
    ]
    clip = open_clip(video(tmp_path / name, even, codec=codec, form=form))
    frames = list(clip)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert same(list(clip), frames)
    wanted = [to_rgb((y, u, v), STUDIO).astype(int) for y, u, v in even]
    assert max(int(np.abs(a - b).max()) for a, b in zip(frames, wanted, strict=True)) <= 8


# Damage


def test_a_frame_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no libx264 to make the file with")
    path = tmp_path / "clip.264"
    video(path, noise(STUDIO, 6, 48, 64), codec="libx264", form="h264")
    assert len(list(open_clip(path))) == 6
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    messages = {error_of(lambda: list(open_clip(path))) for _ in range(30)}
    assert len(messages) == 1
    assert "is damaged" in messages.pop()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".264", ".webm"])
@pytest.mark.parametrize("data", [b"x", bytes(5000), bytes(range(256)) * 50], ids=["1", "0", "all"])
def test_what_is_no_video(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(data)
    error_of(lambda: list(open_clip(path)))


def test_a_playlist_under_the_name_of_a_film_opens_nothing_else(tmp_path: Path) -> None:
    secret = video(tmp_path / "secret.mp4", noise(STUDIO, 1), codec="mpeg4")
    playlist = tmp_path / "film.mp4"
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{secret}\n#EXT-X-ENDLIST\n"
    playlist.write_text(text, encoding="utf-8")
    assert "cannot decode" in error_of(lambda: open_clip(playlist))


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    made = video(tmp_path / "clip.mkv", noise(STUDIO, 2))
    odd = made.rename(tmp_path / os.fsdecode(b"\xff clip.mkv"))
    clip = open_clip(odd)
    assert len(list(clip)) == 2
    odd.unlink()
    assert "cannot decode" in error_of(lambda: list(clip))


def test_a_file_of_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no video in it" in error_of(lambda: open_clip(path))


def test_interlaced_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.options = {"flags": "+ildct+ilme", "field_order": "tt"}
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = open_clip(path)
    assert "is interlaced" in error_of(lambda: list(clip))


def test_a_size_beyond_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "clip.mkv", noise(STUDIO, 1))
    monkeypatch.setattr("harness.footage.base.MAX_PIXELS", HEIGHT * WIDTH - 1)
    assert "exceeds" in error_of(lambda: open_clip(path))


def test_a_stream_that_grows_beyond_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder holds the cap too, for what the header of the file does not say."""
    path = video(tmp_path / "clip.mkv", noise(STUDIO, 1))
    clip = open_clip(path)
    monkeypatch.setattr("harness.footage.formats.container.MAX_PIXELS", HEIGHT * WIDTH - 1)
    assert "cannot decode" in error_of(lambda: list(clip))


def test_without_pyav_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "av":
            raise ImportError(name)
        return real(name, *rest, **named)

    path = video(tmp_path / "clip.mkv", noise(STUDIO, 1))
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'codec-crosscheck[video]'" in error_of(lambda: open_clip(path))
