"""`python -m harness.kit.compare A B`: compare traces and bundles where there is numpy and nothing else."""
# ruff: noqa: T201 - a program

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.bundle import expectation_or_recording
from harness.compare_recordings import compare_recordings, to_json, to_lines
from harness.errors import HarnessError
from harness.trace_files import Kind, refuse

BAD_INPUT = 2


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 identical, 1 diverged, 2 bad input or another specification, 3 nothing to compare."""
    parser = argparse.ArgumentParser(
        prog="compare", description="Compare two recordings, bit for bit."
    )
    parser.add_argument("expected", type=Path, help="a trace, or a bundle: what it expects")
    parser.add_argument("actual", type=Path, help="a trace, or a bundle")
    parser.add_argument(
        "--run", default="*", help="only runs whose name matches, such as '*/w8a8/*/h_s'"
    )
    parser.add_argument("--all", action="store_true", help="list identical tensors too")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    given = parser.parse_args(arguments)
    try:
        for path in (given.expected, given.actual):
            refuse(path, Kind.VALUES)
        found = compare_recordings(
            expectation_or_recording(given.expected),
            expectation_or_recording(given.actual),
            given.run,
        )
    except HarnessError as error:
        print(f"compare: {error}", file=sys.stderr)
        return BAD_INPUT
    if given.json:
        print(json.dumps(to_json(found), indent=2, sort_keys=True))
    else:
        print("\n".join(to_lines(found, every=given.all)))
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
