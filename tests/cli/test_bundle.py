"""`bundle`, `record`, `compare` and `golden` from outside: files in, files and exit codes out."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness import fixtures, one_file
from harness import library as libraries
from harness.bundle import Bundle
from harness.cli import invoke
from harness.kit.compare import main as kit_compare
from harness.library import Library
from harness.recording import Recording
from harness.trace import TensorRecord, Trace
from tests.recordings import INDEXES, PROGRAM_FILES, X_HAT, bundle, recording

W8 = "mbt2018-mean/q3/w8a8/hyperprior"


@pytest.fixture(autouse=True, scope="module")
def library() -> Iterator[None]:
    """One library for all commands of this module: codecs are loaded and quantized once."""
    shared = Library()
    patch = pytest.MonkeyPatch()
    patch.setattr(libraries, "Library", lambda *_: shared)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "x.bundle"
    arguments = [
        "--precision",
        "fp32",
        "--precision",
        "w8a8",
        "--image",
        "astronaut",
        "--crop",
        "64",
    ]
    assert invoke(["bundle", "mbt2018-mean/q3", *arguments, "-o", str(path)]) == 0
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.platform
def test_a_bundle_recorded_on_another_platform_has_the_same_integers(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "y.trace"
    assert invoke(["record", str(made), "--platform", "ort-cpu-noopt", "-o", str(out)]) == 0
    assert Recording.load(out).environment["platform"] == "ort-cpu-noopt"
    lines(capsys)
    assert invoke(["compare", str(made), str(out), "--run", "*/w8a8/*/h_s"]) == 0
    said = lines(capsys)
    assert not any(line.startswith("identical ") for line in said)
    assert said[-1].endswith("3 identical, 0 DIVERGED; 0 runs not compared")
    assert any(line == "environment graph_optimization: all | none" for line in said)


@pytest.mark.platform
def test_equal_codecs_give_equal_bundles(made: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.bundle"
    arguments = [
        "--precision",
        "fp32",
        "--precision",
        "w8a8",
        "--image",
        "astronaut",
        "--crop",
        "64",
    ]
    assert invoke(["bundle", "mbt2018-mean/q3", *arguments, "-o", str(again)]) == 0
    assert again.read_bytes() == made.read_bytes()


@pytest.mark.platform
def test_a_bundle_takes_what_it_is_asked_for(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(fixtures.root() / "images" / "chelsea.png", images / "my cat.png")
    out = tmp_path / "x.bundle"
    arguments = [
        "--images",
        str(images),
        "--crop",
        "64",
        "--lowering",
        "carrier-f64",
        "--keep",
        "none",
    ]
    assert invoke(["bundle", "mbt2018-mean/q3", *arguments, "-o", str(out)]) == 0
    kit = Bundle.load(out)
    assert kit.streams[0].name == f"{W8}/my_cat.c64"
    assert [run.lowering for run in kit.expected.runs] == ["float32"] * 2 + [
        "carrier-f64",
        "float32",
    ]
    assert {v.lowering for v in kit.variants} == {"carrier-f64"}


@pytest.mark.platform
@pytest.mark.parametrize(
    "arguments",
    [
        ["bundle", "mbt2018-mean/q3", "--image", "nothing"],
        ["bundle", "mbt2018-mean/q9"],
        ["bundle", "mbt2018-mean/q3", "--precision", "w99a99"],
        ["bundle", "mbt2018-mean/q3", "--keep", "nothing", "--image", "retina", "--crop", "64"],
        ["record", "none.bundle", "--platform", "ort-cpu"],
    ],
)
def test_a_bad_request_is_one_line_and_nothing_is_written(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert invoke([*arguments, "-o", str(out)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_record_refuses_a_platform_that_is_not_there(tmp_path: Path) -> None:
    bundle().save(tmp_path / "x.bundle", PROGRAM_FILES)
    arguments = ["record", str(tmp_path / "x.bundle"), "-o", str(tmp_path / "y")]
    assert invoke([*arguments, "--platform", "nobody"]) == 2
    assert not (tmp_path / "y").exists()


# Comparing.


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle, and a trace of another platform whose indexes and picture differ."""
    bundle().save(tmp_path / "a.bundle", PROGRAM_FILES)
    other = INDEXES.copy()
    other[0, 0, 1, 0] = 5
    recording(platform="torch", indexes=other, x_hat=X_HAT + np.float32(1)).save(
        tmp_path / "b.trace"
    )
    return tmp_path / "a.bundle", tmp_path / "b.trace"


