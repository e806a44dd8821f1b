"""The name of a divergence: only what accounts for every bit of both sides is named, else it is unknown."""

from dataclasses import dataclass

from harness.errors import HarnessError
from harness.explain.base import MECHANISMS, Account, Evidence, Site
from harness.explain.changed import Changed, changed
from harness.explain.product import TooLarge

UNKNOWN = "unknown"
FLIPPED_BIT, OTHER_TENSORS = "flipped bit", "different weights or inputs"


@dataclass(frozen=True, kw_only=True)
class SideAccounts:
    """The best accounts of one side (all of equal standing), and why mechanisms were not applicable."""

    accounts: tuple[Account, ...]
    declined: tuple[str, ...]
    too_large: bool

    def __str__(self) -> str:
        if not self.accounts:
            return UNKNOWN
        ways: dict[str, list[str]] = {}
        for account in self.accounts:
            ways.setdefault(account.mechanism, []).append(account.how)
        told = [
            f"{name}: {' or '.join(hows)}" if all(hows) else name for name, hows in ways.items()
        ]
        return f"{'; or '.join(told)} ({self.accounts[0].evidence.value})"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """`mechanisms` is empty where the divergence is unknown, and has two names where each side deviates in its way.

    Alternatives that the bits cannot tell apart are one name with "or".
    `least`: shown on the least input alone, since the whole one is too large to simulate. `other_bits`: shown on the
    smallest graph alone, on which the sides get other bits than in the whole one.
    """

    mechanisms: tuple[str, ...]
    evidence: Evidence | None
    a: SideAccounts
    b: SideAccounts
    changed: tuple[Changed, ...]
    least: bool = False
    other_bits: bool = False

    @property
    def headline(self) -> str:
        if self.evidence is None:
            return UNKNOWN
        where = ", on the least input alone" if self.least else ""
        if self.other_bits:
            where += ", on the smallest graph alone, whose bits are not those of the whole graph"
        return f"{' and '.join(self.mechanisms)} ({self.evidence.value}{where})"


def explain(a: Site, b: Site) -> Explanation:
    """Name the mechanisms that turn the inputs into what each side got.

    Both sides must be accounted for: a mechanism that gives one of them explains nothing if the other one is a riddle.
    """
    differing = changed(a.values, b.values)
    left, right = accounts_of(a), accounts_of(b)
    named: tuple[str, ...] = ()
    if left.accounts and right.accounts:
        named = tuple(sorted(_deviations(left) | _deviations(right)))
        if differing:
            one_bit = len(differing) == 1 and differing[0].bit >= 0
            named = (FLIPPED_BIT if one_bit else OTHER_TENSORS, *named)
        named = named or tuple(sorted({x.mechanism for x in (*left.accounts, *right.accounts)}))
    # What ONNX leaves open can be shown within a bound at best; a deviation is judged by what shows it.
    every = (*left.accounts, *right.accounts)
    evidence = {x.evidence for x in every if x.deviations} or {x.evidence for x in every}
    worst = Evidence.WITHIN_BOUND if Evidence.WITHIN_BOUND in evidence else Evidence.REPRODUCED
    return Explanation(
        mechanisms=named,
        evidence=worst if named else None,
        a=left,
        b=right,
        changed=differing,
    )


def _deviations(side: SideAccounts) -> set[str]:
    """What the side did otherwise: one name, or alternatives that its bits cannot tell apart."""
    names = sorted({account.mechanism for account in side.accounts if account.deviations})
    return {" or ".join(names)} if names else set()


def accounts_of(site: Site) -> SideAccounts:
    """Every bit reproduced beats a bound, and what ONNX defines beats a deviation."""
    found: list[Account] = []
    declined, too_large = [], False
    for mechanism in MECHANISMS:
        try:
            found += mechanism.accounts(site)
        except HarnessError as error:
            declined.append(f"{mechanism.name}: {error}")
            too_large |= isinstance(error, TooLarge)
    best = min((account.standing for account in found), default=None)
    return SideAccounts(
        accounts=tuple(account for account in found if account.standing == best),
        declined=tuple(declined),
        too_large=too_large,
    )
