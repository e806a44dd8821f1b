"""Rate, distortion, BD-rate and the JPEG anchor. Knows pictures and numbers, no codec, platform or report."""

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from PIL import Image

from harness.errors import HarnessError, UserError
from harness.images import Pixels, psnr

ANCHOR_PRECISION = "fp32"
JPEG_QUALITIES = range(2, 96)
JPEG_SETTINGS = "Pillow JPEG as Image.save makes it (4:2:0, standard Huffman tables), whole files"
# What an interpolation is called where BD-rates are published.
BD_METHODS: Mapping[str, str] = {
    "pchip": "PCHIP, as in the JCT-VC and JVET sheets",
    "cubic": "cubic polynomial, as in VCEG-M33",
    "akima": "Akima",
}
LEAST_POINTS = 4
LEAST_OVERLAP = 0.75
ABOVE, BELOW, NO_JPEG = "above JPEG", "below JPEG", "no JPEG at this rate"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture at one rate point: the payload is the codec's own rate, the file has the container too."""

    image: str
    pixels: int
    payload_bytes: int
    file_bytes: int
    psnr: float

    @property
    def bpp(self) -> float:
        return 8 * self.payload_bytes / self.pixels

    @property
    def file_bpp(self) -> float:
        return 8 * self.file_bytes / self.pixels


@dataclass(frozen=True, kw_only=True)
class Point:
    """A codec's rate point at a precision; its figures are means over the pictures."""

    family: str
    quality: int
    lmbda: float | None
    precision: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise HarnessError(f"rate point {self.name} {self.precision} was measured on no image")

    @property
    def name(self) -> str:
        return f"{self.family}/q{self.quality}"

    @property
    def bpp(self) -> float:
        return _mean(sample.bpp for sample in self.samples)

    @property
    def file_bpp(self) -> float:
        return _mean(sample.file_bpp for sample in self.samples)

    @property
    def psnr(self) -> float:
        return _mean(sample.psnr for sample in self.samples)


@dataclass(frozen=True, kw_only=True)
class JpegPoint:
    quality: int
    bpp: float
    psnr: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A rate point beside JPEG. `jpeg_psnr` and `margin` are None at rates that the sweep does not reach.

    `margin` compares our payload with JPEG's whole file; `file_margin` compares file with file.
    """

    point: Point
    jpeg_psnr: float | None
    margin: float | None
    file_margin: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class BdRate:
    """BD-rate of `precision` against the anchor; None, with the reason in `note`, where there is none."""

    family: str
    precision: str
    method: str
    percent: float | None
    overlap: float
    note: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that was found. The gate is red if there is any problem; warnings only qualify a number."""

    rows: tuple[Row, ...]
    jpeg: tuple[JpegPoint, ...]
    bd_rates: tuple[BdRate, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0


def sample(
    image: str, original: Pixels, picture: Pixels, *, payload_bytes: int, file_bytes: int
) -> Sample:
    """Measure one decoded picture."""
    return Sample(
        image=image,
        pixels=original.shape[0] * original.shape[1],
        payload_bytes=payload_bytes,
        file_bytes=file_bytes,
        psnr=_finite(image, psnr(original, picture)),
    )


def jpeg_sweep(image: str, pixels: Pixels) -> list[Sample]:
    """The picture as a JPEG file of every quality of `JPEG_QUALITIES`, in that order."""
    found = []
    for quality in JPEG_QUALITIES:
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
        except OSError as error:
            raise UserError(f"{image!r} cannot be a JPEG: {error}; crop it") from error
        size = buffer.tell()
        with Image.open(buffer, formats=["JPEG"]) as decoded:
            picture = np.asarray(decoded.convert("RGB"))
        found.append(sample(image, pixels, picture, payload_bytes=size, file_bytes=size))
    return found


def jpeg_curve(sweeps: Sequence[Sequence[Sample]]) -> tuple[JpegPoint, ...]:
    """Mean rate and mean PSNR of each quality over the pictures' sweeps."""
    return tuple(
        JpegPoint(
            quality=quality,
            bpp=_mean(s.file_bpp for s in samples),
            psnr=_mean(s.psnr for s in samples),
        )
        for quality, samples in zip(JPEG_QUALITIES, zip(*sweeps, strict=True), strict=True)
    )


def jpeg_psnr_at(bpp: float, jpeg: Sequence[JpegPoint]) -> float | None:
    """JPEG's PSNR at `bpp`, linear in log bpp between its points; None outside of them.

    >>> curve = [JpegPoint(quality=2, bpp=0.25, psnr=24.0), JpegPoint(quality=9, bpp=1.0, psnr=30.0)]
    >>> jpeg_psnr_at(0.5, curve)
    27.0
    """
    curve = {point.bpp: point.psnr for point in sorted(jpeg, key=lambda p: (p.bpp, p.psnr))}
    rates = list(curve)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), list(curve.values())))


def against_jpeg(point: Point, jpeg: Sequence[JpegPoint]) -> Row:
    """Beyond either end of JPEG's curve a point is judged only where one of the two is better in both respects."""
    at_payload, at_file = (jpeg_psnr_at(rate, jpeg) for rate in (point.bpp, point.file_bpp))
    lowest, highest = (pick(jpeg, key=lambda p: p.bpp) for pick in (min, max))
    if at_payload is not None:
        verdict = BELOW if point.psnr < at_payload else ABOVE
    elif point.bpp < lowest.bpp and point.psnr >= lowest.psnr:
        verdict = ABOVE
    elif point.bpp > highest.bpp and point.psnr < highest.psnr:
        verdict = BELOW
    else:
        verdict = NO_JPEG
    return Row(
        point=point,
        jpeg_psnr=at_payload,
        margin=None if at_payload is None else point.psnr - at_payload,
        file_margin=None if at_file is None else point.psnr - at_file,
        verdict=verdict,
    )


