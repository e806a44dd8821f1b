"""From what bisection shows to the sites that mechanisms judge."""

from dataclasses import replace

from harness.bisect.results import Bisection, Shown
from harness.explain.base import Site
from harness.explain.naming import Explanation, explain


def explain_found(found: Bisection) -> Explanation | None:
    """Explain what a bisection found: on the bits of the whole graph, inside a called function if need be; None without one.

    What only the smallest graph shows, with other bits than the whole one, is said to be that.
    """
    if found.reproduction is None:
        return None
    made = found.reproduction
    why = explain_shown(made.faithful or made.whole)
    if why.mechanisms:
        return why
    alone = explain_shown(made.whole) if made.faithful else why
    if alone.mechanisms:
        return replace(alone, other_bits=True)
    inside = explain_found(found.inner) if found.inner else None
    if inside is not None and inside.mechanisms:
        return inside
    least = made.least
    if least is not None and (why.a.too_large or why.b.too_large):
        return replace(explain_shown(least), least=True)
    return why


def explain_shown(shown: Shown) -> Explanation:
    """Explain the first tensor that differs of a specimen's outputs."""
    names = [t.name for t in shown.a.tensors if shown.b[t.name].digest != t.digest]
    output = names[0]
    specimen = shown.specimen
    a = Site(
        graph=specimen.graph_a, feeds=specimen.feeds_a, output=output, got=shown.a.array(output)
    )
    b = Site(
        graph=specimen.graph_b, feeds=specimen.feeds_b, output=output, got=shown.b.array(output)
    )
    return explain(a, b)
