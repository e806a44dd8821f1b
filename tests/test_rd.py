"""The values of a study, the study of them, and the gate."""

from dataclasses import replace

import numpy as np
import pytest

from harness import rd
from harness.errors import HarnessError, UserError
from harness.rd import ANCHOR, Variant, variants
from harness.rd_study import bd_rates, study
from tests.rd_points import JPEG, W4, W8, make_curve, make_point, make_study

# Variants.


def test_a_label_leaves_out_what_is_as_usual() -> None:
    labels = [v.label for v in variants(["w4a4"], ["hyperprior", "decoder"], ["own", "mse"])]
    assert labels == ["fp32", "w4a4", "w4a4 mse", "w4a4 decoder", "w4a4 decoder mse"]


def test_the_anchor_is_always_there_and_there_once() -> None:
    assert variants([], ["hyperprior"], ["own"]) == [ANCHOR]
    assert variants(["w8a8", "fp32", "w8a8"], ["decoder"], ["own", "own"]) == [
        ANCHOR,
        Variant(precision="w8a8", scope="decoder"),
    ]
    assert variants(["w4a4"], ["hyperprior"], ["own"], [W8, W4, Variant(precision="fp32")]) == [
        ANCHOR,
        W4,
        W8,
    ]


def test_fp32_has_a_curve_of_its_own_with_the_integer_warp() -> None:
    warp = Variant.parse("fp32 warp")
    assert variants([], ["hyperprior"], ["own"], [Variant.parse("fp32 decoder"), warp, warp]) == [
        ANCHOR,
        warp,
    ]


@pytest.mark.parametrize("scope", [*rd.SCOPES, rd.WARP_SCOPE])
@pytest.mark.parametrize("calibrator", ["own", "mse"])
def test_a_label_is_read_back(scope: str, calibrator: str) -> None:
    variant = Variant(precision="w4a4-o4", scope=scope, calibrator=calibrator)
    assert Variant.parse(variant.label) == variant


