"""`crosscheck study ssf` from clips to report, on two frames of the clip that ships."""

import json
from pathlib import Path

import pytest

from harness import fixtures
from harness.cli import invoke
from harness.footage.base import MIRRORINGS

CLIPS = fixtures.root() / "clips"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real study, of which every test reads a part."""
    out = tmp_path_factory.mktemp("study") / "ssf"
    code = invoke(
        [
            *("study", "ssf", "--clips", str(CLIPS), "--frames", "2", "--size", "128x128"),
            *("--codec", "ssf2020/q[1357]", "--precision", "w16a16", "--mirrorings", "2"),
            *("--decoder", "torch", "--drift", "fp32", "--drift", "w8a8 decoder"),
            *("--out", str(out)),
        ]
    )
    assert code == 0
    return out


def test_a_study_leaves_its_page_its_numbers_and_its_command(report: Path) -> None:
    assert {"ssf.json", "ssf.csv", "ssf.md", "ssf-rd.png"} <= {p.name for p in report.iterdir()}
    results = json.loads((report / "ssf.json").read_text())
    assert results["gate"] == {"exit_code": 0, "notes": [], "problems": []}
    assert "--mirrorings 2" in results["command"]
    kinds = [(p["variant"], p["intra"]) for p in results["points"]]
    assert sorted(kinds) == sorted([("fp32", False), ("fp32", True), ("w16a16", False)] * 4)
    (identical,) = [d["identical"] for d in results["drifts"] if d["variant"] == "w8a8 decoder"]
    assert identical


def test_closed_open_and_mirrored_prices_are_of_the_same_variant(report: Path) -> None:
    results = json.loads((report / "ssf.json").read_text())
    found = (results["bd_rate"], results["open_loop"]["bd_rate"], results["mirrored"]["bd_rate"])
    for rates in found:
        assert [(r["clip"], r["variant"]) for r in rates] == [
            ("passing", "w16a16"),
            ("mean", "w16a16"),
        ]
    closed, opened, mirrored = (rates[0]["percent"] for rates in found)
    assert [p["mirroring"] for p in results["mirrored"]["points"]] == [1] * 8
    # The mean of two draws lies as far from the first as from the second: that is the error of it.
    error = results["mirrored"]["bd_rate"][0]["error"]
    assert abs(closed - mirrored) == pytest.approx(error, abs=1e-5)
    assert None not in (closed, opened, mirrored)


def test_more_mirrorings_than_there_are_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "ssf", "--clips", str(CLIPS), "--mirrorings"]
    assert invoke([*arguments, str(MIRRORINGS + 1)]) == 2
    assert f"equal to {MIRRORINGS}" in capfd.readouterr().err
