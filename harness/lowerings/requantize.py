"""Requantization of rows of accumulators: which arithmetic is exact for given numbers, by proof, when a graph is made.

`Requantize` divides in int32 and always is. Where the values that are not clamped fit float32's 24 bits the division is
a product with 2^-shift instead, several times faster: float arithmetic is monotonic, so what lies beyond stays beyond.
"""

from dataclasses import replace

import numpy as np

from harness.errors import UserError
from harness.lowerings.base import DOMAIN, GraphBuilder, per_channel
from harness.lowerings.functions import FUNCTIONS
from harness.specification import I64, Requantization

INT32_LIMIT, FLOAT32_LIMIT = 2**31, 2**24
UINT8_MAX = 255
# A divisor is an int32.
MAX_SHIFT = 30


def requantize(
    graph: GraphBuilder,
    name: str,
    label: str,
    x: str,
    rule: Requantization,
    bounds: I64,
    *,
    floats: bool,
) -> str:
    """int32 rows, requantized from the int32 rows `x` [pixels, channels] where |x + bias| <= bounds.

    `floats`: in float32 where that is exact.
    """
    narrowed = settled(rule, bounds)
    if floats and float_is_exact(narrowed, bounds, lifted=True):
        return _call(graph, "RequantizeF32", label, [x, *_rule(graph, name, narrowed)])
    if (_largest_dividend(narrowed, bounds) >= INT32_LIMIT).any():
        x, narrowed = _halved(graph, name, label, x, narrowed)
    return _call(graph, "Requantize", label, [x, *_rule(graph, name, narrowed)])


def activate(
    graph: GraphBuilder,
    name: str,
    label: str,
    x: str,
    rule: Requantization,
    leaky: Requantization | None,
    bounds: I64,
    *,
    floats: bool,
) -> str:
    """int32 rows after the rectifier: a leaky one is the larger of two requantizations."""
    values = requantize(graph, name, label, x, rule, bounds, floats=floats)
    if leaky is None:
        return values
    reach = np.maximum(np.abs(rule.low), np.abs(rule.high))
    names = f"{name}.leaky", f"{label}.leaky"
    slope = requantize(graph, *names, values, leaky, reach, floats=floats)
    return graph.node("Max", [values, slope], f"{label}.rectified")


def activate_u8(
    graph: GraphBuilder,
    name: str,
    label: str,
    x: str,
    rule: Requantization,
    leaky: Requantization | None,
    bounds: I64,
    base: int,
) -> str | None:
    """uint8 rows of the same minus `base`, in fewer steps; None where those are not exact."""
    based = _based(rule, bounds, base) if leaky is None else _based_leaky(rule, leaky, bounds, base)
    if based is None or not float_is_exact(based, bounds, lifted=False):
        return None
    inputs = [x, *_rule(graph, name, based)]
    if leaky is None:
        return _call(graph, "RequantizeU8", label, inputs)
    inputs += _rule(graph, f"{name}.leaky", replace(leaky, high=based.high))[1:]
    return _call(graph, "RequantizeLeakyU8", label, inputs)


def settled(rule: Requantization, bounds: I64) -> Requantization:
    """The same rule where |x + bias| <= bounds: a clamp no wider than what can be reached, an int32 divisor.

    Clamps become one number for all channels where that changes nothing.
    """
    reach = bounds * rule.multiplier
    least, most = _extremes(rule, bounds)
    vanishes = rule.shift > MAX_SHIFT
    if (vanishes & ((least < 0) | (most > 0))).any():
        raise UserError("a requantization by more than 30 bits that does not vanish")
    low, high = np.clip(least, rule.low, rule.high), np.clip(most, rule.low, rule.high)
    shift = np.where(vanishes, 1, rule.shift)
    lowest, highest = np.full_like(low, low.min()), np.full_like(high, high.max())
    fits = reach + (1 << (shift - 1)) - (lowest << shift) < INT32_LIMIT
    if (fits & ((lowest == rule.low) | (least == low))).all():
        low = lowest
    if ((highest == rule.high) | (most == high)).all():
        high = highest
    return Requantization(
        bias=np.where(vanishes, 0, rule.bias),
        multiplier=np.where(vanishes, 0, rule.multiplier),
        shift=shift,
        low=low,
        high=high,
    )


