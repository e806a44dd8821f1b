"""A study as JSON, CSV, markdown, figures and terminal tables."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import rd
from harness.bd_rate import Bd
from harness.rd import BdRate, Search, Trial, Variant
from harness.rd_study import GATE_RULE, study
from harness.report.rd_figures import bar_figure, curve_figures
from harness.report.rd_markdown import to_rd_markdown
from harness.report.rd_report import rd_files, to_bd_rate_csv, to_rd_csv, to_rd_json
from harness.report.rd_terminal import rd_renderables, search_lines
from tests.rd_points import JPEG, W4, W8, WIDTHS, make_curve, make_point, make_study

DECODER = Variant(precision="w8a8", scope="decoder")
MSE = Variant(precision="w4a4", calibrator="mse")
BOTH = Variant(precision="w4a4", scope="decoder", calibrator="mse")
GAINS = {W4: 1.5, W8: 1.02, MSE: 1.7, DECODER: 1.03, BOTH: 2.0}


def markdown(found: rd.Study, figures: Sequence[str] = ("rd.png",)) -> str:
    return to_rd_markdown(
        found, command="crosscheck rd --images x", environment={"runtime": "r 1"}, figures=figures
    )


def table(text: str, first_columns: str) -> list[dict[str, str]]:
    """The rows of the markdown table whose header starts with `first_columns`."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_columns} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert len({len(row) for row in rows}) == 1
    assert len(set(rows[0])) == len(rows[0])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.fixture(scope="module")
def whole() -> rd.Study:
    """Every kind of variant, of two families, and a search."""
    points = make_curve()
    for variant, gain in GAINS.items():
        points += make_curve(variant, gain)
    points += [replace(point, family="bmshj2018-hyperprior") for point in points]
    trials = tuple(
        Trial(
            variant=Variant(precision=f"w{bits}a{bits}"),
            calibrator="min-max",
            bits=bits,
            percents={"mbt2018-mean": worst},
            worst=worst,
            is_within=worst is not None and worst <= 1,
            note="" if worst is not None else "mbt2018-mean: none: no curve",
        )
        for bits, worst in ((13, None), (14, 1.1), (15, 0.9))
    )
    search = Search(pattern="wBaB", scope="hyperprior", calibrator="own", budget=1.0, trials=trials)
    nothing = replace(search, pattern="w16aB", calibrator="tf_enhanced", trials=trials[:1])
    return study(points, JPEG, "pchip", [search, nothing])


@pytest.fixture(scope="module")
def files(whole: rd.Study) -> Mapping[str, bytes]:
    """Its reports; a figure takes half a second."""
    return rd_files(whole, command="c", environment={})


# Markdown.


def test_markdown_starts_with_the_command_and_the_environment() -> None:
    lines = [line for line in markdown(make_study()).splitlines() if line]
    assert lines[:3] == [
        "# Rate and distortion: GREEN",
        "`crosscheck rd --images x`",
        "Ran on runtime r 1.",
    ]


def test_markdown_has_the_bd_rates_first(whole: rd.Study) -> None:
    text = markdown(whole)
    headings = [line.partition(": ")[0] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## BD-rate against fp32",
        "## Calibrators side by side",
        "## Scopes side by side",
        "## Narrowest wBaB within 1 % (scope hyperprior)",
        "## Narrowest w16aB within 1 % (scope hyperprior, calibrator tf\\_enhanced)",
        "## Width of every tensor",
        "## Rate points",
        "## Warnings",
    ]
    rows = table(text, "codec | precision")
    assert len(rows) == 2 * len(GAINS)
    assert rows[1] == {
        "codec": "bmshj2018-hyperprior", "precision": "w8a8", "scope": "hyperprior",
        "calibrator": "min-max", "BD-rate": "+2.000 %", "by MS-SSIM": "+2.000 %",
        "overlap": "100%", "note": "",
    }  # fmt: skip
    assert "payload bytes only" in text
    assert "PCHIP, as in the JCT-VC and JVET sheets" in text
    assert GATE_RULE in text


def test_calibrators_and_scopes_are_side_by_side(whole: rd.Study) -> None:
    text = markdown(whole)
    rows = table(text, "codec | variant | the codec's own | mse")
    ours = [row for row in rows if row["codec"] == "mbt2018-mean"]
    assert ours == [
        {
            "codec": "mbt2018-mean",
            "variant": "w4a4",
            "the codec's own": "+50.000 %",
            "mse": "+70.000 %",
        }
    ]
    rows = table(text, "codec | variant | hyperprior | decoder")
    ours = [row for row in rows if row["codec"] == "mbt2018-mean"]
    assert [(row["variant"], row["hyperprior"], row["decoder"]) for row in ours] == [
        ("w8a8", "+2.000 %", "+3.000 %"),
        ("w4a4 mse", "+70.000 %", "+100.000 %"),
    ]
    assert "side by side" not in markdown(make_study())


