"""Whoever is in the linter's table of deviations by measurement has its mechanism shown: by its bits, or by intervention."""

from collections.abc import Iterator

import numpy as np
import pytest

from harness.bisect.find import bisect
from harness.bisect.results import Bisection
from harness.bisect.sides import Live, on_platform
from harness.errors import PlatformUnavailable
from harness.explain.base import Evidence
from harness.explain.interventions import one_option_apart, restored
from harness.explain.report import to_lines
from harness.explain.shown import explain_found
from harness.lint.analyse import Options, Range, examine
from harness.lint.deviations import DEVIATIONS
from harness.platforms.pool import Pool
from harness.taps import Graph
from tests.deviations import SPECIMENS, Specimen
from tests.platforms.prepared import integer_convolution
from tests.test_explain import RECORDED, from_record, one_off

# Rule: mechanism, and words of how.
MECHANISMS = {
    "neon-pair-wrap": ("pair wrap", "products k and k + 8"),
    "onnx-reference-qlinear": ("rounding", "zero point added before rounding"),
    "openvino-float64": ("float32 arithmetic", "in float32"),
    "openvino-int32-div": ("float32 arithmetic", "in float32, truncated"),
    "openvino-int32-fused": ("fused scale and offset", "the last 8 apart"),
    "openvino-int32-mod": ("float32 arithmetic", "x - floor(x / y) * y"),
    "openvino-int32-sums": ("float carrier", "one FMA after the other"),
    "openvino-int64": ("int64 truncation", "wrapping, constants saturated"),
    "openvino-offset-inside": ("offset inside a scale", "(x + offset / scale) * scale"),
    "openvino-quantize": ("rounding", "zero point added before rounding"),
    "openvino-uint32-shift": ("float32 arithmetic", "as int32, in float32"),
    "ort-int64-minmax": ("int64 low words", "low words"),
    "tract-dequantize-axis": ("first scale", "the first scale and zero point"),
}
# Shown by the seeded divergences of test_explain.
SEEDED = {"openvino-bf16": "bf16-by-default", "pair-saturation": "pair-saturation"}
# By switching one option: `test_winograd_by_intervention`.
SWITCHED = {"winograd"}
# Of runtimes that are no platforms here.
ELSEWHERE = {"unpromised-rounding"}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


def test_every_measured_deviation_is_shown() -> None:
    measured = {name for name, each in DEVIATIONS.items() if "measured" in each.rule.source}
    assert MECHANISMS.keys() == SPECIMENS.keys()
    assert measured == {*MECHANISMS, *SEEDED, *SWITCHED, *ELSEWHERE}
    assert set(SEEDED.values()) <= RECORDED.keys()


@pytest.mark.parametrize("rule", MECHANISMS)
def test_the_recorded_deviation_has_its_mechanism(rule: str) -> None:
    found = from_record(rule)
    name, how = MECHANISMS[rule]
    assert (found.mechanisms, found.evidence) == ((name,), Evidence.REPRODUCED)
    assert how in str(found.b)


@pytest.mark.parametrize("rule", MECHANISMS)
def test_one_element_more_and_it_is_unknown(rule: str) -> None:
    assert from_record(rule, one_off).headline == "unknown"


@pytest.mark.parametrize("rule", SPECIMENS)
def test_the_linter_names_the_rule_in_the_same_graph(rule: str) -> None:
    specimen = SPECIMENS[rule]
    x = specimen.feeds["x"]
    whole = x.dtype.kind == "f" and bool((x == np.rint(x)).all())
    step = 1 if whole else 0.25
    ranges = {"x": Range(low=float(x.min()), high=float(x.max()), step=step)}
    report = examine(
        specimen.graph.onnx_model, options=Options(ranges=ranges if x.dtype.kind == "f" else {})
    ).report
    assert rule in {finding.rule for finding in report.findings}


def live(pool: Pool, specimen: Specimen) -> Bisection:
    for platform in specimen.platforms:
        try:
            pool.child(platform).environment()
        except PlatformUnavailable as error:
            pytest.skip(str(error))
    sides = [
        Live(name=p, graph=specimen.graph, feeds=specimen.feeds, run=on_platform(pool, p))
        for p in specimen.platforms
    ]
    return bisect(*sides)


@pytest.mark.platform
@pytest.mark.parametrize("rule", MECHANISMS)
def test_the_live_platform_does_the_same(rule: str, pool: Pool) -> None:
    found = explain_found(live(pool, SPECIMENS[rule]))
    assert found is not None
    assert (found.mechanisms, found.evidence) == ((MECHANISMS[rule][0],), Evidence.REPRODUCED)


@pytest.mark.platform
def test_winograd_by_intervention(pool: Pool) -> None:
    model, feeds, _ = integer_convolution(np.random.default_rng(1))
    names = ("ncnn", "ncnn-winograd")
    specimen = Specimen(graph=Graph.of(model, "carrier"), feeds=feeds, platforms=names)
    found = live(pool, specimen)
    assert found.reproduction is not None
    switches = [s for s in one_option_apart("ncnn-winograd") if s.variant == "ncnn"]
    shown = found.reproduction.whole
    result = list(restored(shown, names, switches, lambda name: on_platform(pool, name)))
    assert [each.switch.what for each in result] == ["winograd=False instead of True"]
    why = explain_found(found)
    assert why is not None
    assert to_lines(why, names, result)[0] == (
        "mechanism: winograd=False instead of True restores identity (by intervention; no simulation has the bits)"
    )
