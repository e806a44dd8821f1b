"""The values of a rate-distortion study: variants, samples, points and what was found. Knows no codec, platform or report."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.bd_rate import Bd
from harness.errors import HarnessError, UserError
from harness.images import Pixels, psnr
from harness.ms_ssim import decibels

SCOPES = ("hyperprior", "decoder")
DEFAULT_SCOPE = SCOPES[0]
# Of clips: the fixed-point warp by itself, which changes fp32 too.
WARP_SCOPE = "warp"
OWN_CALIBRATOR = "own"
# Variants from this many bits on are held against JPEG; narrower ones are there to show what narrowness costs.
JUDGED_BITS = 8
ABOVE, BELOW, NO_JPEG = "above JPEG", "below JPEG", "no JPEG at this rate"
_WIDTHS = re.compile(r"w([0-9]+)a([0-9]+)(?:-o([0-9]+)|-qdq|-qoperator)?")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One rate curve of a family: a precision, what it quantizes, and how that was calibrated.

    `calibrator` is the one asked for; `OWN_CALIBRATOR` leaves the choice to the codec.
    """

    precision: str
    scope: str = DEFAULT_SCOPE
    calibrator: str = OWN_CALIBRATOR

    @property
    def label(self) -> str:
        """Name it, leaving out what is as usual.

        >>> Variant(precision="w4a4", scope="decoder", calibrator="mse").label
        'w4a4 decoder mse'
        """
        return " ".join(
            [
                self.precision,
                *([self.scope] if self.scope != DEFAULT_SCOPE else []),
                *([self.calibrator] if self.calibrator != OWN_CALIBRATOR else []),
            ]
        )

    @classmethod
    def parse(cls, label: str) -> "Variant":
        """What `label` names: a precision, then a scope and a calibrator where they are not the usual ones.

        >>> Variant.parse("w4a4 decoder mse") == Variant(precision="w4a4", scope="decoder", calibrator="mse")
        True
        """
        precision, *rest = label.split() or [""]
        scope = rest.pop(0) if rest and rest[0] in (*SCOPES, WARP_SCOPE) else DEFAULT_SCOPE
        calibrator = rest.pop(0) if rest else OWN_CALIBRATOR
        if rest or not precision:
            raise UserError(
                f"no variant {label!r}: write a precision, a scope ({' or '.join(SCOPES)}) and a calibrator,"
                " such as 'w4a4 decoder mse' or 'w4a4 mse'"
            )
        return cls(precision=precision, scope=scope, calibrator=calibrator)

    @property
    def is_judged(self) -> bool:
        """Held against JPEG: fp32, and widths of at least `JUDGED_BITS` in the usual scope and calibration.

        >>> [Variant(precision=p).is_judged for p in ("fp32", "w8a8-qdq", "w16a4", "w8a8-o4", "mixed-x")]
        [True, True, False, False, False]
        """
        if self == ANCHOR:
            return True
        match = _WIDTHS.fullmatch(self.precision)
        widths = [int(bits) for bits in match.groups() if bits] if match else [0]
        usual = (self.scope, self.calibrator) == (DEFAULT_SCOPE, OWN_CALIBRATOR)
        return usual and min(widths) >= JUDGED_BITS


# The one curve that every other is compared with.
ANCHOR = Variant(precision="fp32")


