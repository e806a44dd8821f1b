"""Where the process of a platform lives: this Python, a Python with other packages, another program.

Whatever a host needs that is not part of the installation, `prepare` brings into a private folder; nothing else of the
system changes.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, PlatformUnavailable

# Names the private folder; without it, the user's cache.
FOLDER_VARIABLE = "CROSSCHECK_PLATFORMS"
PREPARE = "make platforms-extra (or: crosscheck platforms --prepare {name})"
Say = Callable[[str], None]


def private_folder() -> Path:
    """Where everything that `prepare` brings lives."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "crosscheck" / "platforms"


def package_path(host: "Host") -> str:
    """PYTHONPATH of a host's children. All import the same files; platforms need only numpy and their runtime."""
    package = Path(__file__).resolve().parents[1]
    if host is LOCAL:
        inherited = filter(None, [os.environ.get("PYTHONPATH")])
        # Run from a checkout, the package may not be installed: the child must find the same one.
        return os.pathsep.join([str(package.parent), *inherited])
    # Beside an installed package lie the installed numpy and torch, which are not of that Python: link it alone.
    alone = private_folder() / "package"
    link = alone / package.name
    if not (link.is_symlink() and link.readlink() == package):
        alone.mkdir(parents=True, exist_ok=True)
        fresh = alone / f"{package.name}.{os.getpid()}.{threading.get_ident()}"
        fresh.symlink_to(package, target_is_directory=True)
        os.replace(fresh, link)
    return str(alone)


class Host(Protocol):
    """How to start a child process that speaks `harness.platforms.wire` on its stdin and stdout."""

    @property
    def name(self) -> str: ...

    def command(self, platform: str) -> tuple[str, ...]:
        """The command line of the child of `platform`. Raises PlatformUnavailable, with a remedy, if it is not there."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that the host itself needs."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What a child cannot see of where it runs (an emulator and its processor), for its trace."""
        ...

    def prepare(self, say: Say) -> None:
        """Bring what is missing into the private folder; a second call does nothing. HarnessError if that fails."""
        ...


def worker(python: str, platform: str) -> tuple[str, ...]:
    # -P: a folder called harness where the command was given is not the package.
    return (python, "-P", "-m", "harness.platforms.worker", platform)


@dataclass(frozen=True, kw_only=True)
class LocalPython:
    """The Python that runs the harness."""

    name: str = "local"
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, platform: str) -> tuple[str, ...]:
        return worker(sys.executable, platform)

    def prepare(self, say: Say) -> None:
        """Nothing: what it needs is installed with the project."""


LOCAL = LocalPython()


@dataclass(frozen=True, kw_only=True)
class Venv:
    """A virtual environment of its own, for a runtime whose requirements clash with the project's or are large.

    `requirements` are pip's, pinned; they include a numpy.
    """

    name: str
    requirements: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return private_folder() / f"venv-{self.name}"

    @property
    def _python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def _stamp(self) -> Path:
        """Holds the requirements that are installed: written last, so that half an installation is none."""
        return self.folder / "installed.txt"

    def _installed(self) -> bool:
        wanted = "\n".join(self.requirements)
        return self._stamp.is_file() and self._stamp.read_text(encoding="utf-8") == wanted

    def command(self, platform: str) -> tuple[str, ...]:
        if not self._installed():
            raise PlatformUnavailable(
                platform,
                f"its environment {self.name!r} is not prepared",
                PREPARE.format(name=platform),
            )
        return worker(str(self._python), platform)

    def prepare(self, say: Say) -> None:
        if self._installed():
            say(f"{self.name}: there already")
            return
        say(f"{self.name}: pip install {' '.join(self.requirements)}")
        run_or_fail([sys.executable, "-m", "venv", "--clear", str(self.folder)])
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run_or_fail([*pip, *self.requirements])
        self._stamp.write_text("\n".join(self.requirements), encoding="utf-8")


def run_or_fail(command: list[str], *, folder: Path | None = None) -> None:
    """Run a command to its end; HarnessError with its last line if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise HarnessError(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        raise HarnessError(f"{' '.join(command)} ended with {done.returncode}: {said}")
