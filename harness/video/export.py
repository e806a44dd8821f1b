"""A video codec's build as files: one ONNX file a network and the warp, the integer tables, and a manifest."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.build import described, write_export
from harness.codecs.video import BRANCHES, MEAN, SCALE
from harness.specification import MEDIAN_FRACTION_BITS
from harness.video.build import WARP, WARP_SPECIFICATION, VideoBuild, network_name
from harness.warp.graph import MOTION, REFERENCE
from harness.warp.specification import PICTURE_FRACTION_BITS


def export(made: VideoBuild, folder: Path) -> list[Path]:
    """Write `img_encoder.onnx` and so on, `warp.onnx`, `tables.npz` and `manifest.json`; each is there whole or not at all."""
    codec = made.codec
    networks = described(made.artifacts)
    networks[WARP]["inputs"] = [REFERENCE, MOTION]
    manifest = {
        "codec": codec.family,
        "quality": codec.quality,
        "precision": made.precision,
        "scope": made.scope,
        "lowering": made.lowering,
        "calibrator": made.calibrator,
        "profile": made.profile,
        "codec_digest": codec.digest,
        "specification": made.specification,
        "tables_digest": codec.tables_digest,
        "provenance": dict(codec.provenance),
        "networks": networks,
        "integer_networks": sorted(name for name, a in made.artifacts.items() if a.integer),
    }
    if made.is_integer:
        manifest["fixed_point"] = _fixed_point(made)
    return write_export(folder, made.artifacts, manifest, tables(made))


def tables(made: VideoBuild) -> dict[str, NDArray[np.int32]]:
    """`img.z.cdf`, `img.medians`, ... of every branch; `y.cdf`, ... and `scale_thresholds`, which they share."""
    codec = made.codec
    found = {**codec.y_tables.to_arrays("y"), "scale_thresholds": codec.scale_thresholds}
    for name in BRANCHES:
        branch = codec.branches[name]
        found |= branch.z_tables.to_arrays(f"{name}.z") | {f"{name}.medians": branch.medians}
    return found


def _fixed_point(made: VideoBuild) -> dict[str, object]:
    """What the numbers that integer networks take and give stand for."""
    nets = made.integers
    found: dict[str, object] = {
        "median_fraction_bits": MEDIAN_FRACTION_BITS,
        "sigma_fraction_bits": {
            name: nets[network_name(name, SCALE)].sigma_fraction_bits for name in BRANCHES
        },
        "mean_fraction_bits": {
            name: nets[network_name(name, MEAN)].mean_fraction_bits for name in BRANCHES
        },
        "accumulator_bounds": {
            layer.name: int(layer.bounds.max())
            for net in nets.values()
            for layer in net.convolutions
        },
        "widths": made.widths,
    }
    if made.has_integer_pictures:
        found |= {
            "picture_fraction_bits": PICTURE_FRACTION_BITS,
            "flow_fraction_bits": WARP_SPECIFICATION.flow_fraction_bits,
            "scale_fraction_bits": WARP_SPECIFICATION.scale_fraction_bits,
        }
    return found
