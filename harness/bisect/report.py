"""What a bisection found, as JSON and as lines for a terminal."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from harness.bisect.panel import Panel, panel
from harness.bisect.results import Bisection, Shown
from harness.trace import Trace

MOST_NODES = 4
SIGMA = "scales_hat"
Thresholds = NDArray[np.int32] | None


def node_panels(found: Bisection) -> list[Panel]:
    """Of every output of the node that differs."""
    return [] if found.a is None or found.b is None else _panels(found.a, found.b, None)


def output_panels(found: Bisection, thresholds: Thresholds = None) -> list[Panel]:
    """Of every other output of the whole graph that differs; sigmas are held against the thresholds."""
    own = set() if found.a is None else {t.name for t in found.a.tensors} - {SIGMA}
    every = [] if found.outputs is None else _panels(*found.outputs, thresholds)
    return [each for each in every if each.tensor not in own]


def _panels(a: Trace, b: Trace, thresholds: Thresholds) -> list[Panel]:
    made = (panel(t, b[t.name], thresholds if t.name == SIGMA else None) for t in a.tensors)
    return [found for found in made if found is not None]


def to_report(
    found: Bisection, platforms: tuple[str, str], thresholds: Thresholds = None
) -> dict[str, object]:
    """Integers and text only; panels in the order of the node's outputs."""
    report: dict[str, object] = {
        "a": platforms[0],
        "b": platforms[1],
        "identical": found.identical,
        "node": found.node,
        "op_type": found.op_type,
        "with_taps": found.with_taps,
        "without_taps": found.without_taps,
        "ran_with_taps": found.tapped,
        "searched_without_taps": found.searched,
        "hidden_by_taps": found.hidden_by_taps,
        "nodes": found.nodes,
        "runs": found.runs,
        "inside": found.inner.node if found.inner else "",
        "panels": [asdict(each) for each in node_panels(found)],
        "output_panels": [asdict(each) for each in output_panels(found, thresholds)],
    }
    if found.reproduction is not None:
        made = found.reproduction
        report["smallest_graph"] = list(made.nodes)
        report["least_input"] = _shapes(made.least or made.whole)
    return report


def to_json(report: Mapping[str, object]) -> str:
    return json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def _shapes(shown: Shown) -> dict[str, str]:
    feeds = shown.specimen.feeds_a
    return {name: f"{x.dtype.name}{list(x.shape)}" for name, x in feeds.items()}


def to_lines(
    found: Bisection, platforms: tuple[str, str], thresholds: Thresholds = None
) -> list[str]:
    a, b = platforms
    if found.identical:
        return [f"identical on {a} and {b}: every value of {found.nodes} nodes, {found.runs} runs"]
    lines = [f"first diverging node: {found.node}   ({found.nodes} nodes, {found.runs} runs)"]
    if found.inner:
        lines.append(f"  inside it: {found.inner.node}")
    if found.searched:
        lines += [
            f"  with all taps on: {found.with_taps or ('identical' if found.tapped else 'a side cannot run that')}",
            f"  without taps:     {found.without_taps or 'the outputs are identical'}",
        ]
    if found.hidden_by_taps and found.without_taps:
        lines.append("  marking values changes what runs: a fusion is involved")
    for each in node_panels(found):
        lines += panel_lines(each, platforms)
    if found.reproduction is None:
        lines.append("  no smaller graph was found that diverges when it is fed alone")
    else:
        made = found.reproduction
        shapes = ", ".join(f"{k} {v}" for k, v in _shapes(made.least or made.whole).items())
        nodes = ", ".join(made.nodes[-MOST_NODES:])
        more = f"{len(made.nodes) - MOST_NODES} nodes and " if made.nodes[MOST_NODES:] else ""
        lines.append(f"  smallest graph: {more}{nodes}; input {shapes}")
    for each in output_panels(found, thresholds):
        lines += ["in the outputs:", *panel_lines(each, platforms)]
    return lines


def panel_lines(found: Panel, platforms: tuple[str, str]) -> list[str]:
    """The panel: values in decimal and hex, distance, counts, the map, the nearest threshold."""
    if found.kind != "value":
        return [
            f"  {found.tensor}: {found.kind} {found.a} on {platforms[0]}, {found.b} on {platforms[1]}"
        ]
    place = ", ".join(map(str, found.index))
    width = max(map(len, platforms))
    lines = [
        f"  {found.tensor}[{place}] {found.dtype}{list(found.shape)}: {found.mismatched} of {found.values} differ",
        f"    {platforms[0]:<{width}} {found.a:>14}  {found.a_hex}",
        f"    {platforms[1]:<{width}} {found.b:>14}  {found.b_hex}",
        f"    {found.apart} {found.unit} apart here, {found.most_apart} at most",
    ]
    if found.threshold is not None:
        t = found.threshold
        lines.append(
            f"    CDF index {t.index_a} and {t.index_b}, {t.ulp_to_nearest} ULP to the nearest threshold; "
            f"{t.flipped} indexes flipped in all"
        )
    return [*lines, *(f"    {row}" for row in found.plane)]
