"""The warp as ONNX files: both take `reference` and `motion`, [1, 3, H, W], and give `prediction`, [1, 3, H, W]."""

import hashlib

from harness.lowerings.base import FLOAT, Artifact
from harness.warp import float_graph, integer_graph
from harness.warp.specification import WarpSpecification

NETWORK = "warp"
REFERENCE, MOTION, PREDICTION = "reference", "motion", "prediction"
INTEGER = "int32"


def lower_integer(specification: WarpSpecification, *, codec: str = "") -> Artifact:
    """int32 in, int32 out: exact everywhere."""
    labels = _labels(codec, INTEGER, "integer", specification.digest)
    return Artifact(
        network=NETWORK,
        lowering=INTEGER,
        onnx_model=integer_graph.build(specification, labels),
        input=REFERENCE,
        outputs=(PREDICTION,),
        integer=True,
        specification=specification.digest,
    )


def lower_float(*, codec: str = "") -> Artifact:
    """float32 in, float32 out, a picture in 0..1 and motion in units of half of it: CompressAI's own, and never exact."""
    digest = hashlib.sha256(
        b"float32 warp" + float_graph.kernel().astype("<f4").tobytes()
    ).hexdigest()
    return Artifact(
        network=NETWORK,
        lowering=FLOAT,
        onnx_model=float_graph.build(_labels(codec, FLOAT, "fp32", digest)),
        input=REFERENCE,
        outputs=(PREDICTION,),
        integer=False,
        specification=digest,
    )


def _labels(codec: str, lowering: str, precision: str, digest: str) -> dict[str, str]:
    return {
        "crosscheck.codec": codec,
        "crosscheck.network": NETWORK,
        "crosscheck.lowering": lowering,
        "crosscheck.precision": precision,
        "crosscheck.specification": digest,
    }