def variants(
    precisions: Sequence[str],
    scopes: Sequence[str],
    calibrators: Sequence[str],
    others: Sequence[Variant] = (),
) -> list[Variant]:
    """The anchor, every combination, the others, each once. FP32 quantizes nothing: it has no calibrator, and no scope but the warp's."""
    chosen = [
        Variant(precision=precision, scope=scope, calibrator=calibrator)
        for scope in scopes
        for calibrator in calibrators
        for precision in precisions
    ]
    real = [
        v for v in (*chosen, *others) if v.precision != ANCHOR.precision or v.scope == WARP_SCOPE
    ]
    return list(dict.fromkeys([ANCHOR, *real]))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture at one rate point: the payload is the codec's own rate, the file has the container too.

    `psnr` in dB, `ms_ssim` from 0 to 1, both of 8-bit RGB; no MS-SSIM of a picture that is too small, or of JPEG.
    """

    image: str
    pixels: int
    payload_bytes: int
    file_bytes: int
    psnr: float
    ms_ssim: float | None = None

    @property
    def bpp(self) -> float:
        return 8 * self.payload_bytes / self.pixels

    @property
    def file_bpp(self) -> float:
        return 8 * self.file_bytes / self.pixels


@dataclass(frozen=True, kw_only=True)
class Point:
    """A codec's rate point in a variant; its figures are means over the pictures.

    `calibrator` is the one that was used; `widths`: what each tensor is held in, such as "u8"; empty for fp32.
    """

    family: str
    quality: int
    lmbda: float | None
    variant: Variant
    samples: tuple[Sample, ...]
    calibrator: str = "none"
    widths: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples:
            raise HarnessError(f"rate point {self.name} was measured on no image")

    @property
    def codec(self) -> str:
        return f"{self.family}/q{self.quality}"

    @property
    def name(self) -> str:
        return f"{self.codec} {self.variant.label}"

    @property
    def bpp(self) -> float:
        return _mean(sample.bpp for sample in self.samples)

    @property
    def file_bpp(self) -> float:
        return _mean(sample.file_bpp for sample in self.samples)

    @property
    def psnr(self) -> float:
        return _mean(sample.psnr for sample in self.samples)

    @property
    def ms_ssim(self) -> float | None:
        """The mean over all pictures, so None if any has none."""
        values = [sample.ms_ssim for sample in self.samples if sample.ms_ssim is not None]
        return _mean(values) if len(values) == len(self.samples) else None

    @property
    def ms_ssim_db(self) -> float | None:
        """The mean MS-SSIM in dB (not the mean of dB)."""
        return decibels(self.ms_ssim)


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
    """What a family's variant costs against the anchor, by PSNR and by MS-SSIM in dB; payload bytes only."""

    family: str
    variant: Variant
    calibrator: str
    method: str
    psnr: Bd
    ms_ssim: Bd

    @property
    def percent(self) -> float | None:
        return self.psnr.percent


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One step of a search. `percents`: BD-rate by family, empty where the variant cannot be built.

    `worst` is the largest, None if any family has none. `calibrator` is the one that was used: a codec's own may depend
    on the precision.
    """

    variant: Variant
    calibrator: str
    bits: int
    percents: Mapping[str, float | None]
    worst: float | None
    is_within: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """A scan up from 2 bits. `pattern` is `wBaB`, `wBa16` or `w16aB`; `budget` is in percent of BD-rate."""

    pattern: str
    scope: str
    calibrator: str
    budget: float
    trials: tuple[Trial, ...]

    @property
    def narrowest(self) -> Trial | None:
        """The one that is within the budget, with which the scan ended; None if even the widest costs too much."""
        return next((trial for trial in self.trials if trial.is_within), None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that was found. The gate is red if there is any problem; warnings only qualify a number."""

    rows: tuple[Row, ...]
    jpeg: tuple[JpegPoint, ...]
    bd_rates: tuple[BdRate, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    searches: tuple[Search, ...] = ()

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0


def sample(
    image: str,
    original: Pixels,
    picture: Pixels,
    *,
    payload_bytes: int,
    file_bytes: int,
    ms_ssim: float | None,
) -> Sample:
    """Measure one decoded picture; its MS-SSIM is given, since it takes long and JPEG does without."""
    decibel = psnr(original, picture)
    if math.isinf(decibel):
        raise UserError(
            f"{image!r} comes back without any error: its PSNR is infinite and has no mean; leave it out"
        )
    return Sample(
        image=image,
        pixels=original.shape[0] * original.shape[1],
        payload_bytes=payload_bytes,
        file_bytes=file_bytes,
        psnr=decibel,
        ms_ssim=ms_ssim,
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
