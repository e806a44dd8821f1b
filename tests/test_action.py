"""action.yml: it parses, its scripts run, and the commands in it are those of the command line."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.cli import lint, run  # noqa: F401 - they add their commands
from harness.cli.app import app

yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
ROOT = Path(__file__).resolve().parents[1]
STUB = """#!/bin/bash
printf '%s\\n' "$@" > "$CALLED"
exit "${ENDS_WITH:-0}"
"""


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def step(action: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in action["runs"]["steps"] if each["name"] == name]
    return dict(found)


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """`crosscheck` and `python` that write down what they are called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("crosscheck", "python"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    return folder


def execute(script: str, commands: Path, **variables: str) -> tuple[int, list[str], str]:
    """Run a step as GitHub does: exit code, the arguments of the stub, what it wrote to $GITHUB_OUTPUT."""
    called, output = commands.parent / "called", commands.parent / "output"
    called.write_text("")
    output.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env={
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "CALLED": str(called),
            "GITHUB_OUTPUT": str(output),
            **variables,
        },
        cwd=commands.parent,
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.returncode, called.read_text().splitlines(), output.read_text() + done.stdout


def test_it_is_a_composite_action_with_its_inputs(action: dict[str, Any]) -> None:
    assert action["runs"]["using"] == "composite"
    assert set(action["inputs"]) == {"suite", "case", "add", "version", "fail-on"}
    assert all(each["description"] and "default" in each for each in action["inputs"].values())
    for each in action["runs"]["steps"]:
        assert ("uses" in each) != ("run" in each)
        assert "run" not in each or each["shell"] == "bash"
        # Inputs are data: they reach a script as variables, never as part of its text.
        assert "${{" not in each.get("run", "")
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(action["inputs"])


def test_the_commands_exist_in_the_command_line(action: dict[str, Any], commands: Path) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    _, called, _ = execute(
        step(action, "Run the suite")["run"], commands,
        SUITE="default", CASE="*", ADD="torch", REPORT="r",
    )  # fmt: skip
    options = {name for parameter in known[called[0]].params for name in parameter.opts}
    assert called[0] == "run"
    used = [word for word in called if word.startswith("--")]
    assert sorted(used) == ["--add", "--case", "--out"]
    assert set(used) <= options


@pytest.mark.parametrize("code", ["0", "1", "3"])
def test_the_run_passes_its_inputs_on_whole(
    action: dict[str, Any], commands: Path, code: str
) -> None:
    ended, called, output = execute(
        step(action, "Run the suite")["run"],
        commands,
        SUITE="my suite.toml",
        CASE="*/w8a8/*; $(touch broken)",
        ADD=" torch  *\nort-web ",
        REPORT="out put",
        ENDS_WITH=code,
    )
    assert ended == 0
    assert called == [
        "run", "my suite.toml", "--case", "*/w8a8/*; $(touch broken)", "--out", "out put",
        "--add", "torch", "--add", "*", "--add", "ort-web",
    ]  # fmt: skip
    assert not (commands.parent / "broken").exists()
    assert output.splitlines() == [f"exit-code={code}", "report=out put"]


def test_it_installs_a_version_or_itself(action: dict[str, Any], commands: Path) -> None:
    script = step(action, "Install Crosscheck")["run"]
    _, called, _ = execute(script, commands, VERSION="1.2", SOURCE="/src")
    assert called[-1] == "codec-crosscheck==1.2"
    _, called, _ = execute(script, commands, VERSION="", SOURCE="/src")
    assert called[-1] == "/src"
    assert called[:3] == ["-m", "pip", "install"]


@pytest.mark.parametrize(
    ("fail_on", "green"),
    [("any", {"0"}), ("divergence", {"0", "3"}), ("never", {"0", "1", "3", "4"}), ("x", set())],
)
def test_the_gate_is_red_for_what_was_asked(
    action: dict[str, Any], commands: Path, fail_on: str, green: set[str]
) -> None:
    script = step(action, "Gate")["run"]
    codes = ("0", "1", "2", "3", "4", "130", "")
    ended = {c: execute(script, commands, CODE=c, FAIL_ON=fail_on)[0] for c in codes}
    assert {c for c in codes if ended[c] == 0} == green


def test_files_are_taken_from_where_the_run_writes_them(action: dict[str, Any]) -> None:
    where = step(action, "Run the suite")["env"]["REPORT"]
    assert step(action, "Upload SARIF")["with"]["sarif_file"] == "${{ steps.run.outputs.sarif }}"
    assert step(action, "Keep the report")["with"]["path"] == where


@pytest.mark.platform
def test_a_planted_divergence_fails_the_job(
    action: dict[str, Any], commands: Path, tmp_path: Path
) -> None:
    """The step's own script, the real command line, a platform that is wrong on purpose."""
    (commands / "crosscheck").write_text(
        f"#!/bin/bash\nexec {shlex.quote(sys.executable)} -c "
        '"from harness.cli import main; main()" "$@"\n'
    )
    (tmp_path / "one.toml").write_text(
        'summary = "one crop"\nscope = "hyperprior"\nreconstruct = false\nrequired = ["ort-cpu"]\n'
        '[[blocks]]\ncodecs = ["mbt2018-mean/q1"]\nprecisions = ["w8a8"]\nimages = ["rocket"]\n'
        'encoders = ["ort-cpu"]\ndecoders = ["*"]\ncrop = 64\n'
    )
    page = tmp_path / "page.md"
    page.write_text("before\n")
    ended, _, output = execute(
        step(action, "Run the suite")["run"],
        commands,
        SUITE="one.toml", CASE="*", ADD="dsp-floor", REPORT=str(tmp_path / "r"),
        GITHUB_STEP_SUMMARY=str(page), PYTHONPATH=str(ROOT),
    )  # fmt: skip
    assert ended == 0
    assert {"exit-code=1", f"sarif={tmp_path}/r/results.sarif"} <= set(output.splitlines())
    code, _, _ = execute(step(action, "Gate")["run"], commands, CODE="1", FAIL_ON="any")
    assert code == 1
    planted = "mbt2018-mean/q1/w8a8/hyperprior/mmi-u8u8/ort-cpu+dsp-floor/rocket.c64"
    sarif = (tmp_path / "r" / "results.sarif").read_text(encoding="utf-8")
    assert f"repeat: crosscheck run one --case '{planted}'" in sarif
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n# Crosscheck: RED")
    assert planted in text
