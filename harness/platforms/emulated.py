"""Other processors through QEMU's user mode: the child is a program of that processor on this system's kernel."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine as this_machine

from harness.errors import HarnessError, PlatformUnavailable
from harness.platforms.hosts import (
    PREPARE,
    Say,
    package_path,
    private_folder,
    run_or_fail,
    worker,
)
from harness.platforms.unpacked import Unpacked, read_stamp, write_stamp

QEMU = Unpacked(
    name="qemu",
    packages=("qemu-user",),
    keep=("usr/bin/qemu-x86_64", "usr/bin/qemu-aarch64", "usr/bin/qemu-s390x"),
)


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """A processor that QEMU imitates. `machine` and `cpu` are QEMU's names of architecture and model.

    `system` holds a Python of that architecture; without one, the Python that runs the harness is run again on the
    imitated processor, which must be of this machine's architecture. `kernels` is for the trace: what a runtime
    multiplies with there, by the keys that an engine uses.
    """

    name: str
    machine: str
    cpu: str
    system: Unpacked | None = None
    emulator: Unpacked = QEMU
    kernels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Mapping[str, str]:
        return {**(read_stamp(self._stamp, self._asked) or {}), **self.kernels}

    def command(self, platform: str) -> tuple[str, ...]:
        if self._foreign():
            raise PlatformUnavailable(platform, self._foreign(), f"use a machine of {self.machine}")
        if not self._prepared():
            raise PlatformUnavailable(
                platform,
                f"its emulated processor {self.name!r} is not prepared",
                PREPARE.format(name=platform),
            )
        return (*self.emulate, *worker(self.python, platform))

    def prepare(self, say: Say) -> None:
        if self._foreign():
            raise HarnessError(f"{self.name}: {self._foreign()}")
        for needed in filter(None, [self.emulator, self.system]):
            needed.prepare(say)
        if self._prepared():
            say(f"{self.name}: there already")
            return
        say(f"{self.name}: ask the emulated {self.cpu} what it can do")
        write_stamp(self._stamp, self._asked, self._measured())

    @property
    def _stamp(self) -> Path:
        return private_folder() / f"emulated-{self.name}.json"

    @property
    def _asked(self) -> str:
        """What is known of another processor, or from another emulator, is of no use."""
        return f"{self.machine} {self.cpu} {self.emulator.versions().get('qemu-user')}"

    def _prepared(self) -> bool:
        there = all(unpacked.versions() for unpacked in filter(None, [self.emulator, self.system]))
        return there and read_stamp(self._stamp, self._asked) is not None

    def _foreign(self) -> str:
        if self.system is None and this_machine() != self.machine:
            return f"it runs this machine's own programs, which are of {this_machine()}"
        return ""

    @property
    def python(self) -> str:
        """The Python that is emulated."""
        if self.system is None:
            return sys.executable
        return str(self.system.folder / "usr" / "bin" / "python3")

    @property
    def emulate(self) -> tuple[str, ...]:
        """What to put before the command line of a program of that architecture."""
        qemu = self.emulator.folder / "usr" / "bin" / f"qemu-{self.machine}"
        # What a program of that system opens by its absolute path, its loader first, is looked for there first.
        root = () if self.system is None else ("-L", str(self.system.folder))
        return (str(qemu), "-cpu", self.cpu, *root)

    def _measured(self) -> Mapping[str, str]:
        """What a trace should say of the processor, asked of it: /proc/cpuinfo may be the real one's."""
        with tempfile.TemporaryDirectory(dir=private_folder(), prefix="part-") as scratch:
            told = Path(scratch) / "features"
            program = [self.python, "-m", "harness.platforms.cpu_features", str(told)]
            run_or_fail([*self.emulate, *program], folder=Path(package_path(self)))
            flags = told.read_text(encoding="utf-8")
        version = self.emulator.versions()["qemu-user"].split(":")[-1].partition("+")[0]
        return {
            "emulator": f"QEMU {version} user mode",
            "cpu": f"{self.machine} {self.cpu} (emulated)",
            "cpu_flags": flags,
        }
