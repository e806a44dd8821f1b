"""The pytest plugin: cells as tests, in this process where that is enough, in one of its own where imports count."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

# All that an inner session uses is imported here: it would forget again what it imports itself.
from harness import pytest_plugin
from harness.case import Case
from harness.executors.base import describe
from harness.executors.local import LocalExecutor
from harness.group import groups
from harness.library import Library, pictures
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.report import terminal
from harness.suite import load

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.platform
ROOT = Path(__file__).resolve().parents[1]
ABSENT, REMEDY = "ort-cuda", "onnxruntime-gpu"
CODEC = "mbt2018-mean/q1"
SUITE = """
summary = "small crops"
scope = "hyperprior"
reconstruct = false
required = ["ort-cpu", "dsp-exact32"]
optional = ["ort-cuda"]
{more}
[[blocks]]
codecs = ["mbt2018-mean/q1"]
precisions = [{precisions}]
images = [{images}]
encoders = ["ort-cpu"]
decoders = [{decoders}]
crop = 64
"""


def name(decoder: str, picture: str = "rocket", precision: str = "w8a8") -> str:
    lowering = "mmi-u8u8" if precision == "w8a8" else "float32"
    return f"{CODEC}/{precision}/hyperprior/{lowering}/ort-cpu+{decoder}/{picture}.c64"


@pytest.fixture(scope="module", autouse=True)
def all_imported() -> None:
    assert terminal.failure_block
    assert "dsp-floor" in PLATFORMS.names()
    if CODEC not in Library().names():
        pytest.skip("no codec ships yet: make fixtures")


@pytest.fixture(scope="module")
def no_gpu() -> None:
    with Pool() as pool:
        if "unavailable" not in describe(LocalExecutor(pool, 1), ABSENT):
            pytest.skip("this machine has CUDA: nothing is absent")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Callable[..., str]:
    def write(**fields: str) -> str:
        usual = {"precisions": '"w8a8"', "images": '"rocket"', "decoders": '"*"', "more": ""}
        return pytester.makefile(".toml", small=SUITE.format(**(usual | fields))).name

    return write


def arguments(*more: str) -> list[str]:
    """Loaded by name where the installation has no entry point for it."""
    installed = importlib.metadata.entry_points(group="pytest11", name="crosscheck")
    return [*([] if installed else ["-p", "harness.pytest_plugin"]), *more]


def test_the_package_registers_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"crosscheck": pytest_plugin.__name__}


@pytest.mark.usefixtures("no_gpu")
def test_each_cell_is_a_test_and_a_planted_divergence_fails(
    pytester: pytest.Pytester, suite: Callable[..., str]
) -> None:
    small = suite()
    result = pytester.runpytest_inprocess(
        *arguments("--crosscheck", small, "--crosscheck-add", "dsp-floor", "-v", "-rs")
    )
    result.assert_outcomes(passed=2, failed=1, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(
        [
            f"crosscheck:small::{name('ort-cpu')} PASSED*",
            f"crosscheck:small::{name('dsp-exact32')} PASSED*",
            f"crosscheck:small::{name(ABSENT)} SKIPPED*",
            f"SKIPPED *{ABSENT} is unavailable: *{REMEDY}*",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            f"UNDECODABLE {name('dsp-floor')}",
            "  means_hat[[]*[]]: expected *, got * differ; *",
            "  expected: identical (*",
            f"  repeat: crosscheck run {small} --case '{name('dsp-floor')}'",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*Error*")


def test_a_linted_suite_lets_pass_what_the_linter_or_a_planted_mistake_covers(
    pytester: pytest.Pytester, suite: Callable[..., str]
) -> None:
    chosen = ("--crosscheck-add", "dsp-floor", "--crosscheck-case", "*+dsp-*")
    small = suite(more="linted = true")
    result = pytester.runpytest_inprocess(*arguments("--crosscheck", small, *chosen))
    result.assert_outcomes(passed=2)


@pytest.mark.usefixtures("no_gpu")
def test_a_required_platform_that_is_absent_fails(
    pytester: pytest.Pytester, suite: Callable[..., str]
) -> None:
    chosen = ("--crosscheck-add", ABSENT, "--crosscheck-case", f"*+{ABSENT}/*")
    result = pytester.runpytest_inprocess(*arguments("--crosscheck", suite(), *chosen))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"UNAVAILABLE {name(ABSENT)}", f"*{REMEDY}*"])
    result.stdout.fnmatch_lines(["crosscheck: no cell ran"])


def test_a_control_that_never_diverges_fails_the_session(
    pytester: pytest.Pytester, suite: Callable[..., str]
) -> None:
    """Every cell is as expected, so pytest alone would be green; a chosen few cells promise nothing."""
    control = suite(precisions='"fp32"', decoders='"ort-cpu"', more='must_diverge = ["fp32"]')
    result = pytester.runpytest_inprocess(*arguments("--crosscheck", control))
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["crosscheck: control fp32 never diverged: *"])
    few = ("--crosscheck-case", "*/fp32/*")
    result = pytester.runpytest_inprocess(*arguments("--crosscheck", control, *few))
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--crosscheck", "nonsense"], "no suite 'nonsense'; there are: default"),
        (["--crosscheck", "default", "--crosscheck-add", "abacus"], "no platform named 'abacus'"),
        (["--crosscheck", "default", "--crosscheck-case", "zzz"], "matches 'zzz'"),
    ],
    ids=["suite", "platform", "case"],
)
def test_wrong_usage_is_one_line(pytester: pytest.Pytester, given: list[str], says: str) -> None:
    result = pytester.runpytest_inprocess(*arguments(*given))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.stderr.lines if line]
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: --crosscheck: ")
    assert says in lines[0]


def marked(marker: str) -> list[str]:
    """The command lines of the processes that have this environment variable."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if marker.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_xdist_keeps_shared_work_together_and_ends_every_child(
    pytester: pytest.Pytester, suite: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pictures, so two groups; a test of the user's own beside them."""
    marker = f"CROSSCHECK_TRIAL={pytester.path}"
    monkeypatch.setenv(*marker.split("=", 1))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    small = suite(images='"rocket", "coffee"')
    own = pytester.makepyfile(test_own="def test_own():\n    pass\n")
    result = pytester.runpytest_subprocess(
        *arguments(own.name, "--crosscheck", small, "-n", "2", "-v", "-k", f"not {ABSENT}"),
        timeout=200,
    )
    result.assert_outcomes(passed=5)
    where: dict[str, set[str]] = {}
    for line in result.stdout.lines:
        if line.startswith("[gw") and "crosscheck:" in line:
            assert "PASSED" in line
            case = line.rpartition("::")[2].strip()
            where.setdefault(case.rpartition("/")[2], set()).add(line[:5])
    assert set(where) == {"rocket.c64", "coffee.c64"}
    assert all(len(workers) == 1 for workers in where.values()), where
    assert marked(marker) == []


