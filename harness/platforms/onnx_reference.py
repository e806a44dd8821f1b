"""The ONNX project's reference evaluator: a platform under test, never our golden; slow, so `h_s` only.

It takes a minute for a float warp of 48x32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import PlatformUnavailable
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session
from harness.platforms.evaluator_operators import replacements

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator


@dataclass(frozen=True, kw_only=True)
class OnnxReferencePlatform(PlatformSpec):
    def open(self) -> Engine:
        try:
            import onnx.reference  # noqa: F401
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), "pip install onnx") from error
        return OnnxReferenceEngine()


class OnnxReferenceEngine:
    def environment(self) -> Mapping[str, str]:
        import onnx

        return {
            "runtime": f"onnx {onnx.__version__} ReferenceEvaluator",
            "provider": "numpy",
            "numpy": np.__version__,
            "replaced_operators": " ".join(operator.__name__ for operator in replacements()),
            "integer_kernel": "numpy int32 einsum",
            "float_kernel": "onnx.reference",
        }

    def load(self, onnx_model: bytes) -> Session:
        import onnx
        from onnx.reference import ReferenceEvaluator

        model = onnx.load_model_from_string(onnx_model)
        return OnnxReferenceSession(ReferenceEvaluator(model, new_ops=replacements()))


class OnnxReferenceSession:
    def __init__(self, evaluator: "ReferenceEvaluator") -> None:
        self._evaluator = evaluator

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        outputs = self._evaluator.run(None, dict(feeds))
        return dict(zip(self._evaluator.output_names, outputs, strict=True))


PLATFORMS.register(OnnxReferencePlatform(name="onnx-reference", networks=frozenset({"h_s"})))
