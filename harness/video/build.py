"""A video codec at one precision in one lowering: all its ONNX artifacts, by name, and its identity."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.build import DECODER as DECODER_SCOPE
from harness.build import HYPERPRIOR, NO_CALIBRATOR, arithmetic, tensor_widths
from harness.calibration import Calibration
from harness.codecs.video import (
    BRANCHES,
    DECODER,
    IMAGE,
    MEAN,
    MOTION,
    RESIDUAL,
    SCALE,
    Branch,
    VideoCodec,
)
from harness.errors import UserError
from harness.grid import Target
from harness.lowerings.base import FLOAT, LOWERINGS, Artifact, Source
from harness.precision import CONTROLS, Precision
from harness.quantize import Observer, quantize_h_s, quantize_synthesis
from harness.rd import WARP_SCOPE
from harness.specification import IntegerNet
from harness.warp.graph import lower_float, lower_integer
from harness.warp.specification import PICTURE_MAX, WarpSpecification

WARP = "warp"
# Flow in units of half a picture: +-0.5 in signed 16 bits, 1/68 pixel in 1080p; the scale field saturates before +-1.
WARP_SPECIFICATION = WarpSpecification(flow_fraction_bits=16, scale_fraction_bits=14)
INT16_MAX = 2**15 - 1
HYPER_DECODERS = (SCALE, MEAN)


def network_name(branch: str, part: str) -> str:
    return f"{branch}_{part}"


def quantized_networks(precision: str, scope: str) -> tuple[str, ...]:
    """The names of what is quantized: the six hyper-decoders, in scope decoder the three decoders too."""
    parts: tuple[str, ...] = HYPER_DECODERS
    if scope == DECODER_SCOPE and precision not in CONTROLS:
        parts = (*HYPER_DECODERS, DECODER)
    return tuple(network_name(branch, part) for branch in BRANCHES for part in parts)


@dataclass(frozen=True, kw_only=True)
class VideoBuild:
    """Everything that both ends need; `artifacts` by the names of networks (`img_encoder`, ...) and `warp`."""

    codec: VideoCodec
    precision: str
    scope: str
    lowering: str
    calibrator: str
    artifacts: Mapping[str, Artifact]
    integers: Mapping[str, IntegerNet]
    sources: Mapping[str, Source]

    @property
    def is_integer(self) -> bool:
        """Whether entropy parameters come out of integer specifications."""
        return bool(self.integers)

    @property
    def has_integer_pictures(self) -> bool:
        """Whether the whole P-frame loop is in integers."""
        return network_name(IMAGE, DECODER) in self.integers

    @property
    def specification(self) -> str:
        """Identifies the function that computes what the scope gates."""
        names = quantized_networks(self.precision, self.scope)
        if self.artifacts[WARP].integer:
            names = (*names, WARP)
        parts = " ".join(self.artifacts[name].specification for name in names)
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def profile(self) -> str:
        """The arithmetic profile that a bitstream names."""
        precision = "float32" if self.precision == "fp32" else self.precision
        has_scope = self.scope == WARP_SCOPE or (
            self.scope == DECODER_SCOPE and self.precision != "fp32"
        )
        return f"{precision}/{self.scope}" if has_scope else precision

    def fraction_bits(self, branch: str) -> int | None:
        """Fraction bits of the means and of y_hat of a branch; None where they are floats."""
        net = self.integers.get(network_name(branch, MEAN))
        return net.mean_fraction_bits if net else None

    @property
    def widths(self) -> dict[str, dict[str, str]]:
        """Width of every tensor of every integer network, in graph order."""
        return {name: tensor_widths(net) for name, net in self.integers.items()}


def build(
    codec: VideoCodec,
    precision: str,
    calibrations: Mapping[str, Calibration],
    *,
    lowering: str | None = None,
    scope: str = HYPERPRIOR,
) -> VideoBuild:
    """Quantize and lower `codec`; what is not quantized stays float32.

    `calibrations` has one of each network that is quantized, by its name.
    """
    if scope not in {HYPERPRIOR, DECODER_SCOPE, WARP_SCOPE}:
        raise UserError(
            f"no scope {scope!r}; there are {HYPERPRIOR}, {DECODER_SCOPE} and {WARP_SCOPE}"
        )
    of = arithmetic(precision, lowering)
    quantized = quantized_networks(precision, scope)
    missing = [n for n in quantized if n not in calibrations and precision != "fp32"]
    if missing:
        raise UserError(
            f"{codec.name} has no calibration of {missing[0]} for {of.name}: give --calibrate FOLDER of clips"
        )
    integers = specifications(codec, of.widths, calibrations, quantized) if of.widths else {}
    sources = {
        name: Source(
            codec=codec.name,
            network=codec.networks[name],
            ranges=calibrations.get(name),
            integer=integers.get(name),
        )
        for name in quantized
    }
    artifacts = {
        name: of.lower(sources[name])
        if name in sources
        else LOWERINGS[FLOAT].lower(Source(codec=codec.name, network=network))
        for name, network in codec.networks.items()
    }
    integer_warp = scope == WARP_SCOPE or network_name(IMAGE, DECODER) in integers
    artifacts[WARP] = lower_integer(WARP_SPECIFICATION) if integer_warp else lower_float()
    return VideoBuild(
        codec=codec,
        precision=of.name,
        scope=scope,
        lowering=of.lowering,
        calibrator=NO_CALIBRATOR
        if precision == "fp32"
        else ", ".join(dict.fromkeys(calibrations[n].calibrator for n in quantized)),
        artifacts=artifacts,
        integers=integers,
        sources=sources,
    )


def specifications(
    codec: VideoCodec,
    precision: Precision,
    calibrations: Mapping[str, Calibration],
    quantized: tuple[str, ...],
) -> dict[str, IntegerNet]:
    """The integer specification of each network, by its name; decoders read what their branch's means are made in."""
    nets: dict[str, IntegerNet] = {}
    for branch in codec.branches.values():
        for part in HYPER_DECODERS:
            name = network_name(branch.name, part)
            nets[name] = hyper_decoder(codec, branch, part, calibrations[name], precision)
    for branch in codec.branches.values():
        name = network_name(branch.name, DECODER)
        if name in quantized:
            bits = decoder_fraction_bits(nets, branch.name)
            nets[name] = decoder(branch, calibrations[name], precision, bits)
    return nets


