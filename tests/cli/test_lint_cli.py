"""`crosscheck lint` from outside: text, JSON and SARIF out, exit codes, one line for every mistake."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import invoke
from tests.lint.graphs import model

EXACT = "g (int32[n] x) => (int32[n] y) { y = Max (x, c) }"
CONDITIONAL = "g (int32[n] x) => (uint8[n] y) { y = Cast <to = 2> (x) }"
INEXACT = "g (float[n] x) => (float[n] y) { y = Exp (x) }"
DIVISION = "g (int32[n] x) => (int32[n] y) { y = Div (x, c) }"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {"exact": EXACT, "conditional": CONDITIONAL, "inexact": INEXACT, "division": DIVISION}
    for name, text in made.items():
        data = model(text, c=np.array(7, np.int32)).SerializeToString()
        (tmp_path / f"{name}.onnx").write_bytes(data)
    return {name: str(tmp_path / f"{name}.onnx") for name in made}


def test_the_verdict_comes_first(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["lint", files["exact"]]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{files['exact']}: exact"
    assert invoke(["lint", files["inexact"]]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == f"{files['inexact']}: order-dependent"
    assert "inexact  transcendental" in shown


@pytest.mark.parametrize(
    ("name", "fail_on", "code"),
    [
        ("exact", [], 0), ("conditional", [], 0), ("inexact", [], 1),
        ("conditional", ["condition"], 1), ("conditional", ["cast-wraps"], 1), ("conditional", ["integer-overflow"], 0),
        ("inexact", ["never"], 0), ("inexact", ["condition"], 1), ("exact", ["note"], 0),
        ("division", ["condition"], 0), ("division", ["deviation"], 1), ("division", ["cast-wraps", "deviation"], 1),
    ],
)  # fmt: skip
def test_exit_code_by_what_counts(
    files: dict[str, str], name: str, fail_on: list[str], code: int
) -> None:
    options = [option for word in fail_on for option in ("--fail-on", word)]
    assert invoke(["lint", files[name], *options]) == code


def test_a_named_runtime_has_no_excuse(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["lint", files["division"]]) == 0
    assert invoke(["lint", files["division"], "--runtime", "openvino"]) == 1
    shown = capsys.readouterr().out
    assert "not exact on a runtime that was named: openvino" in shown
    assert "inexact  openvino-int32-div [openvino]" in shown
    assert invoke(["lint", files["division"], "--runtime", "onnxruntime"]) == 0


def test_a_range_settles_it(files: dict[str, str]) -> None:
    strict = ["--fail-on", "deviation"]
    assert invoke(["lint", files["division"], *strict, "--range", "x=0:16777216"]) == 0
    assert invoke(["lint", files["division"], *strict, "--range", "x=0:16777217"]) == 1
    assert invoke(["lint", files["conditional"], *strict, "--range", "x=0:255"]) == 0


def test_what_a_provider_lacks_is_told(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    product = model(
        "g (uint8[n, 2] x) => (int32[n, 2] y) { y = MatMulInteger (x, w) }",
        w=np.eye(2, dtype=np.uint8),
    )
    path = Path(files["exact"]).with_name("product.onnx")
    path.write_bytes(product.SerializeToString())
    assert invoke(["lint", str(path), "--provider", "cuda", "--fail-on", "provider-fallback"]) == 1
    assert (
        "cuda has no MatMulInteger of uint8 (it has int8); documented, not run"
        in capsys.readouterr().out
    )
    assert (
        invoke(["lint", files["exact"], "--provider", "cuda", "--fail-on", "provider-fallback"])
        == 0
    )


def test_several_files_make_one_document(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [files["exact"], files["inexact"]]
    assert invoke(["lint", *both, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert [report["verdict"] for report in content["reports"]] == ["exact", "order-dependent"]
    out = tmp_path / "lint.sarif"
    assert invoke(["lint", *both, "--sarif", "-o", str(out)]) == 1
    assert capsys.readouterr().out == ""
    assert json.loads(out.read_text(encoding="utf-8"))["version"] == "2.1.0"


def test_rules_are_listed_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["lint", "--rules"]) == 0
    shown = capsys.readouterr().out
    assert "pair-saturation [onnxruntime, torch]" in shown
    assert "source: measured" in shown


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["lint", "--help"]) == 0
    assert "crosscheck lint h_s.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which model?"),
        (["{none}"], "cannot read"),
        (["{text}"], "is not an ONNX file"),
        (["{exact}", "--json", "--sarif"], "exclude each other"),
        (["{exact}", "--fail-on", "sometimes"], "is no level and no rule; levels: inexact, condition, deviation, note, never"),
        (["{exact}", "--range", "x"], "write it as name=low:high"),
        (["{exact}", "--range", "x=1"], "write it as name=low:high"),
        (["{exact}", "--range", "x=1:2:3:4"], "write it as name=low:high"),
        (["{exact}", "--range", "x=a:b"], "write it as name=low:high"),
        (["{exact}", "--range", "q=0:1"], "no input 'q' to give a range for; inputs: x"),
        (["{exact}", "--runtime", "abacus"], "no runtime 'abacus'"),
        (["{exact}", "--provider", "abacus"], "no provider 'abacus'"),
        (["{exact}", "-o", "{none}/deeper/out.txt"], "cannot write"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    files: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    names = {**files, "none": str(tmp_path / "none.onnx"), "text": str(tmp_path / "text.onnx")}
    assert invoke(["lint", *(argument.format(**names) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert message in line
    assert captured.out == ""
