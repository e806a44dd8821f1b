"""A rate-distortion study as JSON, CSV, markdown and a figure: pure functions of it."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.rd import ANCHOR_PRECISION, BD_METHODS, JPEG_SETTINGS, JpegPoint, Point, Row, Study
from harness.report.figures import DPI, RC, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rd_figure", "rd_files", "to_rd_csv", "to_rd_json", "to_rd_markdown"]

RD_SCHEMA = 1
_COLUMNS = (
    "codec", "quality", "lambda", "precision", "bpp", "file_bpp", "psnr", "jpeg_psnr", "margin",
    "file_margin", "verdict",
)  # fmt: skip
# Colour-blind safe (Okabe and Ito): a colour a family; a marker and a dash a precision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_STYLES = (("-", "o"), ("--", "x"), (":", "s"), ("-.", "^"))
_JPEG_COLOUR = "#57606a"


def rd_files(study: Study, *, command: str, environment: Mapping[str, str]) -> dict[str, bytes]:
    """Every report of the study, by file name."""
    return {
        "rd.json": to_rd_json(study, command=command, environment=environment).encode(),
        "rd.csv": to_rd_csv(study).encode(),
        "rd.md": to_rd_markdown(study, command=command, environment=environment).encode(),
        "rd.png": rd_figure(study),
    }


def to_rd_json(study: Study, *, command: str, environment: Mapping[str, str]) -> str:
    """Everything, down to each picture."""
    results = {
        "schema": RD_SCHEMA,
        "command": command,
        "environment": dict(environment),
        "points": [_row_values(row) | {"images": _images(row.point)} for row in study.rows],
        "jpeg": {
            "settings": JPEG_SETTINGS,
            "points": [_jpeg_values(point) for point in study.jpeg],
        },
        "bd_rate": [
            {
                "family": rate.family,
                "precision": rate.precision,
                "anchor": ANCHOR_PRECISION,
                "method": rate.method,
                "percent": _rounded(rate.percent),
                "overlap": _rounded(rate.overlap),
                "note": rate.note,
            }
            for rate in study.bd_rates
        ],
        "gate": {
            "exit_code": study.exit_code,
            "problems": list(study.problems),
            "warnings": list(study.warnings),
        },
    }
    return json.dumps(results, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _images(point: Point) -> list[dict[str, object]]:
    return [
        {
            "image": sample.image,
            "pixels": sample.pixels,
            "payload_bytes": sample.payload_bytes,
            "file_bytes": sample.file_bytes,
            "bpp": _rounded(sample.bpp),
            "psnr": _rounded(sample.psnr),
        }
        for sample in point.samples
    ]


def _row_values(row: Row) -> dict[str, object]:
    point = row.point
    return {
        "codec": point.family,
        "quality": point.quality,
        "lambda": point.lmbda,
        "precision": point.precision,
        "bpp": _rounded(point.bpp),
        "file_bpp": _rounded(point.file_bpp),
        "psnr": _rounded(point.psnr),
        "jpeg_psnr": _rounded(row.jpeg_psnr),
        "margin": _rounded(row.margin),
        "file_margin": _rounded(row.file_margin),
        "verdict": row.verdict,
    }


def _jpeg_values(point: JpegPoint) -> dict[str, object]:
    return {"quality": point.quality, "bpp": _rounded(point.bpp), "psnr": _rounded(point.psnr)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def to_rd_csv(study: Study) -> str:
    """One line a rate point and precision; JPEG is the codec `jpeg`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row_values(row) for row in study.rows)
    writer.writerows(
        {"codec": "jpeg", **_jpeg_values(point), "file_bpp": _rounded(point.bpp)}
        for point in study.jpeg
    )
    return text.getvalue()


def to_rd_markdown(study: Study, *, command: str, environment: Mapping[str, str]) -> str:
    """The tables, below the command and the environment that they were made with."""
    word = "RED" if study.problems else "GREEN"
    sections = [
        f"# Rate and distortion: {word}",
        f"`{command}`",
        "Ran on " + _text(", ".join(f"{key} {value}" for key, value in environment.items())) + ".",
        _list("## Problems", study.problems),
        "## Rate points",
        _points(study),
        f"bpp: 8 x payload bytes / pixels. PSNR: 8-bit RGB, dB. Both are means over the"
        f" images. JPEG: {JPEG_SETTINGS}, the mean curve read at our bpp (linear in log bpp)."
        " Margin: our PSNR less JPEG's; in brackets, file against file: our rate with the container."
        " They are empty at rates that JPEG does not reach.",
        _bd_table(study),
        _list("## Warnings", study.warnings),
        "![RD curves](rd.png)",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, "", *(f"- {_text(line)}" for line in lines)]) if lines else ""