def test_a_search_is_a_table_of_what_was_tried(whole: rd.Study) -> None:
    text = markdown(whole)
    assert "## Narrowest wBaB within 1 % (scope hyperprior): **w15a15**" in text
    assert "calibrator tf\\_enhanced): none" in text
    rows = table(text, "precision | calibrator | within")
    assert [(r["precision"], r["within"], r["worst"]) for r in rows] == [
        ("w13a13", "no", "none"),
        ("w14a14", "no", "+1.100 %"),
        ("w15a15", "yes", "+0.900 %"),
    ]
    assert rows[0]["note"] == "mbt2018-mean: none: no curve"


def test_the_width_of_every_tensor_is_printed() -> None:
    rows = table(markdown(make_study()), "tensor")
    assert rows == [
        {"tensor": "z\\_q", "w8a8": "s8"},
        {"tensor": "h\\_s.0.weight", "w8a8": "s8 per channel"},
        {"tensor": "scales\\_hat", "w8a8": "u16"},
    ]


def test_equal_widths_share_a_column_and_others_say_of_which_rate_point() -> None:
    narrow = [replace(p, widths=WIDTHS | {"z_q": "s4"}) for p in make_curve(W4)]
    mixed = [
        replace(p, widths=WIDTHS | {"z_q": "s4" if p.quality < 3 else "s6"})
        for p in make_curve(Variant(precision="mixed-a"))
    ]
    decoder = [replace(p, widths={**WIDTHS, "g_s.0": "u8"}) for p in make_curve(DECODER)]
    same = make_curve(Variant(precision="w8a8", calibrator="mse"))
    points = [*make_curve(), *make_curve(W8), *same, *narrow, *mixed, *decoder]
    first, *_, last = table(markdown(make_study(points)), "tensor")
    assert first == {
        "tensor": "z\\_q", "w8a8, w8a8 mse": "s8", "w4a4": "s4", "mixed-a": "s4 (q1 q2), s6 (q3 q4)",
        "w8a8 decoder": "s8",
    }  # fmt: skip
    assert last == {
        "tensor": "g\\_s.0", "w8a8, w8a8 mse": "", "w4a4": "", "mixed-a": "", "w8a8 decoder": "u8",
    }  # fmt: skip


def test_markdown_has_a_line_a_rate_point_and_variant() -> None:
    rows = table(markdown(make_study([*make_curve(), *make_curve(W4, 1.02)])), "codec | lambda")
    assert [(row["codec"][-2:], row["variant"]) for row in rows[:4]] == [
        ("q1", "fp32"), ("q1", "w4a4"), ("q2", "fp32"), ("q2", "w4a4"),
    ]  # fmt: skip
    assert rows[2] == {
        "codec": "mbt2018-mean/q2", "lambda": "0.0125", "variant": "fp32", "verdict": rd.ABOVE,
        "bpp": "0.5000", "PSNR": "29.000", "MS-SSIM": "0.93690", "JPEG PSNR": "25.00",
        "margin": "+4.00 (+3.83)",
    }  # fmt: skip
    assert rows[3]["bpp"] == "0.5100 (+2.00 %)"
    assert rows[3]["PSNR"] == "29.000 (+0.000)"
    assert rows[3]["verdict"] == f"({rd.ABOVE})"  # not judged


def test_markdown_of_a_red_study_says_why() -> None:
    found = make_study([*make_curve(), make_point(5, 1.9, 30.0)])
    text = markdown(found)
    assert text.startswith("# Rate and distortion: RED\n")
    assert all(f"- {problem}" in text for problem in found.problems)


def test_markdown_admits_where_there_is_no_number() -> None:
    points = [
        replace(p, samples=tuple(replace(s, ms_ssim=None) for s in p.samples))
        for p in make_curve()[:2] + make_curve(W8)[:2]
    ]
    text = markdown(make_study(points))
    (rate,) = table(text, "codec | precision")
    assert (rate["BD-rate"], rate["by MS-SSIM"], rate["overlap"]) == ("none", "none", "")
    assert rate["note"] == "none: 2 rate points, BD-rate takes at least 4"
    assert {row["MS-SSIM"] for row in table(text, "codec | lambda")} == {"none"}
    assert "- no MS-SSIM, a picture's smaller side is at most 160 px: a.png, b.png" in text


