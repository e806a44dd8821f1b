"""A codec at one precision in one lowering: its four ONNX artifacts, tables and identity. Files for `export` too."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.calibration import Calibration
from harness.cdf import save_tables
from harness.codecs.base import Codec
from harness.errors import UserError
from harness.files import write_file
from harness.lowerings.base import FLOAT, LOWERINGS, Artifact, Source, default_lowering
from harness.precision import CONTROLS, Precision, read_precision
from harness.quantize import quantize_g_s, quantize_h_s
from harness.specification import GDN_NORM_MAX, IntegerGdn, IntegerNet

HYPERPRIOR, DECODER = "hyperprior", "decoder"
NO_CALIBRATOR = "none"


@dataclass(frozen=True, kw_only=True)
class Build:
    """Everything that both ends need.

    `integers` has the specification of h_s where the precision has one, and of g_s too in scope decoder; `calibrator` is
    who calibrated them ("none" for fp32). `specification` identifies the function that computes what the scope gates: it goes into every bitstream.
    """

    codec: Codec
    precision: str
    scope: str
    lowering: str
    calibrator: str
    artifacts: Mapping[str, Artifact]
    integers: Mapping[str, IntegerNet]
    sources: Mapping[str, Source]

    @property
    def integer(self) -> IntegerNet | None:
        """The specification of h_s."""
        return self.integers.get("h_s")

    @property
    def specification(self) -> str:
        h_s = self.artifacts["h_s"].specification
        if self.scope != DECODER:
            return h_s
        return hashlib.sha256(f"{h_s} {self.artifacts['g_s'].specification}".encode()).hexdigest()

    @property
    def profile(self) -> str:
        """The arithmetic profile that a bitstream names."""
        if self.precision == "fp32":
            return "float32"
        return self.precision if self.scope == HYPERPRIOR else f"{self.precision}/{self.scope}"

    @property
    def fraction_bits(self) -> int:
        """Fraction bits of the fixed-point means; y_hat of an integer build has them too."""
        return self.integer.mean_fraction_bits if self.integer else 0

    @property
    def widths(self) -> dict[str, str]:
        """Width of every tensor of the integer networks, such as `s8` or `u16`, in graph order."""
        found: dict[str, str] = {}
        for net in self.integers.values():
            found |= tensor_widths(net)
        return found


class _Shipped(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def provenance(self) -> Mapping[str, object]: ...


class Quantized(Protocol):
    """A build of a codec of pictures or of clips: `sources` are what integer lowerings make its quantized networks of."""

    @property
    def codec(self) -> _Shipped: ...

    @property
    def precision(self) -> str: ...

    @property
    def specification(self) -> str: ...

    @property
    def integers(self) -> Mapping[str, IntegerNet]: ...

    @property
    def sources(self) -> Mapping[str, Source]: ...


def split_profile(profile: str) -> tuple[str, str]:
    """Precision and scope of a bitstream's arithmetic profile."""
    precision, _, scope = profile.partition("/")
    return "fp32" if precision == "float32" else precision, scope or HYPERPRIOR


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """A precision, and the lowering that realises it; `widths` is None of fp32 and of the controls."""

    name: str
    widths: Precision | None
    lowering: str

    def lower(self, source: Source) -> Artifact:
        return LOWERINGS[self.lowering].lower(source)


def arithmetic(precision: str, lowering: str | None) -> Arithmetic:
    """UserError for a precision that there is not, and a lowering (by default the usual one) that is of another."""
    widths = None if precision in CONTROLS else read_precision(precision)
    name = widths.name if widths else precision
    usual = default_lowering(name)
    if lowering and LOWERINGS[lowering].realises != ("integer" if widths else name):
        raise UserError(
            f"lowering {lowering} does not realise precision {name}; that takes {usual}"
        )
    return Arithmetic(name=name, widths=widths, lowering=lowering or usual)


def build(
    codec: Codec,
    precision: str,
    calibrations: Mapping[str, Calibration],
    *,
    lowering: str | None = None,
    scope: str = HYPERPRIOR,
) -> Build:
    """Quantize and lower `codec`: h_s, and g_s too in scope decoder; what is not quantized stays float32.

    `calibrations` has one of each network that is quantized, by its name.
    """
    if scope not in {HYPERPRIOR, DECODER}:
        raise UserError(f"no scope {scope!r}; there are {HYPERPRIOR} and {DECODER}")
    of = arithmetic(precision, lowering)
    quantized = ["h_s", "g_s"] if scope == DECODER and of.widths else ["h_s"]
    for network in quantized if precision != "fp32" else []:
        if network not in calibrations:
            raise UserError(
                f"{codec.name} has no calibration of {network} for {of.name}: give --calibrate FOLDER of images"
            )
    integers = _specifications(codec, of.widths, calibrations, quantized) if of.widths else {}
    sources = {
        network: Source(
            codec=codec.name,
            network=codec.networks[network],
            ranges=calibrations.get(network),
            integer=integers.get(network),
        )
        for network in quantized
    }
    artifacts = {
        network: LOWERINGS[FLOAT].lower(Source(codec=codec.name, network=codec.networks[network]))
        for network in ("g_a", "h_a", "h_s", "g_s")
        if network not in quantized
    }
    return Build(
        codec=codec,
        precision=of.name,
        scope=scope,
        lowering=of.lowering,
        calibrator=calibrations["h_s"].calibrator if precision != "fp32" else NO_CALIBRATOR,
        artifacts={**artifacts, **{n: of.lower(source) for n, source in sources.items()}},
        integers=integers,
        sources=sources,
    )


