"""`crosscheck margin` from outside: what it refuses, what it writes, its exit codes."""

import json
from pathlib import Path

import pytest

from harness.cli import invoke
from harness.codecs.checkpoint import shipped
from harness.errors import PlatformUnavailable
from harness.images import middle, read_image, write_png
from harness.library import fixtures
from harness.platforms.base import PLATFORMS, PlatformSpec

needs_a_codec = pytest.mark.skipif(
    not shipped(), reason="no codec ships yet: make fixtures DATA=folder"
)
CODEC = "bmshj2018-hyperprior/q3"


class Headless(PlatformSpec):
    def open(self):
        raise PlatformUnavailable(self.name, "made for a test", "there is none")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A folder with two small crops, one of them in a folder below."""
    folder = tmp_path / "crops"
    (folder / "more").mkdir(parents=True)
    for name, where in (("coffee", folder), ("rocket", folder / "more")):
        pixels = read_image(fixtures.root() / "images" / f"{name}.png")
        write_png(where / f"{name}.png", middle(pixels, 64))
    return folder


@needs_a_codec
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which codec? Name one"),
        (["no-such-codec"], "no codec matches 'no-such-codec'"),
        ([CODEC, "--platform", "abacus"], "no platform named 'abacus'"),
        ([CODEC, "--platform", "decoder-less"], "decoder-less does not run a float h_s"),
        ([CODEC, "--images", "nowhere"], "'nowhere' is not a folder"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    crops: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PLATFORMS.names()  # loaded, so that what is planted stays alone
    planted = Headless(name="decoder-less", networks=frozenset({"g_a"}))
    monkeypatch.setitem(PLATFORMS._items, "decoder-less", planted)
    out = crops.parent / "out"
    assert invoke(["margin", "--images", str(crops), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(out.glob("*"))


@pytest.mark.parametrize("extra", [["--roundoff", "0"], ["--limit", "0"], ["--limit", "many"]])
def test_numbers_out_of_range_are_exit_code_2(crops: Path, extra: list[str]) -> None:
    assert invoke(["margin", CODEC, "--images", str(crops), *extra]) == 2


@pytest.mark.platform
@needs_a_codec
def test_a_platform_that_is_missing_is_exit_code_3(
    crops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        PLATFORMS["torch-cuda"].open()
    except PlatformUnavailable:
        pass
    else:
        pytest.skip("a GPU is here, so no platform is missing")
    out = crops.parent / "out"
    arguments = ["margin", CODEC, "--images", str(crops), "--out", str(out)]
    assert invoke([*arguments, "--platform", "ort-cpu", "--platform", "torch-cuda"]) == 3
    assert "'torch-cuda' is unavailable" in capsys.readouterr().err
    assert not list(out.glob("*"))


@pytest.mark.platform
@needs_a_codec
def test_a_real_run(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = crops.parent / "out"
    arguments = ["margin", CODEC, "--images", str(crops), "--out", str(out)]
    pair_of = ["--platform", "ort-cpu", "--platform", "torch"]
    assert invoke([*arguments, *pair_of, "--roundoff", "8"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["margin.json", "margin.md", "margin.png"]
    results = json.loads((out / "margin.json").read_text(encoding="utf-8"))
    assert results["images"] == ["coffee.png", "rocket.png"]
    (entry,) = results["codecs"]
    assert entry["megapixels"] == 2 * 64 * 64 / 1e6
    (pair,) = entry["pairs"]
    assert pair["platforms"] == ["ort-cpu", "torch"]
    assert pair["differing"] > 0
    assert pair["predicted"] > 0
    assert [each["ulps"] for each in entry["roundoffs"]] == [8]
    assert results["environment"]["torch"]["runtime"].startswith("torch ")
    page = (out / "margin.md").read_text(encoding="utf-8")
    command = (
        f"crosscheck margin {CODEC} --images crops {' '.join(pair_of)} --roundoff 8 --limit 64"
    )
    assert command in page
    assert str(crops.parent) not in page + json.dumps(results)
    assert "report: " in capsys.readouterr().out


@pytest.mark.platform
@needs_a_codec
def test_the_limit_and_one_platform_alone(crops: Path) -> None:
    out = crops.parent / "out"
    arguments = ["margin", CODEC, "--images", str(crops), "--out", str(out)]
    assert invoke([*arguments, "--platform", "ort-cpu", "--limit", "1"]) == 0
    results = json.loads((out / "margin.json").read_text(encoding="utf-8"))
    assert results["images"] == ["coffee.png"]
    assert results["codecs"][0]["pairs"] == []


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["margin", "--help"]) == 0
    assert "crosscheck margin mbt2018-mean/q3 --images kodak" in capsys.readouterr().out