def test_processes_are_seen_by_their_mark() -> None:
    """What the test before this one looks for is found where it is."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env={**os.environ, "CROSSCHECK_TRIAL": "seen"},
    ) as process:
        process.stdin.write(b"")  # type: ignore[union-attr]
        assert any("input()" in line for line in marked("CROSSCHECK_TRIAL=seen"))
        process.kill()


def test_a_session_without_the_option_imports_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        import sys

        def test_nothing_was_imported():
            ours = {name for name in sys.modules if name.startswith("harness")}
            assert ours == {"harness", "harness.pytest_plugin"}
            assert not {"torch", "numpy", "onnx", "onnxruntime"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess(*arguments("-p", "no:hypothesispytest"), timeout=100)
    result.assert_outcomes(passed=1)


def test_groups_are_by_codec_and_picture_and_in_one_order() -> None:
    default = load("default")
    cases = default.cases(
        codecs=["mbt2018-mean/q3", "mbt2018-mean/q1"],
        images=list(pictures(None)),
        platforms=["torch", "ort-cpu"],
    )
    found = list(groups(cases))
    assert found == list(groups(reversed(list(cases))))
    assert sorted(case for group in found for case in group) == sorted(cases)
    keys: list[tuple[str, int, str]] = []
    for group in found:
        shared: set[tuple[str, int, str]] = {(c.codec, c.quality, c.input) for c in group}
        assert len(shared) == 1
        keys += shared
    assert len(set(keys)) == len(keys)
    assert all(isinstance(case, Case) for case in found[0])
