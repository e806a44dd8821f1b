"""Make trained weights a codec that ships: tables, calibrations, digests and figures, written once beside the weights."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import images, rd
from harness.bitstream import pack
from harness.build import DECODER, Build, build
from harness.calibration import Calibration
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint
from harness.codecs.base import FAMILIES, Codec
from harness.codecs.store import CodecFiles
from harness.endpoints import Run, encode
from harness.errors import UserError
from harness.files import write_file
from harness.library import MIN_MAX, RATE, Library, calibration_path
from harness.ms_ssim import Similarity, ms_ssim
from harness.rd import Sample

# Tables of the Gaussian conditional depend on no weight: one file serves all codecs.
SHARED = ("y.cdf", "y.length", "y.offset", "scale_thresholds")
PRECISIONS = ("w4a4", "w8a8", "w12a12", "w16a16")
# Network, calibrator and precision of every calibration that ships; the ranges of min-max serve every precision.
CALIBRATIONS = (
    ("h_s", MIN_MAX, ""),
    ("h_s", RATE, "w4a4"),
    ("h_s", RATE, "w8a8"),
    ("h_s", RATE, "w12a12"),
    ("h_s", RATE, "w16a16"),
    ("g_s", MIN_MAX, ""),
    ("g_s", RATE, "w8a8"),
)


def finalise(
    files: CodecFiles,
    *,
    calibrate_on: Path,
    evaluate_on: Path | None,
    run: Run,
    report: Callable[[str], None],
) -> Codec:
    """Write the tables, the calibrations and the complete record beside the weights.

    `calibrate_on` must be training images. The RD figures of `evaluate_on` are real payload bytes at fp32.
    """
    family = FAMILIES[files.folder.name]
    state = checkpoint.read_checkpoint(files.weights)
    model = checkpoint.build_model(family, state)
    tables = checkpoint.make_tables(model, state)
    _shared_tables(files.folder.parent / "gaussian.npz", {name: tables[name] for name in SHARED})
    save_tables(files.tables, {n: t for n, t in tables.items() if n not in SHARED})
    record = files.read_record()
    codec = checkpoint.to_codec(family, model, tables, quality=files.quality, provenance=record)
    files.write_record(record | {"digest": codec.digest})
    calibrate(codec, files, calibrate_on, report)
    if evaluate_on is not None:
        report(f"{codec.name}: evaluating on {evaluate_on}")
        made = build(codec, "fp32", {})
        samples = [
            sample(made, path.name, images.read_image(path), run)
            for path in images.list_images(evaluate_on)
        ]
        bpp, psnr = (
            math.fsum(values) / len(samples)
            for values in zip(*((s.bpp, s.psnr) for s in samples), strict=True)
        )
        figures = {"data": evaluate_on.name, "bpp": round(bpp, 4), "psnr": round(psnr, 3)}
        files.write_record(files.read_record() | {"rd": figures})
    return codec


def calibrate(codec: Codec, files: CodecFiles, folder: Path, report: Callable[[str], None]) -> None:
    """Write the calibrations of a codec that ships, and record beside its weights the specifications they lead to."""
    library = Library(codec, folder)
    for network, calibrator, precision in CALIBRATIONS:
        report(f"{codec.name}: {calibrator} calibration of {network} {precision} on {folder.name}")
        made = library.calibration(codec.name, network, precision or "w16a16", calibrator)
        path = _calibration_file(files, codec, network, calibrator, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, made.to_bytes())
    record_specifications(codec, files, folder.name, len(library.latents(codec.name)))


def record_specifications(codec: Codec, files: CodecFiles, data: str, images: int) -> None:
    """Record which specifications the calibrations that ship with a codec lead to, and what they were made on."""
    specifications: dict[str, str] = {}
    for precision in PRECISIONS:
        chosen = {}
        for network in ("h_s", "g_s"):
            best = _calibration_file(files, codec, network, RATE, precision)
            plain = _calibration_file(files, codec, network, MIN_MAX, "")
            chosen[network] = Calibration.read(best if best.is_file() else plain)
        nets = build(codec, precision, chosen, scope=DECODER).integers
        specifications |= {f"{network} {precision}": net.digest for network, net in nets.items()}
    calibration = {"images": images, "data": data}
    files.write_record(
        files.read_record() | {"specifications": specifications, "calibration": calibration}
    )


def _calibration_file(
    files: CodecFiles, codec: Codec, network: str, calibrator: str, precision: str
) -> Path:
    return files.folder.parents[1] / calibration_path(codec.name, network, calibrator, precision)


def sample(
    made: Build,
    image: str,
    pixels: NDArray[np.uint8],
    run: Run,
    similarity: Similarity = ms_ssim,
) -> Sample:
    """Rate and distortion of one picture (called `image`) through the real encoder: actual bytes, 8-bit picture.

    `similarity` takes the original and the decoded picture, uint8 [H, W, 3], and is recorded as the MS-SSIM.
    """
    encoded = encode(made, pixels, run)
    picture = encoded.trace.array("picture").astype(np.uint8)
    return rd.sample(
        image,
        pixels,
        picture,
        payload_bytes=encoded.bitstream.payload_bytes,
        file_bytes=len(pack(encoded.bitstream)),
        ms_ssim=similarity(pixels, picture),
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
