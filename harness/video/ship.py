"""Make trained weights a video codec that ships: tables, calibrations, digests, written once beside the weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.build import DECODER as DECODER_SCOPE
from harness.build import HYPERPRIOR
from harness.calibration import Calibration
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint, ssf2020
from harness.codecs.store import CodecFiles
from harness.codecs.video import VideoCodec
from harness.endpoints import Run
from harness.errors import UserError
from harness.files import write_file
from harness.library import MIN_MAX, calibration_path
from harness.video.build import build, quantized_networks
from harness.video.library import FITTED, VideoLibrary

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
    """Write the calibrations of a codec that ships, and record the specifications they lead to."""
    library = VideoLibrary(codec, calibrate_on=clips, run=run)
    wanted = [(name, MIN_MAX, "") for name in quantized_networks("w16a16", DECODER_SCOPE)]
    wanted += [
        (name, rule, precision)
        for precision, rule in FITTED.items()
        for name in quantized_networks(precision, HYPERPRIOR)
    ]
    made: dict[tuple[str, str], Calibration] = {}
    for network, rule, precision in wanted:
        report(f"{codec.name}: {rule} calibration of {network} {precision}")
        found = library.calibration(codec.name, network, precision or "w16a16", rule)
        made[network, precision] = found
        path = files.folder.parents[1] / calibration_path(codec.name, network, rule, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, found.to_bytes())
    specifications: dict[str, str] = {}
    for precision in PRECISIONS:
        chosen = {n: made.get((n, precision), made[n, ""]) for n, p in made if not p}
        nets = build(codec, precision, chosen, scope=DECODER_SCOPE).integers
        specifications |= {f"{network} {precision}": net.digest for network, net in nets.items()}
    seen = [len(clip) for clip in clips()]
    calibration = {"clips": len(seen), "frames": sum(seen)}
    files.write_record(
        files.read_record() | {"specifications": specifications, "calibration": calibration}
    )
