"""Accumulators from parts: the sum of the products is the accumulator, and no step of it leaves its type."""

from dataclasses import replace

import numpy as np
import pytest

from harness import reference
from harness.errors import UserError
from harness.lowerings.limbs import (
    HIGH,
    LOW,
    SUM,
    WHOLE,
    Form,
    Term,
    balanced,
    byte_form,
    float_form,
)
from harness.specification import I64, IntegerLayer, Requantization

INT32 = 2**31
IN, OUT = 24, 5
# Weight bits, activation bits, signed activations, low products left out.
WIDTHS = [
    (w, a, signed, high)
    for w, a in [(8, 8), (2, 2), (9, 9), (12, 12), (12, 8), (8, 12), (8, 16), (16, 8), (16, 16), (13, 10), (2, 16)]
    for signed in (False, True)
    for high in (False, True)
    if not high or (min(w, a) > 8 and max(w, a) > 12)
]  # fmt: skip
ALL = pytest.mark.parametrize(("weight_bits", "bits", "signed", "high_products"), WIDTHS)


def make_layer(
    weight_bits: int, bits: int, *, signed: bool, high_products: bool, seed: int
) -> IntegerLayer:
    """A 1x1 layer of weights at every edge; it is requantized to 16 bits, as its bounds allow."""
    rng = np.random.default_rng(seed)
    levels = min(2 ** (weight_bits - 1) - 1, 127 * 256 + 127)
    weight = rng.integers(-levels, levels + 1, (OUT, IN, 1, 1))
    weight[0], weight[1], weight[2] = levels, -levels, 0
    weight[3, ::2] = levels
    unit = 1 if bits <= 8 else 64 if bits <= 12 else 256
    low = -int(rng.integers(1, 2 ** (bits - 1) // unit + 1)) * unit if signed else 0
    high = low + 2**bits - 1
    reach = max(-low, high)
    if high_products:
        top, bottom = balanced(weight, 8)
        total = np.abs(top) * reach + np.abs(bottom) * ((reach >> 8) + 1)
    else:
        total = np.abs(weight) * reach
    total = total.reshape(OUT, -1).sum(axis=1)
    bias = rng.integers(-(2**16), 2**16, OUT)
    bounds = total + np.abs(bias)
    like = np.ones(OUT, np.int64)
    shift = np.maximum(np.floor(np.log2(bounds)).astype(np.int64) - 14, 1)
    rule = Requantization(
        bias=bias, multiplier=like, shift=shift, low=-(2**15) * like, high=(2**15 - 1) * like
    )
    return IntegerLayer(
        name="layer", weight=weight.astype(np.int32), stride=1, padding=0, transposed=False, output_padding=0,
        input_low=low, input_high=high, high_products=high_products, requantize=rule, leaky=None, bounds=bounds,
    )  # fmt: skip


def activations(layer: IntegerLayer, seed: int) -> I64:
    """[1, IN, 1, pixels]: constant edges, the worst signs for two channels, then random."""
    low, high = layer.input_low, layer.input_high
    rng = np.random.default_rng(seed)
    columns = [
        np.full(IN, v) for v in (low, high, 0, min(1, high), max(-1, low), (low + high) // 2)
    ]
    for c in (3, 4):
        positive = layer.weight[c, :, 0, 0] > 0
        columns += [np.where(positive, high, low), np.where(positive, low, high)]
    columns += list(rng.integers(low, high + 1, (300, IN)))
    return np.stack(columns, axis=1)[None, :, None, :].astype(np.int64)


def part(form: Form, name: str, a: I64) -> I64:
    """Parts of u = a - base, with real zero taken out as the products do."""
    u = a - form.base
    parts = {
        WHOLE: u, HIGH: u >> form.bits, LOW: u - (u >> form.bits << form.bits),
    }  # fmt: skip
    parts[SUM] = parts[HIGH] + parts[LOW]
    return parts[name] - form.zero(name)


def products(layer: IntegerLayer, form: Form, term: Term, a: I64) -> I64:
    plain = replace(layer, weight=term.weight.astype(np.int32), high_products=False)
    return reference.convolution(part(form, term.part, a), plain)


def column(values: I64) -> I64:
    return values.reshape(1, -1, 1, 1)


def value_of(layer: IntegerLayer, form: Form, a: I64, limit: int) -> I64:
    """Value of the form, every intermediate below `limit` (int32 but for float64's lowest term)."""
    sums = []
    for term in form.terms:
        raw = products(layer, form, term, a)
        sums += [raw, raw * column(term.factor)]
    total = sum(sums[1::2], np.int64(0) * a[:, :1])
    steps = [*sums, *np.cumsum(sums[1::2], axis=0)] if sums else []
    assert all(np.abs(step).max() < INT32 for step in steps)
    if form.low is not None:
        low = products(layer, form, form.low, a) * column(form.low.factor) + column(form.lift)
        divided = form.divisor > 1
        assert not divided.any() or low[:, divided].min() >= 0
        assert np.abs(low).max() < limit
        total = total + low // column(form.divisor)
    assert np.abs(total).max() < INT32
    assert (np.abs(total + column(form.requantize.bias)) <= column(form.bounds)).all()
    return np.asarray(total)


@ALL
def test_bytes_add_up_to_what_is_requantized(
    weight_bits: int, bits: int, signed: bool, high_products: bool
) -> None:
    for seed in range(8):
        layer = make_layer(weight_bits, bits, signed=signed, high_products=high_products, seed=seed)
        form, a = byte_form(layer), activations(layer, seed)
        for term in (*form.terms, *([form.low] if form.low else [])):
            assert -128 <= term.weight.min() <= term.weight.max() <= 127
            values = part(form, term.part, a) + form.zero(term.part)
            assert 0 <= values.min() <= values.max()
            assert values.max() <= form.largest(term.part, layer.input_high) <= 255
        want = reference.requantize(reference.convolution(a, layer), layer.requantize)
        got = reference.requantize(value_of(layer, form, a, INT32), form.requantize)
        assert got.tolist() == want.tolist()


@ALL
def test_float64_carries_every_width(
    weight_bits: int, bits: int, signed: bool, high_products: bool
) -> None:
    for seed in range(4):
        layer = make_layer(weight_bits, bits, signed=signed, high_products=high_products, seed=seed)
        form, a = float_form(layer, 2**53), activations(layer, seed)
        want = reference.requantize(reference.convolution(a, layer), layer.requantize)
        got = reference.requantize(value_of(layer, form, a, 2**53), form.requantize)
        assert got.tolist() == want.tolist()


@pytest.mark.parametrize(
    ("weight_bits", "bits", "high_products", "count"),
    [(8, 8, False, 1), (9, 9, False, 3), (12, 12, False, 3), (8, 16, False, 2), (16, 8, False, 2), (12, 8, False, 2),
     (16, 16, False, 4), (16, 16, True, 3), (13, 10, True, 3)],
)  # fmt: skip
def test_products_are_as_few_as_can_be(
    weight_bits: int, bits: int, high_products: bool, count: int
) -> None:
    layer = make_layer(weight_bits, bits, signed=True, high_products=high_products, seed=0)
    form = byte_form(layer)
    assert len(form.terms) + (form.low is not None) == count


def test_six_bit_parts_never_saturate_a_pair() -> None:
    """12 x 12 bits: parts of at most 127, weights of at most 64: 2 * 127 * 64 fits 16 bits with room to spare."""
    for seed in range(20):
        layer = make_layer(12, 12, signed=True, high_products=False, seed=seed)
        form = byte_form(layer)
        assert form.low is not None
        for term in (*form.terms, form.low):
            assert np.abs(term.weight).max() <= 64
            assert form.largest(term.part, layer.input_high) <= 127


def test_one_layer_may_have_channels_of_both_kinds() -> None:
    """One channel that int32 holds whole with a short shift, others whose lowest part is divided out."""
    layer = make_layer(16, 16, signed=False, high_products=False, seed=1)
    weight = layer.weight.copy()
    weight[2] = 3
    bounds = layer.bounds.copy()
    bounds[2] = 3 * IN * 65535 + abs(int(layer.requantize.bias[2]))
    shift = layer.requantize.shift.copy()
    shift[2] = 7
    mixed = replace(
        layer, weight=weight, bounds=bounds, requantize=replace(layer.requantize, shift=shift)
    )
    form, a = byte_form(mixed), activations(mixed, 1)
    assert sorted(set(form.divisor.tolist())) == [1, 256]
    want = reference.requantize(reference.convolution(a, mixed), mixed.requantize)
    got = reference.requantize(value_of(mixed, form, a, INT32), form.requantize)
    assert got.tolist() == want.tolist()


def test_every_weight_splits_and_joins() -> None:
    for bits, levels in ((6, 2047), (8, 127 * 256 + 127)):
        weight = np.arange(-levels, levels + 1)
        high, low = balanced(weight, bits)
        assert (high * 2**bits + low).tolist() == weight.tolist()
        assert (low.min(), low.max()) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        assert -128 <= high.min() <= high.max() <= 127


def test_a_sum_that_float32_cannot_hold_is_refused_by_name() -> None:
    layer = make_layer(8, 8, signed=False, high_products=False, seed=0)
    sums = layer.weight.astype(np.int64) * 255
    worst = int(sums[0].sum())
    assert float_form(layer, worst + 1).terms
    with pytest.raises(UserError, match=rf"layer layer, channel 0: partial sums may reach {worst}"):
        float_form(layer, worst)


def test_a_weight_beyond_two_bytes_is_refused() -> None:
    layer = make_layer(16, 8, signed=False, high_products=False, seed=0)
    weight = layer.weight.copy()
    weight[0, 0] = 2**15 - 1  # its high byte would be 128
    with pytest.raises(UserError, match="does not fit 8 bits"):
        byte_form(replace(layer, weight=weight))


def test_a_shift_within_the_lowest_part_is_refused() -> None:
    layer = make_layer(16, 16, signed=False, high_products=False, seed=0)
    short = replace(layer.requantize, shift=np.full(OUT, 8))
    with pytest.raises(UserError, match="its shift is shorter than the low part"):
        byte_form(replace(layer, requantize=short))
