"""Small recordings and bundles made by hand, for the tests of everything that reads them."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from harness.bundle import PROGRAMS, Bundle, Stream, Variant
from harness.digest import TensorDigest
from harness.recording import RecordedRun, Recording
from harness.trace import TensorRecord

VARIANT = "mbt2018-mean/q3/w8a8/hyperprior"
H_S, G_S = f"{VARIANT}/astronaut.c128/h_s", f"{VARIANT}/astronaut.c128/g_s"
SPECIFICATION, TABLES = "5" * 64, "7" * 64
MODEL, STREAM = b"an ONNX file", b"a bitstream"
Z = np.arange(8, dtype=np.int32).reshape(1, 2, 2, 2)
INDEXES = np.arange(12, dtype=np.int32).reshape(1, 3, 2, 2)
MEANS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 2, 2)
X_HAT = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 6, 2, 2)
PROGRAM_FILES = dict.fromkeys(PROGRAMS, b"a program")


def record_of(name: str, array: NDArray[np.generic]) -> TensorRecord:
    return TensorRecord.of(name, array)


def digest_of(name: str, array: NDArray[np.generic]) -> TensorDigest:
    return TensorDigest.of(record_of(name, array))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def run_of(name: str, *, integer: bool = True, **outputs: NDArray[np.generic]) -> RecordedRun:
    feed = {"h_s": digest_of("z_symbols", Z), "g_s": digest_of("y_hat", MEANS)}
    return RecordedRun(
        name=name,
        specification=SPECIFICATION,
        tables=TABLES,
        lowering="mmi-u8u8" if integer else "float32",
        artifact=sha256(MODEL),
        integer=integer,
        feeds=(feed[name.rpartition("/")[2]],),
        outputs=tuple(digest_of(key, array) for key, array in outputs.items()),
    )


def recording(
    *,
    platform: str = "ort-cpu",
    keep: bool = True,
    indexes: NDArray[np.generic] = INDEXES,
    x_hat: NDArray[np.generic] = X_HAT,
) -> Recording:
    """h_s with means_hat and indexes, g_s with x_hat; with the bytes of all of them, or of none."""
    kept = (
        record_of("means_hat", MEANS),
        record_of("indexes", indexes),
        record_of("x_hat", x_hat),
    )
    return Recording(
        runs=(
            run_of(H_S, means_hat=MEANS, indexes=indexes),
            run_of(G_S, integer=False, x_hat=x_hat),
        ),
        environment={"platform": platform, "runtime": "onnxruntime 1.23", "threads": "1"},
        kept={each.digest: each.data for each in kept} if keep else {},
    )


def bundle() -> Bundle:
    """The recording as a bundle's expectation."""
    expected = recording()
    arrays = {"z.cdf": INDEXES, "medians": Z + 5}
    records = [
        *(record_of(name, array) for name, array in arrays.items()),
        record_of("z_symbols", Z),
        record_of("y_hat", MEANS),
    ]
    return Bundle(
        variants=(
            Variant(
                name=VARIANT,
                profile="w8a8",
                codec="c" * 64,
                specification=SPECIFICATION,
                tables=TABLES,
                lowering="mmi-u8u8",
                fraction_bits=8,
                arrays=tuple(digest_of(name, array) for name, array in arrays.items()),
            ),
        ),
        streams=(
            Stream(
                name=f"{VARIANT}/astronaut.c128",
                sha256=sha256(STREAM),
                tensors=(digest_of("z_symbols", Z), digest_of("indexes", INDEXES)),
            ),
        ),
        expected=expected,
        artifacts={sha256(MODEL): MODEL},
        bitstreams={sha256(STREAM): STREAM},
        tensors={**expected.kept, **{each.digest: each.data for each in records}},
    )
