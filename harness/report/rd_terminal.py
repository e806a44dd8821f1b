"""A rate-distortion study for a terminal: tables for rich, and the lines below them."""

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from harness.rd import Study

__all__ = ["number", "plain_table", "rd_renderables", "search_lines"]


def rd_renderables(study: Study) -> list[RenderableType]:
    """Rate points, then BD-rates: what is asked for most is last, where the eye is. Made to fit 80 columns."""
    points = plain_table("codec", "variant", "bpp", "PSNR", "MS-SSIM", "dB over JPEG")
    for row in study.rows:
        point = row.point
        points.add_row(
            point.codec,
            point.variant.label,
            f"{point.bpp:.4f}",
            f"{point.psnr:.2f}",
            number(point.ms_ssim, 4),
            "" if row.margin is None else f"{row.margin:+.2f}",
        )
    rates = plain_table("codec", "variant", "calibrator", "BD-rate %", "by MS-SSIM")
    for rate in study.bd_rates:
        rates.add_row(
            rate.family,
            rate.variant.label,
            rate.calibrator,
            number(rate.percent, 3, "none"),
            number(rate.ms_ssim.percent, 3, "none"),
        )
    return [points, *([rates] if study.bd_rates else [])]


def search_lines(study: Study) -> list[str]:
    """One line a search."""
    return [
        f"narrowest {search.pattern} within {search.budget:g} %, scope {search.scope},"
        f" calibrator {search.calibrator}: "
        + (
            f"{best.variant.precision} ({number(best.worst, 3)} %)"
            if (best := search.narrowest)
            else "none"
        )
        for search in study.searches
    ]


def plain_table(*titles: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True)
    return table


def number(value: float | None, digits: int, nothing: str = "") -> str:
    return nothing if value is None else f"{value:.{digits}f}"
