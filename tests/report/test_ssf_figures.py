"""The figures of a study of a video codec: there, of their size, and different where the data are."""

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.clip_rd import ClipStudy, Mismatch
from harness.errors import HarnessError
from harness.rd import ANCHOR, Variant
from harness.report.ssf_curves import rd_figure, rd_panel
from harness.report.ssf_figures import ssf_figures
from harness.report.ssf_frame_figures import drift_figure, frame_figure
from harness.report.ssf_pictures import (
    counterpart,
    mismatch_caption,
    mismatch_figure,
    paired_figure,
    telling_mismatches,
    worst_mismatches,
)
from harness.report.ssf_report import ssf_files
from tests.report.ssf_studies import (
    DECODER,
    FAMILY,
    W4,
    W8,
    make_curve,
    make_drift,
    make_mismatch,
    make_point,
    make_study,
)

NAMES = [
    "ssf-figure.png",
    "ssf-rd.png",
    "ssf-rd-decoder.png",
    "ssf-mismatch.png",
    "ssf-drift.png",
    "ssf-frames.png",
]


@pytest.fixture(scope="module")
def whole() -> ClipStudy:
    return make_study()


@pytest.fixture(scope="module")
def files(whole: ClipStudy) -> Mapping[str, bytes]:
    return ssf_files(whole, command="c", environment={})


def size(png: bytes) -> tuple[int, int]:
    return picture(png).shape[1::-1]


