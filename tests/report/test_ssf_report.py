"""A study of a video codec as a page, as JSON and CSV, and for a terminal."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from harness.bd_rate import Bd
from harness.clip_rd import ClipStudy
from harness.errors import HarnessError
from harness.rd import ANCHOR
from harness.report.ssf_accumulation import accumulation_sentence, accumulations
from harness.report.ssf_conclusions import conclusions, conclusions_by_calibrator
from harness.report.ssf_drift import drift_sentences
from harness.report.ssf_markdown import to_ssf_markdown, verdict_line
from harness.report.ssf_report import to_ssf_csv, to_ssf_json
from harness.report.ssf_tables import intra_sentence
from harness.report.ssf_terminal import ssf_lines, ssf_renderables
from tests.report.ssf_studies import (
    CLIPS,
    DECODER,
    W4,
    W4_MSE,
    W8,
    W12,
    W16,
    make_cost,
    make_curve,
    make_drift,
    make_point,
    make_study,
)
from tests.report.test_rd_report import table


@pytest.fixture(scope="module")
def whole() -> ClipStudy:
    return make_study()


def page(study: ClipStudy, figures: Sequence[str] = ("ssf-rd.png",)) -> str:
    return to_ssf_markdown(
        study, accumulations(study), command="crosscheck study ssf", environment={"cpu": "x_1"}, figures=figures
    )  # fmt: skip


def with_percents(study: ClipStudy, **percents: float | None) -> ClipStudy:
    """The study with other BD-rates in the mean, by precision, of the codec's own calibration."""
    return replace(
        study,
        bd_rates=tuple(
            replace(
                rate,
                psnr=Bd.none("no overlap")
                if (percent := percents[rate.variant.precision]) is None
                else Bd(percent=percent, overlap=1.0, note=""),
            )
            if rate.clip == "mean"
            and rate.variant in {W4, W8, W12, W16}
            and rate.variant.precision in percents
            else rate
            for rate in study.bd_rates
        ),
    )


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("## ")]


# The page.


def test_the_page_starts_with_the_verdict_the_command_and_the_environment(whole: ClipStudy) -> None:
    lines = [line for line in page(whole).splitlines() if line]
    assert lines[:3] == [
        "# Precision study of ssf2020: GREEN, 2 clips of 12 frames",
        "`crosscheck study ssf`",
        "Ran on cpu x\\_1.",
    ]
    red = replace(whole, problems=("w8a8: a picture differs",))
    assert "RED" in verdict_line(red)
    assert "## Problems\n\n- w8a8: a picture differs\n" in page(red)
    mixed = make_study([make_point(1, 0.1, 30.0), make_point(3, 0.2, 31.0, frames=96)])
    assert verdict_line(mixed) == "Precision study of ssf2020: GREEN, 1 clip of 12 to 96 frames"


def test_the_page_has_a_section_for_whatever_was_measured_and_no_other(whole: ClipStudy) -> None:
    assert headings(page(whole)) == [
        "## BD-rate against fp32",
        "## Open loop",
        "## Mirrored clips",
        "## Calibrators side by side: BD-rate, mean over the clips",
        "## The published study's conclusions, by the codec's own calibration",
        "## The published study's conclusions, by calibrator mse",
        "## Across platforms",
        "## Frame by frame",
        "## P frames beside all-intra coding",
        "## Memory and compute of the hyper-decoders",
        "## Rate points",
        "## Notes",
    ]
    assert headings(page(make_study([make_point(1, 0.1, 30.0)]))) == ["## Rate points"]
    assert headings(page(make_study([]))) == []
    assert "![ssf-rd](ssf-rd.png)" in page(whole)


def test_bd_rates_stand_beside_the_published_ones_with_a_column_a_clip(whole: ClipStudy) -> None:
    text = page(whole)
    rows = {
        (r["precision"], r["scope"], r["calibrator"]): r
        for r in table(text, "precision | scope | calibrator")
    }
    assert rows["w8a8", "hyperprior", "used-own"] == {
        "precision": "w8a8", "scope": "hyperprior", "calibrator": "used-own", "mean": "+0.400 %",
        "published": "+5.7 %", "harbour": "+0.400 %", "market": "+0.400 %", "note": "",
    }  # fmt: skip
    published = [
        rows[name, "hyperprior", "used-own"]["published"] for name in ("w4a4", "w12a12", "w16a16")
    ]
    assert published == ["+254.0 %", "+0.2 %", "+0.1 %"]
    assert rows["w16a16", "decoder", "used-own"]["published"] == ""
    assert "PCHIP, as in the JCT-VC and JVET sheets" in text
    assert "UVG and HEVC class B" in text
    assert "cubic polynomial, as in VCEG-M33" in page(
        make_study([*make_curve(), *make_curve(W8, 1.01)], method="cubic")
    )


