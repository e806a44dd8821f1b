"""The command line from outside: files in, files and exit codes out; every bad input is one line and nothing written."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from harness import fixtures
from harness import library as libraries
from harness.bitstream import pack, unpack
from harness.cli import invoke
from harness.codecs.base import FAMILIES
from harness.errors import PlatformCrashed
from harness.library import Library
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool

pytestmark = pytest.mark.platform
ROOT = Path(__file__).resolve().parents[2]
A, B = "ort-cpu", "ort-cpu-noopt"
SUITE = """
summary = "two platforms"
scope = "hyperprior"
required = ["ort-cpu", "ort-cpu-noopt"]
must_diverge = []
[[blocks]]
codecs = ["*"]
precisions = ["w8a8"]
images = ["*"]
encoders = ["ort-cpu"]
decoders = ["ort-cpu-noopt"]
[expectations.w8a8]
outcome = "identical"
reason = "integers"
"""
COMMANDS = [
    "bisect", "bundle", "calibrate", "calibrators", "codecs", "compare", "decode", "encode", "explain", "export", "golden",
    "lint", "margin", "platforms", "rd", "record", "report", "run", "study", "taps", "train", "worker",
]  # fmt: skip


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """`run` listens to SIGTERM; the test process must not, afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def codec() -> str:
    names = Library().names()
    if not names:
        pytest.skip("no codec ships yet: make fixtures")
    return names[0]


@pytest.fixture(autouse=True, scope="module")
def library() -> Iterator[None]:
    """One library for all commands of this module: codecs are loaded and quantized once."""
    shared = Library()
    patch = pytest.MonkeyPatch()
    made = libraries.Library

    def library(own: object = None, calibrate_on: Path | None = None) -> Library:
        return made(own, calibrate_on) if own or calibrate_on else shared  # type: ignore[arg-type]

    patch.setattr(libraries, "Library", library)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "corner.png"
    whole = Image.open(fixtures.root() / "images" / "astronaut.png").convert("RGB")
    whole.crop((200, 100, 270, 133)).save(path)
    return path