def _points(study: Study) -> str:
    """A line a codec: the first precision whole, of the others what differs from it."""
    groups = [list(g) for _, g in groupby(study.rows, key=lambda row: row.point.name)]
    first, *others = (row.point.precision for row in groups[0])
    head = ["codec", "lambda", f"{first} bpp", "PSNR", "JPEG PSNR", "margin", "verdict"]
    for precision in others:
        head += [f"{precision} bpp", "PSNR", "margin", "verdict"]
    lines = [_line(head), _line(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for base, *rest in groups:
        point = base.point
        jpeg = "" if base.jpeg_psnr is None else f"{base.jpeg_psnr:.2f}"
        cells = [point.name, "" if point.lmbda is None else f"{point.lmbda:g}"]
        cells += [f"{point.bpp:.4f}", f"{point.psnr:.3f}", jpeg, _margin(base), base.verdict]
        for row in rest:
            rate, decibel = row.point.bpp / point.bpp - 1, row.point.psnr - point.psnr
            cells.append(f"{row.point.bpp:.4f} ({100 * rate:+.2f} %)")
            cells.append(f"{row.point.psnr:.3f} ({decibel:+.3f})")
            cells += [_margin(row), row.verdict]
        lines.append(_line(cells))
    return "\n".join(lines)


def _margin(row: Row) -> str:
    margin, files = ("" if m is None else f"{m:+.2f}" for m in (row.margin, row.file_margin))
    return f"{margin} ({files})" if margin and files else margin


def _bd_table(study: Study) -> str:
    if not study.bd_rates:
        return ""
    methods = {rate.method for rate in study.bd_rates}
    variant = " and ".join(BD_METHODS[method] for method in sorted(methods))
    lines = [
        f"## BD-rate against {ANCHOR_PRECISION}",
        "",
        f"By the package bjontegaard; interpolation: {variant}. Positive: more bits for the same PSNR.",
        "",
        _line(["codec", "precision", "BD-rate", "overlap", "note"]),
        _line(["---", "---", "---:", "---:", "---"]),
    ]
    for rate in study.bd_rates:
        percent = "none" if rate.percent is None else f"{rate.percent:+.3f} %"
        overlap = "" if rate.percent is None else f"{rate.overlap:.0%}"
        lines.append(_line([rate.family, rate.precision, percent, overlap, rate.note]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def rd_figure(study: Study) -> bytes:
    """RD curves: a colour a family, a marker and a dash a precision, JPEG in grey."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(8.2, 5.4), dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        _curves(axes, study)
        return png(figure)


def _curves(axes: "Axes", study: Study) -> None:
    points = [row.point for row in study.rows]
    families = list(dict.fromkeys(point.family for point in points))
    precisions = list(dict.fromkeys(point.precision for point in points))
    rates, decibels = [p.bpp for p in points], [p.psnr for p in points]
    for number, family in enumerate(families):
        for which, precision in enumerate(precisions):
            curve = [p for p in points if (p.family, p.precision) == (family, precision)]
            dash, marker = _STYLES[which % len(_STYLES)]
            axes.plot(
                [p.bpp for p in curve], [p.psnr for p in curve], linestyle=dash, marker=marker,
                color=_COLOURS[number % len(_COLOURS)], label=f"{family} {precision}",
                markersize=5 + 3 * which, markerfacecolor="none", linewidth=1.4,
            )  # fmt: skip
    axes.plot(
        [p.bpp for p in study.jpeg], [p.psnr for p in study.jpeg],
        color=_JPEG_COLOUR, label="JPEG (Pillow, 4:2:0)", linewidth=1.2, zorder=1,
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(rates) * 0.75, max(rates) * 1.35)
    shown = [p.psnr for p in study.jpeg if axes.get_xlim()[0] <= p.bpp <= axes.get_xlim()[1]]
    axes.set_ylim(min([*decibels, *shown]) - 0.7, max([*decibels, *shown]) + 0.7)
    axes.xaxis.set_major_formatter("{x:g}")
    count = len(points[0].samples)
    axes.set_xlabel("bits per pixel (payload)")
    axes.set_ylabel("PSNR, 8-bit RGB (dB)")
    axes.set_title(f"Means over {count} image{'s' * (count != 1)}", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