def test_a_missing_bd_rate_says_why() -> None:
    short = [make_point(1, 0.1, 30.0), make_point(1, 0.11, 30.0, variant=W8)]
    (row,) = table(page(make_study(short)), "precision | scope | calibrator")
    assert (row["mean"], row["harbour"]) == ("none", "none")
    assert row["note"].startswith(
        "harbour: none: 1 rate point, BD-rate takes at least 4; mean: none"
    )


def test_calibrators_are_side_by_side(whole: ClipStudy) -> None:
    (row,) = table(page(whole), "precision | scope | the codec's own")
    assert row == {
        "precision": "w4a4", "scope": "hyperprior", "the codec's own": "+10.420 %", "mse": "+20.000 %",
    }  # fmt: skip
    assert "side by side" not in page(make_study([*make_curve(), *make_curve(W8, 1.01)]))


def test_rate_points_have_bits_by_branch_and_every_variant(whole: ClipStudy) -> None:
    text = page(whole)
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### harbour",
        "### market",
    ]
    first, *_ = table(text, "quality | frames")
    assert first == {
        "quality": "q1", "frames": "12", "bpp": "0.1000", "PSNR": "30.000", "img bits": "26.7%", "motion bits": "18.3%",
        "res bits": "55.0%", "all-intra": "0.3000 at 30.000", "w4a4": "+10.000 %, -0.0110 dB",
        "w8a8": "+0.400 %, +0.0000 dB", "w12a12": "+0.040 %, +0.0000 dB", "w16a16": "+0.030 %, +0.0000 dB",
        "w16a16 decoder": "+0.200 %, +0.0000 dB",
    }  # fmt: skip


def test_rate_points_admit_what_is_missing() -> None:
    points = [
        make_point(1, 0.1, 30.0),
        make_point(1, 0.2, 31.0, variant=W8),
        make_point(3, 0.3, 33.0, variant=W8),
    ]
    whole_row, alone = table(page(make_study(points)), "quality | frames")
    assert (whole_row["w8a8"], whole_row["all-intra"]) == ("+100.000 %, +1.0000 dB", "none")
    assert (alone["bpp"], alone["PSNR"], alone["img bits"]) == ("none", "none", "none")
    assert alone["w8a8"] == "0.3000 bpp, 33.000 dB"
    (gap,) = table(page(make_study([make_point(1, 0.1, 30.0, variant=W8)])), "quality | frames")
    assert gap["bpp"] == "none"


def test_p_frames_stand_beside_all_intra_coding(whole: ClipStudy) -> None:
    rows = table(page(whole), "clip | quality | PSNR | P frames, bpp")
    assert [row["share"] for row in rows] == ["40.0%", "60.0%", "none"]
    assert rows[2]["all-intra there, bpp"] == "none"
    assert intra_sentence(whole) == (
        "At equal PSNR a P frame takes 40.0% to 60.0% of the bits of all-intra coding; the most at harbour, q3."
        " All-intra coding does not reach the PSNR of 1 of 3 rate points."
    )
    known, other, unknown = whole.intra_shares
    far = replace(whole, intra_shares=(replace(known, beyond=0.25), replace(other, beyond=0.5)))
    assert intra_sentence(far).endswith(
        " For 2 of 2 rate points all-intra coding's curve is extended, by 0.50 dB at most."
    )
    rows = table(page(far), "clip | quality | PSNR | P frames, bpp")
    assert [row["extended by"] for row in rows] == ["0.25 dB", "0.50 dB"]
    assert "does not reach" not in intra_sentence(replace(whole, intra_shares=(known,)))
    assert intra_sentence(replace(whole, intra_shares=(unknown,))) == (
        "All-intra coding does not reach the PSNR of 1 of 1 rate points."
    )
    assert intra_sentence(replace(whole, intra_shares=())) == ""


