"""Make trained weights a video codec that ships: tables, calibrations, digests, written once beside the weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.build import DECODER as DECODER_SCOPE
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint, ssf2020
from harness.codecs.store import CodecFiles
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
    files: CodecFiles,
    *,
    clips: Callable[[], Sequence[Sequence[U8]]],
    gaussian: Path,
    run: Run,
    report: Callable[[str], None],
) -> VideoCodec:
    """Write the tables, the calibrations and the complete record beside the weights.

    `clips` must be of training data; `gaussian`: the tables that all codecs share.
    """
    state = checkpoint.read_checkpoint(files.weights)
    model = ssf2020.build_model(state)
    tables = ssf2020.tables_of(model, state)
    shared = load_tables(gaussian)
    for name in ssf2020.GAUSSIAN:
        if shared[name].shape != tables[name].shape or (shared[name] != tables[name]).any():
            raise UserError(
                f"{name} made here differs from {gaussian}, which is the one that counts"
            )
    own = {name: table for name, table in tables.items() if name not in ssf2020.GAUSSIAN}
    save_tables(files.tables, own)
    record = files.read_record()
    codec = ssf2020.to_codec(model, own | shared, quality=files.quality, provenance=record)
    files.write_record(record | {"digest": codec.digest})
    calibrate(codec, files, clips, run, report)
    return codec


def calibrate(
    codec: VideoCodec,
    files: CodecFiles,
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
        path = files.folder.parents[1] / calibration_path(codec.name, network, MIN_MAX)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, found[network].to_bytes())
    specifications = {
        f"{network} {precision}": net.digest
        for precision in PRECISIONS
        for network, net in build(codec, precision, found, scope=DECODER_SCOPE).integers.items()
    }
    seen = [len(clip) for clip in clips()]
    calibration = {"clips": len(seen), "frames": sum(seen)}
    files.write_record(
        files.read_record() | {"specifications": specifications, "calibration": calibration}
    )
