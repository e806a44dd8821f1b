"""Every figure of a study of a video codec, by file name."""

import matplotlib as mpl

from harness.clip_rd import ClipStudy
from harness.rd import DEFAULT_SCOPE, Variant
from harness.report.pictures import RC
from harness.report.ssf_curves import own_variants, rd_figure
from harness.report.ssf_frame_figures import drift_figure, frame_figure
from harness.report.ssf_pictures import (
    mismatch_figure,
    paired_figure,
    telling_mismatches,
    worst_mismatches,
)

__all__ = ["ssf_figures"]


def ssf_figures(study: ClipStudy) -> dict[str, bytes]:
    """PNG pictures, the one that pairs curves with a mismatch first; none of what was not measured."""
    scopes: dict[str, list[Variant]] = {}
    for variant in own_variants(study):
        scopes.setdefault(variant.scope, []).append(variant)
    scopes = scopes or {DEFAULT_SCOPE: []}
    figures: dict[str, bytes] = {}
    with mpl.rc_context(RC):
        if paired := paired_figure(study, next(iter(scopes.values()))):
            figures["ssf-figure.png"] = paired
        for scope, variants in scopes.items() if study.points else ():
            name = "ssf-rd.png" if scope == DEFAULT_SCOPE else f"ssf-rd-{scope}.png"
            figures[name] = rd_figure(study, variants)
        if telling := telling_mismatches(study):
            figures["ssf-mismatch.png"] = mismatch_figure(worst_mismatches(telling))
        if study.drifts:
            figures["ssf-drift.png"] = drift_figure(study)
        if study.points:
            figures["ssf-frames.png"] = frame_figure(study)
    return figures
