"""Video streams as files: whole or not at all, pipes, files that fail, and memory that does not grow."""

import io
import os
import struct
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from harness.errors import UserError
from harness.video_stream import Frame, StreamReader, StreamWriter
from tests.video_streams import (
    FRAMES,
    HEADER,
    INTER,
    KEY,
    bodies,
    damaged,
    frame,
    read,
    sealed,
    written,
)

DATA = written(HEADER, FRAMES)


class Faulty(io.RawIOBase):
    """A file that gives `data` a few bytes at a time, and then fails."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        if not self.data:
            raise OSError(5, "Input/output error")
        piece, self.data = self.data[: min(size, 7)], self.data[min(size, 7) :]
        return piece


@pytest.mark.parametrize("size", [0, 50, 400])
def test_a_file_that_fails_is_a_user_error(size: int) -> None:
    with pytest.raises(UserError, match=r"^cannot read the video stream: Input/output error$"):
        list(StreamReader(cast("io.BufferedReader", Faulty(DATA[:size]))))


def test_a_pipe_is_read_as_it_comes() -> None:
    out, into = os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as file, StreamWriter(file, HEADER) as writer:
            for each in FRAMES:
                writer.write(each)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(out, "rb", buffering=0) as file:
        found = tuple(StreamReader(cast("io.BufferedReader", file)))
    thread.join()
    assert found == FRAMES


LARGE = 256 << 10


def large(number: int) -> Frame:
    return frame(number, INTER if number else KEY, size=LARGE)


def test_memory_does_not_grow_with_the_stream(tmp_path: Path) -> None:
    header = replace(HEADER, height=1080, width=1920)
    path = tmp_path / "long.xckv"
    peaks = []
    for frames in (4, 48):
        tracemalloc.start()
        with StreamWriter(path, header) as writer:
            for number in range(frames):
                writer.write(large(number))
        with StreamReader(path) as reader:
            assert sum(1 for each in reader if each == large(each.number)) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 32 * 2**20
    # A few frames of 1.5 MiB: read, expected, and the pieces of both.
    assert max(peaks) < 10 * 2**20
    assert peaks[1] - peaks[0] < 2**20


def test_a_length_that_lies_takes_no_memory() -> None:
    header = replace(HEADER, height=8192, width=8192)
    start, key, *_ = bodies(header, FRAMES)
    data = sealed([start]) + key[:10] + struct.pack("<II", 12, header.max_payload_y) + key[18:]
    tracemalloc.start()
    _, problem = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "frame 0 is truncated: 805306376 bytes wanted" in str(problem)
    assert peak < 4 * 2**20


def test_a_path_holds_what_a_file_does(tmp_path: Path) -> None:
    path = tmp_path / "clip.xckv"
    path.write_bytes(b"what was there")
    with StreamWriter(path, HEADER) as writer:
        for each in FRAMES:
            writer.write(each)
        assert path.read_bytes() == b"what was there"
    assert path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]
    with StreamReader(path) as reader:
        assert (reader.header, tuple(reader)) == (HEADER, FRAMES)


def interrupted(target: Path | BinaryIO) -> None:
    with StreamWriter(target, HEADER) as writer:
        writer.write(FRAMES[0])
        raise KeyboardInterrupt


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "clip.xckv")
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_a_binary_file_without_its_end() -> None:
    file = io.BytesIO()
    with pytest.raises(KeyboardInterrupt):
        interrupted(file)
    damaged(file.getvalue(), 1, "the stream was cut")


def test_a_stream_of_no_frame_is_not_written(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="at least one frame"),
        StreamWriter(tmp_path / "x", HEADER),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (frame(2, INTER), "frame 1 comes next in the stream, got 2"),
        (frame(0, KEY), "frame 1 comes next in the stream, got 0"),
        (frame(1, INTER, size=24_585), "frame 1: motion payload_z must be at most 24584 bytes"),
        (frame(1, INTER, size=1_000_000), "frame 1: motion payload_z must be at most 24584 bytes"),
    ],
)  # fmt: skip
def test_a_frame_that_is_refused_leaves_the_stream_as_it_was(wrong: Frame, says: str) -> None:
    file = io.BytesIO()
    with StreamWriter(file, HEADER) as writer:
        writer.write(FRAMES[0])
        with pytest.raises(UserError, match=f"^{says}"):
            writer.write(wrong)
        for each in FRAMES[1:]:
            writer.write(each)
    assert file.getvalue() == DATA


def test_a_closed_stream_takes_no_frame() -> None:
    file = io.BytesIO()
    writer = StreamWriter(file, HEADER)
    for each in FRAMES:
        writer.write(each)
    writer.close()
    writer.close()
    with pytest.raises(UserError, match="closed"):
        writer.write(frame(5, INTER))
    assert file.getvalue() == DATA


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "clip.xckv", tmp_path):
        with pytest.raises(UserError, match=r"^cannot write [^\n]*; name a file in an existing"):
            StreamWriter(path, HEADER)
        with pytest.raises(UserError, match=r"^cannot read [^\n]*$"):
            StreamReader(path)
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    def write(self, *_: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StreamWriter(tmp_path / "clip.xckv", HEADER)
    assert writer._part is not None
    writer._part._file.close()
    monkeypatch.setattr(writer._part, "_file", FullDisk())
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device; name a file"):
        writer.write(FRAMES[0])
    assert list(tmp_path.iterdir()) == []


def test_a_binary_file_that_is_full_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"^cannot write the video stream: No space left on device$"
    ):
        StreamWriter(FullDisk(), HEADER)
