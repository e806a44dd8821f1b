"""rounding: another rule of requantization than the one that is defined."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.dsp.profile import ArithmeticProfile
from harness.dsp.rounding import RULES
from harness.errors import Unsupported
from harness.explain.base import MECHANISMS, Account, Site
from harness.explain.evaluate import EXACT, evaluate
from harness.explain.operators import byte_product
from harness.explain.rescale import ROUNDINGS, clamped, rescaled
from harness.explain.sums import sums_of
from harness.explain.variants import Variant, matching
from harness.graph_node import Numbers
from harness.onnx_shapes import per_axis


@dataclass(frozen=True, kw_only=True)
class Rounding:
    name: str = "rounding"
    summary: str = "ties, a second rounding, a cut multiplier or a rescale in float go another way"

    def accounts(self, site: Site) -> Iterator[Account]:
        if not site.single:
            raise Unsupported("more than one node")
        if site.node.domain == "crosscheck":
            variants = _functions(site)
        elif site.node.op_type == "QuantizeLinear":
            variants = _quantize(site)
        else:
            variants = _rescaled(site)
        yield from matching(self.name, site, variants)


def _functions(site: Site) -> Iterator[Variant]:
    """Requantize and its kin, by every rule of the simulated DSP."""
    for rule in RULES:
        profile = ArithmeticProfile(rounding=rule)
        yield Variant(how=rule, array=evaluate(site.graph, site.feeds, profile)[site.output])


def _rescaled(site: Site) -> Iterator[Variant]:
    given = byte_product(site)
    if given.rescale is None:
        raise Unsupported(f"{site.node.op_type} rounds nothing")
    for rule, array in rescaled(sums_of(given, EXACT), given.rescale):
        yield Variant(how=rule, array=given.product.fold(array))


def _quantize(site: Site) -> Iterator[Variant]:
    """QuantizeLinear by division, by the reciprocal, and in double precision; four roundings each."""
    x, scale, zero = (*site.arguments(), None)[:3]
    if x is None or scale is None or zero is None or x.dtype != np.float32:
        raise Unsupported("QuantizeLinear of float32 with a zero point is simulated, no other")
    axis = per_axis(scale.shape, x.ndim, site.view().integer("axis", 1))
    step, offset = scale.reshape(axis), zero.reshape(axis)
    values, steps = x.astype(np.float32), step.astype(np.float32)
    quotients: Mapping[str, Numbers] = {
        "division": values / steps,
        "multiplication by the reciprocal": values * (np.float32(1) / steps),
        "division in double precision": values.astype(np.float64) / steps.astype(np.float64),
    }
    for how, quotient in quotients.items():
        for rule, rounding in ROUNDINGS.items():
            yield Variant(how=f"{how}, {rule}", array=clamped(rounding(quotient), offset))
        early = np.rint(np.add(quotient, offset.astype(quotient.dtype)))
        yield Variant(
            how=f"{how}, zero point added before rounding",
            array=clamped(early, np.zeros_like(offset)),
        )


MECHANISMS.register(Rounding())
