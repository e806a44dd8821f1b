"""The narrowest widths within a budget of BD-rate. Knows no codec: what a width costs is measured by a callback."""

from collections.abc import Callable, Mapping, Sequence

from harness.errors import HarnessError, UserError
from harness.precision import NARROWEST, WIDEST
from harness.rd import BdRate, Search, Trial, Variant

# Name of a search -> its precision at B bits.
PATTERNS: Mapping[str, Callable[[int], str]] = {
    "wBaB": lambda bits: f"w{bits}a{bits}",
    "wBa16": lambda bits: f"w{bits}a{WIDEST}",
    "w16aB": lambda bits: f"w{WIDEST}a{bits}",
}
# BD-rates of a variant, one a family; raises Unbuildable where the variant cannot be had.
Measure = Callable[[Variant], Sequence[BdRate]]


class Unbuildable(UserError):
    """No lowering or calibration makes this variant of some codec; the message is the reason."""


def narrowest(
    measure: Measure, budget: float, *, scope: str, calibrator: str
) -> tuple[Search, ...]:
    """Of each pattern, scan from 2 bits up to 16 and stop at the first that costs at most `budget` percent.

    From below, since then every narrower width was measured and costs too much: the cost need not fall with every bit.
    What counts is the worst family; one without a BD-rate has not been shown to be within any budget. A width that cannot
    be built is passed over: it says nothing of the next. A variant is measured once, though several patterns try it.
    """
    if not budget >= 0:
        raise UserError(f"no budget of {budget:g} %: give 0 or more, such as 1.0")
    known: dict[Variant, Trial] = {}

    def attempt(bits: int, precision: str) -> Trial:
        variant = Variant(precision=precision, scope=scope, calibrator=calibrator)
        if variant not in known:
            try:
                known[variant] = _trial(variant, bits, measure(variant), budget)
            except Unbuildable as error:
                known[variant] = _not_built(variant, bits, str(error))
        return known[variant]

    return tuple(
        Search(
            pattern=pattern,
            scope=scope,
            calibrator=calibrator,
            budget=budget,
            trials=_scan(attempt, name),
        )
        for pattern, name in PATTERNS.items()
    )


def _scan(attempt: Callable[[int, str], Trial], name: Callable[[int], str]) -> tuple[Trial, ...]:
    trials: list[Trial] = []
    for bits in range(NARROWEST, WIDEST + 1):
        trials.append(attempt(bits, name(bits)))
        if trials[-1].is_within:
            break
    return tuple(trials)


def _trial(variant: Variant, bits: int, rates: Sequence[BdRate], budget: float) -> Trial:
    percents = {rate.family: rate.percent for rate in rates}
    if not rates or len(percents) != len(rates):
        raise HarnessError(f"{variant.label}: one BD-rate a family is wanted, got {len(rates)}")
    numbers = [percent for percent in percents.values() if percent is not None]
    worst = max(numbers) if len(numbers) == len(rates) else None
    return Trial(
        variant=variant,
        calibrator=", ".join(dict.fromkeys(rate.calibrator for rate in rates)),
        bits=bits,
        percents=percents,
        worst=worst,
        is_within=worst is not None and worst <= budget,
        note="; ".join(f"{rate.family}: {rate.psnr.note}" for rate in rates if rate.psnr.note),
    )


def _not_built(variant: Variant, bits: int, reason: str) -> Trial:
    return Trial(
        variant=variant,
        calibrator="none",
        bits=bits,
        percents={},
        worst=None,
        is_within=False,
        note=f"not built: {reason}",
    )
