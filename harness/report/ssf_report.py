"""A study of a video codec as files: JSON is the result; CSV, markdown and figures are made of the same study."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.clip_rd import ClipBdRate, ClipPoint, ClipStudy, Drift, HyperCost, IntraShare, Mismatch
from harness.errors import HarnessError
from harness.rd import ANCHOR, Variant
from harness.report.captions import psnr
from harness.report.plain_data import rounded, to_csv, to_json
from harness.report.ssf_accumulation import Accumulation, accumulations
from harness.report.ssf_conclusions import RULES, conclusions_by_calibrator, published
from harness.report.ssf_drift import tally
from harness.report.ssf_figures import ssf_figures
from harness.report.ssf_markdown import to_ssf_markdown, verdict_line
from harness.report.ssf_tables import branch_shares

__all__ = ["ssf_files", "to_ssf_csv", "to_ssf_json"]

SSF_SCHEMA = 1
_COLUMNS = (
    "codec", "quality", "clip", "variant", "precision", "scope", "calibrator", "intra", "frames", "bpp", "inter_bpp",
    "psnr", "bpp_percent", "psnr_difference",
)  # fmt: skip


def ssf_files(
    study: ClipStudy, *, command: str, environment: Mapping[str, str]
) -> dict[str, bytes]:
    """Every report of the study, by file name; `HarnessError` where it is of several codecs or has a point twice."""
    _require_one_of_each(study)
    figures = ssf_figures(study)
    found = accumulations(study)
    page = to_ssf_markdown(
        study, found, command=command, environment=environment, figures=list(figures)
    )
    return {
        "ssf.json": to_ssf_json(study, found, command=command, environment=environment).encode(),
        "ssf.csv": to_ssf_csv(study).encode(),
        "ssf.md": page.encode(),
        **figures,
    }


def _require_one_of_each(study: ClipStudy) -> None:
    """BD-rates have no codec's name, and a second point of the same kind would stand in no table."""
    if len(families := sorted({point.family for point in study.points})) > 1:
        raise HarnessError(f"a study is of one codec, not of {' and '.join(families)}")
    seen = set()
    for p in study.points:
        if (key := (p.clip, p.quality, p.variant, p.intra)) in seen:
            raise HarnessError(f"{p.clip}, q{p.quality}, {p.variant.label} was measured twice")
        seen.add(key)


def to_ssf_json(
    study: ClipStudy,
    found: Sequence[Accumulation],
    *,
    command: str,
    environment: Mapping[str, str],
) -> str:
    """Everything, down to each frame; of the pictures of a mismatch, what their difference amounts to."""
    results = {
        "schema": SSF_SCHEMA,
        "command": command,
        "environment": dict(environment),
        "verdict": verdict_line(study),
        "points": [_point_values(p) | {"per_frame": _frames(p)} for p in study.points],
        "bd_rate": [_bd_values(rate) for rate in study.bd_rates],
        "open_loop": {
            "points": [_point_values(p) | {"per_frame": _frames(p)} for p in study.open_points],
            "bd_rate": [_bd_values(rate) for rate in study.open_bd_rates],
        },
        "mirrored": {
            "points": [
                _point_values(p) | {"mirroring": p.mirroring} for p in study.mirrored_points
            ],
            "bd_rate": [
                _bd_values(r) | {"error": rounded(r.error)} for r in study.mirrored_bd_rates
            ],
        },
        "conclusions": {
            "rules": RULES,
            "by_calibrator": {
                calibrator: [
                    {"claim": each.claim, "agrees": each.agrees, "finding": each.finding}
                    for each in lines
                ]
                for calibrator, lines in conclusions_by_calibrator(study).items()
            },
        },
        "intra_shares": [_share_values(share) for share in study.intra_shares],
        "accumulation": [_accumulation_values(each) for each in found],
        "drifts": [_drift_values(drift) for drift in study.drifts],
        "mismatches": [_mismatch_values(mismatch) for mismatch in study.mismatches],
        "costs": [_cost_values(cost) for cost in study.costs],
        "gate": {
            "exit_code": study.exit_code,
            "problems": list(study.problems),
            "notes": list(study.notes),
        },
    }
    return to_json(results)


def to_ssf_csv(study: ClipStudy) -> str:
    """One line a rate point, clip and variant, beside fp32's; bits by branch as columns of their own."""
    anchors = {(p.clip, p.quality): p for p in study.points if p.variant == ANCHOR and not p.intra}
    branches = list(dict.fromkeys(b for p in study.points for f in p.frames for b in f.bits))
    rows = []
    for point in study.points:
        anchor = anchors.get((point.clip, point.quality))
        shares = {f"{name}_share": rounded(s) for name, s in branch_shares(point).items()}
        rows.append(_point_values(point) | shares | _differences(point, anchor))
    return to_csv([*_COLUMNS, *(f"{branch}_share" for branch in branches)], rows)


def _differences(point: ClipPoint, anchor: ClipPoint | None) -> dict[str, object]:
    if anchor is None:
        return {}
    return {
        "bpp_percent": rounded(100 * (point.bpp / anchor.bpp - 1)),
        "psnr_difference": rounded(point.psnr - anchor.psnr),
    }