@pytest.mark.parametrize("label", ["", " ", "w4a4 mse decoder", "w4a4 decoder mse rate"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(UserError, match=r"no variant '.*': write a precision"):
        Variant.parse(label)


@pytest.mark.parametrize(
    ("variant", "judged"),
    [
        (ANCHOR, True),
        (W8, True),
        (W4, False),
        (Variant(precision="w8a8-qdq"), True),
        (Variant(precision="w8a8-qoperator"), True),
        (Variant(precision="w16a16"), True),
        (Variant(precision="w16a7"), False),
        (Variant(precision="w7a16"), False),
        (Variant(precision="w8a8-o8"), True),
        (Variant(precision="w8a8-o4"), False),
        (Variant(precision="mixed-w8a8"), False),
        (Variant(precision="w8a8", scope="decoder"), False),
        (Variant(precision="w8a8", calibrator="mse"), False),
    ],
    ids=lambda value: value.label if isinstance(value, Variant) else "",
)
def test_who_is_held_against_jpeg(variant: Variant, judged: bool) -> None:
    assert variant.is_judged is judged


# Samples and points.


def test_figures_are_means_of_payload_bits() -> None:
    first = rd.Sample(
        image="a", pixels=1000, payload_bytes=100, file_bytes=200, psnr=30.0, ms_ssim=0.98
    )
    second = replace(first, image="b", pixels=4000, psnr=40.0, ms_ssim=1.0)
    point = replace(make_point(1, 0.5, 30.0), samples=(first, second))
    assert (point.bpp, point.file_bpp, point.psnr) == (0.5, 1.0, 35.0)
    assert point.ms_ssim == pytest.approx(0.99)
    assert point.ms_ssim_db == pytest.approx(20)  # of the mean: the second alone has none


def test_one_picture_without_ms_ssim_leaves_none() -> None:
    point = make_point(1, 0.5, 30.0)
    first, second = point.samples
    point = replace(point, samples=(first, replace(second, ms_ssim=None)))
    assert (point.ms_ssim, point.ms_ssim_db) == (None, None)


def test_a_picture_without_error_has_no_mean() -> None:
    grey = np.full((16, 16, 3), 128, np.uint8)
    with pytest.raises(UserError, match=r"'grey.png' comes back without any error"):
        rd.sample("grey.png", grey, grey, payload_bytes=1, file_bytes=1, ms_ssim=None)


# The study and its gate.


def test_a_good_study_is_green() -> None:
    found = make_study()
    assert (found.exit_code, found.problems, found.warnings) == (0, (), ())
    (rate,) = found.bd_rates
    assert rate.percent == pytest.approx(2.0, abs=1e-6)
    assert (rate.family, rate.variant, rate.psnr.overlap) == ("mbt2018-mean", W8, 1.0)
    assert rate.ms_ssim.percent == pytest.approx(2.0, abs=1e-6)
    assert (rate.method, rate.calibrator) == ("pchip", "min-max")


def test_a_point_below_jpeg_is_red() -> None:
    found = make_study([*make_curve(), make_point(5, 1.9, 30.0)])
    assert found.exit_code == 1
    assert "mbt2018-mean/q5 fp32: 0.78 dB below JPEG at 1.9000 bpp" in found.problems
    assert "mbt2018-mean/q4 -> q5 fp32: PSNR does not rise with quality (33.0000 -> 30.0000)" in (
        found.problems
    )


BAD = (0.9, 24.0)  # 3.5 dB below JPEG, and below the rate point before it


def with_a_bad_point(variant: Variant) -> list[rd.Point]:
    curve = make_curve(variant)
    return [*make_curve(), *curve[:2], make_point(3, *BAD, variant=variant), curve[3]]


def test_a_judged_precision_below_jpeg_is_red() -> None:
    found = make_study(with_a_bad_point(W8))
    assert found.problems == (
        "mbt2018-mean/q3 w8a8: 3.54 dB below JPEG at 0.9000 bpp",
        "mbt2018-mean/q2 -> q3 w8a8: PSNR does not rise with quality (29.0000 -> 24.0000)",
    )


@pytest.mark.parametrize(
    "variant",
    [
        W4,
        Variant(precision="w4a4-o4"),
        Variant(precision="w8a8", scope="decoder"),
        Variant(precision="w8a8", calibrator="mse"),
    ],
    ids=lambda v: v.label,
)
def test_of_other_variants_the_same_is_only_reported(variant: Variant) -> None:
    found = make_study(with_a_bad_point(variant))
    assert (found.exit_code, found.problems) == (0, ())
    label = variant.label
    assert found.warnings == (
        f"mbt2018-mean/q3 {label}: 3.54 dB below JPEG at 0.9000 bpp (not judged)",
        f"mbt2018-mean/q2 -> q3 {label}: PSNR does not rise with quality (29.0000 -> 24.0000)",
        f"BD-rate of mbt2018-mean {label}: none: quality does not rise with the rate",
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
    found = make_study(points[::-1])
    assert found.exit_code == 1
    assert f"mbt2018-mean/q2 -> q3 fp32: {what}" in found.problems


def test_every_variant_and_family_has_a_curve_of_its_own() -> None:
    other = [replace(p, family="bmshj2018-hyperprior") for p in make_curve(W8, 0.9)]
    decoder = Variant(precision="w8a8", scope="decoder")
    found = make_study([*make_curve(), *make_curve(W8), *make_curve(decoder, 1.5), *other])
    assert found.problems == ()
    # No fp32 of the other family, so no BD-rate of it.
    assert [(r.family, r.variant.label, r.percent) for r in found.bd_rates] == [
        ("mbt2018-mean", "w8a8", 0.0),
        ("mbt2018-mean", "w8a8 decoder", pytest.approx(50, abs=1e-6)),
    ]


def test_every_bd_rate_has_the_one_anchor() -> None:
    """Not the curve before it: 1.02 and 1.5 times FP32's rate, whatever the order."""
    curves = [make_curve(W8, 1.02), make_curve(W4, 1.5), make_curve()]
    rates = bd_rates([point for curve in curves for point in curve], "pchip")
    assert {r.variant: r.percent for r in rates} == {
        W8: pytest.approx(2, abs=1e-6),
        W4: pytest.approx(50, abs=1e-6),
    }


def test_the_container_is_not_in_the_bd_rate() -> None:
    heavy = [make_point(p.quality, p.bpp, p.psnr, variant=W8, container=5000) for p in make_curve()]
    (rate,) = bd_rates([*make_curve(), *heavy], "pchip")
    assert rate.percent == 0.0


def test_small_pictures_cost_the_ms_ssim_only() -> None:
    points = [
        replace(p, samples=tuple(replace(s, ms_ssim=None) for s in p.samples))
        for p in make_curve() + make_curve(W8, 1.02)
    ]
    found = make_study(points)
    (rate,) = found.bd_rates
    assert rate.percent == pytest.approx(2, abs=1e-6)
    assert rate.ms_ssim.percent is None
    assert rate.ms_ssim.note == "none: a picture's smaller side is at most 160 px"
    assert found.warnings == (
        "no MS-SSIM, a picture's smaller side is at most 160 px: a.png, b.png",
    )


def test_nothing_compared_is_red() -> None:
    found = make_study([make_point(1, 0.1, 20.0)])
    assert found.problems == ("no rate point lies at a rate where JPEG can be compared",)
    assert any("one rate point" in line for line in found.warnings)


def test_a_variant_that_is_not_judged_is_no_comparison() -> None:
    found = make_study([make_point(1, 0.1, 20.0), make_point(2, 0.5, 29.0, variant=W4)])
    assert found.problems == ("no rate point lies at a rate where JPEG can be compared",)


def test_a_note_is_given_once_unless_ms_ssim_has_another() -> None:
    same = make_study(make_curve()[:2] + make_curve(W8)[:2])
    assert [w for w in same.warnings if w.startswith("BD-rate")] == [
        "BD-rate of mbt2018-mean w8a8: none: 2 rate points, BD-rate takes at least 4"
    ]
    level = [make_point(p.quality, p.bpp, p.psnr, variant=W8, ms_ssim=0.9) for p in make_curve()]
    assert make_study(make_curve() + level).warnings == (
        "BD-rate of mbt2018-mean w8a8 by MS-SSIM: none: quality does not rise with the rate",
    )


def test_little_overlap_is_a_warning() -> None:
    found = make_study(make_curve() + make_curve(W8, 1.0, 3.0))
    assert found.exit_code == 0
    assert found.warnings == (
        "BD-rate of mbt2018-mean w8a8: the quality intervals overlap by only 33%",
    )


def test_points_of_other_images_are_not_compared() -> None:
    odd = make_point(2, 0.5, 29.0)
    odd = replace(odd, samples=odd.samples[:1])
    with pytest.raises(HarnessError, match="not measured on the same images"):
        make_study([make_point(1, 0.3, 27.0), odd])
    with pytest.raises(HarnessError, match="no rate point"):
        study([], JPEG, "pchip")
    with pytest.raises(HarnessError, match="on no image"):
        replace(odd, samples=())
