"""What the published study of this codec concluded, and whether a study's own BD-rates agree: by thresholds that are stated."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.bd_rate import BD_METHODS
from harness.clip_rd import MEAN, ClipBdRate, ClipStudy
from harness.rd import ANCHOR, DEFAULT_SCOPE, OWN_CALIBRATOR, Variant

# BD-rate in percent of ssf2020 with its hyperprior decoders quantized after training, ranges by AIMET's MSE rule.
PUBLISHED = {"w4a4": 254.0, "w8a8": 5.7, "w12a12": 0.2, "w16a16": 0.1}
PUBLISHED_ON = "UVG and HEVC class B, 1920x1024, 96 frames, qualities 1, 3, 5, 7, 9"
# The calibrator of that name follows the rule that the published study used.
PUBLISHED_CALIBRATOR = "mse"

# In percent of BD-rate; the last is a difference of two of them.
UNUSABLE = 50.0
COMPROMISE = 10.0
NEAR_LOSSLESS = 0.5
REDUNDANT = 0.2
RULES = (
    f"Thresholds on the mean BD-rate. Unusable: more than {UNUSABLE:g} %. A compromise: at most {COMPROMISE:g} %, while"
    f" W4A4 takes more than that. Near lossless: within {NEAR_LOSSLESS:g} % of {ANCHOR.label}, more or less. Redundant:"
    f" W16A16 saves at most {REDUNDANT:g} points over W12A12. Every one holds of the published figures."
)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """One of the published study's; `agrees` is None where the numbers that it needs are missing."""

    claim: str
    agrees: bool | None
    finding: str

    @property
    def word(self) -> str:
        return "cannot be said" if self.agrees is None else "agrees" if self.agrees else "disagrees"

    @property
    def sentence(self) -> str:
        return f"{self.claim}: {self.word}. {self.finding}"


def conclusions(study: ClipStudy, calibrator: str = OWN_CALIBRATOR) -> list[Conclusion]:
    """All four, of the hyperprior scope calibrated by `calibrator`."""
    rates = {
        name: mean_rate(study, Variant(precision=name, calibrator=calibrator)) for name in PUBLISHED
    }
    return [_unusable(rates), _compromise(rates), _near_lossless(rates), _redundant(rates)]


def conclusions_by_calibrator(study: ClipStudy) -> dict[str, list[Conclusion]]:
    """Those of the codec's own calibration, and of the published study's wherever it was measured too."""
    measured = {rate.variant.calibrator for rate in study.bd_rates if _is_published(rate.variant)}
    chosen = [OWN_CALIBRATOR, *({PUBLISHED_CALIBRATOR} & measured)]
    return {calibrator: conclusions(study, calibrator) for calibrator in chosen}


def mean_rate(study: ClipStudy, variant: Variant) -> ClipBdRate | None:
    """The variant's BD-rate in the mean over the clips."""
    return next((r for r in study.bd_rates if (r.clip, r.variant) == (MEAN, variant)), None)


def published(variant: Variant) -> float | None:
    """What the published study has for the precision; of the hyperprior scope only, whatever the calibrator."""
    return PUBLISHED[variant.precision] if _is_published(variant) else None


def methods(study: ClipStudy) -> str:
    """The BD-rate's variants, by the names they are published under."""
    return " and ".join(BD_METHODS[m] for m in sorted({rate.method for rate in study.bd_rates}))


def _is_published(variant: Variant) -> bool:
    return variant.scope == DEFAULT_SCOPE and variant.precision in PUBLISHED


_Rates = dict[str, ClipBdRate | None]


def _unusable(rates: _Rates) -> Conclusion:
    claim = "W4A4 is unusable"
    (percent,), missing = _percents(rates, "w4a4")
    if percent is None:
        return Conclusion(claim=claim, agrees=None, finding=missing)
    agrees = percent > UNUSABLE
    side = "more than" if agrees else "not more than"
    return Conclusion(
        claim=claim,
        agrees=agrees,
        finding=f"It takes {percent:+.2f} %, {side} {UNUSABLE:g} % ({_theirs('w4a4')}).",
    )


def _compromise(rates: _Rates) -> Conclusion:
    claim = "W8A8 is the compromise"
    (eight, four), missing = _percents(rates, "w8a8", "w4a4")
    if eight is None or four is None:
        return Conclusion(claim=claim, agrees=None, finding=missing)
    if eight > COMPROMISE:
        why = f"more than {COMPROMISE:g} %"
    elif four <= COMPROMISE:
        why = f"at most {COMPROMISE:g} %, but so does W4A4 with {four:+.2f} %"
    else:
        why = f"at most {COMPROMISE:g} %, while W4A4 takes {four:+.2f} %"
    near = "; W8A8 is near lossless itself" if abs(eight) <= NEAR_LOSSLESS else ""
    return Conclusion(
        claim=claim,
        agrees=eight <= COMPROMISE < four,
        finding=f"It takes {eight:+.2f} %, {why} ({_theirs('w8a8')}){near}.",
    )


def _near_lossless(rates: _Rates) -> Conclusion:
    claim = "W12A12 is near lossless"
    (percent,), missing = _percents(rates, "w12a12")
    if percent is None:
        return Conclusion(claim=claim, agrees=None, finding=missing)
    agrees = abs(percent) <= NEAR_LOSSLESS
    side = "within" if agrees else "beyond"
    return Conclusion(
        claim=claim,
        agrees=agrees,
        finding=f"It takes {percent:+.3f} %, {side} {NEAR_LOSSLESS:g} % ({_theirs('w12a12')}).",
    )


def _redundant(rates: _Rates) -> Conclusion:
    claim = "W16A16 is redundant"
    (sixteen, twelve), missing = _percents(rates, "w16a16", "w12a12")
    if sixteen is None or twelve is None:
        return Conclusion(claim=claim, agrees=None, finding=missing)
    saved = twelve - sixteen
    agrees = saved <= REDUNDANT
    side = "not more than" if agrees else "more than"
    return Conclusion(
        claim=claim,
        agrees=agrees,
        finding=(
            f"It takes {sixteen:+.3f} % where W12A12 takes {twelve:+.3f} %: it saves {saved:+.3f} points, {side}"
            f" {REDUNDANT:g} ({_theirs('w16a16')})."
        ),
    )


def _percents(rates: _Rates, *names: str) -> tuple[Sequence[float | None], str]:
    """(The means of `names`, why any of them is missing)."""
    found, reasons = [], []
    for name in names:
        rate = rates[name]
        found.append(None if rate is None else rate.percent)
        if rate is None:
            reasons.append(f"{name} was not measured")
        elif rate.percent is None:
            reasons.append(f"{name} has no BD-rate ({rate.psnr.note or 'no reason given'})")
    return found, f"{'; '.join(reasons)}."


def _theirs(name: str) -> str:
    return f"published: {PUBLISHED[name]:g} %"
