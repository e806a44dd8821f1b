"""RD curves of a study of a video codec: a panel a clip, the rate beyond fp32's below the curves."""

from collections.abc import Sequence

from harness.clip_rd import ALL_INTRA, ClipStudy
from harness.rd import ANCHOR, OWN_CALIBRATOR, Variant
from harness.report.curves import (
    LINEAR_TO,
    Panel,
    draw_curves,
    draw_differences,
    limit_curves,
    limit_differences,
)
from harness.report.panel_grid import is_leftmost, panel_grid
from harness.report.pictures import png

RATE, QUALITY = "bits per pixel (payload)", "mean PSNR of 8-bit RGB (dB)"
BEYOND = "rate beyond FP32's at equal PSNR (%)"


def own_variants(study: ClipStudy) -> list[Variant]:
    """What is quantized with the codec's own calibration, in the order of the study."""
    found = dict.fromkeys(point.variant for point in study.points if not point.intra)
    return [v for v in found if v != ANCHOR and v.calibrator == OWN_CALIBRATOR]


def rd_panel(study: ClipStudy, clip: str, variants: Sequence[Variant]) -> Panel:
    """The curves of one clip: fp32's, those of `variants`, all-intra coding behind them."""
    points = sorted((p for p in study.points if p.clip == clip), key=lambda p: p.quality)
    inter = [point for point in points if not point.intra]
    rates = [rate for rate in study.bd_rates if rate.clip == clip]
    curves = {v: [(p.bpp, p.psnr) for p in inter if p.variant == v] for v in (ANCHOR, *variants)}
    return Panel(
        title=clip,
        curves={variant: curve for variant, curve in curves.items() if curve},
        percents={rate.variant: rate.percent for rate in rates},
        method=next((rate.method for rate in rates), None),
        backdrop=(ALL_INTRA, [(p.bpp, p.psnr) for p in points if p.intra]),
        wide=True,
    )


def rd_figure(study: ClipStudy, variants: Sequence[Variant]) -> bytes:
    """Curves of every clip, and below them what each of `variants` takes beyond fp32; the study has points."""
    panels = [rd_panel(study, clip, variants) for clip in study.clips]
    note = (
        "In brackets the BD-rate against FP32 on the clip. Below: at FP32's bits per pixel; linear within"
        f" ±{LINEAR_TO:g} %, logarithmic beyond."
    )
    figure, grid = panel_grid(len(panels), (4.1, 3.0), note)
    for number, (panel, (above, below)) in enumerate(zip(panels, grid, strict=True)):
        above.sharex(below)
        if number:
            below.sharey(grid[0][1])
        draw_curves(above, panel, own_variants(study))
        draw_differences(below, panel, own_variants(study))
        limit_curves(above, [panel])
        above.set_title(panel.title, fontsize=12, weight="bold", loc="left")
        below.set_xlabel(RATE, fontsize=10)
        if is_leftmost(number):
            above.set_ylabel(QUALITY, fontsize=10)
            below.set_ylabel(BEYOND, fontsize=10)
    limit_differences([below for _, below in grid])
    return png(figure)
