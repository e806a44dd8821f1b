"""A study of a video codec for a terminal: tables for rich, and the lines below them."""

from collections.abc import Sequence

from rich.console import RenderableType

from harness.clip_rd import MEAN, ClipBdRate, ClipStudy
from harness.rd import ANCHOR
from harness.report.page import percent
from harness.report.rd_terminal import number, plain_table
from harness.report.ssf_accumulation import accumulation_sentence, accumulations
from harness.report.ssf_conclusions import conclusions_by_calibrator, published
from harness.report.ssf_drift import by_kind, drift_sentences, tally
from harness.report.ssf_tables import intra_sentence

__all__ = ["ssf_lines", "ssf_renderables"]


def ssf_renderables(study: ClipStudy) -> list[RenderableType]:
    """Drift, then BD-rates: what is asked for most is last, where the eye is. Made to fit 80 columns."""
    drifts = plain_table("variant", "streams", "flips", "wrong", "identical", "worst dB")
    for name, members in by_kind(study.drifts).items():
        found = tally(members)
        drifts.add_row(
            name,
            str(len(members)),
            f"{found.flips:,}",
            f"{found.wrong_symbols:,}",
            f"{found.identical:,}/{found.frames:,}",
            number(found.worst_psnr, 1),
        )
    rates = plain_table("variant", "calibrator", "BD-rate %", "published", "clips")
    for variant in dict.fromkeys(rate.variant for rate in study.bd_rates):
        members_of = [rate for rate in study.bd_rates if rate.variant == variant]
        mean = next((rate for rate in members_of if rate.clip == MEAN), None)
        each = [r.percent for r in members_of if r.clip != MEAN and r.percent is not None]
        rates.add_row(
            variant.label,
            ", ".join(dict.fromkeys(rate.calibrator for rate in members_of)),
            number(None if mean is None else mean.percent, 3, "none"),
            number(published(variant), 1),
            f"{min(each):.3f} to {max(each):.3f}" if each else "",
        )
    return [*([drifts] if study.drifts else []), *([rates] if study.bd_rates else [])]


def open_loop_sentence(study: ClipStudy) -> str:
    """The mean of every variant where no loop is closed."""
    each = _means(study.open_bd_rates)
    return f"Open loop, every frame from {ANCHOR.label}'s reference: mean BD-rate {each}."


def mirrored_sentence(study: ClipStudy) -> str:
    """The mean of every variant over the clips' mirrorings."""
    each = _means(study.mirrored_bd_rates)
    return f"Closed loop, clips mirrored: mean BD-rate and its standard error {each}."


def _means(rates: Sequence[ClipBdRate]) -> str:
    means = (rate for rate in rates if rate.clip == MEAN)
    return ", ".join(f"{rate.variant.label} {percent(rate.percent, rate.error)}" for rate in means)


def ssf_lines(study: ClipStudy) -> list[str]:
    """The computed sentences: conclusions, accumulation, P frames, platforms."""
    found = conclusions_by_calibrator(study) if study.bd_rates else {}
    return [
        *(f"{name}: {each.sentence}" for name, lines in found.items() for each in lines),
        *([open_loop_sentence(study)] if study.open_bd_rates else []),
        *([mirrored_sentence(study)] if study.mirrored_bd_rates else []),
        *([accumulation_sentence(accumulations(study))] if study.points else []),
        *(line for line in [intra_sentence(study)] if line),
        *drift_sentences(study),
    ]
