"""A binary file read from the front, with the CRC of all that was taken; what is missing or wrong ends in a predicate."""

import zlib
from typing import BinaryIO

from harness.errors import StreamError, UserError
from harness.video_stream.records import CRC

_PIECE = 1 << 20


class CheckedFile:
    """StreamErrors of it say "is truncated: ..." or "is damaged: ...": the caller knows of what."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes that the next CRC covers. Memory is taken as they arrive."""
        data = self._take(size)
        self._crc = zlib.crc32(data, self._crc)
        return data

    def take_crc(self) -> None:
        """Check the stored CRC that comes next. The next one continues it."""
        computed = self._crc
        (stored,) = CRC.unpack(self._take(CRC.size))
        if not crc_holds(stored, computed):
            raise StreamError(
                f"is damaged: its CRC-32 is stored as {stored:08x}, but is {computed:08x}"
            )

    def take_marker(self, size: int) -> bytes:
        """As `take`, but b"" at the end of the file."""
        first = self._read(1)
        if not first:
            return b""
        self._crc = zlib.crc32(first, self._crc)
        return first + self.take(size - 1)

    def at_end(self) -> bool:
        """Whether nothing follows; takes a byte if there is one."""
        return not self._read(1)

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise StreamError(f"is truncated: {size} bytes wanted, {len(data)} left")
        return data

    def _read(self, size: int) -> bytes:
        """As many bytes as there are, at most `size`; raw files and pipes give them piece by piece."""
        pieces: list[bytes] = []
        try:
            while size and (piece := self._file.read(min(size, _PIECE))):
                pieces.append(piece)
                size -= len(piece)
        except OSError as error:
            raise UserError(f"cannot read the video stream: {error.strerror or error}") from error
        return b"".join(pieces)


def crc_holds(stored: int, computed: int) -> bool:
    return stored == computed
