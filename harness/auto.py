"""`--lowering auto`: the fastest integer lowering that gives the known answers on the machine that will run it.

A lowering may be exact on one machine and wrong on the next (u8 x s8 products saturate on x86 without VNNI), so the
question is put to the platform itself, at load: small networks of the same widths, made of the vectors that break wrong
arithmetic (every weight and every input extreme, alternating signs, ties, saturating rows), whose answers come from the
reference. Which one was taken, and why the faster ones were not, is recorded.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from harness import reference
from harness.build import Quantized
from harness.calibrate import observe
from harness.case import rng
from harness.cdf import scale_thresholds
from harness.endpoints import Run
from harness.errors import HarnessError, PlatformUnavailable, Unsupported, UserError
from harness.lowerings.base import LOWERINGS, Source, integer_lowerings
from harness.network import F32, Convolution, LeakyRelu, Network, Relu
from harness.precision import Precision
from harness.quantize import quantize_h_s
from harness.specification import I32, IntegerNet

AUTO = "auto"
# Rows of a product: 25 taps of 32 channels, so that sums of extremes pass 16 and 24 bits.
CHANNELS = 32
SIDE = 6
PASSES = "gives the known answers"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The lowering to use, and what was found about each one tried, in the order they were."""

    lowering: str
    tried: Mapping[str, str]

    def __str__(self) -> str:
        rejected = [f"{n} {why}" for n, why in self.tried.items() if n != self.lowering]
        return f"{self.lowering}: {PASSES}" + "".join(f"; not {each}" for each in rejected)


class Chooser:
    """Choices by platform and specification, each made once; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._choices: dict[tuple[str, str, str], Choice] = {}

    def choice(self, platform: str, made: Quantized, run: Run) -> Choice:
        key = (platform, made.precision, made.specification)
        with self._lock:
            if key not in self._choices:
                self._choices[key] = choose(made, run)
            return self._choices[key]

    def record(self, platform: str) -> dict[str, str]:
        """What was chosen on a platform, for its environment."""
        return {
            f"auto {precision}": str(choice)
            for (name, precision, _), choice in self._choices.items()
            if name == platform
        }


def choose(made: Quantized, run: Run) -> Choice:
    """Try the integer lowerings, fastest first; Unsupported if none gives the known answers where `run` runs."""
    if not made.integers:
        raise UserError(
            f"--lowering auto chooses among integer lowerings; {made.precision} has none"
        )
    tried: dict[str, str] = {}
    for lowering in integer_lowerings():
        tried[lowering.name] = _problem(lowering.name, made, run) or PASSES
        if tried[lowering.name] == PASSES:
            return Choice(lowering=lowering.name, tried=tried)
    reasons = "; ".join(f"{name} {why}" for name, why in tried.items())
    raise Unsupported(f"no integer lowering gives the known answers here: {reasons}")


def _problem(lowering: str, made: Quantized, run: Run) -> str:
    """Why a lowering cannot be used for a build where `run` runs; empty if it can."""
    try:
        for source in made.sources.values():
            LOWERINGS[lowering].lower(source)
    except UserError as error:
        return f"cannot carry it ({error})"
    widths = {(w, a) for net in made.integers.values() for w, a in _widths(net)}
    for weight_bits, activation_bits in sorted(widths):
        for question, source in known_questions(weight_bits, activation_bits).items():
            assert source.integer is not None
            symbols = extreme_symbols()
            try:
                artifact = LOWERINGS[lowering].lower(source)
                got = run("h_s", artifact, {"z_symbols": symbols})
            except PlatformUnavailable:
                raise
            except HarnessError as error:
                return f"does not run ({str(error).splitlines()[0]})"
            for name, want in reference.run(source.integer, symbols).items():
                if name in got and not np.array_equal(got[name], want):
                    wrong = int((np.asarray(got[name]) != want).sum())
                    return f"is wrong here ({wrong} of {want.size} of {name} in {question})"
    return ""


def _widths(net: IntegerNet) -> list[tuple[int, int]]:
    """Bits of weights and inputs of every layer, as the layer uses them."""
    return [
        (
            1 + int(np.abs(layer.weight).max(initial=1)).bit_length(),
            (layer.input_high - layer.input_low).bit_length(),
        )
        for layer in net.convolutions
    ]


@cache
def known_questions(weight_bits: int, activation_bits: int) -> dict[str, Source]:
    """Networks of these widths whose weights are extreme, with a rectifier of each kind."""
    precision = Precision.parse(f"w{max(weight_bits, 2)}a{max(activation_bits, 2)}")
    found = {}
    for kind in ("relu", "leaky-relu"):
        network = _extreme_network(kind)
        # A quarter of the symbols' reach: inputs and hidden values then run into both ends of their clamps.
        ranges = observe(network, [extreme_symbols().astype(np.float32) / 4])
        net = quantize_h_s(
            network,
            ranges,
            precision,
            medians=np.zeros(CHANNELS, np.int32),
            scale_thresholds=scale_thresholds(np.linspace(0.125, 64, 64).astype(np.float32)),
        )
        found[f"{precision.name} {kind}"] = Source(network=network, ranges=ranges, integer=net)
    return found


def _extreme_network(kind: str) -> Network:
    """A transposed and a direct convolution, their output channels all plus, all minus, alternating or random extremes."""
    generator = rng(f"known answers/{kind}")

    def weights(out: int, k: int) -> F32:
        values = generator.uniform(-1, 1, (out, CHANNELS, k, k))
        values[0::4] = 1
        values[1::4] = -1
        values[2::4] = np.where(np.arange(CHANNELS) % 2, 1, -1)[:, None, None]
        return values.astype(np.float32)

    rectifier = Relu(name="h_s.1") if kind == "relu" else LeakyRelu(name="h_s.1", slope=0.01)
    up = Convolution(
        name="h_s.0", weight=weights(CHANNELS, 5), bias=np.zeros(CHANNELS, np.float32),
        stride=2, padding=2, transposed=True, output_padding=1,
    )  # fmt: skip
    last = Convolution(
        name="h_s.2", weight=weights(16, 3) / 256, bias=np.ones(16, np.float32),
        stride=1, padding=1,
    )  # fmt: skip
    return Network(
        name="h_s", input="z_hat", outputs=("scales_hat", "means_hat"), layers=(up, rectifier, last)
    )


@cache
def extreme_symbols() -> I32:
    """Symbols at both ends of every width, as areas and as checkerboards, beside small ones: int32 [1, 32, 6, 6]."""
    generator = rng("known answers/symbols")
    symbols = generator.integers(-3, 4, (1, CHANNELS, SIDE, SIDE), dtype=np.int32)
    symbols[:, :, :3, :3] = 127
    symbols[:, :, :3, 3:] = -128
    symbols[:, 0::2, 3, :] = 127
    symbols[:, 1::2, 3, :] = -128
    return symbols
