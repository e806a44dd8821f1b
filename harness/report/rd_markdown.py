"""A rate-distortion study as a page of markdown: what each precision costs first, every number after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.bd_rate import BD_METHODS
from harness.jpeg import JPEG_SETTINGS
from harness.rd import (
    ANCHOR,
    DEFAULT_SCOPE,
    OWN_CALIBRATOR,
    Point,
    Row,
    Search,
    Study,
    Variant,
)
from harness.rd_study import GATE_RULE
from harness.report.page import Line, listing, percent, side_by_side, table, text

__all__ = ["to_rd_markdown"]

_HOW_BD = (
    "By the package bjontegaard; payload bytes only, every line against the one fp32 anchor of its family, the mean"
    " curve over the images. Positive: more bits for the same quality. MS-SSIM in dB, -10 log10(1 - mean)."
)
_HOW_POINTS = (
    "bpp: 8 x payload bytes / pixels. PSNR: 8-bit RGB, dB. MS-SSIM: 8-bit RGB. All are means over the images; in"
    f" brackets, against {ANCHOR.label}. JPEG: {JPEG_SETTINGS}, the mean curve read at our bpp (linear in log bpp)."
    " Margin: our PSNR less JPEG's; in brackets, file against file: our rate with the container. They are empty at"
    " rates that JPEG does not reach; in brackets too a verdict that is not judged."
)
_HOW_WIDTHS = (
    "s8 is signed in 8 bits, u8 unsigned. Columns with equal widths are one; fp32 has none. A width that is not that of"
    " every rate point says of which."
)


def to_rd_markdown(
    study: Study, *, command: str, environment: Mapping[str, str], figures: Sequence[str]
) -> str:
    """The tables, below the command and the environment that they were made with; figures by file name."""
    word = "RED" if study.problems else "GREEN"
    sections = [
        f"# Rate and distortion: {word}",
        f"`{command}`",
        "Ran on " + text(", ".join(f"{key} {value}" for key, value in environment.items())) + ".",
        listing("## Problems", study.problems),
        _bd_table(study),
        _side_by_side(
            study,
            "Calibrators",
            _calibrator,
            lambda v: replace(v, calibrator=OWN_CALIBRATOR),
        ),
        _side_by_side(
            study, "Scopes", lambda v: v.scope, lambda v: replace(v, scope=DEFAULT_SCOPE)
        ),
        *map(_search, study.searches),
        "\n\n".join(f"![{name.removesuffix('.png')}]({name})" for name in figures),
        _widths(study),
        "## Rate points",
        _points(study),
        _HOW_POINTS,
        GATE_RULE,
        listing("## Warnings", study.warnings),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _bd_table(study: Study) -> str:
    if not study.bd_rates:
        return ""
    methods = " and ".join(BD_METHODS[m] for m in sorted({rate.method for rate in study.bd_rates}))
    rows = [
        [
            rate.family,
            rate.variant.precision,
            rate.variant.scope,
            text(rate.calibrator),
            percent(rate.psnr.percent),
            percent(rate.ms_ssim.percent),
            "" if rate.percent is None else f"{rate.psnr.overlap:.0%}",
            text(rate.psnr.note),
        ]
        for rate in study.bd_rates
    ]
    head = ["codec", "precision", "scope", "calibrator", "BD-rate", "by MS-SSIM", "overlap", "note"]
    return "\n\n".join(
        [
            f"## BD-rate against {ANCHOR.label}",
            f"{_HOW_BD} Interpolation: {methods}.",
            table(head, rows, words=4),
        ]
    )


def _side_by_side(
    study: Study,
    title: str,
    part: Callable[[Variant], str],
    without: Callable[[Variant], Variant],
) -> str:
    """The same BD-rates with a column for each scope, or calibrator, where there are several."""
    cells: dict[tuple[Line, str], str] = {
        ((rate.family, without(rate.variant).label), part(rate.variant)): percent(rate.percent)
        for rate in study.bd_rates
    }
    return side_by_side(f"{title} side by side: BD-rate", ("codec", "variant"), cells)


def _calibrator(variant: Variant) -> str:
    return "the codec's own" if variant.calibrator == OWN_CALIBRATOR else variant.calibrator


def _search(search: Search) -> str:
    best = search.narrowest
    where = f"scope {search.scope}"
    if search.calibrator != OWN_CALIBRATOR:
        where += f", calibrator {search.calibrator}"
    found = f"**{best.variant.precision}**" if best else "none"
    families = list(dict.fromkeys(name for trial in search.trials for name in trial.percents))
    rows = [
        [
            trial.variant.precision,
            text(trial.calibrator),
            "yes" if trial.is_within else "no",
            *(percent(trial.percents.get(family)) for family in families),
            percent(trial.worst),
            text(trial.note),
        ]
        for trial in search.trials
    ]
    head = ["precision", "calibrator", "within", *families, "worst", "note"]
    return "\n\n".join(
        [
            f"## Narrowest {search.pattern} within {search.budget:g} % ({text(where)}): {found}",
            "From 2 bits up, ending at the first width whose BD-rate is within the budget in every family; widths that cannot"
            " be built are passed over.",
            table(head, rows, words=3),
        ]
    )


def _widths(study: Study) -> str:
    """A table a family: a line a tensor, a column for variants that agree in everything."""
    sections = []
    points = [row.point for row in study.rows if row.point.widths]
    for family in dict.fromkeys(point.family for point in points):
        columns: dict[tuple[tuple[str, str], ...], list[str]] = {}
        curves: dict[Variant, list[Point]] = {}
        for point in points:
            if point.family == family:
                curves.setdefault(point.variant, []).append(point)
        for variant, curve in curves.items():
            columns.setdefault(tuple(_of_curve(curve).items()), []).append(variant.label)
        tensors = list(dict.fromkeys(tensor for column in columns for tensor, _ in column))
        rows = [[text(t), *(text(dict(column).get(t, "")) for column in columns)] for t in tensors]
        head = ["tensor", *(text(", ".join(labels)) for labels in columns.values())]
        sections.append(f"### {family}\n\n{table(head, rows, words=len(head))}")
    return "\n\n".join(["## Width of every tensor", _HOW_WIDTHS, *sections]) if sections else ""


def _of_curve(curve: Sequence[Point]) -> dict[str, str]:
    """The width of each tensor; where rate points differ, each width with its rate points."""
    found: dict[str, str] = {}
    for tensor in dict.fromkeys(name for point in curve for name in point.widths):
        by_width: dict[str, list[str]] = {}
        for point in curve:
            by_width.setdefault(point.widths.get(tensor, "none"), []).append(f"q{point.quality}")
        shared = len(by_width) == 1
        found[tensor] = ", ".join(
            width if shared else f"{width} ({' '.join(where)})" for width, where in by_width.items()
        )
    return found


def _points(study: Study) -> str:
    """A line a rate point and variant; the anchor's first, of the others what differs from it too."""
    anchors = {row.point.codec: row.point for row in study.rows if row.point.variant == ANCHOR}
    rows = [_point(row, anchors.get(row.point.codec)) for row in study.rows]
    head = [
        "codec",
        "lambda",
        "variant",
        "verdict",
        "bpp",
        "PSNR",
        "MS-SSIM",
        "JPEG PSNR",
        "margin",
    ]
    return table(head, rows, words=4)


def _point(row: Row, anchor: Point | None) -> list[str]:
    point = row.point
    bpp, psnr = f"{point.bpp:.4f}", f"{point.psnr:.3f}"
    if anchor is not None and anchor is not point:
        bpp += f" ({100 * (point.bpp / anchor.bpp - 1):+.2f} %)"
        psnr += f" ({point.psnr - anchor.psnr:+.3f})"
    return [
        point.codec,
        "" if point.lmbda is None else f"{point.lmbda:g}",
        text(point.variant.label),
        row.verdict if point.variant.is_judged else f"({row.verdict})",
        bpp,
        psnr,
        "none" if point.ms_ssim is None else f"{point.ms_ssim:.5f}",
        "" if row.jpeg_psnr is None else f"{row.jpeg_psnr:.2f}",
        _margin(row),
    ]


def _margin(row: Row) -> str:
    margin, files = ("" if m is None else f"{m:+.2f}" for m in (row.margin, row.file_margin))
    return f"{margin} ({files})" if margin and files else margin