def _specifications(
    codec: Codec,
    precision: Precision,
    calibrations: Mapping[str, Calibration],
    quantized: list[str],
) -> dict[str, IntegerNet]:
    h_s = quantize_h_s(
        codec.networks["h_s"],
        calibrations["h_s"],
        precision,
        medians=codec.medians,
        scale_thresholds=codec.scale_thresholds,
    )
    if "g_s" not in quantized:
        return {"h_s": h_s}
    g_s = quantize_g_s(
        codec.networks["g_s"],
        calibrations["g_s"],
        precision,
        fraction_bits=h_s.mean_fraction_bits,
    )
    return {"h_s": h_s, "g_s": g_s}


def tensor_widths(net: IntegerNet) -> dict[str, str]:
    """Width of the input, of every layer's weights and of what it hands on, in graph order."""

    def span(low: int, high: int) -> str:
        return f"{'s' if low < 0 else 'u'}{(high - low).bit_length()}"

    found = {f"{net.input[0]}_q": span(int(net.entry.low.min()), int(net.entry.high.max()))}
    for layer in net.layers:
        inner = layer.norm if isinstance(layer, IntegerGdn) else layer
        bits = 1 + int(abs(inner.weight).max()).bit_length()
        found[f"{inner.name}.weight"] = f"s{bits} per channel"
        if isinstance(layer, IntegerGdn):
            found[f"{inner.name}"] = f"u{GDN_NORM_MAX.bit_length()}"
            rule = layer.scale
        else:
            rule = layer.leaky or layer.requantize
        if layer is not net.layers[-1]:
            found[layer.name] = span(int(rule.low.min()), int(rule.high.max()))
            continue
        share = len(rule.low) // len(net.outputs)
        for number, output in enumerate(net.outputs):
            part = slice(number * share, (number + 1) * share)
            found[output] = span(int(rule.low[part].min()), int(rule.high[part].max()))
    return found


def export(made: Build, folder: Path) -> list[Path]:
    """Write one ONNX file a network, `tables.npz` and `manifest.json`; each is there whole or not at all."""
    codec = made.codec
    tables = {
        **codec.z_tables.to_arrays("z"),
        **codec.y_tables.to_arrays("y"),
        "medians": codec.medians,
        "scale_thresholds": codec.scale_thresholds,
    }
    manifest = {
        "codec": codec.family,
        "quality": codec.quality,
        "precision": made.precision,
        "scope": made.scope,
        "lowering": made.lowering,
        "calibrator": made.calibrator,
        "profile": made.profile,
        "codec_digest": codec.digest,
        "specification": made.specification,
        "tables_digest": codec.tables_digest,
        "provenance": dict(codec.provenance),
        "networks": described(made.artifacts),
    }
    if made.integer is not None:
        manifest["fixed_point"] = {
            "median_fraction_bits": 8,
            "sigma_fraction_bits": made.integer.sigma_fraction_bits,
            "mean_fraction_bits": made.integer.mean_fraction_bits,
            "accumulator_bounds": {
                layer.name: int(layer.bounds.max())
                for net in made.integers.values()
                for layer in net.convolutions
            },
            "widths": made.widths,
        }
    return write_export(folder, made.artifacts, manifest, tables)


def described(artifacts: Mapping[str, Artifact]) -> dict[str, dict[str, object]]:
    """What a manifest says of every network's file."""
    return {
        name: {
            "file": f"{name}.onnx",
            "sha256": a.sha256,
            "input": a.input,
            "outputs": list(a.outputs),
        }
        for name, a in sorted(artifacts.items())
    }


def write_export(
    folder: Path,
    artifacts: Mapping[str, Artifact],
    manifest: Mapping[str, object],
    tables: Mapping[str, NDArray[np.int32]],
) -> list[Path]:
    """Write the files of an export and give their paths; UserError where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; give a writable folder with -o"
        ) from error
    contents = {f"{name}.onnx": a.onnx_model for name, a in artifacts.items()}
    contents["manifest.json"] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    for name, data in contents.items():
        write_file(folder / name, data)
    save_tables(folder / "tables.npz", tables)
    return [folder / name for name in sorted([*contents, "tables.npz"])]