def hyper_decoder(
    codec: VideoCodec,
    branch: Branch,
    part: str,
    calibration: Calibration,
    precision: Precision,
    observer: Observer | None = None,
) -> IntegerNet:
    return quantize_h_s(
        branch.networks[part],
        calibration,
        precision,
        medians=branch.medians,
        scale_thresholds=codec.scale_thresholds,
        observer=observer,
    )


def decoder(
    branch: Branch,
    calibration: Calibration,
    precision: Precision,
    fraction_bits: int,
    observer: Observer | None = None,
) -> IntegerNet:
    """y_hat with `fraction_bits` in; out: a picture or a residual in 2^-6 of an 8-bit step, or motion as the warp reads it."""
    network = branch.networks[DECODER]
    return quantize_synthesis(
        network,
        calibration,
        precision,
        fraction_bits=fraction_bits,
        output=network.outputs[0],
        target=_target(branch.name),
        observer=observer,
    )


def decoder_fraction_bits(nets: Mapping[str, IntegerNet], branch: str) -> int:
    """Fraction bits of the y_hat that a branch's decoder reads; the residual's stands above that of the motion."""
    branches = (RESIDUAL, MOTION) if branch == RESIDUAL else (branch,)
    return max(nets[network_name(b, MEAN)].mean_fraction_bits for b in branches)


def _target(branch: str) -> Target:
    if branch == MOTION:
        flow, scale = WARP_SPECIFICATION.flow_fraction_bits, WARP_SPECIFICATION.scale_fraction_bits
        like = np.ones(3, np.int64)
        return Target(
            scale=np.ldexp(1.0, -np.array([flow, flow, scale])),
            low=-INT16_MAX * like,
            high=INT16_MAX * like,
        )
    low = 0 if branch == IMAGE else -PICTURE_MAX
    return Target(
        scale=np.full(3, 1 / PICTURE_MAX),
        low=np.full(3, low, np.int64),
        high=np.full(3, PICTURE_MAX, np.int64),
    )