def float_is_exact(rule: Requantization, bounds: I64, *, lifted: bool) -> bool:
    """Whether float32 holds accumulator * multiplier, the constant added to it, and their sum, as far as the clamp.

    `lifted`: the clamp's low end is taken out and half a step added, in units of 2^-shift; otherwise half a unit is
    added. Beyond the clamp sums are rounded, but not to below what is exact at the clamp.
    """
    unit, scaled_bias = np.int64(1) << rule.shift, np.abs(rule.bias * rule.multiplier)
    edge = np.maximum(np.abs(rule.low), np.abs(rule.high))
    # x * multiplier of the first x that is clamped.
    free = np.minimum(bounds * rule.multiplier, (2 * edge + 1) * unit // 2 + rule.multiplier)
    if lifted:
        constant = scaled_bias + unit * (1 + np.abs(rule.low))
        largest = (rule.high - rule.low + 1) * unit
    else:
        constant = 2 * scaled_bias + 1
        largest = np.minimum(2 * bounds * rule.multiplier, (2 * edge + 1) * unit) + 1
    exact = (free + scaled_bias <= FLOAT32_LIMIT) & (constant <= FLOAT32_LIMIT)
    return bool((exact & (largest <= FLOAT32_LIMIT)).all())


def _extremes(rule: Requantization, bounds: I64) -> tuple[I64, I64]:
    """Least and largest result of |x + bias| <= bounds, before the clamp."""
    half, reach = np.int64(1) << (rule.shift - 1), bounds * rule.multiplier
    return (half - reach) >> rule.shift, (half + reach) >> rule.shift


def _based(rule: Requantization, bounds: I64, base: int) -> Requantization | None:
    """The settled rule with `base` as its low end, unless that would be another function."""
    narrowed = settled(rule, bounds)
    least, _ = _extremes(rule, bounds)
    same = (rule.low == base) | ((least >= rule.low) & (least >= base))
    if not same.all() or narrowed.high.max() - base > UINT8_MAX:
        return None
    return replace(narrowed, low=np.full_like(rule.low, base))


def _based_leaky(
    rule: Requantization, leaky: Requantization, bounds: I64, base: int
) -> Requantization | None:
    """The rule before a leaky rectifier that starts at `base`, if its low clamp may go.

    It may where it cannot be reached, and where the slope has reached the rectifier's own clamp by then.
    """
    least, _ = _extremes(rule, bounds)
    reached = (rule.low * leaky.multiplier + (1 << (leaky.shift - 1))) >> leaky.shift
    free = (least >= rule.low) | (reached <= leaky.low)
    rising = (leaky.multiplier < 1 << leaky.shift) & (leaky.bias == 0) & (leaky.high >= rule.high)
    fits = (rule.shift <= MAX_SHIFT) & (rule.high >= 0) & (rule.high - base <= UINT8_MAX)
    return rule if (free & rising & fits & (leaky.low == base)).all() else None


def _largest_dividend(rule: Requantization, bounds: I64) -> I64:
    """Of `Requantize`, whose dividends are not negative."""
    half = np.int64(1) << (rule.shift - 1)
    return np.asarray(bounds * rule.multiplier + half - np.minimum(rule.low, 0) * 2 * half)


def _halved(
    graph: GraphBuilder, name: str, label: str, x: str, rule: Requantization
) -> tuple[str, Requantization]:
    """The floor of x / 2 and its rule, by the floor of a floor; 2^30 is even and keeps x from being negative."""
    if (rule.multiplier != 1).any() or rule.shift.min() == 1:
        raise UserError(
            f"requantization {name}: a dividend may reach 2^31; use fewer bits or another calibration"
        )
    lift = np.full_like(rule.bias, INT32_LIMIT // 2)
    by = per_channel(graph, f"{name}.lift", rule.bias + lift)
    lifted = graph.node("Add", [x, by], f"{label}.lifted")
    half = graph.node("Div", [lifted, graph.i32(2)], f"{label}.halved")
    return half, replace(rule, bias=-lift // 2, shift=rule.shift - 1)


def _rule(graph: GraphBuilder, name: str, rule: Requantization) -> list[str]:
    constants = {
        "bias": rule.bias,
        "multiplier": rule.multiplier,
        "divisor": np.int64(1) << rule.shift,
        "low": rule.low,
        "high": rule.high,
    }
    return [per_channel(graph, f"{name}.{key}", value) for key, value in constants.items()]


def _call(graph: GraphBuilder, function: str, label: str, inputs: list[str]) -> str:
    if all(known.name != function for known in graph.functions):
        graph.functions.append(FUNCTIONS[function]())
    return graph.node(function, inputs, f"{label}.requantized", domain=DOMAIN)
