"""percentile against its definition written out."""

import numpy as np
import pytest

from harness.calibrators.histogram import Collector, Histogram, asymmetric, symmetric
from harness.calibrators.percentile import PERCENTILE, Percentile, limits
from tests.calibrators.test_histogram import KINDS
from tests.calibrators.test_tf_enhanced import collected, literal_span

RULE = Percentile()


def literal(histogram: Histogram) -> tuple[float, float]:
    """Numbers of the edges, then the edges: they are compared as numbers."""
    shares = histogram.shares[0].tolist()
    left, width = float(histogram.left[0]), float(histogram.width[0])
    largest = literal_span(histogram)[1]
    seen, total = [], 0.0
    for share in shares:
        total += share
        seen.append(total)
    low = next((i for i in range(len(seen)) if seen[i] >= 1 - PERCENTILE / 100), 0)
    high = len(seen)
    for i in range(len(seen) - 1, -1, -1):
        if seen[i] < PERCENTILE / 100 and left + width * i < largest:
            high = i + 1
            break
    if low == high:
        high += 1
    return min(left + width * low, 0.0), max(left + width * high, 0.0)


@pytest.mark.parametrize("bins", [16, 512])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_definition(kind: str, bins: int) -> None:
    histogram = collected(kind, bins)
    low, high = literal(histogram)
    assert limits(histogram, 0) == (low, high)
    assert RULE.asymmetric(histogram, 0, 4) == asymmetric(np.asarray(low), np.asarray(high), 4)
    assert RULE.symmetric(histogram, 0, 4) == symmetric(np.asarray(max(-low, high)), 4)


def ends(rare: int) -> tuple[float, float]:
    """Of 100,000 values between -1 and 1, with `rare` ones at 3 and 5 at -3."""
    values = np.concatenate(
        [np.linspace(-1, 1, 99_995 - rare), np.full(rare, 3.0), np.full(5, -3.0)]
    )
    collector = Collector(512)
    collector.add(values[None])
    return limits(collector.histogram(), 0)


def test_what_is_rarer_than_one_in_ten_thousand_is_left_out() -> None:
    low, high = ends(5)
    assert -1.1 < low < -0.9
    assert 0.9 < high < 1.1
    assert ends(50)[1] > 2.9
