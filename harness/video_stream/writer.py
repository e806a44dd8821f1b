"""Writes a video stream frame by frame; keeps nothing of a frame."""

import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from harness.errors import UserError
from harness.part_file import PartFile
from harness.stream_fields import check_payload
from harness.video_stream import records
from harness.video_stream.frames import Frame, StreamHeader


class StreamWriter:
    """Writes the header at once, each frame as it is given, and on `close` the end record.

    A path is written under a temporary name and is there from `close` on; left by an exception, a
    `with` block leaves no file. A binary file (buffered) is not closed, and then lacks the end record:
    readers take it for cut. Frames that do not follow each other, a payload over the header's limit, and a
    stream of no frame are a UserError.
    """

    def __init__(self, target: Path | BinaryIO, header: StreamHeader) -> None:
        self.header = header
        self._frames = 0
        self._open = True
        self._part: PartFile | None = None
        self._target: BinaryIO | PartFile
        if isinstance(target, Path):
            self._target = self._part = PartFile(target)
        else:
            self._target = target
        self._crc = 0
        self._write(records.pack_start(header))
        self._write_crc()

    def write(self, frame: Frame) -> None:
        """Append `frame`; what is refused leaves the stream as it was."""
        if not self._open:
            raise UserError("the video stream is closed; write to a new one")
        if frame.number != self._frames:
            raise UserError(f"frame {self._frames} comes next in the stream, got {frame.number}")
        for branch in frame.branches:
            where = f"frame {frame.number}: {branch.name}"
            check_payload(f"{where} payload_z", branch.payload_z, self.header.max_payload_z)
            check_payload(f"{where} payload_y", branch.payload_y, self.header.max_payload_y)
        for part in records.frame_parts(frame):
            self._write(part)
        self._write_crc()
        self._frames += 1

    def close(self) -> None:
        """Write the end record: the stream is complete. Nothing, if it is closed already."""
        if not self._open:
            return
        if not self._frames:
            self.discard()
            raise UserError("a video stream needs at least one frame")
        self._write(records.pack_end(self._frames))
        self._write_crc()
        self._open = False
        if self._part:
            self._part.commit()

    def discard(self) -> None:
        """Give the stream up: of a path nothing is left."""
        self._open = False
        if self._part:
            self._part.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._put(data)

    def _write_crc(self) -> None:
        self._put(records.CRC.pack(self._crc))

    def _put(self, data: bytes) -> None:
        try:
            self._target.write(data)
        except OSError as error:
            raise UserError(f"cannot write the video stream: {error.strerror or error}") from error
