"""Margin reports: JSON holds everything, the page and the figure are made of it alone."""

import io
import json

import pytest
from PIL import Image

from harness.margin import CodecMargin, PairMargin
from harness.report.margin_figure import margin_figure
from harness.report.margin_report import dumps_margin, to_margin_markdown, to_margin_results


def pair(one: str, other: str, predicted: float, measured: int) -> PairMargin:
    differs = predicted > 0
    return PairMargin(
        platforms=(one, other),
        differing=500_000 if differs else 0,
        mean_roundoff=2.5 if differs else 0.0,
        median_roundoff=2.0 if differs else 0.0,
        largest_roundoff=1234 if differs else 0,
        predicted=predicted,
        measured=measured,
    )


def codec(*pairs: PairMargin, name: str = "mbt2018-mean/q3") -> CodecMargin:
    return CodecMargin(
        codec=name,
        elements=1_000_000,
        pixels=2_000_000,
        near=131_072,
        quantiles=((0.5, 400_000), (1e-3, 900), (1e-6, None)),
        within=((1, 0), (2, 3), (1000, 1100), (2**32, 1_000_000)),
        roundoffs=((1, 1.0), (256, 256.0)),
        pairs=pairs,
    )


def results(*codecs: CodecMargin):
    record = {"runtime": "r 1", "cpu": "c", "secret": "s"}
    return to_margin_results(
        codecs,
        command="crosscheck margin x",
        images=["a.png", "b.png"],
        environment={"A": record, "B": record},
    )


GOOD, HIGH = pair("A", "B", 6.5, 7), pair("A", "C", 30.0, 7)
NONE_SEEN, SAME = pair("B", "C", 0.4, 0), pair("A", "D", 0.0, 0)


def test_json_holds_rates_intervals_and_whether_they_agree() -> None:
    found = json.loads(dumps_margin(results(codec(GOOD, HIGH, NONE_SEEN))))
    (entry,) = found["codecs"]
    good, high, none = entry["pairs"]
    assert (good["predicted_per_megapixel"], good["measured_per_megapixel"]) == (3.25, 3.5)
    assert good["interval"] == pytest.approx([2.814, 14.423], abs=1e-3)
    assert good["interval_per_megapixel"] == pytest.approx([1.407, 7.211], abs=1e-3)
    assert [each["agrees"] for each in (good, high, none)] == [True, False, True]
    assert none["interval"][0] == 0
    assert [each["flips_per_megapixel"] for each in entry["roundoffs"]] == [0.5, 128]
    assert found["images"] == ["a.png", "b.png"]
    assert found["environment"]["A"]["secret"] == "s"


def test_page_has_every_table() -> None:
    page = to_margin_markdown(results(codec(GOOD, HIGH), codec(SAME, name="b/q1")), "f.png")
    assert "2 pictures, 2.00 megapixels." in page
    assert "36.5 flips predicted over 2 platform pairs, 14 measured. 1 of the 2" in page
    assert "twice as much would in 1, half as much in 1." in page
    assert "Most at risk: A and C, 15 flips per megapixel." in page
    assert "| codec | sigmas | megapixels | median | 1e-03 | 1e-06 |" in page
    assert "| mbt2018-mean/q3 | 1,000,000 | 2.00 | 400,000 | 900 | none |" in page
    assert "| codec | 1 ULP | 256 ULP |" in page
    assert "| mbt2018-mean/q3 | 0.5 | 128 |" in page
    row = "| mbt2018-mean/q3 | A + C | 50.0% | 2.50 | 2 | 1,234 | 30.00 | 7 | 15 | 3.5 | 1.41 to 7.21 | no |"
    assert row in page
    assert "| b/q1 | A + D | 0.0% | 0.00 | 0 | 0 | 0.00 | 0 | 0 | 0 | 0 to 1.84 | yes |" in page
    assert "about one pair in 20 lies outside" in page
    assert "![margins](f.png)" in page
    assert "- A: runtime `r 1`, cpu `c`" in page
    assert "secret" not in page


def test_one_platform_has_distances_and_no_pairs() -> None:
    page = to_margin_markdown(results(codec()), "f.png")
    assert "one platform alone, so nothing to compare" in page
    assert "One platform alone: nothing to compare." in page
    assert "400,000" in page


@pytest.mark.parametrize(
    "codecs",
    [
        [codec(GOOD, HIGH, NONE_SEEN), codec(GOOD, name="b/q1")],
        [codec(NONE_SEEN)],
        [codec(SAME)],
        [codec()],
        [codec(GOOD, name=f"c/q{n}") for n in range(6)],
    ],
    ids=["usual", "none seen", "identical", "alone", "many"],
)
def test_figure_takes_every_number_of_codecs_and_pairs(codecs: list[CodecMargin]) -> None:
    with Image.open(io.BytesIO(margin_figure(results(*codecs)))) as picture:
        assert picture.size == (1375, 616)
        assert "Software" not in picture.info


def test_figure_is_deterministic() -> None:
    found = results(codec(GOOD, HIGH, NONE_SEEN), codec(GOOD, name="b/q1"))
    assert margin_figure(found) == margin_figure(found)


def test_figures_of_other_numbers_differ() -> None:
    shown = {margin_figure(results(codec(each))) for each in (GOOD, HIGH, NONE_SEEN, SAME)}
    assert len(shown) == 4
