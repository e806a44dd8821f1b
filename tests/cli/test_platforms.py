"""`crosscheck platforms`: one readable row each, --prepare that goes on after a failure, and --json."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from harness.cli import invoke
from harness.cli import platforms as command
from harness.errors import HarnessError
from harness.platforms.base import PLATFORMS, PlatformSpec
from harness.platforms.hosts import Say, Venv

SPEAKS = """
import sys
from harness.platforms import wire
wire.send(sys.stdout.buffer, {"environment": {
    "runtime": "a runtime with a name that is much too long for a column of any table 1.0",
    "integer_kernel": "the kernel of integers", "float_kernel": "the kernel of floats"}})
sys.stdin.buffer.read()
"""


@dataclass(frozen=True, kw_only=True)
class FakeHost:
    name: str
    broken: str = ""
    script: str = SPEAKS
    prepared: list[str] = field(default_factory=list)
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, platform: str) -> tuple[str, ...]:
        return (sys.executable, "-c", self.script, platform)

    def prepare(self, say: Say) -> None:
        if self.broken:
            raise HarnessError(self.broken)
        self.prepared.append(self.name)
        say(f"{self.name}: brought")


GOOD = FakeHost(name="good")
BROKEN = FakeHost(name="broken", broken="pip ended with 1: no network")
FAKES = [
    PlatformSpec(name="a-platform-of-a-long-name", host=GOOD),
    PlatformSpec(name="absent", host=Venv(name="nowhere", requirements=("numpy==2.2.6",))),
    PlatformSpec(name="broken", host=BROKEN),
    PlatformSpec(name="crashing", host=FakeHost(name="crash", script="raise SystemExit('oh no')")),
    PlatformSpec(name="second", host=GOOD),
]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    PLATFORMS.names()
    monkeypatch.setattr(PLATFORMS, "_items", {platform.name: platform for platform in FAKES})
    monkeypatch.setenv("CROSSCHECK_PLATFORMS", str(tmp_path))
    GOOD.prepared.clear()


Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crosscheck(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(command, "console", Console(width=100, soft_wrap=True, highlight=False))
        capfd.readouterr()
        code = invoke(["platforms", *arguments])
        return (code, *capfd.readouterr())

    return call


def row(out: str, name: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_there_is_one_row_a_platform_and_it_fits_100_columns(crosscheck: Invoke) -> None:
    code, out, _ = crosscheck()
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= 100
    name, state, runtime, host = row(out, "a-platform-of-a-long-name")
    assert (name, state, host) == ("a-platform-of-a-long-name", "ready", "good")
    assert runtime.startswith("a runtime with")
    assert runtime.endswith("…")
    assert row(out, "absent") == ["absent", "unavailable", "", "nowhere"]
    assert row(out, "crashing")[1] == "crashed"
    assert len([line for line in out.splitlines() if line.startswith("│ ")]) == len(FAKES)
    assert "2 unavailable: -v says why" in out


def test_details_are_there_for_the_asking(crosscheck: Invoke) -> None:
    _, out, _ = crosscheck("-v")
    assert "second: integers the kernel of integers; floats the kernel of floats" in out
    assert "absent: its environment 'nowhere' is not prepared; make platforms-extra" in out
    assert "crashing: " in out
    assert "oh no" in out


def test_machines_get_every_record(crosscheck: Invoke) -> None:
    code, out, _ = crosscheck("--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {platform.name for platform in FAKES}
    assert found["second"]["state"] == "ready"
    assert found["second"]["host"] == "good"
    assert found["second"]["integer_kernel"] == "the kernel of integers"
    assert found["absent"]["state"] == "unavailable"
    assert "--prepare absent" in found["absent"]["remedy"]


def test_a_host_is_prepared_once_for_all_its_platforms(crosscheck: Invoke) -> None:
    code, out, _ = crosscheck("--prepare", "second", "--prepare", "a-platform-of-a-long-name")
    assert (code, out) == (0, "good: brought\n")
    assert GOOD.prepared == ["good"]


def test_one_that_fails_stops_nobody_and_is_named(
    crosscheck: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = {platform.name: platform for platform in FAKES if platform.name in {"broken", "second"}}
    monkeypatch.setattr(PLATFORMS, "_items", rest)
    code, out, err = crosscheck("--prepare", "all")
    assert code == 3
    assert "good: brought" in out
    assert "broken could not be prepared: pip ended with 1: no network" in err
    assert err.splitlines()[-1] == "crosscheck: not prepared: broken"
    assert "Traceback" not in err


def test_a_name_that_nobody_knows_is_wrong_usage(crosscheck: Invoke) -> None:
    code, _, err = crosscheck("--prepare", "abacus")
    assert code == 2
    assert "no platform named 'abacus'; known: a-platform" in err
    assert not GOOD.prepared
