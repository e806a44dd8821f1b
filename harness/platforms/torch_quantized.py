"""torch's quantized convolution (oneDNN, 8 bits) where a graph has one, torch eager elsewhere.

Without VNNI its kernel adds two u8 x s8 products in 16 bits: a cap on the instruction set shows that natively.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import PlatformUnavailable
from harness.platforms.base import PLATFORMS, Engine
from harness.platforms.torch_eager import ISA, TorchEngine, TorchPlatform

if TYPE_CHECKING:
    from torch import Tensor

    from harness.interpreter import Prepare

KERNEL = "onednn::qconv_pointwise"


@dataclass(frozen=True, kw_only=True)
class QuantizedPlatform(TorchPlatform):
    def open(self) -> Engine:
        try:
            import torch
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), "pip install torch") from error
        if not hasattr(torch.ops.onednn, "qconv_pointwise"):
            raise PlatformUnavailable(
                self.name, f"torch {torch.__version__} has no {KERNEL}", "pip install torch>=2.6"
            )
        torch.set_num_threads(1)
        return QuantizedEngine(self)


class QuantizedEngine(TorchEngine):
    """Child side: as torch eager, with 8-bit convolutions in 8 bits."""

    def environment(self) -> Mapping[str, str]:
        isa = os.environ.get(ISA, "native")
        return {
            **super().environment(),
            "quantized": f"{KERNEL} for QLinearConv and for Conv between DequantizeLinear; ConvTranspose in float32",
            "integer_kernel": f"torch oneDNN int8 convolution {isa}",
        }

    def operators(self) -> "Mapping[str, Prepare[Tensor]]":
        from harness.torch_ops.quantized import QUANTIZED

        return QUANTIZED


PLATFORMS.register(QuantizedPlatform(name="torch-quantized"))
PLATFORMS.register(QuantizedPlatform(name="torch-quantized-avx2", variables={ISA: "AVX2"}))
