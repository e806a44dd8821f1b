"""The file form of what travels between machines: a zip of a JSON manifest and raw members, equal bytes for equal content.

Members are stored, not deflated: compressors differ between versions of zlib, and what is not compressed cannot be a
bomb. Nothing is ever unpacked to disk, and every name must be one that the reader asks for. Knows no content.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness.errors import UserError
from harness.files import write_file

MANIFEST = "manifest.json"
MAX_FILE_BYTES = 2**30
MAX_MANIFEST_BYTES = 2**24
# What zipfile and json raise at damage; RuntimeError is for encryption and for nesting without end.
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    KeyError,
    IndexError,
    OverflowError,
    ValueError,
)


def pack(members: Mapping[str, bytes]) -> bytes:
    """A zip of `members`, sorted by name; without a clock, a system or a compressor in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """What `pack` was given. Cut, damaged, compressed or encrypted files and repeated names are a UserError.

    No more is allocated than `data` is long.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            problem = _problem(entries, len(data))
            members = {} if problem else {e.filename: archive.read(e) for e in entries}
    except _UNREADABLE as error:
        raise UserError(f"it is damaged: {_one_line(error)}") from error
    if problem:
        raise UserError(problem)
    return members


def _problem(entries: list[zipfile.ZipInfo], size: int) -> str:
    if len({entry.filename for entry in entries}) != len(entries):
        return "two members have one name"
    if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
        return "a member is compressed or encrypted; ours are stored"
    sizes = [entry.file_size for entry in entries]
    if sum(sizes) > size or sizes != [entry.compress_size for entry in entries]:
        return "its members claim more bytes than there are"
    return ""


def read_bytes(path: Path) -> bytes:
    """The content of a file of at most `MAX_FILE_BYTES`; else a UserError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"it takes more than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UserError(error.strerror or str(error)) from error


def save(path: Path, members: Mapping[str, bytes]) -> None:
    """Write `pack(members)`, whole or not at all; refuses what `read_bytes` would not take back."""
    data = pack(members)
    if len(data) > MAX_FILE_BYTES:
        raise UserError(
            f"cannot write {path}: {len(data)} bytes, over {MAX_FILE_BYTES}; take fewer or smaller pictures, or keep fewer tensors"
        )
    write_file(path, data)


def to_json(value: Mapping[str, object]) -> bytes:
    """The one text of a manifest: sorted keys, integers and text only."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def from_json(data: bytes) -> "Fields":
    """What `to_json` was given; any other text of it (a repeated key, NaN, other spaces) is a UserError."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise UserError(f"its manifest takes more than {MAX_MANIFEST_BYTES} bytes")
    try:
        value = json.loads(data)
        canonical = isinstance(value, dict) and to_json(value) == data
    except _UNREADABLE as error:
        raise UserError(f"its manifest is damaged: {_one_line(error)}") from error
    if not canonical:
        raise UserError("its manifest is not one that this project writes")
    return Fields(value=value, where="manifest")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A JSON object whose fields are taken by their type; anything else is a UserError that names the field."""

    value: Mapping[str, object]
    where: str

    def only(self, *names: str) -> None:
        """Refuse fields beside these: what is not read is not believed either."""
        unknown = sorted(set(self.value) ^ set(names))
        if unknown:
            raise UserError(f"{self.where}: field {unknown[0]!r} is missing or unknown")

    def text(self, name: str) -> str:
        found = self.value.get(name)
        return found if isinstance(found, str) else self._refuse(name, "a text")

    def integer(self, name: str) -> int:
        found = self.value.get(name)
        return found if type(found) is int else self._refuse(name, "an integer")

    def boolean(self, name: str) -> bool:
        found = self.value.get(name)
        return found if isinstance(found, bool) else self._refuse(name, "true or false")

    def integers(self, name: str) -> tuple[int, ...]:
        found = self.value.get(name)
        if not isinstance(found, list) or not all(type(each) is int for each in found):
            return self._refuse(name, "a list of integers")
        return tuple(found)

    def texts(self, name: str) -> dict[str, str]:
        found = self.value.get(name)
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            return self._refuse(name, "an object of texts")
        return found

    def object(self, name: str) -> "Fields":
        found = self.value.get(name)
        if not isinstance(found, dict):
            return self._refuse(name, "an object")
        return Fields(value=found, where=f"{self.where}.{name}")

    def objects(self, name: str) -> "list[Fields]":
        found = self.value.get(name)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return self._refuse(name, "a list of objects")
        return [Fields(value=v, where=f"{self.where}.{name}[{n}]") for n, v in enumerate(found)]

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise UserError(f"{self.where}: field {name!r} must be {wanted}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