def bd_rate(
    anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], method: str
) -> tuple[float | None, float, str]:
    """(BD-rate in percent, overlap of the PSNR intervals from 0 to 1, warning or reason) of (rate, PSNR) points."""
    if method not in BD_METHODS:
        raise UserError(f"no BD-rate method {method!r}; known: {', '.join(BD_METHODS)}")
    curves = [sorted(anchor), sorted(test)]
    if (fewest := min(map(len, curves))) < LEAST_POINTS:
        return None, 0.0, f"none: {fewest} rate points, BD-rate takes at least {LEAST_POINTS}"
    if not all(low[1] < high[1] for curve in curves for low, high in pairwise(curve)):
        return None, 0.0, "none: PSNR does not rise with the rate"
    (a_low, a_high), (b_low, b_high) = ((curve[0][1], curve[-1][1]) for curve in curves)
    overlap = max(min(a_high, b_high) - max(a_low, b_low), 0) / (
        max(a_high, b_high) - min(a_low, b_low)
    )
    if overlap == 0:
        return None, 0.0, "none: the PSNR intervals do not overlap"
    from bjontegaard import bd_rate as bjontegaard  # noqa: PLC0415 - imports all of pyplot

    (rates_a, psnrs_a), (rates_b, psnrs_b) = (np.array(curve).T for curve in curves)
    percent = bjontegaard(
        rates_a, psnrs_a, rates_b, psnrs_b, method, require_matching_points=False, min_overlap=0
    )
    few = "" if overlap >= LEAST_OVERLAP else f"the PSNR intervals overlap by only {overlap:.0%}"
    return float(percent), overlap, few


def not_monotone(curve: Sequence[Point]) -> list[str]:
    """Where bpp or PSNR fails to rise from one quality to the next of a family's curve at one precision."""
    ordered = sorted(curve, key=lambda point: point.quality)
    return [
        f"{low.name} -> q{high.quality} {low.precision}: {what} does not rise with quality"
        f" ({before:.4f} -> {after:.4f})"
        for low, high in pairwise(ordered)
        for what, before, after in (
            ("bpp", low.bpp, high.bpp),
            ("PSNR", low.psnr, high.psnr),
        )
        if not before < after
    ]


def study(points: Sequence[Point], jpeg: Sequence[JpegPoint], method: str) -> Study:
    """Compare every point with JPEG, every precision with the anchor, every curve with itself."""
    if not points or not jpeg:
        raise HarnessError("no rate point or no JPEG was measured")
    if len({tuple((s.image, s.pixels) for s in point.samples) for point in points}) != 1:
        raise HarnessError("the rate points were not measured on the same images")
    ordered = sorted(points, key=lambda p: (p.family, p.quality))  # stable: precisions as given
    rows = [against_jpeg(point, jpeg) for point in ordered]
    problems = [_below(row) for row in rows if row.verdict == BELOW]
    if all(row.verdict == NO_JPEG for row in rows):
        problems.append("no rate point lies at a rate where JPEG can be compared")
    warnings = [
        f"{row.point.name} {row.point.precision}: JPEG has no {row.point.bpp:.4f} bpp to compare"
        for row in rows
        if row.verdict == NO_JPEG
    ]
    rates = []
    for family, members in groupby(ordered, key=lambda p: p.family):
        curves = _by_precision(members)
        for precision, curve in curves.items():
            problems += not_monotone(curve)
            if len(curve) == 1:
                warnings.append(
                    f"{family} {precision}: one rate point, so there is no curve to check"
                )
        rates += list(_bd_rates(family, curves, method))
    warnings += [f"BD-rate of {r.family} {r.precision}: {r.note}" for r in rates if r.note]
    return Study(
        rows=tuple(rows),
        jpeg=tuple(jpeg),
        bd_rates=tuple(rates),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _by_precision(points: Iterable[Point]) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.precision, []).append(point)
    return curves


def _bd_rates(family: str, curves: Mapping[str, Sequence[Point]], method: str) -> Iterator[BdRate]:
    if ANCHOR_PRECISION not in curves:
        return
    anchor = [(point.bpp, point.psnr) for point in curves[ANCHOR_PRECISION]]
    for precision, curve in curves.items():
        if precision != ANCHOR_PRECISION:
            test = [(point.bpp, point.psnr) for point in curve]
            percent, overlap, note = bd_rate(anchor, test, method)
            yield BdRate(
                family=family,
                precision=precision,
                method=method,
                percent=percent,
                overlap=overlap,
                note=note,
            )


def _below(row: Row) -> str:
    point = row.point
    name = f"{point.name} {point.precision}"
    if row.margin is None:
        return f"{name}: below JPEG's best, at a higher rate ({point.bpp:.4f} bpp)"
    return f"{name}: {-row.margin:.2f} dB below JPEG at {point.bpp:.4f} bpp"


def _finite(image: str, decibel: float) -> float:
    if math.isinf(decibel):
        raise UserError(
            f"{image!r} comes back without any error: its PSNR is infinite and has no mean; leave it out"
        )
    return decibel


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