@pytest.fixture(scope="module")
def stream(picture: Path, codec: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("streams") / "corner.xchk"
    assert invoke(["encode", str(picture), "-o", str(path), "--codec", codec]) == 0
    return path.read_bytes()


def separately(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
    )


def test_two_processes_on_two_platforms_agree(picture: Path, codec: str, tmp_path: Path) -> None:
    sent, shown = tmp_path / "a.xchk", tmp_path / "a.png"
    first = separately("encode", picture, "-o", sent, "--codec", codec, "--platform", A)
    assert (first.returncode, first.stderr) == (0, "")
    assert "bpp" in first.stdout
    assert len(first.stdout.splitlines()) == 1
    second = separately("decode", sent, "-o", shown, "--platform", B)
    assert (second.returncode, second.stderr) == (0, "")
    assert "70x33" in second.stdout
    with Image.open(shown) as image:
        assert (image.size, image.mode, image.format) == ((70, 33), "RGB", "PNG")
        decoded = np.asarray(image).astype(int)
    with Image.open(picture) as image:
        assert np.abs(np.asarray(image).astype(int) - decoded).mean() < 40
    assert unpack(sent.read_bytes()).header.profile == "w8a8"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.xchk"]


def test_a_process_that_fails_says_one_line(tmp_path: Path) -> None:
    done = separately("decode", tmp_path / "none.xchk", "-o", tmp_path / "x.png")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("crosscheck: cannot read ")
    assert not list(tmp_path.iterdir())


def test_the_stream_and_the_picture_do_not_depend_on_the_platform(
    picture: Path, codec: str, stream: bytes, tmp_path: Path
) -> None:
    shown = []
    for platform in (A, "dsp-exact32"):
        path, png = tmp_path / f"{platform}.xchk", tmp_path / f"{platform}.png"
        arguments = ["--codec", codec, "--platform", platform]
        assert invoke(["encode", str(picture), "-o", str(path), *arguments]) == 0
        assert path.read_bytes() == stream
        assert invoke(["decode", str(path), "-o", str(png), "--platform", platform]) == 0
        shown.append(png.read_bytes())
    assert shown[0] == shown[1]


def test_quality_can_be_named_beside_the_codec(
    picture: Path, codec: str, stream: bytes, tmp_path: Path
) -> None:
    family, quality = codec.split("/q")
    path = tmp_path / "x.xchk"
    arguments = ["encode", str(picture), "-o", str(path), "--codec", family, "--quality", quality]
    assert invoke(arguments) == 0
    assert path.read_bytes() == stream


# Bad input: exit code 2, one line on stderr, nothing written.


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail; its one line."""

    def run(*arguments: object, code: int = 2) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        capfd.readouterr()
        assert invoke([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        (line,) = err.splitlines()
        assert line.startswith("crosscheck: ")
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        return line

    return run


def hostile_images(folder: Path) -> Mapping[str, Path]:
    good = (fixtures.root() / "images" / "astronaut.png").read_bytes()
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x02\0\0\0"
    contents = {
        "empty": b"",
        "text": b"hello",
        "cut": good[:5000],
        "huge": huge,
        "pickle": pickle.dumps([1]),
    }
    for name, data in contents.items():
        (folder / f"{name}.png").write_bytes(data)
    return {name: folder / f"{name}.png" for name in contents}


def test_images_that_are_none_are_refused(
    refused: Callable[..., str], codec: str, tmp_path: Path
) -> None:
    given = {**hostile_images(tmp_path), "missing": tmp_path / "missing.png", "folder": tmp_path}
    for name, path in given.items():
        line = refused("encode", path, "-o", tmp_path / "x.xchk", "--codec", codec)
        assert path.name in line, name


def test_damaged_streams_are_refused(
    refused: Callable[..., str], stream: bytes, tmp_path: Path
) -> None:
    flipped = bytearray(stream)
    flipped[-3] ^= 4
    header = bytearray(stream)
    header[20] ^= 1
    damages = {
        "empty": b"",
        "cut": stream[:-2],
        "head": stream[:30],
        "flipped": bytes(flipped),
        "header": bytes(header),
        "longer": stream + b"\0",
        "picture": (fixtures.root() / "images" / "astronaut.png").read_bytes()[:500],
    }
    for name, data in damages.items():
        path = tmp_path / "x.xchk"
        path.write_bytes(data)
        line = refused("decode", path, "-o", tmp_path / "x.png")
        assert "stream" in line, name


def test_streams_of_something_else_are_refused(
    refused: Callable[..., str], stream: bytes, tmp_path: Path
) -> None:
    sent = unpack(stream)
    forged = {
        "specification": replace(sent.header, specification=bytes(32)),
        "tables": replace(sent.header, tables=bytes(32)),
        "no-such-codec": replace(sent.header, codec="no-such-codec"),
        "q999": replace(sent.header, quality=999),
        "w99a1": replace(sent.header, profile="w99a1"),
        "latents": replace(sent.header, height=700),
    }
    for says, header in forged.items():
        path = tmp_path / "x.xchk"
        path.write_bytes(pack(replace(sent, header=header)))
        assert says in refused("decode", path, "-o", tmp_path / "x.png")


def test_checkpoints_that_are_none_are_refused(
    refused: Callable[..., str], picture: Path, stream: bytes, tmp_path: Path
) -> None:
    other, mine, noise = (tmp_path / name for name in ("other.pth", "mine.pth", "noise.pth"))
    torch.save({"conv1.weight": torch.zeros(4, 3, 7, 7)}, other)
    noise.write_bytes(b"noise")
    path = tmp_path / "x.xchk"
    for file, says in ((other, "another architecture"), (noise, "noise.pth"), (tmp_path, "read")):
        line = refused("encode", picture, "-o", path, "--checkpoint", file, "--precision", "fp32")
        assert says in line
        assert says in refused("export", "--checkpoint", file, "-o", tmp_path / "exported")
    # A stream that a shipped codec made is none of mine.
    family = unpack(stream).header.codec
    torch.manual_seed(1)
    torch.save(FAMILIES[family].build(8, 12).state_dict(), mine)
    path.write_bytes(stream)
    line = refused(
        "decode", path, "-o", tmp_path / "x.png", "--checkpoint", mine,
        "--calibrate", picture.parent,
    )  # fmt: skip
    assert "specification" in line


def test_names_that_nobody_has_are_refused_with_those_there_are(
    refused: Callable[..., str], picture: Path, codec: str, tmp_path: Path
) -> None:
    out = tmp_path / "x.xchk"
    family = codec.partition("/")[0]
    assert "known: bmshj2018" in refused("encode", picture, "-o", out, "--codec", "h264/q3")
    assert "there are: " in refused("encode", picture, "-o", out, "--codec", f"{family}/q77")
    assert "family/q3" in refused("encode", picture, "-o", out, "--codec", f"{family}/qx")
    assert "w8a8" in refused("encode", picture, "-o", out, "--codec", codec, "--precision", "int8")
    assert "known: " in refused(
        "encode", picture, "-o", out, "--codec", codec, "--platform", "abacus"
    )
    assert "no lowering" in refused("export", codec, "--lowering", "magic", "-o", tmp_path / "e")
    assert "known: " in refused("run", "default", "--add", "abacus", "--out", tmp_path / "r")
    assert "default" in refused("run", "no-such-suite", "--out", tmp_path / "r")
    assert "results.json" in refused("report", tmp_path)
    assert "--pretrained needs" in refused("export", "--pretrained", "-o", tmp_path / "e")


def test_places_that_cannot_be_written_are_refused(
    refused: Callable[..., str],
    picture: Path,
    codec: str,
    stream: bytes,
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(stream)
    folder = tmp_path / "folder"
    folder.mkdir()
    suite = tmp_path / "two.toml"
    suite.write_text(SUITE)
    run = ["run", suite, "--images", picture.parent, "--out"]
    for out in (file / "x", folder):
        assert "cannot write" in refused("encode", picture, "-o", out, "--codec", codec)
        assert "cannot write" in refused("decode", file, "-o", out)
    assert "cannot write" in refused("export", codec, "-o", file)
    assert "cannot write" in refused("export", codec, "-o", file / "x")
    assert "cannot write" in refused(*run, file)
    assert "cannot write" in refused(*run, file / "x")
    (folder / "g_a.onnx").mkdir()
    assert "cannot write" in refused("export", codec, "-o", folder)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in {".part", ".partial"}]


def test_training_refuses_what_it_cannot_use(refused: Callable[..., str], tmp_path: Path) -> None:
    file, photographs = tmp_path / "file", tmp_path / "photographs"
    file.write_text("no recipe")
    photographs.mkdir()
    recipe = fixtures.root() / "recipes" / "mbt2018-mean.toml"
    assert "no folder" in refused("train", recipe, "--data", tmp_path / "none")
    assert "recipe" in refused("train", file, "--data", photographs, "-o", tmp_path)
    assert "cannot write" in refused("train", recipe, "--data", photographs, "-o", file)
    out, work = tmp_path / "out", tmp_path / "work"
    line = refused("train", recipe, "--data", photographs, "-o", out, "--work", work)
    assert "no PNG or JPEG" in line


def test_suites_that_match_nothing_are_refused(
    refused: Callable[..., str], picture: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "two.toml"
    suite.write_text(SUITE)
    run = ["run", suite, "--images", picture.parent, "--out", tmp_path / "r"]
    assert "no case of suite" in refused(*run, "--case", "*/no-such-case/*")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no images in" in refused("run", suite, "--images", empty, "--out", tmp_path / "r")
    suite.write_text("scope = 1")
    assert "two.toml" in refused(*run)


@pytest.fixture(scope="module")
def has_cuda() -> bool:
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_a_platform_that_is_not_here_is_3(
    refused: Callable[..., str],
    picture: Path,
    codec: str,
    stream: bytes,
    tmp_path: Path,
    has_cuda: bool,
) -> None:
    if has_cuda:
        pytest.skip("this machine has CUDA")
    sent = tmp_path / "x.xchk"
    sent.write_bytes(stream)
    arguments = ["--platform", "ort-cuda"]
    for command in (
        ["encode", picture, "-o", tmp_path / "y.xchk", "--codec", codec, *arguments],
        ["decode", sent, "-o", tmp_path / "y.png", *arguments],
    ):
        assert "onnxruntime-gpu" in refused(*command, code=3)


# A run.


def test_one_cell_of_the_default_suite_is_green(tmp_path: Path) -> None:
    name = f"mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/{A}+{B}/rocket"
    assert invoke(["run", "default", "--case", name, "--out", str(tmp_path)]) == 0
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert {"index.html", "junit.xml", "results.json", "summary.md"} <= written
    assert "figures/matrix.png" in written
    assert "cells.jsonl" not in written
    results = json.loads((tmp_path / "results.json").read_text())
    assert [cell["case"] for cell in results["cells"]] == [name]
    assert results["cells"][0]["outcome"] == "identical"
    assert results["summary"]["exit_code"] == 0


@pytest.fixture(scope="module")
def report(picture: Path, codec: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """A run in which a platform of other arithmetic takes part."""
    folder = tmp_path_factory.mktemp("report")
    suite = folder / "two.toml"
    suite.write_text(SUITE.replace('decoders = ["ort-cpu-noopt"]', 'decoders = ["*"]'))
    before = signal.getsignal(signal.SIGTERM)
    arguments = ["--images", str(picture.parent), "--add", "dsp-floor", "--out", str(folder / "r")]
    code = invoke(["run", str(suite), "--case", f"{codec}/*", *arguments])
    signal.signal(signal.SIGTERM, before)
    return code, folder / "r"


def test_a_platform_of_other_arithmetic_is_1_and_named(
    report: tuple[int, Path], codec: str
) -> None:
    code, folder = report
    assert code == 1
    failed = [
        case.attrib["name"]
        for case in ET.parse(folder / "junit.xml").iter("testcase")
        if case.find("failure") is not None
    ]
    assert failed == [f"{codec}/w8a8/hyperprior/mmi-u8u8/{A}+dsp-floor/corner", "gate"]


def test_reports_are_made_again_from_the_results(report: tuple[int, Path]) -> None:
    _, folder = report
    names = ("results.json", "junit.xml", "summary.md", "index.html")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names[1:]:
        (folder / name).unlink()
    assert invoke(["report", str(folder)]) == 0
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_a_required_platform_that_is_missing_is_3(
    picture: Path, codec: str, tmp_path: Path, has_cuda: bool
) -> None:
    if has_cuda:
        pytest.skip("this machine has CUDA")
    suite = tmp_path / "two.toml"
    suite.write_text(SUITE)
    code = invoke(
        ["run", str(suite), "--case", f"{codec}/*", "--images", str(picture.parent),
         "--add", "ort-cuda", "--out", str(tmp_path / "r")]
    )  # fmt: skip
    assert code == 3
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["summary"]["problems"] == ["required platform ort-cuda did not run"]


# Words.


def output(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    capfd.readouterr()
    assert invoke(list(arguments)) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_every_command_has_a_help_with_an_example(capfd: pytest.CaptureFixture[str]) -> None:
    overview = output(capfd, "--help")
    for command in COMMANDS:
        assert command in overview
        words = output(capfd, command, "--help")
        assert "Example" in words, command
        assert f"crosscheck {command}" in " ".join(words.split()), command


def test_every_command_is_known_here(capfd: pytest.CaptureFixture[str]) -> None:
    from harness.cli.app import app  # noqa: PLC0415

    output(capfd, "--help")
    commands = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    groups = [group.name for group in app.registered_groups]
    assert sorted([*commands, *groups]) == COMMANDS


def test_wrong_usage_is_2(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["nonsense"], ["run", "--nonsense"], ["encode"], ["run", "--jobs", "0"]):
        assert invoke(arguments) == 2
        assert "Traceback" not in capfd.readouterr().err


def test_platforms_are_listed_for_machines(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {n: PLATFORMS[n] for n in (A, "dsp-exact32", "onnx-reference", "ort-cuda")}
    monkeypatch.setattr(PLATFORMS, "_items", some)
    found = json.loads(output(capfd, "platforms", "--json"))
    assert set(found) == set(some)
    for record in found.values():
        assert {"runtime", "integer_kernel"} <= set(record) or {"unavailable", "remedy"} <= set(
            record
        )
    assert "onnxruntime" in output(capfd, "platforms")


def test_a_platform_that_crashes_does_not_hide_the_others(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLATFORMS, "_items", {n: PLATFORMS[n] for n in (A, "dsp-exact32")})
    child = Pool.child

    def crash(pool: Pool, name: str) -> object:
        if name == A:
            raise PlatformCrashed("the process ended with -4")
        return child(pool, name)

    monkeypatch.setattr(Pool, "child", crash)
    found = json.loads(output(capfd, "platforms", "--json"))
    assert "ended with -4" in found[A]["unavailable"]
    assert "runtime" in found["dsp-exact32"]


def test_codecs_are_listed_for_machines(capfd: pytest.CaptureFixture[str], codec: str) -> None:
    found = json.loads(output(capfd, "codecs", "--json"))
    assert codec in [record["name"] for record in found]
    assert all(len(record["digest"]) == 64 for record in found)
    output(capfd, "codecs")


# Export.


@pytest.mark.parametrize("precision", ["fp32", "w8a8-qdq", "w8a8"])
def test_what_is_exported_is_valid_and_of_any_size(
    precision: str, codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", codec, "--precision", precision, "-o", str(tmp_path / "a" / "b")]
    printed = output(capfd, *arguments).splitlines()
    files = sorted(p.name for p in (tmp_path / "a" / "b").iterdir())
    assert files == [
        "g_a.onnx", "g_s.onnx", "h_a.onnx", "h_s.onnx", "manifest.json", "tables.npz",
    ]  # fmt: skip
    assert [Path(line).name for line in printed] == files
    manifest = json.loads((tmp_path / "a" / "b" / "manifest.json").read_text())
    assert (manifest["precision"], f"{manifest['codec']}/q{manifest['quality']}") == (
        precision,
        codec,
    )
    for network, record in manifest["networks"].items():
        path = tmp_path / "a" / "b" / record["file"]
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [o.name for o in session.get_outputs()] == record["outputs"]
        (given,) = session.get_inputs()
        assert given.name == record["input"]
        integer = given.type == "tensor(int32)"
        assert integer == (network == "h_s" and precision == "w8a8")
        for height, width in ((16, 16), (16, 32)):
            shape = [1, given.shape[1], height, width]
            feed = np.ones(shape, np.int32 if integer else np.float32)
            outputs = session.run(None, {given.name: feed})
            assert all(out.size and np.isfinite(out).all() for out in outputs)


def test_two_exports_are_the_same_bytes(codec: str, tmp_path: Path) -> None:
    for name in "ab":
        assert invoke(["export", codec, "--precision", "w8a8", "-o", str(tmp_path / name)]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_codec_of_your_own_is_exported_coded_and_run(picture: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.pth"
    torch.manual_seed(2)
    torch.save(FAMILIES["mbt2018-mean"].build(8, 12).state_dict(), weights)
    own = ["--checkpoint", str(weights), "--calibrate", str(picture.parent)]
    exported, sent, shown = tmp_path / "e", tmp_path / "x.xchk", tmp_path / "x.png"
    assert invoke(["export", "--precision", "w8a8", "-o", str(exported), *own]) == 0
    assert len(list(exported.iterdir())) == 6
    assert invoke(["encode", str(picture), "-o", str(sent), *own]) == 0
    assert invoke(["decode", str(sent), "-o", str(shown), "--platform", B, *own]) == 0
    suite = tmp_path / "two.toml"
    suite.write_text(SUITE)
    run = ["run", str(suite), "--images", str(picture.parent), "--out", str(tmp_path / "r"), *own]
    assert invoke(run) == 0
