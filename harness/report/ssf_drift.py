"""What became of streams that one platform coded and another decoded: a line each, and one sentence a variant."""

from collections.abc import Sequence
from typing import NamedTuple

from harness.clip_rd import ClipStudy, Drift
from harness.report.page import table, text


class Tally(NamedTuple):
    """Sums over the frames that were decoded; `worst_psnr` in dB between both ends, None where no frame differs."""

    frames: int
    identical: int
    flips: int
    indexes: int
    wrong_symbols: int
    symbols: int
    worst_psnr: float | None


def tally(drifts: Sequence[Drift]) -> Tally:
    frames = [frame for drift in drifts for frame in drift.frames]
    between = [frame.psnr_between for frame in frames if frame.psnr_between is not None]
    return Tally(
        frames=sum(drift.coded for drift in drifts),
        identical=sum(frame.differing_samples == 0 for frame in frames),
        flips=sum(frame.flips for frame in frames),
        indexes=sum(frame.indexes for frame in frames),
        wrong_symbols=sum(frame.wrong_symbols for frame in frames),
        symbols=sum(frame.symbols for frame in frames),
        worst_psnr=min(between, default=None),
    )


def by_kind(drifts: Sequence[Drift]) -> dict[str, list[Drift]]:
    """What was decoded how: variant and lowering, in the order of the study."""
    found: dict[str, list[Drift]] = {}
    for drift in drifts:
        found.setdefault(kind(drift), []).append(drift)
    return found


def kind(drift: Drift) -> str:
    """Name the variant, and the lowering too where the variant does not say it."""
    label, lowering = drift.variant.label, drift.lowering
    return label if lowering in {"", *label.split()} else f"{label} {lowering}"


def drift_sentences(study: ClipStudy) -> list[str]:
    """One a variant and lowering: flips, wrong symbols and pictures over all its streams."""
    return [_sentence(name, drifts) for name, drifts in by_kind(study.drifts).items()]


def _sentence(name: str, drifts: Sequence[Drift]) -> str:
    found = tally(drifts)
    stopped = sum(bool(drift.problem) for drift in drifts)
    streams = f"{len(drifts)} stream{'s' * (len(drifts) != 1)}"
    pictures = (
        f"all {found.frames:,} pictures are identical"
        if found.identical == found.frames and found.frames
        else f"{found.identical:,} of {found.frames:,} pictures are identical"
    )
    worst = "" if found.worst_psnr is None else f", the worst at {found.worst_psnr:.1f} dB"
    halted = f"; a check of the stream failed in {stopped} of them" if stopped else ""
    return (
        f"{name}, {streams}: {found.flips:,} of {found.indexes:,} CDF indexes flipped, {found.wrong_symbols:,} of"
        f" {found.symbols:,} symbols wrong; {pictures} at both ends{worst}{halted}."
    )


def drift_table(study: ClipStudy) -> str:
    """A line a stream."""
    rows = []
    for drift in study.drifts:
        found = tally([drift])
        rows.append(
            [
                text(kind(drift)),
                text(drift.clip),
                f"q{drift.quality}",
                text(drift.encoder),
                text(drift.decoder),
                _frame(drift.first_flip),
                _frame(drift.first_damaged),
                f"{found.flips:,}",
                f"{found.wrong_symbols:,}",
                _between(found),
                f"{found.identical:,} of {found.frames:,}",
                text(drift.problem),
            ]
        )
    head = [
        "variant", "clip", "quality", "encoder", "decoder", "first flip", "first damaged frame", "flips",
        "wrong symbols", "worst PSNR between the ends", "pictures identical", "note",
    ]  # fmt: skip
    return table(head, rows, words=5) if rows else ""


def _frame(number: int | None) -> str:
    return "none" if number is None else f"frame {number}"


def _between(found: Tally) -> str:
    if not found.frames:
        return "none"
    return "identical" if found.worst_psnr is None else f"{found.worst_psnr:.2f} dB"
