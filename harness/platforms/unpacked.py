"""A private folder of Debian packages and Python wheels for some processor: there whole or not at all."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_file
from harness.platforms.debian import GUEST_PYTHON, unpack
from harness.platforms.hosts import Say, private_folder, run_or_fail

# How wheels name Debian's architectures.
_WHEEL_TAGS = {"arm64": "manylinux_2_28_aarch64"}


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """Debian packages with all that they depend on, and wheels without.

    `architecture` is Debian's name of one, None this machine's; `keep` are the only files that stay (none: all do).
    """

    name: str
    packages: tuple[str, ...]
    architecture: str | None = None
    wheels: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return private_folder() / self.name

    def versions(self) -> Mapping[str, str]:
        """Versions by Debian package; empty while the folder is not there or holds something else than is asked for."""
        held = read_stamp(self.folder / "contents.json", self._asked)
        return {} if held is None else held

    @property
    def _asked(self) -> str:
        return " ".join([*self.packages, *self.wheels, *self.keep])

    def prepare(self, say: Say) -> None:
        """Bring it; a second call does nothing. HarnessError if it cannot be had."""
        if self.versions():
            say(f"{self.name}: there already")
            return
        say(f"{self.name}: unpack Debian's {', '.join(self.packages)} and what they depend on")
        try:
            private_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=private_folder(), prefix="part-") as scratch:
                self._bring(Path(scratch) / "fresh", say)
                if self.folder.exists():
                    os.replace(self.folder, Path(scratch) / "stale")
                os.replace(Path(scratch) / "fresh", self.folder)
        except OSError as error:
            raise HarnessError(f"{self.folder}: {error.strerror or error}") from error

    def _bring(self, fresh: Path, say: Say) -> None:
        versions = unpack(self.packages, fresh, self.architecture)
        if self.wheels:
            say(f"{self.name}: pip install {' '.join(self.wheels)}")
            self._add_wheels(fresh)
        if self.keep:
            kept = {fresh / path for path in self.keep}
            for path in fresh.rglob("*"):
                if path not in kept and (path.is_symlink() or path.is_file()):
                    path.unlink()
        write_stamp(fresh / "contents.json", self._asked, versions)

    def _add_wheels(self, fresh: Path) -> None:
        packages = fresh / "usr" / "lib" / "python3" / "dist-packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        foreign = ["--python-version", GUEST_PYTHON, "--only-binary", ":all:", "--no-deps"]
        if self.architecture is not None:
            foreign += ["--platform", _WHEEL_TAGS[self.architecture]]
        run_or_fail([*pip, *foreign, "--target", str(packages), *self.wheels])


def write_stamp(path: Path, asked: str, facts: Mapping[str, str]) -> None:
    """Note what a finished preparation was asked for and what it found; it is written last."""
    told = json.dumps({"asked": asked, "facts": dict(facts)}, indent=1, sort_keys=True)
    write_file(path, told.encode())


def read_stamp(path: Path, asked: str) -> Mapping[str, str] | None:
    """The facts of a preparation that was asked for the same, or None."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return dict(told["facts"]) if told["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