def test_memory_and_compute_are_shown_against_fp32(whole: ClipStudy) -> None:
    full, eight = table(page(whole), "precision | branch | rate points")
    assert (full["rate points"], full["weight bytes"]) == ("q1 q3", "3.81 MiB (100.0%)")
    assert eight == {
        "precision": "w8a8", "branch": "res", "rate points": "q1", "frame": "416x240", "weights": "1,000,000",
        "weight bytes": "976.56 KiB (25.0%)", "activation bytes": "4.00 KiB (25.0%)", "MACs": "50 M",
        "bit operations": "3.2 G (6.2%)",
    }  # fmt: skip
    (alone,) = table(
        page(replace(whole, costs=(make_cost("w8a8", 8),))), "precision | branch | rate points"
    )
    assert alone["bit operations"] == "3.2 G"


# What the figures say.


PUBLISHED_PERCENTS = {"w4a4": 254.0, "w8a8": 5.7, "w12a12": 0.2, "w16a16": 0.1}


def test_every_conclusion_holds_of_the_published_figures(whole: ClipStudy) -> None:
    found = conclusions(with_percents(whole, **PUBLISHED_PERCENTS))
    assert [each.agrees for each in found] == [True] * 4
    assert [each.claim for each in found] == [
        "W4A4 is unusable", "W8A8 is the compromise", "W12A12 is near lossless", "W16A16 is redundant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "changed", "words"),
    [
        (0, {"w4a4": 49.9}, "W4A4 is unusable: disagrees. It takes +49.90 %, not more than 50 %"),
        (1, {"w8a8": 11.0}, "W8A8 is the compromise: disagrees. It takes +11.00 %, more than 10 %"),
        (1, {"w4a4": 9.0}, "disagrees. It takes +5.70 %, at most 10 %, but so does W4A4 with +9.00 %"),
        (2, {"w12a12": 0.51}, "W12A12 is near lossless: disagrees. It takes +0.510 %, beyond 0.5 %"),
        (2, {"w12a12": -0.6}, "W12A12 is near lossless: disagrees. It takes -0.600 %, beyond 0.5 %"),
        (3, {"w16a16": -0.1}, "disagrees. It takes -0.100 % where W12A12 takes +0.200 %: it saves +0.300 points"),
    ],
)  # fmt: skip
def test_a_conclusion_flips_with_the_number_that_it_stands_on(
    whole: ClipStudy, number: int, changed: dict[str, float], words: str
) -> None:
    study = with_percents(whole, **(PUBLISHED_PERCENTS | changed))
    assert conclusions(study)[number].agrees is False
    assert words in conclusions(study)[number].sentence
    assert words in page(study)


def test_a_compromise_that_costs_nothing_is_said_to_be_near_lossless(whole: ClipStudy) -> None:
    assert "near lossless itself" in conclusions(whole)[1].finding
    assert "near lossless itself" not in conclusions(with_percents(whole, w8a8=0.6))[1].finding


@pytest.mark.parametrize(
    ("name", "silent"), [("w4a4", [0, 1]), ("w8a8", [1]), ("w12a12", [2, 3]), ("w16a16", [3])]
)
def test_nothing_is_concluded_from_a_number_that_is_not_there(
    whole: ClipStudy, name: str, silent: list[int]
) -> None:
    study = with_percents(whole, **(PUBLISHED_PERCENTS | {name: None}))
    found = conclusions(study)
    assert [n for n, each in enumerate(found) if each.agrees is None] == silent
    for n in silent:
        assert "cannot be said" in found[n].sentence
        assert f"{name} has no BD-rate (none: no overlap)" in found[n].finding


def test_conclusions_are_drawn_by_the_published_calibrator_too(whole: ClipStudy) -> None:
    own, theirs = conclusions_by_calibrator(whole).values()
    assert "+10.42 %" in own[0].finding
    assert "+20.00 %" in theirs[0].finding
    assert theirs[1].finding == "w8a8 was not measured."
    without = replace(whole, bd_rates=tuple(r for r in whole.bd_rates if r.variant != W4_MSE))
    assert list(conclusions_by_calibrator(without)) == ["own"]


