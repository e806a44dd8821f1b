"""`crosscheck rd` from outside: what it refuses, what it writes, and when it goes red."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import invoke
from harness.cli.rd import choose
from harness.codecs.checkpoint import shipped
from harness.errors import UserError
from harness.images import write_png
from harness.library import Library
from harness.rd import JpegPoint

needs_a_codec = pytest.mark.skipif(
    not shipped(), reason="no codec ships yet: make fixtures DATA=folder"
)
FILES = ["bd-rate.csv", "bd-rate.png", "rd.csv", "rd.json", "rd.md", "rd.png"]


def test_patterns_choose_by_name_and_by_family() -> None:
    names = ["a/q1", "a/q3", "b/q1"]
    assert choose(names, ["b", "a/q*"]) == names
    assert choose(names, ["*/q1"]) == ["a/q1", "b/q1"]
    with pytest.raises(UserError, match="no codec matches 'c/\\*'; there are: a/q1, a/q3, b/q1"):
        choose(names, ["a", "c/*"])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one small picture: soft shapes and a little noise."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    y, x = np.mgrid[0:72, 0:100]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)
    noise = np.random.default_rng(3).normal(0, 6, waves.shape)
    write_png(folder / "waves.png", np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "nowhere"], "'nowhere' is not a folder"),
        (["--codec", "no-such-codec"], "no codec matches 'no-such-codec'"),
        (["--precision", "w99a8"], "no precision 'w99a8'"),
        (["--scope", "encoder"], "no scope 'encoder'; known: hyperprior, decoder"),
        (["--calibrator", "guess"], "no calibrator"),
        (["--variant", "w4a4 mse decoder"], "no variant 'w4a4 mse decoder'"),
        (["--lowering", "mime"], "no lowering named 'mime'"),
        (["--platform", "abacus"], "no platform named 'abacus'"),
        (["--bd-method", "spline"], "no BD-rate method 'spline'"),
        (["--narrowest", "-1"], "no budget of -1 %"),
        (["--narrowest", "nan"], "no budget of nan %"),
    ],
    ids=lambda value: value[0][2:] if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    pictures: Path, extra: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = pictures.parent / "out"
    codec = next(iter(shipped()))
    arguments = ["rd", "--images", str(pictures), "--codec", codec, "--out", str(out), *extra]
    assert invoke(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(out.glob("*"))


@pytest.mark.platform
@needs_a_codec
def test_a_real_run(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec, out = next(iter(shipped())), pictures.parent / "out"
    arguments = ["rd", "--images", str(pictures), "--codec", codec, "--out", str(out)]
    code = invoke([*arguments, "--precision", "w8a8", "--variant", "w4a4"])
    results = json.loads((out / "rd.json").read_text(encoding="utf-8"))
    assert code == results["gate"]["exit_code"] == bool(results["gate"]["problems"])
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert [point["variant"] for point in results["points"]] == ["fp32", "w8a8", "w4a4"]
    for point in results["points"]:
        (picture,) = point["images"]
        assert (picture["image"], picture["pixels"]) == ("waves.png", 7200)
        assert point["bpp"] == pytest.approx(8 * picture["payload_bytes"] / 7200, abs=1e-6)
        assert (
            picture["payload_bytes"] + 150 < picture["file_bytes"] < picture["payload_bytes"] + 250
        )
        assert 10 < point["psnr"] < 50
        assert point["ms_ssim"] is None  # 72 pixels high
    assert [point["widths"].get("z_q") for point in results["points"]] == [None, "s8", "s4"]
    assert results["points"][0]["calibrator"] == "none"
    text = (out / "rd.md").read_text(encoding="utf-8")
    assert text.splitlines()[2] == (
        f"`crosscheck rd --images tiny --codec {codec} --precision w8a8 --scope hyperprior"
        " --calibrator own --variant w4a4 --platform ort-cpu --bd-method pchip`"
    )
    assert str(pictures.parent) not in text + json.dumps(results)
    assert "onnxruntime" in text
    assert f"exit code {code}" in capsys.readouterr().out


@pytest.mark.platform
@needs_a_codec
def test_a_codec_below_jpeg_is_exit_code_1(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """JPEG as it would be if it were a hundred times better."""
    monkeypatch.setattr(
        "harness.cli.rd_task.jpeg_curve",
        lambda _: tuple(JpegPoint(quality=q, bpp=10.0 ** (q - 3), psnr=99.0) for q in range(6)),
    )
    codec, out = next(iter(shipped())), pictures.parent / "out"
    arguments = ["rd", "--images", str(pictures), "--codec", codec, "--out", str(out)]
    assert invoke([*arguments, "--precision", "w4a4"]) == 1
    results = json.loads((out / "rd.json").read_text(encoding="utf-8"))
    (problem,) = results["gate"]["problems"]  # of fp32; the narrow one is not judged
    assert problem.startswith(f"{codec} fp32: ")
    assert any(w.startswith(f"{codec} w4a4: ") for w in results["gate"]["warnings"])
    assert "exit code 1" in capsys.readouterr().out


@pytest.mark.platform
@needs_a_codec
def test_a_search_says_what_it_tried_and_why_it_ended(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One rate point has no BD-rate, so no width is shown to do; widths that cannot be built are passed."""
    codec, out = next(iter(shipped())), pictures.parent / "out"
    arguments = ["rd", "--images", str(pictures), "--codec", codec, "--out", str(out)]
    arguments += ["--precision", "fp32", "--narrowest", "1.5"]
    invoke(arguments)
    results = json.loads((out / "rd.json").read_text(encoding="utf-8"))
    assert [s["pattern"] for s in results["narrowest"]] == ["wBaB", "wBa16", "w16aB"]
    *_, trial = results["narrowest"][0]["trials"]
    assert trial["within"] is False
    assert trial["note"].endswith("1 rate point, BD-rate takes at least 4")
    assert results["narrowest"][0]["budget_percent"] == 1.5
    assert [point["variant"] for point in results["points"]] == ["fp32"]
    assert "--narrowest 1.5" in results["command"]
    assert "narrowest wBaB within 1.5 %, scope hyperprior" in capsys.readouterr().out

    built = Library.build

    def build(self: Library, name: str, precision: str, *rest: object, **others: object) -> object:
        if precision.startswith("w16"):
            raise UserError("accumulators do not fit")
        return built(self, name, precision, *rest, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Library, "build", build)
    invoke(arguments)
    results = json.loads((out / "rd.json").read_text(encoding="utf-8"))
    trials = results["narrowest"][2]["trials"]
    assert [trial["precision"] for trial in trials] == [f"w16a{bits}" for bits in range(2, 17)]
    assert {trial["note"] for trial in trials} == {"not built: accumulators do not fit"}
