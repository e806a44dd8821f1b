"""Calibration problems of a video codec: what its networks read over real clips, and what a specification costs there.

A branch is calibrated on its own latents: `img` on key frames, `motion` and `res` on P frames as the float codec codes them,
behind its own reconstructions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness import emulate
from harness.calibrate import forward
from harness.calibration import F64, Calibration
from harness.calibrators.base import Granularity, Observer, Problem
from harness.cdf import indexes_from_scales
from harness.code_length import code_length, code_lengths
from harness.codecs.video import (
    BRANCHES,
    DECODER,
    MEAN,
    MOTION,
    RESIDUAL,
    SCALE,
    Branch,
    VideoCodec,
)
from harness.endpoints import Run
from harness.errors import UserError
from harness.network import F32
from harness.precision import Precision
from harness.problems import CROP, Latents
from harness.specification import I32, SIGMA_MAX, IntegerNet
from harness.video.build import (
    VideoBuild,
    decoder,
    decoder_fraction_bits,
    hyper_decoder,
    network_name,
)
from harness.video.endpoints import encode

U8 = NDArray[np.uint8]
# Latents of every branch, those of motion and residual frame by frame.
Found = Mapping[str, Sequence[Latents]]


def latents(made: VideoBuild, clips: Iterable[Iterable[U8]], run: Run) -> dict[str, list[Latents]]:
    """What an fp32 build makes of clips, by branch."""
    found: dict[str, list[Latents]] = {name: [] for name in BRANCHES}

    def observe(branch: str, y: F32, z_symbols: I32) -> None:
        found[branch].append(Latents(y=y, z_symbols=z_symbols))

    for clip in clips:
        for _ in encode(made, clip, run, observe):
            pass
    if not found[RESIDUAL]:
        raise UserError("no calibration clips with at least two frames: give a folder of clips")
    return found


def problem(
    codec: VideoCodec,
    network: str,
    precision: Precision,
    found: Found,
    *,
    granularity: Granularity,
    nets: Callable[[], Mapping[str, IntegerNet]],
) -> Problem:
    """The calibration of a hyper-decoder or decoder; decoders read what decoders with the specifications `nets()` make."""
    name, _, part = network.partition("_")
    if part not in {SCALE, MEAN, DECODER}:
        raise UserError(f"network {network!r} is not quantized; hyper-decoders and decoders are")
    branch = codec.branches[name]
    if part == DECODER:
        return _of_decoder(branch, precision, found, granularity, nets())
    return _of_hyper_decoder(codec, branch, part, precision, found[name], granularity)


def _of_hyper_decoder(
    codec: VideoCodec,
    branch: Branch,
    part: str,
    precision: Precision,
    found: Sequence[Latents],
    granularity: Granularity,
) -> Problem:
    inputs = [np.asarray(each.z_symbols + branch.median_values, np.float32) for each in found]

    @cache
    def others() -> list[F32]:
        """What the float network of the other half gives."""
        other = branch.networks[MEAN if part == SCALE else SCALE]
        return [list(forward(other, z_hat).values())[-1] for z_hat in inputs]

    def coded(net: IntegerNet, number: int) -> tuple[I32, I32, Mapping[str, I32]]:
        """Symbols and indexes with one half in integers."""
        outputs = emulate.run(net, found[number].z_symbols)
        if part == SCALE:
            means, indexes = others()[number], outputs["indexes"]
        else:
            bits = net.mean_fraction_bits
            means = np.ldexp(outputs["means_hat"].astype(np.float64), -bits).astype(np.float32)
            indexes = indexes_from_scales(others()[number], codec.scale_thresholds)
        return np.rint(found[number].y - means).astype(np.int32), indexes, outputs

    def cost(net: IntegerNet) -> float:
        """Bits of y at the coder."""
        parts = (coded(net, number) for number in range(len(found)))
        return sum(code_length(symbols, indexes, codec.y_tables) for symbols, indexes, _ in parts)

    def shifted_costs(net: IntegerNet, shifts: Sequence[int]) -> F64:
        total = np.zeros((len(shifts), branch.networks[SCALE].out_channels))
        for number in range(len(found)):
            symbols, _, outputs = coded(net, number)
            for row, shift in enumerate(shifts):
                sigma = np.clip(outputs["scales_hat"] + shift, 0, SIGMA_MAX)
                indexes = np.searchsorted(net.thresholds, sigma, side="left").astype(np.int32)
                total[row] += code_lengths(symbols, indexes, codec.y_tables).sum(axis=(0, 2, 3))
        return total

    def quantize(calibration: Calibration, observer: Observer | None) -> IntegerNet:
        return hyper_decoder(codec, branch, part, calibration, precision, observer)

    return Problem(
        network=branch.networks[part],
        inputs=inputs,
        symbols=[each.z_symbols for each in found],
        precision=precision,
        granularity=granularity,
        quantize=quantize,
        cost=cost,
        shifted_costs=shifted_costs if part == SCALE else None,
    )


def _of_decoder(
    branch: Branch,
    precision: Precision,
    found: Found,
    granularity: Granularity,
    nets: Mapping[str, IntegerNet],
) -> Problem:
    bits = decoder_fraction_bits(nets, branch.name)
    reads = (RESIDUAL, MOTION) if branch.name == RESIDUAL else (branch.name,)
    fixed = []
    for frame in zip(*(found[name] for name in reads), strict=True):
        parts = []
        for name, each in zip(reads, frame, strict=True):
            net = nets[network_name(name, MEAN)]
            means = emulate.run(net, each.z_symbols)["means_hat"].astype(np.int32)
            values = np.ldexp(means.astype(np.float64), -net.mean_fraction_bits).astype(np.float32)
            symbols = np.rint(each.y - values).astype(np.int32)
            y_hat = (symbols << net.mean_fraction_bits) + means
            parts.append(y_hat << (bits - net.mean_fraction_bits))
        whole = np.concatenate(parts, axis=1)
        top, left = (max(0, n - CROP) // 2 for n in whole.shape[2:])
        fixed.append(np.ascontiguousarray(whole[:, :, top : top + CROP, left : left + CROP]))

    def quantize(calibration: Calibration, observer: Observer | None) -> IntegerNet:
        return decoder(branch, calibration, precision, bits, observer)

    return Problem(
        network=branch.networks[DECODER],
        inputs=[np.ldexp(each.astype(np.float64), -bits).astype(np.float32) for each in fixed],
        symbols=fixed,
        precision=precision,
        granularity=granularity,
        quantize=quantize,
    )
