"""A study of a video codec as a page of markdown: the verdict and what the figures say, then the tables."""

from collections.abc import Mapping, Sequence

from harness.clip_rd import ClipStudy
from harness.rd import ANCHOR, OWN_CALIBRATOR
from harness.report.page import listing, text
from harness.report.ssf_accumulation import (
    PER_FRAMES,
    STEEPEST_LOSS,
    Accumulation,
    accumulation_sentence,
)
from harness.report.ssf_conclusions import (
    PUBLISHED_ON,
    RULES,
    conclusions_by_calibrator,
    methods,
)
from harness.report.ssf_drift import drift_sentences, drift_table
from harness.report.ssf_tables import (
    accumulation_table,
    bd_table,
    calibrator_table,
    cost_table,
    intra_sentence,
    intra_table,
    point_tables,
)

__all__ = ["to_ssf_markdown", "verdict_line"]

_HOW_BD = (
    "By the package bjontegaard, from payload bits over all pixels of all frames and the mean PSNR of the frames' 8-bit RGB,"
    f" every line against {ANCHOR.label} on the same clip; the mean is over the clips. Positive: more bits for the same"
    " quality."
)
_HOW_OPEN = (
    f"The same, but every frame is predicted from {ANCHOR.label}'s reference: what a variant costs by itself. Where frames predict"
    " from a variant's own, as above and as decoders do, one latent that is rounded the other way changes every frame behind it,"
    " by chance for better or worse."
)
_HOW_MIRRORED = (
    "Closed loops again, each clip coded in {count} mirrorings: the mean over them and its standard error, in points of percent."
    " What lies within two of its errors cannot be told from nothing."
)
_HOW_PUBLISHED = (
    "Published: the precision study of ssf2020's hyperprior decoders quantized after training, ranges by AIMET's MSE rule,"
    f" on {PUBLISHED_ON}; other clips and other weights than here."
)
_HOW_POINTS = (
    f"bpp and PSNR (dB) of {ANCHOR.label}; bits by branch as shares of all its bits; all-intra: key frames only. A variant's"
    f" column: its bpp and its PSNR against {ANCHOR.label}, the codec's own calibration; the others are in the CSV file."
)
_HOW_INTRA = "P frames alone, beside the rate that all-intra coding takes at the same PSNR, read off its curve."
_HOW_DRIFT = (
    "A flip is a CDF index that differs between the ends; a frame is damaged when a symbol was decoded wrongly. Pictures are"
    " 8-bit RGB, and identical means every sample of them."
)
_HOW_ACCUMULATION = (
    f"PSNR less {ANCHOR.label}'s PSNR of the same frame in dB, means over the rate points. Slope: dB per {PER_FRAMES} frames, by"
    f" least squares. Bits: what P frames take beyond {ANCHOR.label}'s, in the first and in the second half of the clip. The"
    f" threshold of the sentence is a loss of {-STEEPEST_LOSS:g} dB per {PER_FRAMES} frames."
)
_HOW_COST = (
    "Both hyper-decoders of a branch, one frame: a key frame takes img, a P frame motion and res. Bit operations: MACs times"
    f" bits of weights times bits of activations. Activation bytes: the largest input and output of a layer together. In"
    f" brackets, of {ANCHOR.label}."
)


def to_ssf_markdown(
    study: ClipStudy,
    accumulations: Sequence[Accumulation],
    *,
    command: str,
    environment: Mapping[str, str],
    figures: Sequence[str],
) -> str:
    """The page, below the command and the environment that it was made with; figures by file name."""
    sections = [
        f"# {verdict_line(study)}",
        f"`{command}`",
        "Ran on " + text(", ".join(f"{key} {value}" for key, value in environment.items())) + ".",
        listing("## Problems", study.problems),
        _section("BD-rate against fp32", bd_table(study.bd_rates), _how_bd(study)),
        _section("Open loop", bd_table(study.open_bd_rates), _HOW_OPEN),
        _section("Mirrored clips", bd_table(study.mirrored_bd_rates), _how_mirrored(study)),
        calibrator_table(study),
        *_conclusions(study),
        "\n\n".join(f"![{name.removesuffix('.png')}]({name})" for name in figures),
        _section("Across platforms", _drifts(study), drift_table(study), _HOW_DRIFT),
        _section("Frame by frame", *_accumulation(accumulations)),
        _section("P frames beside all-intra coding", *_intra(study)),
        _section("Memory and compute of the hyper-decoders", cost_table(study), _HOW_COST),
        _section("Rate points", point_tables(study), _HOW_POINTS),
        listing("## Notes", study.notes),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def verdict_line(study: ClipStudy) -> str:
    """Red or green, what was studied and on how much."""
    families = ", ".join(dict.fromkeys(point.family for point in study.points)) or "no codec"
    frames = sorted({len(point.frames) for point in study.points})
    span = " to ".join(map(str, dict.fromkeys([frames[0], frames[-1]]))) if frames else "no"
    clips = len(study.clips)
    return (
        f"Precision study of {families}: {'RED' if study.problems else 'GREEN'}, {clips} clip{'s' * (clips != 1)} of"
        f" {span} frames"
    )


def _section(title: str, first: str, *rest: str) -> str:
    """Empty where the first part is: there is nothing to explain."""
    parts = [part for part in (first, *rest) if part]
    return "\n\n".join([f"## {title}", *parts]) if first else ""


def _how_bd(study: ClipStudy) -> str:
    return f"{_HOW_BD} Interpolation: {methods(study)}. {_HOW_PUBLISHED}"


def _how_mirrored(study: ClipStudy) -> str:
    return _HOW_MIRRORED.format(count=1 + len({p.mirroring for p in study.mirrored_points}))


def _conclusions(study: ClipStudy) -> list[str]:
    """A list a calibration; the rules below the last."""
    if not study.bd_rates:
        return []
    lists = []
    for calibrator, found in conclusions_by_calibrator(study).items():
        own = calibrator == OWN_CALIBRATOR
        how = "the codec's own calibration" if own else f"calibrator {calibrator}"
        lines = [each.sentence for each in found]
        lists.append(listing(f"## The published study's conclusions, by {text(how)}", lines))
    return [*lists, RULES]


def _drifts(study: ClipStudy) -> str:
    return "\n".join(f"- {text(line)}" for line in drift_sentences(study))


def _accumulation(found: Sequence[Accumulation]) -> list[str]:
    shown = accumulation_table(found)
    return [accumulation_sentence(found), shown, _HOW_ACCUMULATION] if shown else [""]


def _intra(study: ClipStudy) -> list[str]:
    shown = intra_table(study)
    return [intra_sentence(study), shown, _HOW_INTRA] if shown else [""]