def test_the_open_loop_stands_below_the_closed_one(whole: ClipStudy) -> None:
    text = page(whole)
    assert text.index("## BD-rate against fp32") < text.index("## Open loop")
    below = text[text.index("## Open loop") :]
    (row,) = table(below, "precision | scope | calibrator")
    assert (row["precision"], row["mean"], row["published"]) == ("w16a16", "+0.010 %", "+0.1 %")
    assert "## Open loop" not in page(make_study(make_curve()))
    found = json.loads(to_ssf_json(whole, [], command="c", environment={}))["open_loop"]
    assert [(r["clip"], r["variant"]) for r in found["bd_rate"]] == [
        (CLIPS[0], "w16a16"), (CLIPS[1], "w16a16"), ("mean", "w16a16"),
    ]  # fmt: skip
    assert len(found["points"]) == 8
    (line,) = [line for line in ssf_lines(whole) if line.startswith("Open loop")]
    assert line.endswith("mean BD-rate w16a16 +0.010 %.")


def test_means_over_mirrored_clips_have_their_errors(whole: ClipStudy) -> None:
    text = page(whole)
    section = text[text.index("## Mirrored clips") : text.index("## Calibrators side")]
    (row,) = table(section, "precision | scope | calibrator")
    assert (row["precision"], row["mean"], row[CLIPS[1]]) == (
        "w16a16", "+0.030 % ± 0.012", "+0.030 % ± 0.012",
    )  # fmt: skip
    assert "in 3 mirrorings" in section
    assert "## Mirrored clips" not in page(make_study(make_curve()))
    found = json.loads(to_ssf_json(whole, [], command="c", environment={}))["mirrored"]
    assert {p["mirroring"] for p in found["points"]} == {1, 2}
    assert {(r["variant"], r["error"]) for r in found["bd_rate"]} == {("w16a16", 0.0123)}
    (line,) = [line for line in ssf_lines(whole) if line.startswith("Closed loop")]
    assert line.endswith("w16a16 +0.030 % ± 0.012.")


def test_accumulation_is_a_slope_against_fp32() -> None:
    points = [
        make_point(1, 0.1, 30.0, frames=25),
        make_point(1, 0.11, 29.5, frames=25, variant=W8, drop=0.002),
    ]
    (found,) = accumulations(make_study(points))
    assert (found.first, found.middle, found.last) == pytest.approx((-0.5, -0.524, -0.548))
    assert found.slope == pytest.approx(-0.2)
    assert found.early_bits == found.late_bits == pytest.approx(10, abs=1e-3)
    assert "1 of 1 rate points lose more than 0.1 dB" in accumulation_sentence([found])
    assert "-0.2000 dB (w8a8, harbour, q1)" in accumulation_sentence([found])
    (row,) = table(page(make_study(points)), "variant | clip | first frame")
    assert (row["first frame"], row["slope"], row["steepest loss"]) == (
        "-0.5000",
        "-0.2000",
        "-0.2000 (q1)",
    )
    assert row["bits, second half"] == "+10.000 %"


@pytest.mark.parametrize("drop", [0.0005, 0.0, -0.002])
def test_a_gain_or_a_slight_loss_is_no_accumulation(drop: float) -> None:
    points = [make_point(1, 0.1, 30.0), make_point(1, 0.1, 30.0, variant=W8, drop=drop)]
    sentence = accumulation_sentence(accumulations(make_study(points)))
    assert "none of 1 rate points loses more than 0.1 dB per 100 frames" in sentence


def test_a_short_clip_has_no_slope_and_does_not_count() -> None:
    short = [
        make_point(1, 0.1, 30.0, frames=11),
        make_point(1, 0.1, 29.0, frames=11, variant=W8, drop=0.1),
    ]
    (found,) = accumulations(make_study(short))
    assert found.slope is None
    long = [
        make_point(5, 0.1, 30.0, frames=12),
        make_point(5, 0.1, 29.0, frames=12, variant=W8),
    ]
    sentence = accumulation_sentence(accumulations(make_study([*short, *long])))
    assert "over 12 frames: none of 1 rate points" in sentence


def test_of_one_frame_there_is_no_slope() -> None:
    points = [make_point(1, 0.1, 30.0, frames=1), make_point(1, 0.1, 29.0, frames=1, variant=W8)]
    (found,) = accumulations(make_study(points))
    assert (found.slope, found.early_bits, found.late_bits, found.last) == (None, None, None, -1.0)
    assert "cannot be said" in accumulation_sentence([found])
    (row,) = table(page(make_study(points)), "variant | clip | first frame")
    assert (row["slope"], row["steepest loss"], row["bits, first half"]) == ("none", "none", "none")