def picture(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def has_colour(png: bytes, colour: tuple[int, int, int]) -> bool:
    return bool((picture(png) == colour).all(axis=2).any())


def test_the_reports_are_files_and_the_page_shows_every_figure(
    files: Mapping[str, bytes],
) -> None:
    assert list(files) == ["ssf.json", "ssf.csv", "ssf.md", *NAMES]
    text = files["ssf.md"].decode()
    assert all(f"]({name})" in text for name in NAMES)


def test_figures_are_the_same_pictures_every_time(
    whole: ClipStudy, files: Mapping[str, bytes]
) -> None:
    without = replace(whole, points=())
    assert ssf_figures(without) == {
        name: files[name] for name in ("ssf-mismatch.png", "ssf-drift.png")
    }


def test_figures_have_the_size_of_what_they_show(files: Mapping[str, bytes]) -> None:
    assert size(files["ssf-rd.png"]) == (1199, 836)
    assert size(files["ssf-frames.png"])[0] == 1199
    assert size(files["ssf-drift.png"])[0] == 627
    wide, high = size(files["ssf-figure.png"])
    assert (wide, high) == (1430, size(files["ssf-mismatch.png"])[1] + 550)


def test_a_fourth_clip_begins_another_row() -> None:
    points = [
        p
        for n in range(4)
        for p in make_curve(clip=f"clip {n}") + make_curve(W8, 1.1, clip=f"clip {n}")
    ]
    three = [p for p in points if p.clip != "clip 3"]
    (wide, high), (as_wide, lower) = (size(rd_figure(make_study(p), [W8])) for p in (points, three))
    assert wide == as_wide
    assert high == pytest.approx(2 * lower, abs=70)


def test_curves_that_coincide_are_all_seen(files: Mapping[str, bytes]) -> None:
    for colour in (
        (0xD5, 0x5E, 0),
        (0, 0x72, 0xB2),
        (0, 0x9E, 0x73),
        (0xCC, 0x79, 0xA7),
        (0x8C, 0x95, 0x9F),
    ):
        assert has_colour(files["ssf-rd.png"], colour), colour


def test_a_small_cost_is_seen_below_the_curves() -> None:
    pictures = [
        picture(rd_figure(make_study([*make_curve(), *make_curve(W8, gain)]), [W8])).astype(int)
        for gain in (1.0, 1.0002)
    ]
    changed = np.abs(pictures[0] - pictures[1]).sum(axis=(1, 2)).nonzero()[0]
    assert changed[changed > 0.6 * len(pictures[0])].size > 10


def test_a_panel_has_the_clips_own_curves(whole: ClipStudy) -> None:
    panel = rd_panel(whole, "market", [W8])
    assert list(panel.curves) == [ANCHOR, W8]
    assert panel.backdrop[0] == "all-intra"
    assert [rate for rate, _ in panel.backdrop[1]] == pytest.approx([0.3, 0.6, 1.2, 2.4])
    assert panel.percents[W8] == pytest.approx(0.4)
    bare = rd_panel(make_study(make_curve()), "harbour", [W8])
    assert (list(bare.curves), bare.method, list(bare.backdrop[1])) == ([ANCHOR], None, [])


@pytest.mark.parametrize(
    "study",
    [
        make_study([make_point(1, 0.1, 30.0)]),
        make_study([make_point(1, 0.1, 30.0, frames=1), make_point(1, 0.1, 29.0, frames=1, variant=W8)]),
        make_study(make_curve(W8)),
        make_study(make_curve(intra=True)),
        make_study([*make_curve(), *make_curve(W4, 8.0)]),
        replace(make_study([]), drifts=(make_drift(W8, []), make_drift(W8, [None]))),
        replace(make_study([]), drifts=(make_drift(W8, [30.0]), make_drift(W8, [None], quality=3))),
        replace(make_study([]), mismatches=(make_mismatch(),)),
    ],
    ids=["one-point", "one-frame", "no-anchor", "intra-only", "far", "stopped", "two-rates", "no-points"],
)  # fmt: skip
def test_whatever_was_measured_is_drawn(study: ClipStudy) -> None:
    figures = ssf_figures(study)
    assert figures
    assert all(size(png)[0] > 300 for png in figures.values())


def test_there_is_no_figure_of_nothing(whole: ClipStudy) -> None:
    assert ssf_figures(make_study([])) == {}
    assert list(ssf_figures(make_study(make_curve()))) == ["ssf-rd.png", "ssf-frames.png"]
    held = replace(whole, mismatches=whole.mismatches[1:])
    assert paired_figure(held, [W8]) is None
    assert paired_figure(replace(make_study([]), mismatches=whole.mismatches), []) is None


# A mismatch.


def test_a_mismatch_is_told_with_frame_platforms_psnr_and_gain() -> None:
    where, finding = mismatch_caption(make_mismatch())
    assert where == "harbour, frame 7, ssf2020/q5 fp32: encoded on ort-cpu, decoded on torch"
    assert finding == (
        "768 of 9,216 8-bit values differ, by at most 5; PSNR between the ends 44.9 dB; the residual is shown x51."
    )
    where, finding = mismatch_caption(make_mismatch(DECODER, by=0))
    assert "w16a16 decoder" in where
    assert finding == "All 9,216 8-bit values are identical: the residual is zero everywhere."


def test_the_counterpart_is_the_same_frame_and_identical() -> None:
    first = make_mismatch()
    held = make_mismatch(DECODER, by=0)
    others = [
        make_mismatch(DECODER, by=0, frame=8), make_mismatch(DECODER, by=0, quality=3), make_mismatch(W8, by=1),
    ]  # fmt: skip
    assert counterpart([first, *others, held], first) is held
    assert counterpart([first, *others], first) is None
    assert counterpart([first, replace(held, decoder="openvino")], first) is None


def test_a_variant_that_drifts_somewhere_does_not_stand_for_one_that_held() -> None:
    first, lucky, held = make_mismatch(), make_mismatch(W8, by=0), make_mismatch(DECODER, by=0)
    drifts = (make_drift(W8, [None, 90.0]), make_drift(DECODER, [None, None]))
    study = replace(make_study([]), mismatches=(first, lucky, held), drifts=drifts)
    assert telling_mismatches(study) == [first, held]
    assert telling_mismatches(replace(study, drifts=drifts[1:])) == [first, lucky, held]


def test_the_paired_figure_shows_the_counterpart_where_there_is_one(whole: ClipStudy) -> None:
    both = paired_figure(whole, [W8])
    alone = paired_figure(replace(whole, mismatches=whole.mismatches[:1]), [W8])
    assert both is not None
    assert alone is not None
    assert size(both)[1] > size(alone)[1]
    elsewhere = replace(whole.mismatches[0], clip="another")
    assert paired_figure(replace(whole, mismatches=(elsewhere,)), [W8]) is not None


def test_the_worst_mismatch_of_the_worst_clips_is_drawn_each_above_one_that_held() -> None:
    def at(clip: str, by: int, variant: Variant = ANCHOR, frame: int = 7) -> Mismatch:
        return replace(make_mismatch(variant, by=by, frame=frame), clip=clip)

    rows = worst_mismatches(
        [
            at("mild", 1), at("worst", 5), at("worst", 90, frame=3), at("worst", 0, DECODER, 3),
            at("bad", 60), at("bad", 0, W8, 8), at("worse", 70), at("mild", 0, W8),
        ]
    )  # fmt: skip
    assert [(row.clip, row.frame, bool(row.residual.any())) for row in rows] == [
        ("worst", 3, True),
        ("worst", 3, False),
        ("worse", 7, True),
        ("bad", 7, True),
    ]
    held = [at("a", 0), at("b", 0)]
    assert worst_mismatches(held) == held[:1]
    assert worst_mismatches([]) == []


def test_figures_differ_where_the_pictures_do() -> None:
    pictures = [mismatch_figure([make_mismatch(by=by)]) for by in (0, 1, 5)]
    assert len(set(pictures)) == 3
    one, two = (size(mismatch_figure([make_mismatch()] * n))[1] for n in (1, 2))
    assert two == pytest.approx(2 * one, abs=15)


# Frames.


def test_drift_differs_where_a_frame_does() -> None:
    studies = [
        replace(make_study([]), drifts=(drift,))
        for drift in (
            make_drift(W8, [None, None]),
            make_drift(W8, [None, 90.0]),
            make_drift(W8, [None, 90.0, 80.0]),
            make_drift(W8, [None, 90.0, 80.0], flips=1),
            make_drift(W8, [None, 90.0, 80.0], flips=1, problem="stopped"),
            make_drift(DECODER, [None, 90.0]),
        )
    ]
    assert len({drift_figure(study) for study in studies}) == len(studies)


def test_frames_differ_where_psnr_or_bits_do() -> None:
    studies = [
        make_study([*make_curve(), *make_curve(W8, gain, drop=drop)])
        for gain, drop in ((1.0, 0.0), (1.0, 0.001), (1.2, 0.0))
    ]
    assert len({frame_figure(study) for study in studies}) == len(studies)


# What no report can be made of.


def test_a_study_is_of_one_codec() -> None:
    points = [make_point(1, 0.1, 30.0), replace(make_point(3, 0.2, 31.0), family="other")]
    with pytest.raises(HarnessError, match=f"of one codec, not of other and {FAMILY}"):
        ssf_files(make_study(points), command="c", environment={})


def test_a_point_is_there_once() -> None:
    with pytest.raises(HarnessError, match="harbour, q1, fp32 was measured twice"):
        ssf_files(make_study([make_point(1, 0.1, 30.0)] * 2), command="c", environment={})
