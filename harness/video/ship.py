"""Make trained weights a video codec that ships: tables, calibrations, digests, written once beside the weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.build import DECODER as DECODER_SCOPE
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint, ssf2020
from harness.codecs.video import VideoCodec
from harness.endpoints import Run
from harness.errors import UserError
from harness.files import write_file
from harness.library import MIN_MAX, calibration_path
from harness.video.build import build, quantized_networks
from harness.video.library import VideoLibrary

U8 = NDArray[np.uint8]
PRECISIONS = ("w4a4", "w8a8", "w12a12", "w16a16")


def finalise(
    weights: Path,
    *,
    clips: Callable[[], Sequence[Sequence[U8]]],
    gaussian: Path,
    run: Run,
    report: Callable[[str], None],
) -> VideoCodec:
    """Write `qN.tables.npz`, the calibrations and a complete `qN.json` beside `qN.safetensors`.

    `clips` must be of training data; `gaussian`: the tables that all codecs share.
    """
    state = checkpoint.read_checkpoint(weights)
    model = ssf2020.build_model(state)
    tables = ssf2020.tables_of(model, state)
    shared = load_tables(gaussian)
    for name in ssf2020.GAUSSIAN:
        if shared[name].shape != tables[name].shape or (shared[name] != tables[name]).any():
            raise UserError(
                f"{name} made here differs from {gaussian}, which is the one that counts"
            )
    own = {name: table for name, table in tables.items() if name not in ssf2020.GAUSSIAN}
    save_tables(weights.with_suffix(".tables.npz"), own)
    record = weights.with_suffix(".json")
    provenance = json.loads(record.read_text(encoding="utf-8"))
    codec = ssf2020.to_codec(
        model, own | shared, quality=int(weights.stem[1:]), provenance=provenance
    )
    write_file(record, _json(provenance | {"digest": codec.digest}))
    calibrate(codec, weights, clips, run, report)
    return codec


def calibrate(
    codec: VideoCodec,
    weights: Path,
    clips: Callable[[], Sequence[Sequence[U8]]],
    run: Run,
    report: Callable[[str], None],
) -> None:
    """Write the min-max calibrations of a codec that ships, and record the specifications they lead to."""
    library = VideoLibrary(codec, calibrate_on=clips, run=run)
    found = {}
    for network in quantized_networks("w16a16", DECODER_SCOPE):
        report(f"{codec.name}: {MIN_MAX} calibration of {network}")
        found[network] = library.calibration(codec.name, network, "w16a16", MIN_MAX)
        path = weights.parents[2] / calibration_path(codec.name, network, MIN_MAX)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, found[network].to_bytes())
    specifications = {
        f"{network} {precision}": net.digest
        for precision in PRECISIONS
        for network, net in build(codec, precision, found, scope=DECODER_SCOPE).integers.items()
    }
    record = weights.with_suffix(".json")
    provenance = json.loads(record.read_text(encoding="utf-8"))
    provenance["specifications"] = specifications
    provenance["calibration"] = {
        "clips": len(list(clips())),
        "frames": sum(len(clip) for clip in clips()),
    }
    write_file(record, _json(provenance))


def _json(provenance: Mapping[str, object]) -> bytes:
    return (json.dumps(provenance, indent=2, sort_keys=True) + "\n").encode()