def test_accumulation_needs_the_same_frames_of_fp32() -> None:
    points = [make_point(1, 0.1, 30.0), make_point(1, 0.1, 30.0, variant=W8, frames=5)]
    with pytest.raises(
        HarnessError, match=r"harbour, q1: w8a8 and fp32 were measured on other frames"
    ):
        accumulations(make_study(points))
    assert accumulations(make_study(points[1:])) == []


# Across platforms.


def test_every_stream_is_a_line(whole: ClipStudy) -> None:
    first, second, third, _ = table(page(whole), "variant | clip | quality | encoder")
    assert first == {
        "variant": "fp32 float32", "clip": "harbour", "quality": "q5", "encoder": "ort-cpu", "decoder": "torch",
        "first flip": "frame 2", "first damaged frame": "frame 2", "flips": "4", "wrong symbols": "40",
        "worst PSNR between the ends": "11.50 dB", "pictures identical": "1 of 4", "note": "",
    }  # fmt: skip
    assert (second["first flip"], second["first damaged frame"], second["pictures identical"]) == (
        "none", "none", "2 of 4",
    )  # fmt: skip
    assert (third["worst PSNR between the ends"], third["pictures identical"]) == (
        "identical",
        "4 of 4",
    )


def test_a_sentence_a_variant_says_what_held(whole: ClipStudy) -> None:
    fp32, eight, decoder = drift_sentences(whole)
    assert fp32 == (
        "fp32 float32, 1 stream: 4 of 4,000 CDF indexes flipped, 40 of 4,000 symbols wrong; 1 of 4 pictures are identical"
        " at both ends, the worst at 11.5 dB."
    )
    assert "0 of 4,000 CDF indexes flipped" in eight
    assert "2 of 4 pictures are identical" in eight
    assert decoder.startswith("w16a16 decoder u8, 2 streams: 0 of 8,000")
    assert decoder.endswith("all 8 pictures are identical at both ends.")


def test_a_decoder_that_stopped_is_reported() -> None:
    stopped = make_drift(W8, [], problem="frame 0 is damaged")
    study = replace(make_study([]), drifts=(stopped, make_drift(W8, [None])))
    (sentence,) = drift_sentences(study)
    assert sentence.endswith("; a check of the stream failed in 1 of them.")
    row, _ = table(page(study), "variant | clip | quality | encoder")
    assert (row["pictures identical"], row["worst PSNR between the ends"]) == ("0 of 0", "none")
    assert row["note"] == "frame 0 is damaged"
    (alone,) = drift_sentences(replace(study, drifts=(stopped,)))
    assert "0 of 0 pictures are identical" in alone


def test_a_lowering_that_the_variant_names_is_not_named_twice() -> None:
    study = replace(make_study([]), drifts=(make_drift(ANCHOR, [None], lowering="fp32"),))
    assert drift_sentences(study)[0].startswith("fp32, 1 stream")


# JSON, CSV, terminal.


def test_json_holds_every_number(whole: ClipStudy) -> None:
    text = to_ssf_json(whole, accumulations(whole), command="c", environment={"cpu": "x"})
    found = json.loads(text)
    assert (found["schema"], found["command"], found["environment"]) == (1, "c", {"cpu": "x"})
    assert len(found["points"]) == len(whole.points)
    point = found["points"][0]
    assert (point["variant"], point["psnr"], point["bpp"]) == ("fp32", 30.0, pytest.approx(0.1))
    assert point["per_frame"]["number"] == list(range(12))
    assert point["per_frame"]["bits"]["img"] == [3_200_000] + [0] * 11
    assert [p["intra"] for p in found["points"][-4:]] == [True] * 4
    rate = next(r for r in found["bd_rate"] if (r["clip"], r["variant"]) == ("mean", "w4a4"))
    assert (rate["percent"], rate["method"], rate["published"]) == (
        pytest.approx(10.42, abs=0.01),
        "pchip",
        254.0,
    )
    assert found["conclusions"]["by_calibrator"]["own"][0]["agrees"] is False
    assert [share["share"] for share in found["intra_shares"]] == [0.4, 0.6, None]
    fp32, _, decoder, _ = found["drifts"]
    assert (fp32["first_flip"], fp32["identical"], fp32["worst_psnr_between"]) == (2, False, 11.5)
    assert fp32["per_frame"]["psnr_between"] == [None, 60.0, 20.0, 11.5]
    assert (decoder["first_flip"], decoder["identical"], decoder["worst_psnr_between"]) == (
        None,
        True,
        None,
    )
    first, held = found["mismatches"]
    assert (first["differing_samples"], first["samples"], first["largest_difference"]) == (
        768,
        9216,
        5,
    )
    assert (held["differing_samples"], held["psnr_between"]) == (0, None)
    assert found["costs"][1]["bit_operations"] == 50_000_000 * 64
    assert found["accumulation"][0]["slope_per_100_frames"] == pytest.approx(-0.2)
    assert found["gate"] == {"exit_code": 0, "problems": [], "notes": ["the clip is short"]}


