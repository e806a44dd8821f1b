"""An explanation, as JSON and as lines for a terminal."""

from collections.abc import Sequence

from harness.explain.interventions import Restored
from harness.explain.naming import Explanation, SideAccounts


def to_report(
    found: Explanation, platforms: tuple[str, str], restorations: Sequence[Restored] = ()
) -> dict[str, object]:
    sides = zip(("a", "b"), platforms, (found.a, found.b), strict=True)
    return {
        "mechanisms": list(found.mechanisms),
        "evidence": found.evidence.value if found.evidence else "unknown",
        "sides": {key: _side(name, side) for key, name, side in sides},
        "changed": [str(each) for each in found.changed],
        "restored_by": [str(each) for each in restorations],
    }


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
    lines = [f"mechanism: {found.headline}"]
    for name, side in zip(platforms, (found.a, found.b), strict=True):
        lines.append(f"  {name}: {side}")
    lines += [f"  {each}" for each in (*found.changed, *restorations)]
    return lines
