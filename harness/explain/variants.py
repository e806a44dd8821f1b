"""Accounts from lists of simulated variants: one that gives nothing but the defined result explains nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.dsp.profile import ArithmeticProfile
from harness.errors import Unsupported
from harness.explain.base import Account, Evidence, Site
from harness.explain.defined import defined
from harness.explain.evaluate import evaluate
from harness.explain.operators import byte_product
from harness.explain.rescale import rescaled
from harness.explain.sums import orders, sums_of
from harness.graph_node import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """A simulated output, and in how many ways it was made otherwise than ONNX defines."""

    how: str
    array: Array
    deviations: int = 1


def matching(mechanism: str, site: Site, variants: Iterable[Variant]) -> Iterator[Account]:
    """The variants that are what the site got, and are not what ONNX defines."""
    for variant in variants:
        if site.equals(variant.array):
            if site.equals(defined(site)):
                return
            yield Account(
                mechanism=mechanism,
                how=variant.how,
                evidence=Evidence.REPRODUCED,
                deviations=variant.deviations,
            )


def profile_accounts(
    mechanism: str, site: Site, profiles: Mapping[str, ArithmeticProfile]
) -> Iterator[Account]:
    """An integer product under other profiles, followed by every rule of rescaling if it has one."""
    yield from matching(mechanism, site, _products(site, profiles))


def _products(site: Site, profiles: Mapping[str, ArithmeticProfile]) -> Iterator[Variant]:
    if site.node.op_type == "MatMul" and site.got.dtype.kind in "iu":
        for how, profile in profiles.items():
            yield Variant(how=how, array=evaluate(site.graph, site.feeds, profile)[site.output])
        return
    given = byte_product(site)
    for how, profile in profiles.items():
        for order, product in orders(given):
            try:
                sums = sums_of(given, profile, product)
            except Unsupported:
                continue  # the pair unit takes int8 weights alone
            if given.rescale is None:
                yield Variant(how=how + order, array=product.fold(sums))
                continue
            for number, (rule, array) in enumerate(rescaled(sums, given.rescale)):
                yield Variant(
                    how=f"{how}{order}, then {rule}",
                    array=product.fold(array),
                    deviations=1 + (number > 0),
                )
