"""A rate-distortion study as files: JSON is the result; CSV, markdown and figures are made of the same study."""

from collections.abc import Mapping

from harness.jpeg import JPEG_SETTINGS
from harness.rd import ANCHOR, BdRate, JpegPoint, Point, Row, Search, Study, Variant
from harness.rd_study import GATE_RULE
from harness.report.plain_data import rounded, to_csv, to_json
from harness.report.rd_figures import bar_figure, curve_figures
from harness.report.rd_markdown import to_rd_markdown

__all__ = ["rd_files", "to_bd_rate_csv", "to_rd_csv", "to_rd_json"]

RD_SCHEMA = 2
_COLUMNS = (
    "codec", "quality", "lambda", "variant", "precision", "scope", "calibrator", "bpp", "file_bpp",
    "psnr", "ms_ssim", "ms_ssim_db", "jpeg_psnr", "margin", "file_margin", "verdict", "judged",
)  # fmt: skip
_BD_COLUMNS = (
    "codec", "variant", "precision", "scope", "calibrator", "anchor", "method", "percent",
    "overlap", "note", "ms_ssim_percent", "ms_ssim_overlap", "ms_ssim_note",
)  # fmt: skip


def rd_files(study: Study, *, command: str, environment: Mapping[str, str]) -> dict[str, bytes]:
    """Every report of the study, by file name."""
    figures = curve_figures(study) | {"bd-rate.png": bar_figure(study)}
    page = to_rd_markdown(study, command=command, environment=environment, figures=list(figures))
    return {
        "rd.json": to_rd_json(study, command=command, environment=environment).encode(),
        "rd.csv": to_rd_csv(study).encode(),
        "bd-rate.csv": to_bd_rate_csv(study).encode(),
        "rd.md": page.encode(),
        **figures,
    }


def to_rd_json(study: Study, *, command: str, environment: Mapping[str, str]) -> str:
    """Everything, down to each picture and the width of each tensor."""
    results = {
        "schema": RD_SCHEMA,
        "command": command,
        "environment": dict(environment),
        "points": [
            _row_values(row)
            | {"widths": dict(row.point.widths), "images": _images(row.point)}
            for row in study.rows
        ],
        "jpeg": {
            "settings": JPEG_SETTINGS,
            "points": [_jpeg_values(point) for point in study.jpeg],
        },
        "bd_rate": [_bd_values(rate) for rate in study.bd_rates],
        "narrowest": [_search_values(search) for search in study.searches],
        "gate": {
            "rule": GATE_RULE,
            "exit_code": study.exit_code,
            "problems": list(study.problems),
            "warnings": list(study.warnings),
        },
    }  # fmt: skip
    return to_json(results)


def to_rd_csv(study: Study) -> str:
    """One line a rate point and variant; JPEG is the codec `jpeg`."""
    jpeg = [
        {"codec": "jpeg", **_jpeg_values(point), "file_bpp": rounded(point.bpp)}
        for point in study.jpeg
    ]
    return to_csv(_COLUMNS, [*map(_row_values, study.rows), *jpeg])


def to_bd_rate_csv(study: Study) -> str:
    """One line a family and variant."""
    return to_csv(_BD_COLUMNS, list(map(_bd_values, study.bd_rates)))


def _images(point: Point) -> list[dict[str, object]]:
    return [
        {
            "image": sample.image,
            "pixels": sample.pixels,
            "payload_bytes": sample.payload_bytes,
            "file_bytes": sample.file_bytes,
            "bpp": rounded(sample.bpp),
            "psnr": rounded(sample.psnr),
            "ms_ssim": rounded(sample.ms_ssim),
        }
        for sample in point.samples
    ]


def _row_values(row: Row) -> dict[str, object]:
    point = row.point
    return {
        "codec": point.family,
        "quality": point.quality,
        "lambda": point.lmbda,
        **_variant_values(point.variant, point.calibrator),
        "bpp": rounded(point.bpp),
        "file_bpp": rounded(point.file_bpp),
        "psnr": rounded(point.psnr),
        "ms_ssim": rounded(point.ms_ssim),
        "ms_ssim_db": rounded(point.ms_ssim_db),
        "jpeg_psnr": rounded(row.jpeg_psnr),
        "margin": rounded(row.margin),
        "file_margin": rounded(row.file_margin),
        "verdict": row.verdict,
        "judged": point.variant.is_judged,
    }


def _variant_values(variant: Variant, calibrator: str) -> dict[str, object]:
    """`calibrator` is the one that was used, whether or not it was asked for by name."""
    return {
        "variant": variant.label,
        "precision": variant.precision,
        "scope": variant.scope,
        "calibrator": calibrator,
    }


def _jpeg_values(point: JpegPoint) -> dict[str, object]:
    return {"quality": point.quality, "bpp": rounded(point.bpp), "psnr": rounded(point.psnr)}


def _bd_values(rate: BdRate) -> dict[str, object]:
    return {
        "codec": rate.family,
        **_variant_values(rate.variant, rate.calibrator),
        "anchor": ANCHOR.label,
        "method": rate.method,
        "percent": rounded(rate.psnr.percent),
        "overlap": rounded(rate.psnr.overlap),
        "note": rate.psnr.note,
        "ms_ssim_percent": rounded(rate.ms_ssim.percent),
        "ms_ssim_overlap": rounded(rate.ms_ssim.overlap),
        "ms_ssim_note": rate.ms_ssim.note,
    }


def _search_values(search: Search) -> dict[str, object]:
    best = search.narrowest
    return {
        "pattern": search.pattern,
        "scope": search.scope,
        "calibrator": search.calibrator,
        "budget_percent": search.budget,
        "narrowest": best.variant.precision if best else None,
        "trials": [
            {
                "precision": trial.variant.precision,
                "calibrator": trial.calibrator,
                "bits": trial.bits,
                "percent": {family: rounded(p) for family, p in trial.percents.items()},
                "worst": rounded(trial.worst),
                "within": trial.is_within,
                "note": trial.note,
            }
            for trial in search.trials
        ],
    }
