"""What a panel shows, in plain words: shared by the figure, the results and the page."""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from harness.case import Case
from harness.errors import HarnessError
from harness.results import Panel
from harness.verdict import Outcome, Verdict

Picture = NDArray[np.uint8]
Steps = NDArray[np.int16]

_LONGEST_NAME = 200


def figure_name(case: Case) -> str:
    """The stem of a case's figure, distinct for every case, legal in every file system.

    >>> figure_name(Case(codec="mbt", quality=3, precision="w8a8", scope="decoder", lowering="u8",
    ...                  encoder="ort-cpu", decoder="torch", input="cat"))
    'mbt+q3+w8a8+decoder+u8+ort-cpu+torch+cat'
    """
    name = str(case).replace("/", "+")  # no part of a case holds a "+"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}+{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def difference(panel: Panel) -> Steps:
    """|encoder - decoder| in 8-bit steps, one value a pixel and channel."""
    shapes = {
        picture.shape for picture in (panel.original, panel.encoder_picture, panel.decoder_picture)
    }
    if len(shapes) != 1 or panel.original.ndim != 3 or panel.original.size == 0:  # noqa: PLR2004
        raise HarnessError(f"panel {panel.case}: pictures have the shapes {sorted(shapes)}")
    steps: Steps = panel.encoder_picture.astype(np.int16) - panel.decoder_picture.astype(np.int16)
    return np.abs(steps)


def psnr(one: Picture, other: Picture) -> float:
    """PSNR in dB of two 8-bit pictures; infinite for identical ones."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def caption(panel: Panel, verdict: Verdict) -> str:
    """Two or three sentences for somebody who sees the project for the first time."""
    return f"{title(panel, verdict)}. {finding(panel, verdict)} {distances(panel)}"


def title(panel: Panel, verdict: Verdict) -> str:
    """Which codec, encoded where, decoded where, at which rate."""
    case = panel.case
    rate = "" if verdict.bpp is None else f" ({verdict.bpp:.3f} bit per pixel)"
    where = (
        f"encoded{rate} and decoded on {case.encoder}"
        if case.encoder == case.decoder
        else f"encoded on {case.encoder}{rate}, decoded on {case.decoder}"
    )
    return f"{case.codec}, quality {case.quality}, {case.precision}: {where}"


def finding(panel: Panel, verdict: Verdict) -> str:
    """What arrived at the decoder: symbols first, then the picture."""
    sentences = [_symbols(panel, verdict)]
    if verdict.outcome is Outcome.UNDECODABLE:
        sentences.append(
            "The decoder's own check refused the stream; the picture is what it would have shown."
        )
    sentences.append(_pixels(panel))
    return " ".join(sentences)


def _symbols(panel: Panel, verdict: Verdict) -> str:
    count, flipped = f"{panel.symbols:,}", panel.flipped_indexes
    gated = verdict.comparison.first_gated if verdict.comparison else None
    if panel.wrong_symbols:
        share = 100 * panel.wrong_symbols / max(panel.symbols, 1)
        flips = (
            f"{flipped:,} of {count} CDF indexes flipped, and"
            if flipped
            else "No CDF index flipped, yet"
        )
        return (
            f"{flips} {panel.wrong_symbols:,} of {count} symbols ({share:.1f} %)"
            f" were decoded wrongly; the first {panel.before:,} were still right."
        )
    if flipped:
        return (
            f"{flipped:,} of {count} CDF indexes flipped;"
            f" by luck every one of {count} symbols is identical."
        )
    if gated is not None:
        return (
            f"Every one of {count} symbols is identical, but {gated.mismatched:,} of"
            f" {gated.values:,} values of {gated.tensor} differ."
        )
    return f"Every one of {count} symbols is identical."


def _pixels(panel: Panel) -> str:
    steps = difference(panel)
    differing, values = int(np.count_nonzero(steps)), steps.size
    if not differing:
        return f"Every one of {values:,} 8-bit picture values is identical too."
    worst = int(steps.max())
    by = f"by at most {worst} step{'s' if worst > 1 else ''} of 255"
    if panel.wrong_symbols or panel.flipped_indexes:
        return f"{differing:,} of {values:,} 8-bit picture values differ, {by}."
    return (
        f"The float synthesis rounds {differing:,} of {values:,} 8-bit picture values"
        f" differently, {by}."
    )


def distances(panel: Panel) -> str:
    """PSNR to the original at either end."""
    encoder = psnr(panel.original, panel.encoder_picture)
    decoder = psnr(panel.original, panel.decoder_picture)
    return f"PSNR to the original: {_db(encoder)} at the encoder, {_db(decoder)} at the decoder."


def _db(value: float) -> str:
    return "infinite (identical)" if value == math.inf else f"{value:.2f} dB"