def test_a_divergence_is_shown_and_its_code_is_1(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["compare", *map(str, pair)]) == 1
    said = lines(capsys)
    assert said[0:2] == [
        f"DIVERGED  {W8}/astronaut.c128/h_s",
        "  indexes[0, 0, 1, 0]: expected 2, got 5 (1 of 12 differ; 1 earlier tensors identical)",
    ]
    assert "environment platform: ort-cpu | torch" in said
    assert said[-1].endswith("1 identical, 2 DIVERGED; 0 runs not compared")
    identical = f"identical {W8}/astronaut.c128/h_s: means_hat (12 values)"
    assert identical not in said
    assert invoke(["compare", *map(str, pair), "--all"]) == 1
    assert lines(capsys)[0] == identical
    assert kit_compare([*map(str, pair)]) == 1
    assert lines(capsys) == said
    assert kit_compare([*map(str, pair), "--all"]) == 1
    assert lines(capsys)[0] == identical
    assert invoke(["compare", *map(str, pair), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["diverged"] == 2


def test_the_other_codes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    expected, actual = map(str, pair)
    assert invoke(["compare", expected, expected]) == 0
    assert invoke(["compare", expected, actual, "--run", "nothing"]) == 3
    assert invoke(["compare", expected, str(tmp_path / "none")]) == 2
    (tmp_path / "cut").write_bytes(pair[1].read_bytes()[:-1])
    assert invoke(["compare", expected, str(tmp_path / "cut")]) == 2
    flipped = bytearray(pair[1].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped").write_bytes(flipped)
    assert invoke(["compare", expected, str(tmp_path / "flipped")]) == 2


def test_comparing_from_the_command_line_imports_no_framework(pair: tuple[Path, Path]) -> None:
    program = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnxruntime", "compressai", "PIL", "matplotlib"}:
            raise ModuleNotFoundError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
from harness.cli import invoke
sys.exit(invoke(sys.argv[1:]))
"""
    variables = {**os.environ, "PYTHONPATH": str(one_file.ROOT.parent)}
    arguments = [sys.executable, "-c", program, "compare", *map(str, pair)]
    done = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_every_command_says_what_a_file_is_that_it_does_not_read(
    pair: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    kit, recorded = map(str, pair)
    values = str(tmp_path / "values.trace")
    Trace(tensors=(TensorRecord.of("y", np.zeros(3)),), environment={}).save(Path(values))
    look = ["--model", "x.onnx", "--feeds", "x.npz"]
    wrong = [
        (["compare", kit, values], "`crosscheck bisect` and `explain`"),
        (["compare", values, recorded], "from `crosscheck taps`"),
        (["golden", "accept", "--trace", values], "from `crosscheck taps`"),
        (["golden", "accept", "--trace", kit], "`crosscheck record` and `compare` read it"),
        (["bisect", recorded, "ort-cpu", *look], "`crosscheck compare` and `golden accept"),
        (["explain", "ort-cpu", recorded, *look], "from `crosscheck record`"),
        (["bisect", "ort-cpu", kit, *look], "a bundle, from `crosscheck bundle`"),
    ]
    for arguments, said in wrong:
        assert invoke(arguments) == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert len(complaint.splitlines()) == 1
    assert kit_compare([kit, values]) == 2
    assert "from `crosscheck taps`" in capsys.readouterr().err


def test_a_bundle_is_written_where_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["bundle", "mbt2018-mean/q3"], ["golden", "bundle"]):
        assert invoke(command) == 2
        assert "--out" in capsys.readouterr().err


# Goldens.


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the shipped goldens of one codec."""
    folder = tmp_path / "goldens"
    shutil.copytree(fixtures.root() / "goldens", folder)
    declaration = folder / "goldens.toml"
    declaration.write_text(
        '[[goldens]]\ncodec = "mbt2018-mean/q3"\nprecisions = ["w8a8"]\n'
        'inputs = ["astronaut.c128"]\nplatforms = ["ort-cpu"]\n'
    )
    for path in [*folder.rglob("*.txt"), *folder.rglob("*.xchk")]:
        if W8 not in str(path) or ("ort-cpu" not in str(path) and path.suffix == ".txt"):
            path.unlink()
    return folder


def golden_file(place: Path) -> Path:
    return place / W8 / "mmi-u8u8" / "ort-cpu" / "astronaut.c128.txt"


@pytest.mark.platform
def test_goldens_are_green_and_each_way_to_spoil_them_is_code_4(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["golden", "check", "--folder", str(place)]
    assert invoke(check) == 0
    path = golden_file(place)
    text = path.read_text()
    digest = next(line for line in text.splitlines() if line.startswith("h_s.out.indexes"))
    path.write_text(text.replace(digest, digest[:-64] + "0" * 64))
    lines(capsys)
    assert invoke(check) == 4
    assert any("stale golden" in line and "h_s.out.indexes" in line for line in lines(capsys))
    path.unlink()
    assert invoke(check) == 4
    assert any("missing golden" in line for line in lines(capsys))
    path.write_text(text)
    spare = path.parents[1] / "jax" / path.name
    spare.parent.mkdir()
    spare.write_text(text.replace("/ort-cpu/", "/jax/"))
    assert invoke(check) == 4
    assert any("unused golden" in line for line in lines(capsys))


@pytest.mark.platform
def test_accepting_writes_what_is_computed_and_nothing_else_does(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    path = golden_file(place)
    text = path.read_text()
    spoiled = text.replace("h_s.out.indexes int32", "h_s.out.indexes int16")
    path.write_text(spoiled)
    accept = ["golden", "accept", "--folder", str(place)]
    assert invoke(["golden", "check", "--folder", str(place)]) == 4
    assert path.read_text() == spoiled
    monkeypatch.setenv("CI", "1")
    assert invoke(accept) == 2
    assert path.read_text() == spoiled
    monkeypatch.delenv("CI")
    lines(capsys)
    assert invoke(accept) == 0
    assert any("first change h_s.out.indexes: " in line for line in lines(capsys))
    assert invoke(["golden", "check", "--folder", str(place)]) == 0
    integers = [line for line in text.splitlines() if line.startswith("h_s.")]
    assert [line for line in path.read_text().splitlines() if line.startswith("h_s.")] == integers


@pytest.mark.platform
def test_a_stream_is_made_once_and_a_spare_file_goes(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    (stream,) = place.rglob("*.xchk")
    stream.write_bytes(b"")
    spare = golden_file(place).parents[1] / "jax" / "astronaut.c128.txt"
    spare.parent.mkdir()
    spare.write_text(golden_file(place).read_text().replace("/ort-cpu/", "/jax/"))
    lines(capsys)
    assert invoke(["golden", "accept", "--folder", str(place)]) == 0
    said = lines(capsys)
    assert any(line.startswith("ENCODE") for line in said)
    assert any(line.startswith("REMOVE") for line in said)
    assert stream.stat().st_size > 1000
    assert not spare.exists()
    assert invoke(["golden", "accept", "--folder", str(place)]) == 0
    assert not any(line.startswith("ENCODE") for line in lines(capsys))


@pytest.mark.platform
def test_a_recording_from_elsewhere_becomes_a_golden_if_its_integers_agree(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    kit, trace, wrong = (str(tmp_path / name) for name in ("g.bundle", "y.trace", "w.trace"))
    where = ["--folder", str(place)]
    assert invoke(["golden", "bundle", "-o", kit, *where]) == 0
    assert invoke(["record", kit, "--platform", "ort-cpu-noopt", "-o", trace]) == 0
    accept = ["golden", "accept", *where, "--trace"]
    assert invoke([*accept, trace]) == 2
    assert "declares no golden" in capsys.readouterr().err
    declaration = place / "goldens.toml"
    text = declaration.read_text()
    declaration.write_text(text.replace('["ort-cpu"]', '["ort-cpu", "ort-cpu-noopt", "dsp-floor"]'))
    assert invoke([*accept, trace]) == 0
    assert (golden_file(place).parents[1] / "ort-cpu-noopt" / "astronaut.c128.txt").is_file()
    # A golden of an older specification does not keep newer ones out.
    theirs = golden_file(place).parents[1] / "ort-cpu-noopt" / "astronaut.c128.txt"
    now = theirs.read_text()
    old = re.sub("(?m)^(# specification .{8}).{8}", r"\g<1>00000000", now)
    assert old != now
    for stale in (golden_file(place), theirs):
        stale.write_text(
            re.sub("(?m)^(# specification .{8}).{8}", r"\g<1>00000000", stale.read_text())
        )
    assert invoke(["golden", "check", *where]) == 4
    assert invoke([*accept, trace]) == 0
    assert theirs.read_text() == now
    assert invoke(["golden", "accept", *where]) == 0
    # A machine whose integers are wrong is no golden.
    inlined = ["--lowering", "mmi-u8u8"]
    assert invoke(["golden", "bundle", "-o", kit, *where, *inlined]) == 0
    assert invoke(["record", kit, "--platform", "dsp-acc16-wrap", "-o", wrong]) == 0
    declaration.write_text(
        text.replace('["ort-cpu"]', '["ort-cpu", "ort-cpu-noopt", "dsp-acc16-wrap"]')
    )
    assert invoke([*accept, wrong]) == 2
    assert "never accepts other integers" in capsys.readouterr().err
    declaration.write_text(text.replace('["ort-cpu"]', '["ort-cpu", "ort-cpu-noopt"]'))
    assert invoke(["golden", "check", *where]) == 0
    assert invoke(["golden", "check", *where, "--platform", "dsp-acc16-wrap"]) == 4
