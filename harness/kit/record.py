"""The one-file recorder, `record.pyz`: run a bundle on a platform of this machine and write what comes out.

Needs Python 3.11, numpy and the platform's runtime. It is made of the package's own modules (`harness.one_file`).
"""
# ruff: noqa: T201 - a program

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.bundle import Bundle
from harness.compare_recordings import compare_recordings, to_lines
from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
)
from harness.platforms.base import PLATFORMS, Platform, PlatformSpec
from harness.platforms.hosts import LOCAL, Venv
from harness.platforms.pool import TIMEOUT_SECONDS, Child
from harness.recorder import DIVERGED, record

BAD_INPUT, NOTHING_RAN = 2, 3


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 recorded, 2 bad usage or input, 3 the platform did not run."""
    parser = argparse.ArgumentParser(
        prog="record.pyz",
        description="Run a bundle on a platform of this machine; write a trace to compare elsewhere.",
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="what `crosscheck bundle` wrote")
    parser.add_argument("--platform", help="who runs the networks")
    parser.add_argument("-o", "--out", type=Path, help="trace to write")
    parser.add_argument(
        "--keep",
        action="append",
        help="bytes to keep beside digests: all, none, names of tensors, or diverged (the default)",
    )
    parser.add_argument("--list", action="store_true", help="list the platforms and end")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds a network")
    given = parser.parse_args(arguments)
    try:
        if given.list:
            print("\n".join(_listed()))
            return 0
        if None in (given.bundle, given.platform, given.out):
            parser.error("a bundle, --platform and -o are needed (or --list)")
        _record(given.bundle, given.platform, given.out, given.keep or [DIVERGED], given.timeout)
    except PlatformUnavailable as error:
        remedy = _remedy(given.platform, error)
        print(f"record: {given.platform} is unavailable: {error.reason}; {remedy}", file=sys.stderr)
        return NOTHING_RAN
    except (FellBack, PlatformCrashed, PlatformTimedOut) as error:
        print(f"record: {error}", file=sys.stderr)
        return NOTHING_RAN
    except HarnessError as error:
        print(f"record: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        # Files are read and written under UserError: this is a machine that starts no second Python.
        print(f"record: cannot start a process of {sys.executable}: {error}", file=sys.stderr)
        return NOTHING_RAN
    return 0


def on_this_python(platform: Platform) -> Platform:
    """The platform in the Python that runs the recorder, where its runtime is; not one of another program or processor."""
    if platform.host is LOCAL:
        return platform
    if isinstance(platform, PlatformSpec) and isinstance(platform.host, Venv):
        return replace(
            platform, host=LOCAL, variables={**platform.host.variables, **platform.variables}
        )
    raise PlatformUnavailable(
        platform.name,
        f"it runs on {platform.host.name}, not in this Python",
        "install the package and use: crosscheck record",
    )


def _remedy(name: str, error: PlatformUnavailable) -> str:
    """What helps in the Python that runs the recorder, where nothing of the package is installed to prepare anything."""
    host = PLATFORMS[name].host
    if isinstance(host, Venv):
        return f"{Path(sys.executable).name} -m pip install {' '.join(host.requirements)}"
    return error.remedy


def _listed() -> list[str]:
    """Every platform, with what it runs here or what would make it run."""
    lines = []
    for platform in PLATFORMS:
        child = None
        try:
            child = Child(on_this_python(platform), TIMEOUT_SECONDS)
            said = child.environment()
            lines.append(
                f"{platform.name}: {said.get('runtime', '')} {said.get('provider', '')}".rstrip()
            )
        except PlatformUnavailable as error:
            lines.append(
                f"{platform.name}: unavailable: {error.reason}; {_remedy(platform.name, error)}"
            )
        except HarnessError as error:
            lines.append(f"{platform.name}: {error}")
        finally:
            if child is not None:
                child.end()
    return lines


def _record(path: Path, name: str, out: Path, keep: Sequence[str], timeout: float) -> None:
    platform = on_this_python(PLATFORMS[name])
    bundle = Bundle.load(path)
    child = Child(platform, timeout)
    try:
        made = record(bundle, platform, child, keep=keep, report=_tell)
    finally:
        child.end()
    made.save(out)
    print(f"{out}: {len(made.runs)} runs on {name}, {len(made.skipped)} skipped")
    if made.runs:
        print(to_lines(compare_recordings(bundle.expected, made))[-1])


def _tell(done: int, total: int, now: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{done}/{total} {now}", end="" if now else "\r\033[K", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
