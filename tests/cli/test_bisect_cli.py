"""`crosscheck bisect`, `explain` and `taps` from outside: text and JSON out, exit codes, one line for every mistake."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import fixtures
from harness.bisect.feeds import write_feeds
from harness.cli import invoke
from tests.lint.graphs import model

PRODUCT = "g (uint8[4, 64] x) => (int32[4, 3] y) { y = MatMulInteger (x, w) }"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Options that name a product whose pairs pass 16 bits, and its feeds."""
    w = np.full((64, 3), 127, np.int8)
    (tmp_path / "x.onnx").write_bytes(model(PRODUCT, w=w).SerializeToString())
    write_feeds(tmp_path / "x.npz", {"x": np.full((4, 64), 255, np.uint8)})
    return ["--model", str(tmp_path / "x.onnx"), "--feeds", str(tmp_path / "x.npz")]


def of_record(name: str) -> list[str]:
    folder = fixtures.root() / "divergences" / name
    options = ["--model", folder / "model.onnx", "--feeds", folder / "feeds.npz"]
    return [str(part) for part in (folder / "a.trace", folder / "b.trace", *options)]


def test_identical_platforms_are_exit_code_0(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["bisect", "dsp-exact32", "dsp-floor", *files]) == 3
    assert "needs calls of crosscheck::Requantize" in capsys.readouterr().err
    assert invoke(["bisect", "dsp-exact32", "ort-cpu", *files]) == 0
    assert capsys.readouterr().out.startswith("identical on dsp-exact32 and ort-cpu")


def test_a_divergence_is_exit_code_1_with_its_panel_and_folder(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "repro"
    assert invoke(["bisect", "dsp-exact32", "dsp-pairsat", *files, "-o", str(out)]) == 1
    shown = capsys.readouterr().out
    assert "first diverging node: y (MatMulInteger)" in shown
    assert "y[0, 0] int32[4, 3]: 12 of 12 differ" in shown
    assert f"{64 * 255 * 127}" in shown
    assert f"written: {out / 'repro.onnx'}" in shown
    repeated = ["--model", str(out / "repro.onnx"), "--feeds", str(out / "feeds.npz")]
    assert invoke(["explain", "dsp-exact32", "dsp-pairsat", *repeated, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    # Two products in one sum: this little cannot tell a narrow pair from a narrow accumulator.
    assert report["explanation"]["mechanisms"] == ["accumulator width or pair saturation"]
    assert report["panels"][0]["mismatched"] == 1


def test_records_are_explained_without_a_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["explain", *of_record("bf16-by-default")]) == 1
    shown = capsys.readouterr().out
    assert "mechanism: low precision (reproduced bit for bit)" in shown
    assert "bfloat16 inputs and bias and results" in shown


def test_a_flipped_weight_needs_both_models(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = of_record("flipped-weight-bit")
    other = fixtures.root() / "divergences" / "flipped-weight-bit" / "model-b.onnx"
    assert invoke(["explain", *arguments, "--model-b", str(other)]) == 1
    assert "h_s.2_0_0.0.weight[36, 0]: bit 6 flipped" in capsys.readouterr().out
    # With one model for both, nothing accounts for the second side.
    assert invoke(["explain", *arguments]) == 1
    assert "mechanism: unknown" in capsys.readouterr().out


def test_taps_recorded_there_are_bisected_here(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = str(tmp_path / "there.trace")
    assert invoke(["taps", *files, "--platform", "dsp-pairsat", "-o", there]) == 0
    assert invoke(["bisect", "ort-cpu", there, *files]) == 1
    assert "first diverging node: y (MatMulInteger)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ort-cpu", "torch"], "Give a case"),
        (["ort-cpu", "torch", "mbt2018-mean/q3"], "A+B may be left out"),
        (["ort-cpu", "torch", "mbt2018-mean/q3/fp32/hyperprior/float32/none"], "no picture 'none'"),
        (["ort-cpu", "nowhere", "FILES"], "no platform and no trace file"),
        (["ort-cpu", "torch", "a/q1/fp32/hyperprior/float32/x", "FILES"], "not both"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], said: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [x for a in arguments for x in (files if a == "FILES" else [a])]
    for command in ("bisect", "explain"):
        assert invoke([command, *given]) == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert len(complaint.splitlines()) == 1


def test_a_switch_must_be_written_and_known(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for switch, said in (("ort-cpu", "PLATFORM=VARIANT"), ("ort-cpu=none", "no platform named")):
        assert invoke(["explain", "ort-cpu", "torch", *files, "--switch", switch]) == 2
        assert said in capsys.readouterr().err


def test_an_absent_platform_is_exit_code_3(
    files: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CROSSCHECK_PLATFORMS", str(tmp_path))
    assert invoke(["bisect", "ort-cpu", "openvino", *files]) == 3
    assert "unavailable" in capsys.readouterr().err


@pytest.mark.platform
def test_a_case_says_how_many_symbols_are_ruined(capsys: pytest.CaptureFixture[str]) -> None:
    case = "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/astronaut.c64"
    assert invoke(["explain", "dsp-exact32", "dsp-half-even", case]) == 1
    shown = capsys.readouterr().out
    assert "first diverging node: z_q.requantized (Requantize)" in shown
    assert "symbols ruined:" in shown
    assert "mechanism: rounding" in shown
