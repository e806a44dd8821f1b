"""y4m: its header, its frames, and what becomes of damaged ones."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harness.footage.base import open_clip
from harness.footage.colour import Coding, from_rgb, plane_shapes, to_rgb
from harness.images import MAX_PIXELS, Pixels
from tests.footage.clips import error_of, frames_of, same, written

STUDIO = Coding(matrix="bt709", full_range=False, depth=8, chroma="420", siting="left")


def y4m(path: Path, header: str, frames: Sequence[bytes], mark: bytes = b"FRAME\n") -> Path:
    path.write_bytes(header.encode() + b"\n" + b"".join(mark + frame for frame in frames))
    return path


def small(path: Path, header: str) -> Path:
    """One frame of 2x2 in 4:2:0, 8 bits."""
    return y4m(path / "clip.y4m", header, [bytes([16, 60, 120, 235, 90, 160])])


KINDS = {
    "": replace(STUDIO, siting="center"),
    " C420": replace(STUDIO, siting="center"),
    " C420jpeg": replace(STUDIO, siting="center"),
    " C420mpeg2": STUDIO,
    " C420paldv": replace(STUDIO, siting="top-left"),
    " C420p10 XYSCSS=420P10": replace(STUDIO, depth=10),
    " C422": replace(STUDIO, chroma="422"),
    " C422p10": replace(STUDIO, chroma="422", depth=10),
    " C444": replace(STUDIO, chroma="444"),
    " C444p10": replace(STUDIO, chroma="444", depth=10),
    " C444 XCOLORRANGE=FULL": replace(STUDIO, chroma="444", full_range=True),
    " C444 XCOLORRANGE=LIMITED": replace(STUDIO, chroma="444"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7)])
def test_every_kind_of_samples(tmp_path: Path, kind: str, height: int, width: int) -> None:
    coding = KINDS[kind]
    rng = np.random.default_rng(1)
    planes = [
        [rng.integers(0, 2**coding.depth, shape, dtype=np.uint16) for shape in shapes]
        for shapes in [plane_shapes(height, width, coding.chroma)] * 3
    ]
    data = [b"".join(p.astype(coding.word).tobytes() for p in each) for each in planes]
    path = y4m(tmp_path / "a.y4m", f"YUV4MPEG2 W{width} H{height} F24000:1001 Ip{kind}", data)
    clip = open_clip(path)
    assert (clip.frames, clip.depth, clip.rate) == (3, coding.depth, Fraction(24000, 1001))
    assert same(list(clip), [to_rgb((y, u, v), coding) for y, u, v in planes])


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("color_range", ["limited", "full"])
def test_written_and_read(
    tmp_path: Path, depth: int, chroma: str, matrix: str, color_range: str
) -> None:
    frames = frames_of(2, 5, 7)
    options = {"depth": depth, "chroma": chroma, "matrix": matrix, "color_range": color_range}
    path = written(tmp_path / "a.y4m", frames, rate=Fraction(30000, 1001), **options)
    coding = Coding(
        matrix=matrix,
        full_range=color_range == "full",
        depth=depth,
        chroma=chroma,
        siting="left",
    )
    clip = open_clip(path, matrix=matrix)
    assert (clip.depth, clip.rate) == (depth, Fraction(30000, 1001))
    expected = [to_rgb(from_rgb(frame, coding), coding) for frame in frames]
    assert same(list(clip), expected)
    if (depth, chroma) == (10, "444"):
        assert same(list(clip), frames)  # 10 bits hold every 8-bit colour


def test_the_bytes_that_are_written(tmp_path: Path) -> None:
    grey: Pixels = np.full((2, 2, 3), 255, np.uint8)
    path = written(tmp_path / "a.y4m", [grey, grey // 255 * 0], rate=Fraction(50))
    assert path.read_bytes() == (
        b"YUV4MPEG2 W2 H2 F50:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n"
        b"FRAME\n\xeb\xeb\xeb\xeb\x80\x80FRAME\n\x10\x10\x10\x10\x80\x80"
    )


@pytest.mark.parametrize("field", ["", " F0:0", " F25", " Fx:y"])
def test_an_unknown_rate_is_25(tmp_path: Path, field: str) -> None:
    assert open_clip(small(tmp_path, f"YUV4MPEG2 W2 H2{field}")).rate == 25


def test_frames_may_have_headers_of_their_own(tmp_path: Path) -> None:
    data = bytes([16, 60, 120, 235, 90, 160])
    plain = y4m(tmp_path / "plain.y4m", "YUV4MPEG2 W2 H2", [data] * 3)
    other = y4m(tmp_path / "other.y4m", "YUV4MPEG2 W2 H2", [data] * 3, mark=b"FRAME Ip XCROP=1\n")
    assert same(list(open_clip(other)), list(open_clip(plain)))
    assert open_clip(other).frames == 3


BAD_HEADERS = {
    "YUV4MPEG W2 H2": "does not begin",
    "YUV4MPEG2 W2 H2 X" + 300 * "A": "does not begin",
    "YUV4MPEG2 W2": "no width or no height",
    "YUV4MPEG2 W-2 H2": "no width or no height",
    "YUV4MPEG2 W2 H" + 200 * "9": "no width or no height",
    "YUV4MPEG2 W0 H2": "impossible",
    "YUV4MPEG2 W999999 H999999": f"exceeds {MAX_PIXELS} pixels",
    "YUV4MPEG2 W2 H2 C420p12": "of kind '420p12'",
    "YUV4MPEG2 W2 H2 Cmono": "of kind 'mono'",
    "YUV4MPEG2 W2 H2 It": "interlaced",
    "YUV4MPEG2 W2 H2 Im": "interlaced",
    "YUV4MPEG2 W4 H4": "frame 1 of",
}


@pytest.mark.parametrize("header", BAD_HEADERS, ids=lambda header: header[:30])
def test_bad_headers(tmp_path: Path, header: str) -> None:
    assert BAD_HEADERS[header] in error_of(lambda: open_clip(small(tmp_path, header)))


def test_no_frames(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2", [])
    assert "has no frame" in error_of(lambda: open_clip(path))


def test_a_cut_at_any_byte_is_an_error_or_leaves_whole_frames(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2", [bytes(range(n, n + 6)) for n in range(3)])
    data = path.read_bytes()
    whole = list(open_clip(path))
    starts = [len(data) - n * 12 for n in range(3)]
    for cut in range(1, len(data)):
        path.write_bytes(data[:cut])
        if cut in starts:
            assert same(list(open_clip(path)), whole[: open_clip(path).frames])
        else:
            error_of(lambda: open_clip(path))


def test_the_remedy_for_a_cut_off_frame_works(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2", [bytes(6)] * 3)
    path.write_bytes(path.read_bytes()[:-1])
    message = error_of(lambda: open_clip(path))
    assert "frame 3 of" in message
    command = message.partition("2 whole frames with ")[2]
    repaired = tmp_path / "repaired.y4m"
    repaired.write_bytes(subprocess.check_output([*command.split(), str(path)]))
    assert open_clip(repaired).frames == 2


def test_what_stands_where_a_frame_should(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2", [bytes(6), bytes(6)])
    path.write_bytes(path.read_bytes().replace(b"FRAME", b"FRAMS", 1))
    assert "frame 1 of" in error_of(lambda: open_clip(path))


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2", [bytes(6)] * 2)
    clip = open_clip(path)
    path.write_bytes(path.read_bytes()[:-2])
    assert "frame 2 of" in error_of(lambda: list(clip))
    path.write_bytes(path.read_bytes()[:-10])
    assert "after 1 of 2 frames" in error_of(lambda: list(clip))


def test_10_bit_samples_beyond_10_bits(tmp_path: Path) -> None:
    path = y4m(tmp_path / "clip.y4m", "YUV4MPEG2 W2 H2 C420p10", [b"\x02\x00" * 5 + b"\x00\x04"])
    clip = open_clip(path)
    assert "beyond 10 bits" in error_of(lambda: list(clip))
