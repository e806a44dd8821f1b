"""Reads a video stream frame by frame, and stops at the first that is not the frame that was written there."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from harness.errors import HarnessError, StreamError, UserError
from harness.stream_fields import HASH_BYTES
from harness.video_stream import records
from harness.video_stream.checked_file import CheckedFile
from harness.video_stream.frames import BRANCHES, Branch, DamagedStream, Frame, StreamHeader


class StreamReader:
    """An iterator over the frames of a stream; `header` is read at once, each frame when it is asked for.

    Damage to the header, or a file that is no stream, is a StreamError on construction. Damage after
    it is a DamagedStream in place of the first frame that is not intact, again at every further
    attempt: a loop that ends without an error has seen the whole stream, to its end record. A binary
    file need not be seekable, and is not closed. A file that cannot be read is a UserError.
    """

    def __init__(self, source: Path | BinaryIO) -> None:
        self._owned: BinaryIO | None = None
        if isinstance(source, Path):
            source = self._owned = _opened(source)
        self._file = CheckedFile(source)
        self._frames = 0
        self._ended = False
        self._problem: HarnessError | None = None
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        if self._problem:
            raise self._problem
        frame = None if self._ended else self._next()
        if frame is None:
            self._ended = True
            raise StopIteration
        self._frames += 1
        return frame

    def close(self) -> None:
        if self._owned:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_header(self) -> StreamHeader:
        try:
            head = self._file.take(records.header_length(self._file.take(records.START.size)))
            self._file.take_crc()
            return records.unpack_header(head)
        except StreamError as error:
            raise StreamError(f"the header of the video stream {error}") from error

    def _next(self) -> Frame | None:
        """The next frame, or None after the end record; what is wrong is remembered."""
        subject = f"frame {self._frames}"
        try:
            if self._take_marker() == records.FRAME:
                return self._read_frame()
            subject = "the end record"
            self._read_end()
        except StreamError as error:
            self._problem = DamagedStream(
                f"{subject} {error}; {_intact(self._frames)}", self._frames
            )
            raise self._problem from error
        except UserError as error:
            self._problem = error
            raise
        return None

    def _take_marker(self) -> bytes:
        """The marker of a record whose number is right."""
        mark = self._file.take_marker(records.MARK.size)
        if not mark:
            raise StreamError("or the end record is missing: the stream was cut")
        marker, number = records.MARK.unpack(mark)
        if marker not in {records.FRAME, records.END}:
            raise StreamError(f"is damaged: it starts with {marker!r}, not {records.FRAME!r}")
        if not in_order(number, self._frames):
            is_frame = marker == records.FRAME
            found = f"frame {number}" if is_frame else f"the end of {number} frames"
            raise StreamError(f"is damaged or out of order: {found} is in its place")
        return bytes(marker)

    def _read_frame(self) -> Frame:
        take = self._file.take
        kind, pictured = records.unpack_kind(take(records.KIND.size))
        names = BRANCHES[kind]
        lengths = records.LENGTHS[kind].unpack(take(records.LENGTHS[kind].size))
        limits = (self.header.max_payload_z, self.header.max_payload_y) * len(names)
        for length, limit in zip(lengths, limits, strict=True):
            if length > limit:
                raise StreamError(
                    f"is damaged: it claims a payload of {length} bytes, over {limit}"
                )
        payloads = [take(length) for length in lengths]
        hashes = [take(HASH_BYTES) for _ in range(3 * len(names) + 1 + pictured)]
        self._file.take_crc()
        branches = tuple(
            Branch(
                name=name, payload_z=payloads[2 * b], payload_y=payloads[2 * b + 1],
                z_hash=hashes[3 * b], index_hash=hashes[3 * b + 1], y_hash=hashes[3 * b + 2],
            )
            for b, name in enumerate(names)
        )  # fmt: skip
        try:
            return Frame(
                number=self._frames, kind=kind, branches=branches,
                parameters_hash=hashes[3 * len(names)], picture_hash=b"".join(hashes[3 * len(names) + 1 :]),
            )  # fmt: skip
        except UserError as error:
            raise StreamError(f"is damaged: {error}") from error

    def _read_end(self) -> None:
        self._file.take_crc()
        if not self._frames:
            raise StreamError("is the first record: the stream holds no frame")
        if not self._file.at_end():
            raise StreamError("is followed by more bytes")


def in_order(number: int, expected: int) -> bool:
    return number == expected


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _intact(frames: int) -> str:
    match frames:
        case 0:
            return "no frame is intact"
        case 1:
            return "frame 0 is intact"
        case _:
            return f"frames 0 to {frames - 1} are intact"
