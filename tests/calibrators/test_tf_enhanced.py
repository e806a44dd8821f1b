"""tf-enhanced against its definition written out, candidate by candidate and bin by bin."""

import math

import numpy as np
import pytest

from harness.calibrators import tf_enhanced
from harness.calibrators.histogram import Collector, Histogram
from harness.calibrators.tf_enhanced import TfEnhanced, asymmetric_candidates, cost
from tests.calibrators.test_histogram import KINDS, c_round, draw

RULE = TfEnhanced()


def collected(kind: str, bins: int = 512, seed: int = 0) -> Histogram:
    collector = Collector(bins)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    for _ in range(2):
        collector.add(draw(kind, rng)[None])
    return collector.histogram()


def literal_span(histogram: Histogram) -> tuple[float, float]:
    shares = histogram.shares[0].tolist()
    edges = [float(histogram.left[0] + histogram.width[0] * i) for i in range(len(shares))]
    low = next(edge for edge, share in zip(edges, shares, strict=True) if share > 0)
    high = edges[-1]
    for i in range(len(shares) - 1, 0, -1):
        if shares[i] > 0:
            high = edges[i]
            break
    low, high = min(low, 0.0), max(high, 0.0)
    return low, max(high, low + 0.01)


def literal_cost(histogram: Histogram, delta: float, offset: int, bits: int) -> float:
    shares = histogram.shares[0].tolist()
    left, width = float(histogram.left[0]), float(histogram.width[0])
    first, last = (
        min(max(math.floor((delta * end - left) / width), 0), len(shares) - 1)
        for end in (offset, offset + 2**bits - 1)
    )
    total = []
    for i, share in enumerate(shares):
        middle = left + i * width + width / 2
        if i < first:
            total.append(3.0 * share * (middle - (left + first * width + width / 2)) ** 2)
        elif i >= last:
            total.append(3.0 * share * (middle - (left + last * width + width / 2)) ** 2)
        else:
            rounded = delta * (c_round(middle / delta - offset) + offset)
            total.append(share * (middle - rounded) ** 2)
    return math.fsum(total)


def literal_candidates(low: float, high: float, bits: int) -> list[tuple[float, int]]:
    n = 2**bits - 1
    observed = (high - low) / n
    nearest = c_round(low / observed)
    low, high = observed * nearest, observed * (nearest + n)
    found = []
    for k in range(1, 18):
        for i in range(21):
            delta, offset = k / 16 * observed, math.trunc(-n + n / 20 * i)
            start, end = delta * offset, delta * (offset + n)
            if start < low and end > high:
                continue
            start, end = max(start, low), min(end, high)
            if start == end:
                continue
            delta = (end - start) / n
            found.append((delta, c_round(start / delta)))
    return [*found, (observed, nearest)]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_asymmetric_choice_is_the_first_of_least_cost(kind: str, bits: int) -> None:
    histogram = collected(kind)
    candidates = literal_candidates(*literal_span(histogram), bits)
    delta, offset = asymmetric_candidates(*histogram.span(0), 2**bits - 1)
    assert list(zip(delta.tolist(), offset.tolist(), strict=True)) == candidates
    costs = [literal_cost(histogram, *candidate, bits) for candidate in candidates]
    assert cost(histogram, 0, delta, offset, bits) == pytest.approx(costs, rel=1e-9, abs=1e-30)
    assert RULE.asymmetric(histogram, 0, bits) == candidates[costs.index(min(costs))]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_symmetric_choice_is_the_first_of_least_cost(kind: str, bits: int) -> None:
    histogram = collected(kind)
    low, high = literal_span(histogram)
    largest = 2 ** (bits - 1) - 1
    deltas = [k / 100 * (max(-low, high) / largest) for k in range(1, 102)]
    costs = [literal_cost(histogram, delta, -largest, bits) for delta in deltas]
    assert RULE.symmetric(histogram, 0, bits) == deltas[costs.index(min(costs))]


def test_of_equal_candidates_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    histogram = collected("signed")
    first = literal_candidates(*literal_span(histogram), 4)[0]
    monkeypatch.setattr(tf_enhanced, "cost", lambda _h, _c, delta, _o, _b: np.zeros(len(delta)))
    assert RULE.asymmetric(histogram, 0, 4) == first


def test_what_saturates_costs_three_times_what_is_rounded() -> None:
    """All in one bin beyond the range: the distance of two middles, squared, three times."""
    histogram = Histogram(
        left=np.array([-1.0]), width=np.array([0.125]),
        shares=np.eye(16)[[15]], empty=np.array([False]),
    )  # fmt: skip
    (found,) = cost(histogram, 0, np.array([0.125]), np.array([-3.0]), 3)
    assert found == 3 * (0.125 * (15 - 12)) ** 2


@pytest.mark.parametrize("bits", [12, 16])
def test_beyond_8_bits_next_to_nothing_is_clipped(bits: int) -> None:
    """Rounding costs so little that saturation is not worth it: all of the range but a per cent is kept."""
    histogram = collected("signed", 4096)
    low, high = histogram.span(0)
    delta, offset = RULE.asymmetric(histogram, 0, bits)
    assert delta * offset < 0.98 * low
    assert delta * (offset + 2**bits - 1) > 0.98 * high
    assert RULE.symmetric(histogram, 0, bits) * (2 ** (bits - 1) - 1) > 0.98 * max(-low, high)


def test_more_bits_reach_no_less_far() -> None:
    histogram = collected("signed")
    reach = [RULE.symmetric(histogram, 0, bits) * (2 ** (bits - 1) - 1) for bits in (2, 4, 6, 8)]
    assert reach == sorted(reach)
    assert reach[0] < 0.8 * reach[-1]