def test_json_has_a_series_on_one_line(whole: ClipStudy) -> None:
    text = to_ssf_json(whole, [], command="[\n1]", environment={})
    assert '"number": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],' in text
    assert json.loads(text)["command"] == "[\n1]"


def test_a_picture_without_any_error_has_no_psnr_in_json(whole: ClipStudy) -> None:
    perfect = replace(whole.mismatches[1], original=whole.mismatches[1].encoder_picture)
    study = replace(whole, mismatches=(perfect,))
    (found,) = json.loads(to_ssf_json(study, [], command="c", environment={}))["mismatches"]
    assert (found["psnr_encoder"], found["psnr_decoder"]) == (None, None)


def test_csv_has_a_line_a_rate_point_beside_fp32(whole: ClipStudy) -> None:
    rows = list(csv.DictReader(io.StringIO(to_ssf_csv(whole))))
    assert len(rows) == len(whole.points)
    assert [(r["clip"], r["variant"], r["intra"]) for r in (rows[0], rows[-1])] == [
        (CLIPS[0], "fp32", "False"), (CLIPS[1], "fp32", "True"),
    ]  # fmt: skip
    fourth = next(row for row in rows if row["variant"] == "w4a4")
    assert float(fourth["bpp_percent"]) == pytest.approx(10)
    assert float(fourth["psnr_difference"]) == pytest.approx(-0.011)
    assert float(fourth["img_share"]) == pytest.approx(4 / 15, abs=1e-6)
    assert (rows[-1]["img_share"], rows[-1]["motion_share"], rows[-1]["inter_bpp"]) == (
        "1.0",
        "",
        "",
    )
    (alone,) = csv.DictReader(
        io.StringIO(to_ssf_csv(make_study([make_point(1, 0.1, 30.0, variant=W8)])))
    )
    assert alone["bpp_percent"] == ""


def printed(study: ClipStudy) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    for item in ssf_renderables(study):
        console.print(item)
    return console.export_text()


def test_the_terminal_shows_drift_then_bd_rates_in_80_columns(whole: ClipStudy) -> None:
    text = printed(whole)
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    assert ["w8a8", "u8", "1", "0", "0", "2/4", "88.0"] in lines
    assert ["w8a8", "used-own", "0.400", "5.7", "0.400", "to", "0.400"] in lines
    assert ["w16a16", "decoder", "used-own", "0.200", "0.200", "to", "0.200"] in lines
    assert text.index("streams") < text.index("BD-rate")
    assert "none" in printed(with_percents(whole, w8a8=None))
    assert ssf_renderables(make_study([])) == []


def test_the_lines_below_are_the_computed_sentences(whole: ClipStudy) -> None:
    lines = ssf_lines(whole)
    assert lines[0].startswith("own: W4A4 is unusable: disagrees.")
    assert lines[8].startswith("Open loop, every frame from fp32's reference")
    assert lines[9].startswith("Closed loop, clips mirrored")
    assert lines[10].startswith("Accumulation over 12 frames: 8 of 48 rate points lose")
    assert lines[11] == intra_sentence(whole)
    assert lines[12:] == drift_sentences(whole)
    assert ssf_lines(make_study([])) == []


def test_the_decoder_scope_is_no_part_of_the_published_conclusions(whole: ClipStudy) -> None:
    only = tuple(rate for rate in whole.bd_rates if rate.variant == DECODER)
    assert [each.agrees for each in conclusions(replace(whole, bd_rates=only))] == [None] * 4
