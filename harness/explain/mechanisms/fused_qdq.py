"""fused QDQ: DequantizeLinear, Conv, QuantizeLinear computed as one integer operator."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.evaluate import EXACT
from harness.explain.mechanisms.quantization_tie import near_tie
from harness.explain.quantized_window import quantized_window
from harness.explain.rescale import rescaled
from harness.explain.sums import sums_of


@dataclass(frozen=True, kw_only=True)
class FusedQdq:
    name: str = "fused QDQ"
    summary: str = (
        "an optimiser makes QLinearConv or QLinearMatMul of float operators between Q and DQ"
    )

    def accounts(self, site: Site) -> Iterator[Account]:
        window = quantized_window(site)
        # A fused Relu only clamps at the zero point: the same as clamping the output.
        variants = rescaled(sums_of(window.integer, EXACT), window.rescale)
        if near_tie(site, window):
            # The float operators account for it: only the integer operator as ONNX defines it says more.
            variants = islice(variants, 1)
        for rule, array in variants:
            made = np.maximum(array, window.rescale.y_zero) if window.relu else array
            if site.equals(np.ascontiguousarray(window.integer.product.fold(made))):
                yield Account(
                    mechanism=self.name,
                    how=f"exact integer sums, {rule}",
                    evidence=Evidence.REPRODUCED,
                    deviations=1,
                )


MECHANISMS.register(FusedQdq())
