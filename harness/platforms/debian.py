"""Debian packages of any architecture, unpacked into a folder of our own: nothing is installed, no script of theirs runs.

apt does the work with a private state: it finds what packages depend on, checks signatures and digests, and takes the
address of the archive from the system's own configuration.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from harness.errors import HarnessError
from harness.platforms.hosts import run_or_fail

# One suite for all: its QEMU is 10.0 (7.2, of the suite before, crashes when onnxruntime is imported under aarch64).
SUITE = "trixie"
GUEST_PYTHON = "3.13"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PROGRAMS = ("apt-get", "dpkg-deb")
_ADDRESS = re.compile(r"'(\S+/debian)/+dists/")
# Hooks of the system's configuration would act on the system (a container's empties its package cache).
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "archives";
Dir::Log "{folder}";
"""
_FOREIGN = """\
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures:: "{architecture}";
"""


def unpack(packages: Sequence[str], into: Path, architecture: str | None) -> Mapping[str, str]:
    """Unpack packages and all they depend on into the new folder `into`; their versions by name.

    `architecture` is Debian's name of one; None is this machine's. HarnessError where this is no Debian system, its
    configuration names no Debian archive, or a package cannot be had.
    """
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            raise HarnessError(f"no {program} on this machine: this needs Debian or a relative")
    # /bin and /lib are links in this suite, made by the install script of a package.
    for name in ("bin", "lib", "sbin"):
        (into / "usr" / name).mkdir(parents=True)
        (into / name).symlink_to(f"usr/{name}")
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=into.parent, prefix="apt-") as scratch:
        for archive in _download(packages, architecture, Path(scratch)):
            run_or_fail(["dpkg-deb", "-x", str(archive), str(into)])
            name, version, _ = archive.name.split("_")
            versions[name] = unquote(version)
    _choose_alternatives(into)
    return versions


def _download(packages: Sequence[str], architecture: str | None, folder: Path) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()  # nothing is installed: apt brings everything
    signed = f"[signed-by={_KEYS}] " if _KEYS.is_file() else ""
    source = f"deb {signed}{_address(folder / 'lists')} {SUITE} main\n"
    (folder / "sources.list").write_text(source, encoding="utf-8")
    told = _CONFIGURATION if architecture is None else _CONFIGURATION + _FOREIGN
    configuration = folder / "apt.conf"
    configuration.write_text(
        told.format(folder=folder, architecture=architecture), encoding="utf-8"
    )
    apt = ["apt-get", "--config-file", str(configuration), "--quiet=2"]
    run_or_fail([*apt, "update"])
    run_or_fail([*apt, "install", "--yes", "--download-only", *packages])
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _address(lists: Path) -> str:
    """Where this system gets Debian from."""
    # What an update would fetch: that needs no lists fetched before, and no reader of apt's two formats of sources.
    planned = subprocess.run(
        ["apt-get", "-o", f"Dir::State::lists={lists}", "update", "--print-uris"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in planned.stdout.splitlines():
        if found := _ADDRESS.match(line):
            return found[1]
    raise HarnessError(
        "apt's configuration names no Debian archive (an address that ends with /debian): add one, see sources.list(5)"
    )


def _choose_alternatives(root: Path) -> None:
    """Link the one BLAS and LAPACK to where programs look, as their install scripts would."""
    for library in (root / "usr" / "lib").glob("*/*/lib*.so.3"):
        if library.parent.name in {"blas", "lapack"}:
            link = library.parents[1] / library.name
            link.symlink_to(library.relative_to(link.parent))
