"""Files that are there whole or not at all."""

import lzma
import os
import threading
from contextlib import suppress
from pathlib import Path

from harness.errors import UserError


def decompress(data: bytes, limit: int) -> bytes:
    """What xz compressed, at most `limit` bytes; ValueError where it is longer or cut, LZMAError where it is damaged."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    whole = stream.decompress(data, limit)
    if not stream.eof:
        raise ValueError(f"is cut, or larger than {limit} bytes without its compression")
    return whole


def write_file(path: Path, data: bytes) -> None:
    """Write under a temporary name beside `path` and rename; UserError where that is impossible, and nothing is left."""
    temporary = path.with_name(
        f".{os.getpid()}.{threading.get_ident()}.part"
    )  # a long name leaves no room
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; name a file in an existing, writable folder with free space"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
