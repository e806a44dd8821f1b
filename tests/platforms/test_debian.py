"""Packages without an installation: what apt is told, and what it says when it cannot."""

import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.platforms.debian import SUITE, unpack

# apt-get notes how it was called and "downloads" two packages; dpkg-deb "unpacks" a file.
APT_GET = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
if "--print-uris" in arguments:
    print({uris!r})
    sys.exit(0)
configuration = arguments[arguments.index("--config-file") + 1]
log = Path({log!r})
log.mkdir(exist_ok=True)
(log / "apt.conf").write_text(Path(configuration).read_text())
(log / "sources.list").write_text((Path(configuration).parent / "sources.list").read_text())
with open(log / "commands", "a") as out:
    print(*[a for a in arguments if a != configuration], file=out)
if "install" in arguments:
    if {fails!r}:
        print("E: Unable to locate package " + arguments[-1], file=sys.stderr)
        sys.exit(100)
    folder = Path(configuration).parent / "cache" / "archives"
    (folder / "libone_1%3a2.0-3_s390x.deb").touch()
    (folder / "two_5_all.deb").touch()
"""
DPKG_DEB = """#!{python}
import sys
from pathlib import Path
_, archive, folder = sys.argv[1:]
target = Path(folder) / "usr" / "lib" / "s390x-linux-gnu" / "blas"
target.mkdir(parents=True, exist_ok=True)
(target / "libblas.so.3").touch()
(Path(folder) / Path(archive).name).touch()
"""
URIS = "'http://mirror.example/some/debian/dists/bookworm/InRelease' mirror.example 0"


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A system of two programs; returns where the first notes its calls."""

    def make(uris: str = URIS, *, fails: bool = False) -> Path:
        log, programs = tmp_path / "log", tmp_path / "bin"
        programs.mkdir()
        for name, text in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
            program = programs / name
            program.write_text(
                text.format(python=sys.executable, log=str(log), uris=uris, fails=fails)
            )
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))
        return log

    return make


def test_packages_are_unpacked_from_the_archive_that_the_system_uses(debian, tmp_path):
    log = debian()
    root = tmp_path / "root"
    assert unpack(["libone"], root, "s390x") == {"libone": "1:2.0-3", "two": "5"}
    assert sorted(path.name for path in root.glob("*.deb")) == [
        "libone_1%3a2.0-3_s390x.deb",
        "two_5_all.deb",
    ]
    assert f"http://mirror.example/some/debian {SUITE} main" in (log / "sources.list").read_text()
    assert (log / "commands").read_text().splitlines() == [
        "--config-file --quiet=2 update",
        "--config-file --quiet=2 install --yes --download-only libone",
    ]
    # Merged /usr, and what install scripts would have linked.
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "lib/s390x-linux-gnu/libblas.so.3").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("apt-")] == []


@pytest.mark.parametrize("architecture", ["s390x", None])
def test_apt_is_told_to_leave_the_system_alone(architecture, debian, tmp_path):
    log = debian()
    unpack(["libone"], tmp_path / "root", architecture)
    told = (log / "apt.conf").read_text()
    state = [line.split('"')[1] for line in told.splitlines() if line.startswith("Dir::")]
    assert [path for path in state if not path.startswith((str(tmp_path), "/dev/null"))] == [
        "archives"  # below Dir::Cache
    ]
    assert "#clear APT::Update::Post-Invoke;" in told
    assert ('APT::Architecture "s390x";' in told) == (architecture is not None)


def test_an_unknown_package_is_named(debian, tmp_path):
    debian(fails=True)
    with pytest.raises(HarnessError, match="Unable to locate package nothing"):
        unpack(["nothing"], tmp_path / "root", None)


@pytest.mark.parametrize(
    "uris", ["", "'http://mirror.example/ubuntu/dists/noble/InRelease' mirror.example 0"]
)
def test_a_system_without_debians_archive_is_told_so(uris, debian, tmp_path):
    debian(uris)
    with pytest.raises(HarnessError, match="names no Debian archive"):
        unpack(["libone"], tmp_path / "root", None)


def test_another_system_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="no apt-get on this machine: this needs Debian"):
        unpack(["libone"], tmp_path / "root", None)
