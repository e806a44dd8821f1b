"""BD-rate against published numbers and its identities, the JPEG anchor, the gate, the reports, and one real run."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import rd
from harness.cli import invoke
from harness.cli.rd import choose
from harness.codecs.checkpoint import shipped
from harness.errors import HarnessError, UserError
from harness.images import write_png
from harness.report.rd_report import rd_figure, rd_files, to_rd_csv, to_rd_json, to_rd_markdown

Curve = list[tuple[float, float]]
A: Curve = [(90.33, 27.95), (181.03, 31.17), (332.99, 34.44), (547.79, 38.11)]
B: Curve = [(127.1719, 29.9286), (186.14, 32.4165), (307.2924, 34.7013), (481.5588, 37.4561)]
METHODS = sorted(rd.BD_METHODS)
JPEG = [rd.JpegPoint(quality=q, bpp=0.25 * 2**q, psnr=22.0 + 3 * q) for q in range(4)]  # to 2 bpp


def make_point(
    quality: int,
    bpp: float,
    psnr: float,
    *,
    family: str = "mbt2018-mean",
    precision: str = "fp32",
    container: int = 100,
) -> rd.Point:
    """Two pictures of 40000 pixels, one 1 dB above the mean and one 1 dB below."""
    payload = round(bpp * 40_000 / 8)
    samples = tuple(
        rd.Sample(
            image=image,
            pixels=40_000,
            payload_bytes=payload,
            file_bytes=payload + container,
            psnr=psnr + offset,
        )
        for image, offset in (("a.png", 1.0), ("b.png", -1.0))
    )
    return rd.Point(
        family=family, quality=quality, lmbda=0.0125, precision=precision, samples=samples
    )


def make_curve(precision: str = "fp32", gain: float = 1.0, decibel: float = 0.0) -> list[rd.Point]:
    """Four rate points, from 0.3 to 1.2 bpp and each above `JPEG`."""
    given = [(1, 0.3, 27.0), (2, 0.5, 29.0), (3, 0.8, 31.0), (4, 1.2, 33.0)]
    return [
        make_point(quality, bpp * gain, psnr + decibel, precision=precision)
        for quality, bpp, psnr in given
    ]


def make_study(points: Sequence[rd.Point] | None = None, method: str = "pchip") -> rd.Study:
    return rd.study(points or make_curve() + make_curve("w8a8", 1.02), JPEG, method)


def markdown(study: rd.Study) -> str:
    return to_rd_markdown(study, command="crosscheck rd --images x", environment={"runtime": "r 1"})


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of the markdown table whose header starts with `first_column`; repeated titles count up."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    head = [title + str(rows[0][:i].count(title) or "") for i, title in enumerate(rows[0])]
    assert len({len(row) for row in rows}) == 1
    return [dict(zip(head, row, strict=True)) for row in rows[2:]]


# BD-rate.


@pytest.mark.parametrize(
    ("method", "percent"),
    [("cubic", -13.261773), ("pchip", -13.2925241110), ("akima", -13.3434731888)],
)
def test_bd_rate_has_the_published_values(method: str, percent: float) -> None:
    found, overlap, note = rd.bd_rate(A, B, method)
    assert found == pytest.approx(percent, abs=1e-6)
    assert overlap == pytest.approx((37.4561 - 29.9286) / (38.11 - 27.95))
    assert note == "the PSNR intervals overlap by only 74%"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0.5, 1.01, 3.0])
def test_a_rate_times_c_costs_c_minus_1(method: str, factor: float) -> None:
    found, overlap, note = rd.bd_rate(A, [(rate * factor, psnr) for rate, psnr in A], method)
    assert found == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert (overlap, note) == (1.0, "")


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_costs_nothing_against_itself(method: str) -> None:
    assert rd.bd_rate(A, A, method) == (0.0, 1.0, "")


@pytest.mark.parametrize("method", METHODS)
def test_there_and_back_is_where_it_was(method: str) -> None:
    there, back = rd.bd_rate(A, B, method)[0], rd.bd_rate(B, A, method)[0]
    assert there is not None
    assert back is not None
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, abs=1e-12)


def test_the_order_of_the_points_is_no_matter() -> None:
    assert rd.bd_rate(A[::-1], [B[2], B[0], B[3], B[1]], "pchip") == rd.bd_rate(A, B, "pchip")


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (B[:3], "none: 3 rate points"),
        ([(rate, psnr + 20) for rate, psnr in B], "do not overlap"),
        ([(rate, psnr + 38.11 - 29.9286) for rate, psnr in B], "do not overlap"),  # they touch
        ([*B[:3], (600.0, 30.0)], "does not rise"),
        ([*B[:3], (600.0, B[2][1])], "does not rise"),
    ],
    ids=["too-few", "apart", "touching", "falling", "level"],
)
def test_no_number_where_there_is_none(test: Curve, reason: str) -> None:
    percent, _, note = rd.bd_rate(A, test, "pchip")
    assert percent is None
    assert reason in note


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match="'spline'; known: pchip, cubic, akima"):
        rd.bd_rate(A, B, "spline")


# JPEG.


def test_jpeg_is_linear_in_log_bpp_and_ends_where_the_sweep_does() -> None:
    assert [rd.jpeg_psnr_at(p.bpp, JPEG[::-1]) for p in JPEG] == pytest.approx([22, 25, 28, 31])
    assert rd.jpeg_psnr_at(0.5 * 2**0.25, JPEG) == pytest.approx(25.75)
    assert rd.jpeg_psnr_at(0.2499, JPEG) is None
    assert rd.jpeg_psnr_at(2.0001, JPEG) is None


@pytest.mark.parametrize(
    ("bpp", "psnr", "verdict", "margin"),
    [
        (0.5, 26.5, rd.ABOVE, 1.5),
        (0.5, 25.0, rd.ABOVE, 0.0),
        (0.5, 24.5, rd.BELOW, -0.5),
        (0.1, 22.0, rd.ABOVE, None),  # JPEG takes more bits to be no better
        (0.1, 21.9, rd.NO_JPEG, None),
        (3.0, 30.9, rd.BELOW, None),  # JPEG takes fewer bits and is better
        (3.0, 31.0, rd.NO_JPEG, None),
    ],
)
def test_a_point_beside_jpeg(bpp: float, psnr: float, verdict: str, margin: float | None) -> None:
    row = rd.against_jpeg(make_point(1, bpp, psnr), JPEG)
    assert row.verdict == verdict
    assert row.margin == pytest.approx(margin)


def test_the_container_counts_in_the_file_margin() -> None:
    row = rd.against_jpeg(make_point(1, 0.5, 26.5, container=2500), JPEG)  # as large again
    assert row.file_margin == pytest.approx(26.5 - 28)


def test_the_sweep_measures_whole_jpeg_files() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    sweep = rd.jpeg_sweep("noise.png", pixels)
    assert len(sweep) == 94
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    assert sweep[-1].file_bytes == len(buffer.getvalue())
    assert sweep[-1].psnr > sweep[0].psnr
    curve = rd.jpeg_curve([sweep, sweep])
    assert [point.quality for point in curve] == list(range(2, 96))
    assert (curve[0].bpp, curve[0].psnr) == (sweep[0].bpp, sweep[0].psnr)


def test_a_picture_without_error_has_no_mean() -> None:
    grey = np.full((16, 16, 3), 128, np.uint8)
    with pytest.raises(UserError, match=r"'grey.png' comes back without any error"):
        rd.jpeg_sweep("grey.png", grey)


# Points, curves, gate.


def test_figures_are_means_of_payload_bits() -> None:
    samples = (
        rd.Sample(image="a", pixels=1000, payload_bytes=100, file_bytes=200, psnr=30.0),
        rd.Sample(image="b", pixels=4000, payload_bytes=100, file_bytes=200, psnr=40.0),
    )
    point = replace(make_point(1, 0.5, 30.0), samples=samples)
    assert (point.bpp, point.file_bpp, point.psnr) == (0.5, 1.0, 35.0)


def test_a_good_study_is_green() -> None:
    study = make_study()
    assert (study.exit_code, study.problems, study.warnings) == (0, (), ())
    (rate,) = study.bd_rates
    assert rate.percent == pytest.approx(2.0, abs=1e-6)
    assert (rate.family, rate.precision, rate.overlap) == ("mbt2018-mean", "w8a8", 1.0)


def test_a_point_below_jpeg_is_red() -> None:
    points = [*make_curve(), make_point(5, 1.9, 30.0)]
    study = make_study(points)
    assert study.exit_code == 1
    assert "mbt2018-mean/q5 fp32: 0.78 dB below JPEG at 1.9000 bpp" in study.problems
    assert "mbt2018-mean/q4 -> q5 fp32: PSNR does not rise with quality (33.0000 -> 30.0000)" in (
        study.problems
    )


@pytest.mark.parametrize(
    ("bpp", "psnr", "what"),
    [
        (0.4, 32.0, "bpp does not rise with quality (0.5000 -> 0.4000)"),
        (0.5, 32.0, "bpp does not rise with quality (0.5000 -> 0.5000)"),
        (0.9, 28.5, "PSNR does not rise with quality (29.0000 -> 28.5000)"),
    ],
)
def test_a_curve_that_does_not_rise_is_red(bpp: float, psnr: float, what: str) -> None:
    points = make_curve()
    points[2] = make_point(3, bpp, psnr)
    study = make_study(points[::-1])
    assert study.exit_code == 1
    assert f"mbt2018-mean/q2 -> q3 fp32: {what}" in study.problems


def test_every_precision_and_family_has_a_curve_of_its_own() -> None:
    other = [replace(p, family="bmshj2018-hyperprior") for p in make_curve("w8a8", 0.9)]
    study = make_study([*make_curve(), *make_curve("w8a8"), *other])
    assert study.problems == ()
    # No fp32 of the other family, so no BD-rate of it.
    assert [(r.family, r.percent) for r in study.bd_rates] == [("mbt2018-mean", 0.0)]


def test_nothing_compared_is_red() -> None:
    study = make_study([make_point(1, 0.1, 20.0)])
    assert study.problems == ("no rate point lies at a rate where JPEG can be compared",)
    assert any("one rate point" in line for line in study.warnings)


def test_little_overlap_is_a_warning() -> None:
    study = make_study(make_curve() + make_curve("w8a8", 1.0, 3.0))
    assert study.exit_code == 0
    assert study.warnings == (
        "BD-rate of mbt2018-mean w8a8: the PSNR intervals overlap by only 33%",
    )
    assert "overlap by only 33%" in markdown(study)


def test_points_of_other_images_are_not_compared() -> None:
    odd = make_point(2, 0.5, 29.0)
    odd = replace(odd, samples=odd.samples[:1])
    with pytest.raises(HarnessError, match="not measured on the same images"):
        make_study([make_point(1, 0.3, 27.0), odd])
    with pytest.raises(HarnessError, match="no rate point"):
        rd.study([], JPEG, "pchip")
    with pytest.raises(HarnessError, match="on no image"):
        replace(odd, samples=())


# Reports.


def test_markdown_starts_with_the_command_and_the_environment() -> None:
    lines = [line for line in markdown(make_study()).splitlines() if line]
    assert lines[:3] == [
        "# Rate and distortion: GREEN",
        "`crosscheck rd --images x`",
        "Ran on runtime r 1.",
    ]


def test_markdown_has_a_line_a_codec_and_columns_a_precision() -> None:
    text = markdown(make_study())
    rows = table(text, "codec | lambda")
    assert [row["codec"] for row in rows] == [f"mbt2018-mean/q{q}" for q in (1, 2, 3, 4)]
    second = rows[1]
    assert second["lambda"] == "0.0125"
    assert (second["fp32 bpp"], second["PSNR"], second["JPEG PSNR"]) == (
        "0.5000",
        "29.000",
        "25.00",
    )
    assert second["margin"] == "+4.00 (+3.83)"
    assert (second["w8a8 bpp"], second["PSNR1"]) == ("0.5100 (+2.00 %)", "29.000 (+0.000)")
    assert (second["verdict"], second["verdict1"]) == (rd.ABOVE, rd.ABOVE)
    (rate,) = table(text, "codec | precision")
    assert (rate["BD-rate"], rate["overlap"], rate["note"]) == ("+2.000 %", "100%", "")
    assert "PCHIP, as in the JCT-VC and JVET sheets" in text


def test_markdown_of_a_red_study_says_why() -> None:
    study = make_study([*make_curve(), make_point(5, 1.9, 30.0)])
    text = markdown(study)
    assert text.startswith("# Rate and distortion: RED\n")
    assert all(f"- {problem}" in text for problem in study.problems)


def test_markdown_admits_where_there_is_no_bd_rate() -> None:
    text = markdown(make_study(make_curve()[:2] + make_curve("w8a8")[:2]))
    (rate,) = table(text, "codec | precision")
    assert rate["BD-rate"] == "none"
    assert rate["note"] == "none: 2 rate points, BD-rate takes at least 4"


def test_json_holds_every_picture() -> None:
    results = json.loads(to_rd_json(make_study(), command="c", environment={"runtime": "r 1"}))
    assert (results["schema"], results["command"]) == (1, "c")
    assert results["environment"] == {"runtime": "r 1"}
    assert len(results["points"]) == 8
    assert results["points"][0]["images"][1] == {
        "image": "b.png", "pixels": 40_000, "payload_bytes": 1500, "file_bytes": 1600,
        "bpp": 0.3, "psnr": 26.0,
    }  # fmt: skip
    assert [point["bpp"] for point in results["jpeg"]["points"]] == [0.25, 0.5, 1.0, 2.0]
    assert results["bd_rate"][0]["percent"] == pytest.approx(2.0)
    assert results["gate"]["exit_code"] == 0


def test_csv_has_the_points_and_jpeg() -> None:
    rows = list(csv.DictReader(io.StringIO(to_rd_csv(make_study()))))
    assert [row["codec"] for row in rows] == ["mbt2018-mean"] * 8 + ["jpeg"] * 4
    assert (rows[0]["precision"], rows[1]["precision"]) == ("fp32", "w8a8")
    assert (rows[0]["bpp"], rows[0]["psnr"]) == ("0.3", "27.0")
    assert (rows[-1]["quality"], rows[-1]["bpp"], rows[-1]["margin"]) == ("3", "2.0", "")


def test_the_figure_is_the_same_picture_every_time() -> None:
    png = rd_figure(make_study())
    assert png == rd_figure(make_study())
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (902, 594))


def test_the_figure_of_one_point_is_drawn_too() -> None:
    assert rd_figure(make_study([make_point(1, 0.1, 20.0)]))


# The command.


def test_patterns_choose_by_name_and_by_family() -> None:
    names = ["a/q1", "a/q3", "b/q1"]
    assert choose(names, ["b", "a/q*"]) == names
    assert choose(names, ["*/q1"]) == ["a/q1", "b/q1"]
    with pytest.raises(UserError, match="no codec matches 'c/\\*'; there are: a/q1, a/q3, b/q1"):
        choose(names, ["a", "c/*"])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one small picture: soft shapes and a little noise."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    y, x = np.mgrid[0:72, 0:100]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)
    noise = np.random.default_rng(3).normal(0, 6, waves.shape)
    write_png(folder / "waves.png", np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "nowhere"], "'nowhere' is not a folder"),
        (["--codec", "no-such-codec"], "no codec matches 'no-such-codec'"),
        (["--precision", "w99a8"], "no precision 'w99a8'"),
        (["--platform", "abacus"], "no platform named 'abacus'"),
        (["--bd-method", "spline"], "no BD-rate method 'spline'"),
    ],
    ids=["images", "codec", "precision", "platform", "bd-method"],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    pictures: Path, extra: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = pictures.parent / "out"
    arguments = ["rd", "--images", str(pictures), "--out", str(out), *extra]
    assert invoke(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.platform
@pytest.mark.skipif(not shipped(), reason="no codec ships yet: make fixtures DATA=folder")
def test_a_real_run(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec, out = shipped()[0], pictures.parent / "out"
    code = invoke(["rd", "--images", str(pictures), "--codec", codec, "--out", str(out)])
    results = json.loads((out / "rd.json").read_text(encoding="utf-8"))
    assert code == results["gate"]["exit_code"] == bool(results["gate"]["problems"])
    assert sorted(path.name for path in out.iterdir()) == ["rd.csv", "rd.json", "rd.md", "rd.png"]
    assert [point["precision"] for point in results["points"]] == ["fp32", "w8a8"]
    for point in results["points"]:
        (picture,) = point["images"]
        assert (picture["image"], picture["pixels"]) == ("waves.png", 7200)
        assert point["bpp"] == pytest.approx(8 * picture["payload_bytes"] / 7200, abs=1e-6)
        assert (
            picture["payload_bytes"] + 150 < picture["file_bytes"] < picture["payload_bytes"] + 250
        )
        assert 10 < point["psnr"] < 50
    text = (out / "rd.md").read_text(encoding="utf-8")
    assert text.splitlines()[2] == (
        f"`crosscheck rd --images tiny --codec {codec} --precision fp32 --precision w8a8"
        " --platform ort-cpu --bd-method pchip`"
    )
    assert str(pictures.parent) not in text + json.dumps(results)
    assert "onnxruntime" in text
    assert f"exit code {code}" in capsys.readouterr().out


def test_the_reports_are_four_files() -> None:
    files = rd_files(make_study(), command="c", environment={})
    assert sorted(files) == ["rd.csv", "rd.json", "rd.md", "rd.png"]
