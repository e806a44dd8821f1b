"""`crosscheck calibrate` and `calibrators` from outside: files written, files used, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS
from harness.cli import invoke
from harness.codecs.checkpoint import shipped
from harness.encodings import VERSIONS, Encodings, read_encodings
from harness.images import write_png
from harness.library import Library

NAMES = list(shipped())
needs_a_codec = pytest.mark.skipif(
    not NAMES, reason="no codec ships yet: make fixtures DATA=folder"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small pictures: soft shapes and a little noise."""
    folder = tmp_path_factory.mktemp("photographs")
    y, x = np.mgrid[0:72, 0:100]
    for number in range(2):
        waves = np.stack([np.sin(x / (9 + number)), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)
        noise = np.random.default_rng(number).normal(0, 6, waves.shape)
        picture = np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)
        write_png(folder / f"waves{number}.png", picture)
    return folder


def calibrate(pictures: Path, out: Path, *extra: str) -> int:
    return invoke(
        ["calibrate", NAMES[0], "--images", str(pictures), "--calibrator", "tf-enhanced", "-o", str(out), *extra]
    )  # fmt: skip


def test_calibrators_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["calibrators"]) == 0
    table = capsys.readouterr().out
    assert invoke(["calibrators", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == CALIBRATORS.names()
    assert all(name in table for name in listed)


@needs_a_codec
def test_a_calibration_is_written_and_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.safetensors.xz"
    assert calibrate(pictures, out, "--precision", "w4a8") == 0
    told = capsys.readouterr().out
    assert "h_s.0.weight" in told
    assert "s4" in told
    assert f"{out}: {NAMES[0]} h_s at w4a8 by tf-enhanced, 2 pictures" in told
    found = Calibration.read(out)
    assert (found.calibrator, found.samples, found.precision) == ("tf-enhanced", 2, "w4a8")
    library = Library()
    library.use("h_s", out)
    assert library.build(NAMES[0], "w4a8").calibrator == "tf-enhanced"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@needs_a_codec
def test_json_is_all_that_is_printed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.xz"
    assert calibrate(pictures, out, "--scope", "decoder", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["codec"], told["precision"]) == (NAMES[0], "w8a8")
    assert set(told["networks"]) == {"h_s", "g_s"}
    for network, record in told["networks"].items():
        assert record["file"] == str(tmp_path / f"c.{network}.xz")
        assert Calibration.read(Path(record["file"])).samples == record["samples"] == 2
        for tensor in record["tensors"]:
            assert set(tensor) == {"tensor", "width", "low", "high", "ranges", "clipped"}
            assert 0 <= tensor["clipped"] < 0.2


@needs_a_codec
@pytest.mark.parametrize("version", VERSIONS)
def test_aimet_encodings_are_written_and_used(version: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    assert calibrate(pictures, out, "--format", f"aimet-{version}", "--precision", "w4a4") == 0
    assert Encodings.read(out).version == version
    library = Library()
    network = library.codec(NAMES[0]).networks["h_s"]
    assert read_encodings(out, network).precision == "w4a4"
    library.use("h_s", out)
    made = library.build(NAMES[0], "w4a4")
    assert made.calibrator == "tf-enhanced"
    plain = tmp_path / "same.xz"
    assert calibrate(pictures, plain, "--precision", "w4a4", "--activations-per", "tensor") == 0
    library.use("h_s", plain)
    assert library.build(NAMES[0], "w4a4").specification == made.specification


@needs_a_codec
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--calibrator", "guess"], "no calibrator named 'guess'; known: "),
        (["--precision", "fp32"], "no precision 'fp32'"),
        (["--precision", "w1a8"], "no precision 'w1a8'"),
        (["--precision", "w8a17"], "no precision 'w8a17'"),
        (["--precision", "nowhere.json"], "cannot read a table of bits from nowhere.json"),
        (["--scope", "encoder"], "no scope 'encoder'; there are hyperprior and decoder"),
        (["--weights-per", "block"], "no granularity 'block'; there are tensor and channel"),
        (["--activations-per", "row"], "no granularity 'row'"),
        (["--format", "aimet-2.0.0"], "no format 'aimet-2.0.0'; there are crosscheck, aimet-0.6.1, aimet-1.0.0"),
        (["--format", "aimet-1.0.0"], "format aimet-1.0.0 takes a name ending in .json"),
        (["-o", "c.json"], "format crosscheck takes another name than .json"),
        (["-o", "nowhere/c.xz"], "there is no folder nowhere"),
        (["--format", "aimet-0.6.1", "--activations-per", "channel", "-o", "c.json"], "give --activations-per tensor"),
        (["--images", "nowhere"], "'nowhere' is not a folder"),
        (["--images", "."], "no images"),
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_before_any_work(
    extra: list[str], message: str, pictures: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert calibrate(pictures, tmp_path / "c.xz", *extra) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_a_codec
@pytest.mark.parametrize("codec", ["no-such/q1", "mbt2018-mean/qx", "mbt2018-mean"])
def test_a_codec_that_is_none_is_one_line(
    codec: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "c.xz")
    assert invoke(["calibrate", codec, "--images", str(pictures), "-o", out]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@needs_a_codec
def test_what_a_file_cannot_say_is_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Encodings of one network, given for the other, or at other bits."""
    out = tmp_path / "c.json"
    assert calibrate(pictures, out, "--format", "aimet-1.0.0", "--precision", "w4a4") == 0
    picture = str(next(pictures.glob("*.png")))
    capsys.readouterr()
    for given, precision, message in (
        (f"h_s={out}", "w8a8", "has 4 bits, not the 8 of w8a8; the file is of precision w4a4"),
        (f"h_s={tmp_path / 'none.json'}", "w4a4", "cannot read encodings"),
        (f"h_a={out}", "w4a4", "--calibration wants h_s=FILE or g_s=FILE"),
    ):
        stream = str(tmp_path / "s.xchk")
        arguments = ["encode", picture, "-o", stream, "--codec", NAMES[0], "--precision", precision]
        assert invoke([*arguments, "--calibration", given]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
        assert not Path(stream).exists()
