"""What a file is: by its manifest, whatever it is called; and never a traceback, whatever is in it."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.archive import MAX_MANIFEST_BYTES
from harness.errors import UserError
from harness.trace import TensorRecord, Trace
from harness.trace_files import Kind, kind_of, refuse
from tests.recordings import PROGRAM_FILES, bundle, recording


def test_each_kind_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "x.trace"
    Trace(tensors=(TensorRecord.of("y", np.zeros(3)),), environment={}).save(file)
    assert kind_of(file) is Kind.VALUES
    recording().save(file)
    assert kind_of(file) is Kind.RECORDING
    bundle().save(file, PROGRAM_FILES)
    assert kind_of(file) is Kind.BUNDLE
    refuse(file, Kind.VALUES)
    with pytest.raises(UserError, match=r"x\.trace is a bundle"):
        refuse(file, Kind.VALUES, Kind.BUNDLE)


def zipped(manifest: bytes, name: str = "manifest.json") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, manifest)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        zipped(b"{}"),
        zipped(b"[]"),
        zipped(b"{", "other.json"),
        zipped(b"[" * 100_000),
        zipped(json.dumps({"kind": "something"}).encode()),
        zipped(json.dumps({"kind": 7, "tensors": []}).encode()),
        zipped(b'{"tensors": [], "x": "' + b" " * MAX_MANIFEST_BYTES + b'"}'),
        zipped(b"{}")[:-30],
    ],
)
def test_what_is_none_of_them_is_left_to_its_reader(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.trace"
    file.write_bytes(data)
    assert kind_of(file) is None
    refuse(file, *Kind)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "none") is None
