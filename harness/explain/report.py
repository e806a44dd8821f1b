"""An explanation, as JSON and as lines for a terminal."""

from collections.abc import Sequence

from harness.explain.interventions import Restored
from harness.explain.naming import UNKNOWN, Explanation, SideAccounts

BY_INTERVENTION = "by intervention"


def to_report(
    found: Explanation, platforms: tuple[str, str], restorations: Sequence[Restored] = ()
) -> dict[str, object]:
    sides = zip(("a", "b"), platforms, (found.a, found.b), strict=True)
    return {
        "mechanisms": list(found.mechanisms),
        "evidence": _evidence(found, restorations),
        "shown_on": "least input"
        if found.least
        else "smallest graph"
        if found.other_bits
        else "whole graph",
        "sides": {key: _side(name, side) for key, name, side in sides},
        "changed": [str(each) for each in found.changed],
        "restored_by": [str(each) for each in restorations],
    }


def _evidence(found: Explanation, restorations: Sequence[Restored]) -> str:
    if found.evidence:
        return found.evidence.value
    return BY_INTERVENTION if restorations else UNKNOWN


def _side(platform: str, side: SideAccounts) -> dict[str, object]:
    return {
        "platform": platform,
        "accounts": [
            {"mechanism": a.mechanism, "how": a.how, "evidence": a.evidence.value}
            for a in side.accounts
        ],
    }


def to_lines(
    found: Explanation, platforms: tuple[str, str], restorations: Sequence[Restored] = ()
) -> list[str]:
    headline = found.headline
    if found.evidence is None and restorations:
        headline = f"{restorations[0].switch.what} restores identity ({BY_INTERVENTION}; no simulation has the bits)"
    lines = [f"mechanism: {headline}"]
    for name, side in zip(platforms, (found.a, found.b), strict=True):
        lines.append(f"  {name}: {side}")
    lines += [f"  {each}" for each in (*found.changed, *restorations)]
    return lines
