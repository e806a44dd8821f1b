"""The command line: the only code that prints or exits."""

import sys

from rich.console import Console

from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    Unsupported,
)

__all__ = ["main"]
NOTHING_RAN = (PlatformUnavailable, FellBack, PlatformCrashed, PlatformTimedOut, Unsupported)


def main() -> None:
    """Entry point of `crosscheck`; every error is one line and an exit code, never a traceback."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command; its exit code: 0 as expected, 1 not, 2 bad input, 3 nothing ran, 4 a golden is stale."""
    # Imported late: `crosscheck --help` need not wait for torch.
    from harness.cli import (  # noqa: F401, PLC0415 - each adds its commands
        bisect,
        bundle,
        calibrate,
        codec,
        fleet,
        golden,
        lint,
        margin,
        platforms,
        rd,
        run,
        study,
        training,
    )
    from harness.cli.app import app  # noqa: PLC0415

    try:
        app(args=arguments, prog_name="crosscheck")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except NOTHING_RAN as error:
        _complain(error)
        return 3
    except HarnessError as error:
        _complain(error)
        return 2
    return 0


def _complain(error: HarnessError) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"crosscheck: {error}", markup=False
    )
