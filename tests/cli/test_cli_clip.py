"""`encode`, `decode`, `export` and `codecs` of video codecs: clips in, clips and exit codes out; what is wrong is one line."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from harness import fixtures
from harness.cdf import load_tables
from harness.cli import invoke
from harness.endpoints import Run
from harness.footage.base import create_clip, open_clip
from harness.images import Pixels, psnr, read_image, write_png
from harness.video.build import VideoBuild
from harness.video.library import VideoLibrary
from harness.video_stream import Frame, FrameKind, StreamReader, StreamWriter
from tests.video import tiny
from tests.video.tiny import HEIGHT, WIDTH, built, changed, clip, coded, one_more

CODEC = f"ssf2020/q{tiny.QUALITY}"
FRAMES = 3


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Replaces what runs networks, on whatever platform."""

    def use(run: Run) -> None:
        monkeypatch.setattr("harness.cells.platform_runner", lambda *_: run)

    use(tiny.run)
    return use


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny codec as one that ships."""

    def library(own: object = None, **options: object) -> VideoLibrary:
        return VideoLibrary(own, **options) if own else tiny.library()  # type: ignore[arg-type]

    monkeypatch.setattr("harness.video.library.VideoLibrary", library)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip as PNGs."""
    made = tmp_path / "moving"
    made.mkdir()
    for number, pixels in enumerate(clip(FRAMES)):
        write_png(made / f"f{number}.png", pixels)
    return made


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command; what it wrote to stdout, or to stderr where another code than 0 is expected: one line."""

    def run(*arguments: object, code: int = 0) -> str:
        capfd.readouterr()
        assert invoke([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert (out if code else err) == ""
        (line,) = (err if code else out).splitlines()
        assert line.startswith("crosscheck: ") == bool(code)
        return line

    return run


@pytest.fixture
def stream(request: pytest.FixtureRequest, folder: Path, command: Callable[..., str]) -> Path:
    for name in ("runs", "shipped"):
        request.getfixturevalue(name)
    path = folder.parent / "moving.xckv"
    command("encode", folder, "-o", path, "--codec", CODEC, "--scope", "decoder")
    return path


def frames_of(path: Path) -> list[Frame]:
    with StreamReader(path) as reader:
        return list(reader)


def pictures_of(made: Path) -> list[Pixels]:
    return [read_image(path) for path in sorted(made.iterdir())]


def encoder_saw(precision: str = "w8a8", scope: str = "decoder") -> list[Pixels]:
    return [each.trace.array("picture").astype(np.uint8) for each in coded(precision, scope)]


def test_a_clip_goes_there_and_back(
    stream: Path, folder: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    line = command("encode", folder, "-o", stream, "--codec", CODEC, "--scope", "decoder")
    assert frames_of(stream) == [each.frame for each in coded("w8a8", "decoder")]
    payload = sum(each.payload_bytes for each in coded("w8a8", "decoder"))
    mean = sum(map(psnr, clip(FRAMES), encoder_saw())) / FRAMES
    assert line.startswith(
        f"{stream}: 3 frames of {WIDTH}x{HEIGHT}, {stream.stat().st_size} bytes"
        f" ({8 * payload / (WIDTH * HEIGHT * FRAMES):.4f} bpp of payload), mean {mean:.2f} dB, "
    )
    assert line.endswith(" frames/s on ort-cpu")
    out = tmp_path / "back"
    line = command("decode", stream, "-o", out, "--platform", "torch")
    assert line.startswith(f"{out}: 3 frames of {WIDTH}x{HEIGHT}, decoded on torch at ")
    assert line.endswith(" frames/s, pictures, symbols and indexes as encoded")
    for shown, seen in zip(pictures_of(out), encoder_saw(), strict=True):
        assert (shown == seen).all()
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name]


@pytest.mark.parametrize("name", ["x.y4m", f"x_{WIDTH}x{HEIGHT}.yuv"])
def test_clips_are_written_in_every_format(
    stream: Path, tmp_path: Path, name: str, command: Callable[..., str]
) -> None:
    out, wanted = tmp_path / name, tmp_path / f"wanted {name}"
    command("decode", stream, "-o", out)
    made = open_clip(out)
    assert (made.width, made.height, made.frames, made.rate) == (WIDTH, HEIGHT, FRAMES, 25)
    with create_clip(wanted, height=HEIGHT, width=WIDTH, rate=Fraction(25)) as writer:
        for pixels in encoder_saw():
            writer.write(pixels)
    assert out.read_bytes() == wanted.read_bytes()


@pytest.mark.usefixtures("runs", "shipped")
def test_raw_files_are_read_as_said(tmp_path: Path, command: Callable[..., str]) -> None:
    raw, out = tmp_path / "moving.yuv", tmp_path / "x.xckv"
    with create_clip(raw, height=HEIGHT, width=WIDTH, rate=Fraction(25), matrix="bt601") as writer:
        for pixels in clip(4):
            writer.write(pixels)
    command(
        "encode", raw, "-o", out, "--codec", CODEC, "--size", f"{WIDTH}x{HEIGHT}", "--precision", "fp32",
        "--rate", "30000/1001", "--matrix", "bt601", "--frames", 3, "--intra", 2,
    )  # fmt: skip
    with StreamReader(out) as reader:
        assert (reader.header.width, reader.header.height) == (WIDTH, HEIGHT)
        assert reader.header.rate == Fraction(30000, 1001)
        assert reader.header.profile == "float32"
        assert [each.kind for each in reader] == [FrameKind.KEY, FrameKind.INTER, FrameKind.KEY]


@pytest.mark.platform
@pytest.mark.usefixtures("shipped")
def test_two_platforms_agree(folder: Path, tmp_path: Path, command: Callable[..., str]) -> None:
    sent, out = tmp_path / "x.xckv", tmp_path / "back"
    command("encode", folder, "-o", sent, "--codec", CODEC, "--scope", "decoder", "--frames", 2)
    command("decode", sent, "-o", out, "--platform", "ort-cpu-noopt")
    assert len(pictures_of(out)) == 2


@pytest.mark.usefixtures("runs")
def test_a_codec_of_ones_own_is_calibrated_on_clips(
    folder: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    weights, sent, out = tmp_path / "mine.pth", tmp_path / "x.xckv", tmp_path / "back"
    torch.save(tiny.weights(), weights)
    calibrated = tmp_path / "clips"
    calibrated.mkdir()
    shutil.copytree(folder, calibrated / "one")
    own = ["--checkpoint", weights, "--calibrate", calibrated]
    command("encode", folder, "-o", sent, "--precision", "w8a8", *own)
    assert command("decode", sent, "-o", out, *own).endswith(", symbols and indexes as encoded")
    assert len(pictures_of(out)) == FRAMES
    line = command("encode", folder, "-o", sent, "--checkpoint", weights, code=2)
    assert "--calibrate FOLDER of clips" in line


# Damage: what is before it is written, the exit code is 1.


def damaged(stream: Path, frame: int) -> None:
    """One bit in the middle of a frame of `stream`."""
    data = bytearray(stream.read_bytes())
    at = -1
    for _ in range(frame + 1):
        at = data.index(b"FRAM", at + 1)
    data[at + 40] ^= 4
    stream.write_bytes(bytes(data))


@pytest.mark.parametrize("frame", [1, 2])
def test_frames_before_the_damage_are_written(
    stream: Path, tmp_path: Path, frame: int, command: Callable[..., str]
) -> None:
    damaged(stream, frame)
    for out in (tmp_path / "back", tmp_path / "back.y4m"):
        line = command("decode", stream, "-o", out, code=1)
        assert f"frame {frame} is damaged" in line
        last = "frame 0" if frame == 1 else f"frames 0 to {frame - 1}"
        assert line.endswith(f"{out} has {last}")
        assert open_clip(out).frames == frame
    for shown, seen in zip(pictures_of(tmp_path / "back"), encoder_saw()[:frame], strict=True):
        assert (shown == seen).all()


def test_a_stream_that_was_cut_gives_what_is_there(
    stream: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    whole = stream.read_bytes()
    stream.write_bytes(whole[:-12])  # the end record
    out = tmp_path / "back"
    line = command("decode", stream, "-o", out, code=1)
    assert "the stream was cut" in line
    assert open_clip(out).frames == FRAMES


def test_where_nothing_is_intact_nothing_is_written(
    stream: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    damaged(stream, 0)
    for out in (tmp_path / "back", tmp_path / "back.y4m"):
        line = command("decode", stream, "-o", out, code=1)
        assert "frame 0 is damaged" in line
        assert line.endswith("nothing was written")
    head = bytearray(stream.read_bytes())
    head[20] ^= 1
    stream.write_bytes(bytes(head))
    assert "header" in command("decode", stream, "-o", tmp_path / "back", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moving", "moving.xckv"]


def test_a_platform_that_computes_otherwise_stops_at_its_first_wrong_frame(
    stream: Path, runs: Callable[[Run], None], tmp_path: Path, command: Callable[..., str]
) -> None:
    def deviant() -> Run:  # res of frame 2
        return changed("res_hyper_decoder_scale", "indexes", one_more, since=1)

    runs(deviant())
    out = tmp_path / "back"
    line = command("decode", stream, "-o", out, "--platform", "torch", code=1)
    assert "frame 2: the " in line
    assert " of res do not match the stream's hash: this platform computes other values" in line
    assert line.endswith(f"{out} has frames 0 to 1")
    assert len(pictures_of(out)) == 2
    runs(deviant())
    seen = tmp_path / "seen"
    line = command("decode", stream, "-o", seen, "--keep-going", code=1)
    assert "1 frame of 3 failed a hash, first frame 2: " in line
    assert len(pictures_of(seen)) == FRAMES


# Bad input: exit code 2, one line, nothing written.


def test_what_does_not_fit_is_one_line(
    stream: Path, folder: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    picture, out = folder / "f0.png", tmp_path / "x.xckv"
    raw = tmp_path / "moving.yuv"
    raw.write_bytes(bytes(WIDTH * HEIGHT * 3 // 2))
    files = set(tmp_path.rglob("*"))
    encode = ["encode", folder, "-o", out, "--codec", CODEC]
    refusals = {
        ("codes clips: give",): ["encode", picture, "-o", out, "--codec", CODEC],
        ("codes pictures: give", "moving"): ["encode", folder, "-o", out, "--codec", "mbt2018-mean/q3"],
        ("are of clips",): ["encode", picture, "-o", out, "--frames", 3],
        ("there are: ",): ["encode", folder, "-o", out, "--codec", "ssf2020/q77"],
        ("--lowering auto", "fp32"): [*encode, "--precision", "fp32", "--lowering", "auto"],
        ("--calibration",): [*encode, "--calibration", "h_s=x.xz"],
        ("no size", "4x"): [*encode, "--size", "4x"],
        ("does not say the size",): ["encode", raw, "-o", out, "--codec", CODEC],
        ("no rate", "1e9"): [*encode, "--rate", "1e9"],
        ("no rate", "1/0"): [*encode, "--rate", "1/0"],
        ("no file", "none.y4m"): ["encode", tmp_path / "none.y4m", "-o", out],
        ("cannot write",): ["encode", folder, "-o", folder, "--codec", CODEC],
        ("no lowering",): [*encode, "--lowering", "magic"],
        ("no precision",): [*encode, "--precision", "int8"],
        ("no clip that we know",): ["decode", stream, "-o", tmp_path / "x.png"],
        ("cannot write", "not empty"): ["decode", stream, "-o", folder],
        ("--keep-going is of clips",): ["decode", picture, "-o", tmp_path / "x.png", "--keep-going"],
        ("a quality",): ["export", "ssf2020", "--pretrained", "-o", tmp_path / "e"],
    }  # fmt: skip
    for says, arguments in refusals.items():
        line = command(*arguments, code=2)
        assert all(each in line for each in says), line
    assert set(tmp_path.rglob("*")) == files


def test_the_machine_chooses_a_lowering_and_the_stream_is_the_same(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    streams = []
    for lowering in ([], ["--lowering", "auto"]):
        out = tmp_path / f"{len(lowering)}.xckv"
        assert (
            invoke(["encode", str(folder), "-o", str(out), "--codec", "ssf2020/q5", *lowering]) == 0
        )
        told = capfd.readouterr().out
        assert ("lowering on ort-cpu: " in told) == bool(lowering)
        streams.append(out.read_bytes())
    assert streams[0] == streams[1]


def test_a_stream_of_another_build_is_refused(
    stream: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    with StreamReader(stream) as reader:
        header, frames = reader.header, list(reader)
    refusals: list[tuple[str, dict[str, object]]] = [
        ("specification", {"specification": bytes(32)}),
        ("tables", {"tables": bytes(32)}),
        ("specification", {"profile": "w8a8"}),
        ("q9", {"quality": 9}),
        ("other", {"codec": "other"}),
        ("no precision", {"profile": "w99a1"}),
    ]
    for says, field in refusals:
        other = tmp_path / "other.xckv"
        with StreamWriter(other, replace(header, **field)) as writer:
            for each in frames:
                writer.write(each)
        assert says in command("decode", other, "-o", tmp_path / "back", code=2)
    assert not (tmp_path / "back").exists()


@pytest.mark.usefixtures("runs", "shipped")
def test_a_clip_that_breaks_off_leaves_no_stream(
    folder: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    data = (folder / "f1.png").read_bytes()
    (folder / "f1.png").write_bytes(data[: len(data) // 2])
    line = command("encode", folder, "-o", tmp_path / "x.xckv", "--codec", CODEC, code=2)
    assert "f1.png" in line
    assert [path.name for path in tmp_path.iterdir()] == ["moving"]


# Export, and the list.


@pytest.mark.parametrize("scope", ["hyperprior", "decoder"])
@pytest.mark.usefixtures("runs", "shipped")
def test_export_writes_every_network_and_the_warp(
    tmp_path: Path, scope: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "export",
        CODEC,
        "--precision",
        "w8a8",
        "--scope",
        scope,
        "-o",
        str(tmp_path / "e"),
    ]
    assert invoke(arguments) == 0
    written = [Path(line) for line in capfd.readouterr().out.splitlines()]
    made: VideoBuild = built("w8a8", scope)
    assert sorted(written) == sorted((tmp_path / "e").iterdir())
    assert {path.stem for path in written if path.suffix == ".onnx"} == set(made.artifacts)
    assert len(made.artifacts) == 16
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text())
    for name, described in manifest["networks"].items():
        data = (tmp_path / "e" / described["file"]).read_bytes()
        assert data == made.artifacts[name].onnx_model
        graph = onnx.load_from_string(data).graph
        onnx.checker.check_model(onnx.load_from_string(data))
        given = described.get("inputs", [described["input"]])
        assert [each.name for each in graph.input] == given
        assert [each.name for each in graph.output] == described["outputs"]
    assert (manifest["specification"], manifest["profile"]) == (made.specification, made.profile)
    assert len(manifest["integer_networks"]) == (10 if scope == "decoder" else 6)
    assert ("picture_fraction_bits" in manifest["fixed_point"]) == (scope == "decoder")
    tables = load_tables(tmp_path / "e" / "tables.npz")
    assert (tables["motion.medians"] == made.codec.branches["motion"].medians).all()
    assert (tables["y.cdf"] == made.codec.y_tables.cdf).all()
    assert len(tables) == 3 * 4 + 4


def test_codecs_lists_those_of_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fixtures, "root", lambda: tmp_path)
    place = tmp_path / "video" / "ssf2020"
    place.mkdir(parents=True)
    (place / "q3.safetensors.xz").write_bytes(b"")
    record = {"n": 40, "m": 32, "k": 24, "lmbda": 0.005, "steps": 3500, "digest": "d" * 64, "rd": {"bpp": 0.25, "psnr": 31.5}}  # fmt: skip
    (place / "q3.json").write_text(json.dumps(record))
    assert invoke(["codecs"]) == 0
    listed = capfd.readouterr().out
    for each in ("ssf2020/q3", "40/32/24", "0.005", "3500", "0.250", "31.50", "dddddddddddd"):
        assert each in listed
    assert invoke(["codecs", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == [{"name": "ssf2020/q3", **record}]
    (place / "q3.json").write_text("{}")  # nothing is recorded yet
    assert invoke(["codecs"]) == 0
    assert "ssf2020/q3" in capfd.readouterr().out
    (place / "q3.json").write_text("{")
    assert invoke(["codecs"]) == 2
    assert "codec ssf2020/q3: cannot read its .json" in capfd.readouterr().err


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
