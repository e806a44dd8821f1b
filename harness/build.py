"""A codec at one precision in one lowering: its four ONNX artifacts, tables and identity. Files for `export` too."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.calibrate import Ranges
from harness.cdf import save_tables
from harness.codecs.base import Codec
from harness.errors import UserError
from harness.lowerings.base import FLOAT, LOWERINGS, Artifact, Source, default_lowering
from harness.quantize import quantize
from harness.specification import IntegerNet, Precision


@dataclass(frozen=True, kw_only=True)
class Build:
    """Everything that both ends need. `integer` is the specification of h_s where the precision has one.

    `specification` identifies the function that computes the entropy parameters: it goes into every bitstream.
    """

    codec: Codec
    precision: str
    lowering: str
    artifacts: Mapping[str, Artifact]
    integer: IntegerNet | None
    source: Source

    @property
    def specification(self) -> str:
        return self.artifacts["h_s"].specification

    @property
    def profile(self) -> str:
        """The arithmetic profile that a bitstream names."""
        return "float32" if self.precision == "fp32" else self.precision

    @property
    def fraction_bits(self) -> int:
        """Fraction bits of the fixed-point means; y_hat of an integer build has them too."""
        return self.integer.mean_fraction_bits if self.integer else 0

    def tapped(self) -> Artifact:
        """h_s with every layer's output exposed."""
        return LOWERINGS[self.lowering].lower(self.source, taps=True)


def build(
    codec: Codec, precision: str, ranges: Ranges | None, *, lowering: str | None = None
) -> Build:
    """Quantize and lower `codec`. Only h_s changes with the precision (scope hyperprior); the rest stays float32."""
    lowering = lowering or default_lowering(precision)
    integer = None
    if precision not in {"fp32", "w8a8-qdq"}:
        parsed = Precision.parse(precision)
        if ranges is None:
            raise UserError(
                f"{codec.name} has no calibrated ranges for {precision}: give --calibrate FOLDER of images"
            )
        integer = quantize(
            codec.networks["h_s"],
            ranges,
            parsed,
            medians=codec.medians,
            scale_thresholds=codec.scale_thresholds,
        )
    source = Source(network=codec.networks["h_s"], ranges=ranges, integer=integer)
    h_s = LOWERINGS[lowering].lower(source)
    if h_s.integer != (integer is not None) or (lowering == FLOAT) != (precision == "fp32"):
        raise UserError(
            f"lowering {lowering} does not realise precision {precision}; "
            f"that takes {default_lowering(precision)}"
        )
    artifacts = {
        name: LOWERINGS[FLOAT].lower(Source(network=codec.networks[name]))
        for name in ("g_a", "h_a", "g_s")
    }
    return Build(
        codec=codec,
        precision=precision,
        lowering=lowering,
        artifacts={**artifacts, "h_s": h_s},
        integer=integer,
        source=source,
    )


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
        "lowering": made.lowering,
        "profile": made.profile,
        "codec_digest": codec.digest,
        "specification": made.specification,
        "tables_digest": codec.tables_digest,
        "provenance": dict(codec.provenance),
        "networks": {
            name: {
                "file": f"{name}.onnx",
                "sha256": a.sha256,
                "input": a.input,
                "outputs": list(a.outputs),
            }
            for name, a in sorted(made.artifacts.items())
        },
    }
    if made.integer is not None:
        manifest["fixed_point"] = {
            "median_fraction_bits": 8,
            "sigma_fraction_bits": made.integer.sigma_fraction_bits,
            "mean_fraction_bits": made.integer.mean_fraction_bits,
            "accumulator_bounds": {
                layer.name: int(layer.bounds.max()) for layer in made.integer.layers
            },
        }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = {f"{name}.onnx": a.onnx_model for name, a in made.artifacts.items()}
        contents["manifest.json"] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
        for name, data in contents.items():
            temporary = folder / f".{name}.part"
            try:
                temporary.write_bytes(data)
                os.replace(temporary, folder / name)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; give a writable folder with -o"
        ) from error
    save_tables(folder / "tables.npz", tables)
    return [folder / name for name in sorted([*contents, "tables.npz"])]