# JSON and CSV.


def test_json_holds_every_picture_width_and_trial(whole: rd.Study) -> None:
    results = json.loads(to_rd_json(whole, command="c", environment={"runtime": "r 1"}))
    assert (results["schema"], results["command"]) == (2, "c")
    assert results["environment"] == {"runtime": "r 1"}
    assert len(results["points"]) == 2 * 4 * (1 + len(GAINS))
    first, second = results["points"][:2]
    assert first["images"][1] == {
        "image": "b.png", "pixels": 40_000, "payload_bytes": 1500, "file_bytes": 1600,
        "bpp": 0.3, "psnr": 26.0, "ms_ssim": 0.9,
    }  # fmt: skip
    assert (first["variant"], first["widths"], first["judged"]) == ("fp32", {}, True)
    assert (second["variant"], second["widths"], second["judged"]) == ("w4a4", WIDTHS, False)
    assert first["ms_ssim_db"] == pytest.approx(10)
    assert [point["bpp"] for point in results["jpeg"]["points"]] == [0.25, 0.5, 1.0, 2.0]
    rates = {(r["codec"], r["variant"]): r for r in results["bd_rate"]}
    both = rates["mbt2018-mean", "w4a4 decoder mse"]
    assert (both["precision"], both["scope"], both["calibrator"]) == ("w4a4", "decoder", "min-max")
    assert (both["anchor"], both["method"]) == ("fp32", "pchip")
    assert both["percent"] == both["ms_ssim_percent"] == pytest.approx(100, abs=1e-3)
    uniform, nothing = results["narrowest"]
    assert (uniform["narrowest"], nothing["narrowest"]) == ("w15a15", None)
    assert uniform["trials"][2] == {
        "precision": "w15a15", "calibrator": "min-max", "bits": 15, "percent": {"mbt2018-mean": 0.9},
        "worst": 0.9, "within": True, "note": "",
    }  # fmt: skip
    assert results["gate"]["exit_code"] == 0
    assert results["gate"]["rule"] == GATE_RULE


def test_csv_has_the_points_and_jpeg(whole: rd.Study) -> None:
    rows = list(csv.DictReader(io.StringIO(to_rd_csv(whole))))
    assert [row["codec"] for row in rows[-5:]] == ["mbt2018-mean"] + ["jpeg"] * 4
    assert [row["variant"] for row in rows[:6]] == ["fp32", *(v.label for v in GAINS)]
    assert (rows[5]["precision"], rows[5]["scope"], rows[5]["calibrator"]) == (
        "w4a4", "decoder", "min-max",
    )  # fmt: skip
    assert (rows[0]["bpp"], rows[0]["psnr"], rows[0]["ms_ssim"]) == ("0.3", "27.0", "0.9")
    assert (rows[-1]["quality"], rows[-1]["bpp"], rows[-1]["margin"]) == ("3", "2.0", "")


def test_bd_rates_have_a_csv_too() -> None:
    (row,) = csv.DictReader(io.StringIO(to_bd_rate_csv(make_study())))
    assert (row["codec"], row["variant"], row["anchor"]) == ("mbt2018-mean", "w8a8", "fp32")
    assert float(row["percent"]) == pytest.approx(2.0)


# Figures.


def picture(png: bytes) -> Image.Image:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return Image.open(io.BytesIO(png)).convert("RGB")


def has_colour(png: bytes, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture(png)) == colour).all(axis=2).any())


def test_there_is_a_figure_of_curves_for_each_scope_and_calibrator(
    files: Mapping[str, bytes],
) -> None:
    names = ["rd-decoder-mse.png", "rd-decoder.png", "rd-mse.png", "rd.png"]
    assert [name for name in sorted(files) if name.startswith("rd") and "png" in name] == names
    assert len({files[name] for name in names}) == 4
    assert picture(files["rd.png"]).size == (1298, 836)


def test_figures_are_the_same_pictures_every_time(
    whole: rd.Study, files: Mapping[str, bytes]
) -> None:
    assert bar_figure(whole) == files["bd-rate.png"]
    assert curve_figures(make_study()) == curve_figures(make_study())


