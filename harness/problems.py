"""Calibration problems of a codec: what its networks read over real pictures, and what a specification costs there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import emulate, images
from harness.calibrate import forward
from harness.calibration import F64, Calibration
from harness.calibrators.base import Granularity, Observer, Problem
from harness.code_length import code_length, code_lengths
from harness.codecs.base import DOWNSAMPLING, Codec
from harness.errors import UserError
from harness.network import F32
from harness.precision import Precision
from harness.quantize import quantize_g_s, quantize_h_s
from harness.specification import I32, SIGMA_MAX, IntegerNet

# Pictures are large before g_s ends: it is calibrated on the middle of each, this many latents wide and high.
CROP = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Latents:
    """Of one picture: y float32 [1, M, H, W] and z symbols int32 [1, N, H/4, W/4]."""

    y: F32
    z_symbols: I32


def latents(codec: Codec, pixels: NDArray[np.uint8]) -> Latents:
    """What g_a and h_a make of a picture [H, W, 3]."""
    x = images.to_tensor(images.pad_to_multiple(pixels, DOWNSAMPLING))
    y = list(forward(codec.networks["g_a"], x).values())[-1]
    z = list(forward(codec.networks["h_a"], y).values())[-1]
    symbols = np.rint(z - codec.median_values)
    return Latents(y=np.asarray(y, np.float32), z_symbols=symbols.astype(np.int32))


def z_hat(codec: Codec, found: Latents) -> F32:
    """The hyper-latent as its decoder sees it, float32 [1, N, H, W]."""
    return np.asarray(found.z_symbols + codec.median_values, np.float32)


def problem(
    codec: Codec,
    network: str,
    precision: Precision,
    found: Sequence[Latents],
    *,
    granularity: Granularity,
    h_s: Callable[[], IntegerNet],
    report: Callable[[str], None] = lambda _: None,
) -> Problem:
    """The calibration of h_s or g_s over these latents. g_s reads what decoders with the specification `h_s()` make."""
    if network not in {"h_s", "g_s"}:
        raise UserError(f"network {network!r} is not quantized; h_s and g_s are")
    if not found:
        raise UserError(f"no calibration inputs for {network}: give a folder of photographs")
    if network == "h_s":
        return _h_s_problem(codec, precision, found, granularity, report)
    return _g_s_problem(codec, precision, found, granularity, h_s(), report)


def _h_s_problem(
    codec: Codec,
    precision: Precision,
    found: Sequence[Latents],
    granularity: Granularity,
    report: Callable[[str], None],
) -> Problem:
    def quantize(calibration: Calibration, observer: Observer | None) -> IntegerNet:
        return quantize_h_s(
            codec.networks["h_s"],
            calibration,
            precision,
            medians=codec.medians,
            scale_thresholds=codec.scale_thresholds,
            observer=observer,
        )

    return Problem(
        network=codec.networks["h_s"],
        inputs=[z_hat(codec, each) for each in found],
        symbols=[each.z_symbols for each in found],
        precision=precision,
        granularity=granularity,
        quantize=quantize,
        cost=lambda net: sum(rate(codec, net, each) for each in found),
        shifted_costs=lambda net, shifts: sum(
            (shifted_rates(codec, net, each, shifts) for each in found), np.zeros(1)
        ),
        report=report,
    )


def rate(codec: Codec, net: IntegerNet, found: Latents) -> float:
    """Bits of y at the coder with the entropy parameters of a specification of h_s."""
    y_symbols, outputs = _coded(net, found)
    return code_length(y_symbols, outputs["indexes"], codec.y_tables)


def shifted_rates(codec: Codec, net: IntegerNet, found: Latents, shifts: Sequence[int]) -> F64:
    """Bits of each channel of y, [shifts, C], if every sigma were so many steps larger."""
    y_symbols, outputs = _coded(net, found)
    rates = []
    for shift in shifts:
        sigma = np.clip(outputs["scales_hat"] + shift, 0, SIGMA_MAX)
        indexes = np.searchsorted(net.thresholds, sigma, side="left").astype(np.int32)
        rates.append(code_lengths(y_symbols, indexes, codec.y_tables).sum(axis=(0, 2, 3)))
    return np.array(rates)


def _coded(net: IntegerNet, found: Latents) -> tuple[I32, dict[str, I32]]:
    outputs = emulate.run(net, found.z_symbols)
    means = outputs.get("means_hat", np.int32(0)) / np.float32(2**net.mean_fraction_bits)
    return np.rint(found.y - means.astype(np.float32)).astype(np.int32), outputs


def _g_s_problem(
    codec: Codec,
    precision: Precision,
    found: Sequence[Latents],
    granularity: Granularity,
    h_s: IntegerNet,
    report: Callable[[str], None],
) -> Problem:
    bits = h_s.mean_fraction_bits
    fixed = []
    for each in found:
        symbols, outputs = _coded(h_s, each)
        y_hat = (symbols << bits) + outputs.get("means_hat", np.int32(0))
        top, left = (max(0, n - CROP) // 2 for n in y_hat.shape[2:])
        fixed.append(np.ascontiguousarray(y_hat[:, :, top : top + CROP, left : left + CROP]))

    def quantize(calibration: Calibration, observer: Observer | None) -> IntegerNet:
        return quantize_g_s(
            codec.networks["g_s"], calibration, precision, fraction_bits=bits, observer=observer
        )

    return Problem(
        network=codec.networks["g_s"],
        inputs=[np.ldexp(each.astype(np.float64), -bits).astype(np.float32) for each in fixed],
        symbols=fixed,
        precision=precision,
        granularity=granularity,
        quantize=quantize,
        report=report,
    )