def _point_values(point: ClipPoint) -> dict[str, object]:
    return {
        "codec": point.family,
        "quality": point.quality,
        "clip": point.clip,
        **_variant_values(point.variant, point.calibrator),
        "intra": point.intra,
        "frames": len(point.frames),
        "bpp": rounded(point.bpp),
        "inter_bpp": rounded(point.inter_bpp),
        "psnr": rounded(point.psnr),
    }


def _variant_values(variant: Variant, calibrator: str) -> dict[str, object]:
    """`calibrator` is the one that was used, whether or not it was asked for by name."""
    return {
        "variant": variant.label,
        "precision": variant.precision,
        "scope": variant.scope,
        "calibrator": calibrator,
    }


def _frames(point: ClipPoint) -> dict[str, object]:
    """A list a quantity; a branch that a frame does not have has 0 bits there."""
    branches = dict.fromkeys(branch for frame in point.frames for branch in frame.bits)
    return {
        "number": [frame.number for frame in point.frames],
        "psnr": [rounded(frame.psnr, 4) for frame in point.frames],
        "bits": {name: [frame.bits.get(name, 0) for frame in point.frames] for name in branches},
        "pixels": point.pixels,
    }


def _bd_values(rate: ClipBdRate) -> dict[str, object]:
    return {
        "clip": rate.clip,
        **_variant_values(rate.variant, rate.calibrator),
        "anchor": ANCHOR.label,
        "method": rate.method,
        "percent": rounded(rate.psnr.percent),
        "overlap": rounded(rate.psnr.overlap),
        "note": rate.psnr.note,
        "published": published(rate.variant),
    }


def _share_values(share: IntraShare) -> dict[str, object]:
    return {
        "clip": share.clip,
        "quality": share.quality,
        "psnr": rounded(share.psnr),
        "inter_bpp": rounded(share.inter_bpp),
        "intra_bpp": rounded(share.intra_bpp),
        "share": rounded(share.share),
        "beyond": rounded(share.beyond),
    }


def _accumulation_values(each: Accumulation) -> dict[str, object]:
    return {
        "clip": each.clip,
        "quality": each.quality,
        **_variant_values(each.variant, each.calibrator),
        "psnr_first": rounded(each.first),
        "psnr_middle": rounded(each.middle),
        "psnr_last": rounded(each.last),
        "slope_per_100_frames": rounded(each.slope),
        "bits_percent_first_half": rounded(each.early_bits),
        "bits_percent_second_half": rounded(each.late_bits),
    }


def _drift_values(drift: Drift) -> dict[str, object]:
    """Per frame a list a quantity; `psnr_between` is null where both ends' pictures are identical."""
    found, frames = tally([drift]), drift.frames
    return {
        **_where(drift),
        "lowering": drift.lowering,
        "problem": drift.problem,
        "identical": drift.is_identical,
        "first_flip": drift.first_flip,
        "first_damaged": drift.first_damaged,
        "identical_pictures": found.identical,
        "worst_psnr_between": rounded(found.worst_psnr),
        "per_frame": {
            "number": [frame.number for frame in frames],
            "flips": [frame.flips for frame in frames],
            "indexes": [frame.indexes for frame in frames],
            "wrong_symbols": [frame.wrong_symbols for frame in frames],
            "symbols": [frame.symbols for frame in frames],
            "differing_samples": [frame.differing_samples for frame in frames],
            "samples": [frame.samples for frame in frames],
            "psnr_between": [rounded(frame.psnr_between, 4) for frame in frames],
            "psnr_encoder": [rounded(frame.psnr_encoder, 4) for frame in frames],
            "psnr_decoder": [rounded(frame.psnr_decoder, 4) for frame in frames],
        },
    }


def _mismatch_values(mismatch: Mismatch) -> dict[str, object]:
    residual = mismatch.residual
    ours, theirs = mismatch.encoder_picture, mismatch.decoder_picture
    return {
        **_where(mismatch),
        "frame": mismatch.frame,
        "differing_samples": int(np.count_nonzero(residual)),
        "samples": residual.size,
        "largest_difference": int(residual.max()),
        "psnr_between": _finite(psnr(ours, theirs)),
        "psnr_encoder": _finite(psnr(mismatch.original, ours)),
        "psnr_decoder": _finite(psnr(mismatch.original, theirs)),
    }


def _finite(decibel: float) -> float | None:
    """JSON has no infinity: null is the PSNR of identical pictures."""
    return None if math.isinf(decibel) else rounded(decibel)


def _where(found: Drift | Mismatch) -> dict[str, object]:
    return {
        "codec": found.family,
        "quality": found.quality,
        "clip": found.clip,
        "variant": found.variant.label,
        "encoder": found.encoder,
        "decoder": found.decoder,
    }


def _cost_values(cost: HyperCost) -> dict[str, object]:
    return {
        "codec": cost.family,
        "quality": cost.quality,
        "precision": cost.precision,
        "branch": cost.branch,
        "height": cost.size[0],
        "width": cost.size[1],
        "weights": cost.weights,
        "weight_bytes": rounded(cost.weight_bytes),
        "activation_bytes": rounded(cost.activation_bytes),
        "macs": cost.macs,
        "bit_operations": cost.bit_operations,
    }
