"""The living definition against something slower still: exact fractions and one multiplication at a time."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import emulate, reference, specimens
from harness.calibrate import observe
from harness.precision import Precision
from harness.quantize import quantize_g_s, quantize_h_s
from harness.specification import IntegerGdn, IntegerLayer, IntegerNet, Requantization

EVERY_INT8 = np.arange(-128, 128)


def rule(bias: int, multiplier: int, shift: int, low: int, high: int) -> Requantization:
    values = (np.array([value], np.int64) for value in (bias, multiplier, shift, low, high))
    return Requantization(
        **dict(zip(("bias", "multiplier", "shift", "low", "high"), values, strict=True))
    )


def exact(x: int, by: Requantization) -> int:
    value = Fraction((x + int(by.bias[0])) * int(by.multiplier[0]), 2 ** int(by.shift[0]))
    return min(max(math.floor(value + Fraction(1, 2)), int(by.low[0])), int(by.high[0]))


def layer(
    weight: np.ndarray, *, stride: int, padding: int, transposed: bool, output_padding: int = 0
) -> IntegerLayer:
    unused = rule(0, 1, 1, -1, 1)
    return IntegerLayer(name="l", weight=weight.astype(np.int32), stride=stride, padding=padding, transposed=transposed,
                        output_padding=output_padding, input_low=-128, input_high=127, high_products=False, requantize=unused, leaky=None,
                        bounds=np.zeros(len(weight), np.int64))  # fmt: skip


@pytest.mark.parametrize("shift", [1, 2, 7, 8, 29, 31])
@pytest.mark.parametrize("multiplier", [1, 2, 3, 127, 255, 2**17 + 1])
@pytest.mark.parametrize("bias", [0, 1, -1, 127, -(2**20)])
def test_requantize_is_exact_on_every_int8(bias: int, multiplier: int, shift: int) -> None:
    by = rule(bias, multiplier, shift, -(2**31), 2**31 - 1)
    assert reference.requantize(EVERY_INT8[:, None], by).ravel().tolist() == [
        exact(int(x), by) for x in EVERY_INT8
    ]


@given(
    x=st.integers(-(2**31), 2**31 - 1), bias=st.integers(-(2**30), 2**30), multiplier=st.integers(0, 2**30),
    shift=st.integers(1, 31), low=st.integers(-(2**31), 0), high=st.integers(0, 2**31 - 1),
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True)
def test_requantize_is_exact(
    x: int, bias: int, multiplier: int, shift: int, low: int, high: int
) -> None:
    by = rule(bias, multiplier, shift, low, high)
    assert int(reference.requantize(np.array([[x]]), by)[0, 0]) == exact(x, by)


def test_ties_go_up_on_both_sides() -> None:
    by = rule(0, 1, 1, -100, 100)
    assert reference.requantize(np.array([[-5, -3, -1, 1, 3, 5]]).T, by).ravel().tolist() == [
        -2,
        -1,
        0,
        1,
        2,
        3,
    ]


def test_channels_have_rules_of_their_own_along_the_axis() -> None:
    one = np.ones(2, np.int32)
    by = Requantization(
        bias=np.array([0, 10], np.int32), multiplier=one, shift=one, low=-9 * one, high=9 * one
    )
    x = np.array([[[[4]], [[4]]]])
    assert reference.requantize(x, by).ravel().tolist() == [2, 7]
    assert reference.requantize(x.reshape(1, 2), by, axis=-1).ravel().tolist() == [2, 7]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
@pytest.mark.parametrize(("k", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (5, 2, 2), (3, 2, 0)])
def test_a_direct_convolution_by_its_definition(
    k: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    if min(size) + 2 * padding < k:
        pytest.skip("the kernel does not fit this picture: there is no output")
    rng = np.random.default_rng(k)
    weight, x = rng.integers(-9, 9, (2, 3, k, k)), rng.integers(-9, 9, (1, 3, *size))
    got = reference.convolution(x, layer(weight, stride=stride, padding=padding, transposed=False))
    assert got.shape[2:] == tuple((n + 2 * padding - k) // stride + 1 for n in size)
    for o, i, j in np.ndindex(*got.shape[1:]):
        total = 0
        for c, u, v in product(range(3), range(k), range(k)):
            row, column = stride * i + u - padding, stride * j + v - padding
            if 0 <= row < size[0] and 0 <= column < size[1]:
                total += int(weight[o, c, u, v]) * int(x[0, c, row, column])
        assert got[0, o, i, j] == total


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
@pytest.mark.parametrize(
    ("k", "stride", "padding", "extra"), [(5, 2, 2, 1), (3, 1, 1, 0), (4, 2, 1, 0), (3, 2, 1, 1)]
)
def test_a_transposed_convolution_by_its_definition(
    k: int, stride: int, padding: int, extra: int, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(k)
    weight, x = rng.integers(-9, 9, (2, 3, k, k)), rng.integers(-9, 9, (1, 3, *size))
    got = reference.convolution(
        x, layer(weight, stride=stride, padding=padding, transposed=True, output_padding=extra)
    )
    height, width = ((n - 1) * stride - 2 * padding + k + extra for n in size)
    want = np.zeros((1, 2, height, width), np.int64)
    for o, c, i, j, u, v in np.ndindex(2, 3, *size, k, k):
        row, column = stride * i + u - padding, stride * j + v - padding
        if 0 <= row < height and 0 <= column < width:
            want[0, o, row, column] += int(weight[o, c, u, v]) * int(x[0, c, i, j])
    assert got.tolist() == want.tolist()


def test_a_run_gives_every_tensor_in_graph_order() -> None:
    net = specimens.crafted_net()
    outputs = reference.run(net, specimens.crafted_symbols())
    assert list(outputs) == ["z_q", "scales_hat", "means_hat", "indexes"]
    assert {array.dtype.name for array in outputs.values()} == {"int32"}
    assert outputs["indexes"].shape == outputs["scales_hat"].shape == (1, 4, 16, 20)


def test_an_index_counts_the_thresholds_below_sigma() -> None:
    net = specimens.crafted_net()
    outputs = reference.run(net, specimens.crafted_symbols())
    sigma, indexes = outputs["scales_hat"].ravel().tolist(), outputs["indexes"].ravel().tolist()
    assert set(indexes) >= set(range(64))
    assert indexes == [sum(s > t for t in net.thresholds.tolist()) for s in sigma]


def test_symbols_beyond_16_bits_are_clamped() -> None:
    net = specimens.crafted_net()
    wild = np.full((1, specimens.WIDE, 1, 1), 2**31 - 1, np.int32)
    tame = np.full((1, specimens.WIDE, 1, 1), 2**15 - 1, np.int32)
    for sign in (1, -1):
        assert (
            reference.run(net, sign * wild)["indexes"].tolist()
            == reference.run(net, sign * tame)["indexes"].tolist()
        )


def test_high_products_leave_out_the_product_of_the_low_bytes() -> None:
    """The sum of a * wh + (a >> 8) * wl with wl in [-128, 127], one multiplication at a time, to within 2^-8 of the whole."""
    rng = np.random.default_rng(4)
    weight, x = rng.integers(-32767, 32768, (2, 3, 3, 3)), rng.integers(-32768, 32768, (1, 3, 4, 5))
    by = layer(weight, stride=1, padding=1, transposed=False)
    got = reference.convolution(x, replace(by, high_products=True))
    want = np.zeros_like(got)
    for o, c, u, v, i, j in np.ndindex(2, 3, 3, 3, 4, 5):
        row, column = i + u - 1, j + v - 1
        if 0 <= row < 4 and 0 <= column < 5:
            w, a = int(weight[o, c, u, v]), int(x[0, c, row, column])
            low = next(n for n in range(-128, 128) if (w - n) % 256 == 0)
            want[0, o, i, j] += a * ((w - low) // 256) + math.floor(a / 256) * low
    assert got.tolist() == want.tolist()
    assert np.abs(got - reference.convolution(x, by) / 256).max() <= 27 * 255 * 128 / 256


@pytest.mark.parametrize(
    "n", [0, 1, 2, 3, 4, 63, 64, 65535, 65536, 65537, 131071, 2**22 - 65, 2**22 - 1]
)
def test_roots_are_the_nearest_sixteenth(n: int) -> None:
    """|root / 16 - sqrt(m)| <= 1/32, decided in integers; m is n without its lowest 6 bits from 2^16 on."""
    fine, coarse = reference.root_tables()
    m, root = (n, int(fine[n])) if n < 65536 else (n >> 6 << 6, int(coarse[n >> 6]))
    assert (2 * root - 1) ** 2 <= 4 * 256 * m or root == 0
    assert 4 * 256 * m < (2 * root + 1) ** 2


def test_every_root_is_the_nearest_sixteenth() -> None:
    for table, step in zip(reference.root_tables(), (1, 64), strict=True):
        m = np.arange(len(table)) * step * 4 * 256
        assert ((2 * table[1:] - 1) ** 2 < m[1:]).all()
        assert (m < (2 * table + 1) ** 2).all()


def test_an_inverse_gdn_by_its_definition() -> None:
    net = decoder_net("w8a16")
    gdn = next(each for each in net.layers if isinstance(each, IntegerGdn))
    channels = len(gdn.scale.low)
    x = np.random.default_rng(5).integers(-32767, 32768, (1, channels, 2, 2))
    got = reference.inverse_gdn(x, gdn)
    for i, j in np.ndindex(2, 2):
        squares = [exact(int(v) ** 2, at(gdn.square, c)) for c, v in enumerate(x[0, :, i, j])]
        for o in range(channels):
            total = sum(
                int(w) * u for w, u in zip(gdn.norm.weight[o, :, 0, 0], squares, strict=True)
            )
            n = exact(total, at(gdn.norm.requantize, o))
            root = math.isqrt(4 * 256 * (n if n < 65536 else n >> 6 << 6))
            root = (root + 1) // 2  # sqrt(256 n) to the nearest
            assert got[0, o, i, j] == exact(int(x[0, o, i, j]) * root, at(gdn.scale, o))


@pytest.mark.parametrize(
    "precision", ["w2a2", "w4a4", "w8a8", "w4a16", "w16a4", "w9a9", "w12a12", "w13a10", "w16a16"]
)
def test_torch_in_float64_computes_the_same(precision: str) -> None:
    """An independent computation, exact below 2^53, of h_s with rectifiers and of g_s with inverse GDNs."""
    codec = specimens.tiny_codec()
    ranges = observe(codec.networks["h_s"], [specimens.tiny_hyper_latent()])
    h_s = quantize_h_s(
        codec.networks["h_s"], ranges, Precision.parse(precision),
        medians=codec.medians, scale_thresholds=codec.scale_thresholds,
    )  # fmt: skip
    rng = np.random.default_rng(6)
    symbols = rng.integers(-40000, 40000, (1, 8, 3, 5), dtype=np.int32)
    symbols[..., :2] //= 4000
    y_hat = rng.integers(-3000, 3000, (1, specimens.M, 2, 3), dtype=np.int32)
    y_hat[0, 0, 0, 0] = 2**31 - 1
    for net, fed in ((h_s, symbols), (decoder_net(precision), y_hat)):
        want = reference.run(net, fed)
        for name, got in emulate.run(net, fed).items():
            assert got.tolist() == want[name].tolist()


def decoder_net(precision: str) -> IntegerNet:
    """A g_s of three inverse GDNs, quantized."""
    network = specimens.tiny_decoder()
    y = specimens.rng("reference/y").integers(-9, 10, (1, specimens.M, 3, 4)).astype(np.float32)
    return quantize_g_s(network, observe(network, [y]), Precision.parse(precision), fraction_bits=8)


def at(by: Requantization, channel: int) -> Requantization:
    return rule(*(int(v[channel]) for v in (by.bias, by.multiplier, by.shift, by.low, by.high)))