def test_four_curves_that_coincide_are_all_seen() -> None:
    """Marker, dash and colour differ, and the larger markers are hollow: every colour is left on the page."""
    names = ("w4a4", "w8a8", "w12a12", "w16a16")
    points = make_curve()
    for name in names:
        points += make_curve(Variant(precision=name))
    (png,) = curve_figures(make_study(points)).values()
    for colour in ((0xD5, 0x5E, 0), (0, 0x72, 0xB2), (0, 0x9E, 0x73), (0xCC, 0x79, 0xA7)):
        assert has_colour(png, colour), colour


def finely(points: Sequence[rd.Point], variant: Variant, gain: float = 1.0) -> list[rd.Point]:
    """The points at so many pixels that a byte more or less does not show."""
    return [
        replace(
            p,
            variant=variant,
            samples=tuple(
                replace(
                    s,
                    pixels=s.pixels * 10_000,
                    payload_bytes=round(s.payload_bytes * 10_000 * gain),
                )
                for s in p.samples
            ),
        )
        for p in points
    ]


def test_a_cost_of_a_fiftieth_of_a_percent_is_seen_below_the_curves() -> None:
    """At 0.02 % of the rate no pixel of the curves above changes; the panel below does."""
    pictures = []
    for gain in (1.0, 1.0002):
        points = finely(make_curve(), rd.ANCHOR) + finely(make_curve(), W8, gain)
        png = curve_figures(study(points, JPEG, "pchip"))["rd.png"]
        pictures.append(np.asarray(picture(png)).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).sum(axis=(1, 2)).nonzero()[0]
    below = changed[changed > 0.6 * len(pictures[0])]
    assert below.size > 10


@pytest.mark.parametrize(
    "points",
    [
        [make_point(1, 0.1, 20.0)],
        make_curve(),
        make_curve()[:2] + make_curve(W8)[:2],
        make_curve(W8),
        make_curve() + make_curve(W8, 5.0),
        make_curve() + [p for n in range(2, 14) for p in make_curve(Variant(precision=f"w{n}a8"))],
    ],
    ids=["one-point", "anchor-only", "no-bd-rate", "no-anchor", "far", "many"],
)
def test_whatever_was_measured_is_drawn(points: list[rd.Point]) -> None:
    found = make_study(points)
    assert all(picture(png).size[0] > 300 for png in curve_figures(found).values())
    assert picture(bar_figure(found)).size[0] > 300


def test_the_bars_tell_missing_from_zero() -> None:
    found = make_study(make_curve() + make_curve(W8))
    (rate,) = found.bd_rates
    missing = replace(found, bd_rates=(replace(rate, psnr=Bd.none("no curve")),))
    assert rate.percent == 0.0
    assert bar_figure(found) != bar_figure(missing)


# Files and terminal.


def test_the_reports_are_files_and_the_page_shows_every_figure(files: Mapping[str, bytes]) -> None:
    assert sorted(files) == [
        "bd-rate.csv", "bd-rate.png", "rd-decoder-mse.png", "rd-decoder.png", "rd-mse.png",
        "rd.csv", "rd.json", "rd.md", "rd.png",
    ]  # fmt: skip
    page = files["rd.md"].decode()
    assert all(f"]({name})" in page for name in files if name.endswith(".png"))


def test_the_terminal_shows_points_and_bd_rates(whole: rd.Study) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for item in rd_renderables(whole):
        console.print(item)
    text = console.export_text()
    assert "w4a4 decoder mse" in text
    assert "…" not in text
    line = next(x for x in text.splitlines() if x.split()[:2] == ["mbt2018-mean", "w8a8"])
    assert line.split() == ["mbt2018-mean", "w8a8", "min-max", "2.000", "2.000"]
    line = next(x for x in text.splitlines() if x.split()[:2] == ["mbt2018-mean/q2", "fp32"])
    assert line.split() == ["mbt2018-mean/q2", "fp32", "0.5000", "29.00", "0.9369", "+4.00"]
    assert search_lines(whole) == [
        "narrowest wBaB within 1 %, scope hyperprior, calibrator own: w15a15 (0.900 %)",
        "narrowest w16aB within 1 %, scope hyperprior, calibrator tf_enhanced: none",
    ]


def test_a_bd_rate_is_of_the_calibrators_that_were_used() -> None:
    """A codec's own calibrator may be another at each rate point; the report hides none."""
    curve = [replace(p, calibrator=f"rate-{p.quality % 2}") for p in make_curve(W8)]
    found = make_study([*make_curve(), *curve])
    rate: BdRate = found.bd_rates[0]
    assert rate.calibrator == "rate-1, rate-0"
    assert "rate-1, rate-0" in markdown(found)
