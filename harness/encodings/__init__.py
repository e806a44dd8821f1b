"""AIMET's encodings files: what they say (`file`), and what that means for a network of ours (`meaning`)."""

from harness.encodings.file import VERSIONS, Encoding, Encodings
from harness.encodings.meaning import calibration_of, precision_of, read_encodings
from harness.encodings.writing import encodings_of

__all__ = [
    "VERSIONS",
    "Encoding",
    "Encodings",
    "calibration_of",
    "encodings_of",
    "precision_of",
    "read_encodings",
]
