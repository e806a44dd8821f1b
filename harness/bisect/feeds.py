"""Feeds as .npz files: never unpickled, capped before anything is allocated, equal bytes for equal arrays."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from harness.bisect.sides import Feeds
from harness.errors import UserError
from harness.files import write_file
from harness.taps import Array
from harness.trace import TensorRecord

MAX_BYTES = 2**30
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, RuntimeError)


def read_feeds(path: Path) -> dict[str, Array]:
    """Arrays of an .npz by name; anything else, or more than 1 GiB of it, is a UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise UserError(f"feeds {path} claim more than {MAX_BYTES} bytes")
            found = {e.filename.removesuffix(".npy"): _array(archive.read(e)) for e in entries}
    except OSError as error:
        raise UserError(f"cannot read feeds {path}: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise UserError(
            f"cannot read feeds {path}: {error}; give an .npz of plain arrays"
        ) from error
    if not found:
        raise UserError(f"feeds {path} hold no array")
    # A dtype that no trace can hold is refused here.
    return {name: TensorRecord.of(name, array).array() for name, array in found.items()}


def _array(data: bytes) -> Array:
    """One member, whose header may claim no more than there is."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    if version != (1, 0):
        raise ValueError(f"arrays of format {version} are not read")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize > len(data):
        raise ValueError("an array claims more than there is, or holds objects")
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call]
    return array


def write_feeds(path: Path, feeds: Feeds) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(feeds.items()):
            member = io.BytesIO()
            little = TensorRecord.of(name, array).array()
            np.save(member, little, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    write_file(path, buffer.getvalue())
