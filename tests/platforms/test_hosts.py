"""Hosts: a virtual environment is there only when it is whole, and its children see the package alone."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import harness
from harness.errors import HarnessError, PlatformUnavailable
from harness.platforms import hosts
from harness.platforms.base import PLATFORMS, PlatformSpec
from harness.platforms.hosts import LOCAL, Venv, package_path, private_folder
from harness.platforms.pool import Child

ROOT = Path(harness.__file__).parents[1]
VENVS = {each.host.name: each.host for each in PLATFORMS if isinstance(each.host, Venv)}
REQUIREMENTS = ("numpy==2.2.6", "runtime==1.0")
ONLY_NUMPY = """
import sys
from importlib.abc import MetaPathFinder
class Blocker(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not here")
sys.meta_path.insert(0, Blocker())
from harness.platforms.base import PLATFORMS
print(*PLATFORMS.names())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(hosts.FOLDER_VARIABLE, str(tmp_path / "private"))
    return tmp_path / "private"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run; nothing is installed."""
    seen: list[list[str]] = []

    def run(command: list[str], *, folder: Path | None = None) -> None:
        assert folder is None
        seen.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[-1]).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(hosts, "run_or_fail", run)
    return seen


def venv(*requirements: str) -> Venv:
    return Venv(name="some", requirements=requirements or REQUIREMENTS)


def test_the_private_folder_is_the_one_named_or_in_the_users_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert private_folder() == folder
    monkeypatch.delenv(hosts.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert private_folder() == tmp_path / "cache" / "crosscheck" / "platforms"


def test_an_environment_that_is_not_prepared_is_unavailable_with_a_remedy() -> None:
    with pytest.raises(PlatformUnavailable) as caught:
        venv().command("fancy")
    assert "'some' is not prepared" in caught.value.reason
    assert "crosscheck platforms --prepare fancy" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_it_is_prepared_once(folder: Path, commands: list[list[str]]) -> None:
    said: list[str] = []
    venv().prepare(said.append)
    python = str(folder / "venv-some" / "bin" / "python")
    assert commands[0] == [sys.executable, "-m", "venv", "--clear", str(folder / "venv-some")]
    assert commands[1][:4] == [python, "-m", "pip", "install"]
    assert commands[1][-2:] == list(REQUIREMENTS)
    assert venv().command("fancy") == (python, "-P", "-m", "harness.platforms.worker", "fancy")
    venv().prepare(said.append)
    assert len(commands) == 2
    assert said == ["some: pip install numpy==2.2.6 runtime==1.0", "some: there already"]


def test_other_requirements_make_it_anew(commands: list[list[str]]) -> None:
    venv().prepare(print)
    newer = venv("numpy==2.2.6", "runtime==2.0")
    with pytest.raises(PlatformUnavailable):
        newer.command("fancy")
    newer.prepare(print)
    assert newer.command("fancy")
    assert "--clear" in commands[2]
    with pytest.raises(PlatformUnavailable):
        venv().command("fancy")


def test_half_an_installation_is_none(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], *, folder: Path | None = None) -> None:
        assert folder is None
        commands.append(command)
        if "pip" in command:
            raise HarnessError("pip ended with 1: no such version")

    monkeypatch.setattr(hosts, "run_or_fail", fail)
    with pytest.raises(HarnessError, match="no such version"):
        venv().prepare(print)
    with pytest.raises(PlatformUnavailable):
        venv().command("fancy")


def test_a_command_that_fails_is_told_by_its_last_line() -> None:
    script = "import sys; print('first\\nlast', file=sys.stderr); sys.exit(4)"
    with pytest.raises(HarnessError, match=r"ended with 4: last$"):
        hosts.run_or_fail([sys.executable, "-c", script])
    with pytest.raises(HarnessError, match="No such file"):
        hosts.run_or_fail(["/nowhere/at-all"])


def test_children_of_a_host_see_the_package_and_nothing_beside_it(folder: Path) -> None:
    path = Path(package_path(venv()))
    assert path == folder / "package"
    assert [entry.name for entry in path.iterdir()] == ["harness"]
    assert (path / "harness").resolve() == Path(harness.__file__).parent.resolve()
    # A link to another checkout is replaced, by renaming.
    (path / "harness").unlink()
    (path / "harness").symlink_to("/nowhere")
    assert package_path(venv()) == str(path)
    assert (path / "harness" / "__init__.py").is_file()
    assert [entry.name for entry in path.iterdir()] == ["harness"]


def test_children_of_this_python_see_what_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    assert package_path(LOCAL).split(os.pathsep) == [str(ROOT), "/some/where"]


@pytest.mark.platform
def test_variables_of_the_host_and_of_the_platform_reach_the_child() -> None:
    script = (
        "import os, sys; from harness.platforms import wire;"
        "names = ('HOST_SAYS', 'BOTH_SAY', 'OMP_NUM_THREADS');"
        "wire.send(sys.stdout.buffer, {'environment': {n: os.environ.get(n, '') for n in names}})"
    )

    @dataclass(frozen=True, kw_only=True)
    class Some:
        name: str = "some"
        variables: dict[str, str] = field(
            default_factory=lambda: {"HOST_SAYS": "a", "BOTH_SAY": "the host"}
        )
        environment: dict[str, str] = field(default_factory=lambda: {"emulator": "none"})

        def command(self, _: str) -> tuple[str, ...]:
            return (sys.executable, "-c", script)

        def prepare(self, _: hosts.Say) -> None:
            raise AssertionError

    child = Child(
        PlatformSpec(name="fancy", host=Some(), variables={"BOTH_SAY": "the platform"}), 60
    )
    try:
        found = child.environment()
    finally:
        child.end()
    assert (found["HOST_SAYS"], found["BOTH_SAY"]) == ("a", "the platform")
    assert found["OMP_NUM_THREADS"] == "1"
    # And the trace tells.
    assert found["emulator"] == "none"
    assert found["variable HOST_SAYS"] == "a"


def test_the_registry_needs_numpy_alone() -> None:
    """A child in an environment of its own imports every platform's file to find its own."""
    blocked = {
        "compressai", "cv2", "jax", "ncnn", "onnx", "onnxruntime", "openvino", "rich", "torch",
        "tract", "typer",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ONLY_NUMPY.format(blocked=blocked)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == PLATFORMS.names()


@pytest.mark.parametrize("name", VENVS)
def test_every_environment_is_pinned_and_has_a_numpy(name: str) -> None:
    packages = [each for each in VENVS[name].requirements if not each.startswith("--")]
    assert all("==" in each for each in packages)
    assert any(each.startswith("numpy==") for each in packages)
