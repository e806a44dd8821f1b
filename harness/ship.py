"""Make trained weights a codec that ships: tables, ranges, digests and figures, written once beside the weights."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import images, rd
from harness.bitstream import pack
from harness.build import Build, build
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint
from harness.codecs.base import FAMILIES, Codec
from harness.endpoints import Run, encode
from harness.errors import UserError
from harness.library import calibrated
from harness.rd import Sample

# Tables of the Gaussian conditional depend on no weight: one file serves all codecs.
SHARED = ("y.cdf", "y.length", "y.offset", "scale_thresholds")
SPECIFICATIONS = ("w8a8",)


def finalise(
    weights: Path,
    *,
    calibrate_on: Path,
    evaluate_on: Path | None,
    run: Run,
    report: Callable[[str], None],
) -> Codec:
    """Write `qN.tables.npz`, `qN.ranges.json` and complete `qN.json` beside `qN.safetensors`.

    `calibrate_on` must be training images. The RD figures of `evaluate_on` are real payload bytes at fp32.
    """
    family = FAMILIES[weights.parent.name]
    state = checkpoint.read_checkpoint(weights)
    model = checkpoint.build_model(family, state)
    tables = checkpoint.make_tables(model, state)
    _shared_tables(weights.parent.parent / "gaussian.npz", {name: tables[name] for name in SHARED})
    save_tables(
        weights.with_suffix(".tables.npz"), {n: t for n, t in tables.items() if n not in SHARED}
    )
    record = weights.with_suffix(".json")
    provenance = json.loads(record.read_text(encoding="utf-8"))
    codec = checkpoint.to_codec(
        family, model, tables, quality=int(weights.stem[1:]), provenance=provenance
    )
    report(f"{codec.name}: calibrating on {calibrate_on}")
    ranges = calibrated(codec, calibrate_on)
    _write(weights.with_suffix(".ranges.json"), ranges.to_json())
    provenance["digest"] = codec.digest
    provenance["specifications"] = {
        name: build(codec, name, ranges).specification for name in SPECIFICATIONS
    }
    provenance["calibration"] = {
        "estimator": ranges.estimator,
        "images": ranges.samples,
        "data": calibrate_on.name,
    }
    if evaluate_on is not None:
        report(f"{codec.name}: evaluating on {evaluate_on}")
        made = build(codec, "fp32", None)
        samples = [
            sample(made, path.name, images.read_image(path), run)
            for path in images.list_images(evaluate_on)
        ]
        bpp, psnr = (
            math.fsum(values) / len(samples)
            for values in zip(*((s.bpp, s.psnr) for s in samples), strict=True)
        )
        provenance["rd"] = {"data": evaluate_on.name, "bpp": round(bpp, 4), "psnr": round(psnr, 3)}
    _write(record, json.dumps(provenance, indent=2, sort_keys=True) + "\n")
    return codec


def sample(made: Build, image: str, pixels: NDArray[np.uint8], run: Run) -> Sample:
    """Rate and distortion of one picture (called `image`) through the real encoder: actual bytes, 8-bit picture."""
    encoded = encode(made, pixels, run)
    return rd.sample(
        image,
        pixels,
        encoded.trace.array("picture").astype(np.uint8),
        payload_bytes=encoded.bitstream.payload_bytes,
        file_bytes=len(pack(encoded.bitstream)),
    )


def _shared_tables(
    path: Path, tables: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int32]]]
) -> None:
    """Write the shared tables once; later codecs must agree with them."""
    if not path.exists():
        save_tables(path, tables)
        return
    stored = load_tables(path)
    for name, table in tables.items():
        if stored[name].shape != table.shape or (stored[name] != table).any():
            raise UserError(
                f"{name} made here differs from {path}: `exp` and `erfc` differ between machines, and the "
                "stored table is the one that counts; delete it only to make every codec anew"
            )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
