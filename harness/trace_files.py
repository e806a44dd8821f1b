"""What a file is that a command was given: two kinds end in `.trace`, and each has its own commands.

Needs nothing but the standard library; what it cannot make out is left to whoever reads the file.
"""

import json
import zipfile
import zlib
from enum import Enum
from pathlib import Path

from harness.archive import MANIFEST, MAX_MANIFEST_BYTES
from harness.bundle import KIND as BUNDLE_KIND
from harness.errors import UserError
from harness.recording import KIND as RECORDING_KIND

_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    KeyError,
    ValueError,
    NotImplementedError,
)


class Kind(Enum):
    """What a file is, and which commands read it."""

    VALUES = (
        "holds the values of one graph, from `crosscheck taps`",
        "`crosscheck bisect` and `explain`, with the same --model and --feeds, read it",
    )
    RECORDING = (
        "is a recording of a bundle, from `crosscheck record`",
        "`crosscheck compare` and `golden accept --trace` read it",
    )
    BUNDLE = ("is a bundle, from `crosscheck bundle`", "`crosscheck record` and `compare` read it")


def kind_of(path: Path) -> Kind | None:
    """None for whatever is none of them, or is too damaged to say."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as member:
            text = member.read(MAX_MANIFEST_BYTES + 1)
        manifest = json.loads(text) if len(text) <= MAX_MANIFEST_BYTES else None
    except _UNREADABLE:
        return None
    if not isinstance(manifest, dict):
        return None
    match manifest.get("kind"):
        case None:
            return Kind.VALUES if isinstance(manifest.get("tensors"), list) else None
        case kind if kind == RECORDING_KIND:
            return Kind.RECORDING
        case kind if kind == BUNDLE_KIND:
            return Kind.BUNDLE
    return None


def refuse(path: Path, *kinds: Kind) -> None:
    """UserError, in one line, for a file of one of these kinds."""
    found = kind_of(path)
    if found in kinds and found is not None:
        what, readers = found.value
        raise UserError(f"{path} {what}: {readers}")
