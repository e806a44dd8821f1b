"""What a calibrator decided, as plain numbers, and the file that keeps it. Knows no network and no framework."""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.errors import UserError
from harness.files import decompress
from harness.precision import Precision

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
MAX_CALIBRATION_BYTES = 1 << 28
_RANGES = "ranges"
_KINDS = ("clips", "biases", "weights")


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelRange:
    """Smallest and largest value of every channel, float64 [C] (exact float32 values)."""

    low: F64
    high: F64


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a calibrator decided: ranges of a network's input and of each layer's output, and how weights are rounded.

    `tensors` by the layer's name; equal ranges in all channels make one scale a tensor. The rest is optional, by the
    convolution's name: `clips` float64 [out], the share of each output channel's largest weight that integers reach
    (1: all of it); `biases` float64 [out], added to the bias; `weights` int32 [out, in, k, k], integers in place of the
    nearest ones. Those three belong to one `precision` ("" where there are none).
    """

    calibrator: str
    samples: int
    tensors: Mapping[str, ChannelRange]
    precision: str = ""
    clips: Mapping[str, F64] = field(default_factory=dict)
    biases: Mapping[str, F64] = field(default_factory=dict)
    weights: Mapping[str, I32] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ChannelRange:
        if name not in self.tensors:
            raise UserError(f"no calibrated range for {name!r}: the ranges are of another network")
        return self.tensors[name]

    def check(
        self, widths: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]], precision: Precision
    ) -> None:
        """UserError unless every array has the channels of its tensor and the precision is the one calibrated for.

        `widths`: channels of the input and of every layer; `shapes`: of the weights of every convolution.
        """
        if self.precision not in {"", precision.name}:
            raise UserError(
                f"this calibration is of {self.precision}, not {precision.name}: calibrate for it"
            )
        for name, width in widths.items():
            if len(self[name].low) != width:
                raise UserError(
                    f"calibrated range for {name!r} has {len(self[name].low)} channels, not {width}: "
                    "the ranges are of another network"
                )
        for kind in ("clips", "biases", "weights"):
            for name, array in getattr(self, kind).items():
                wanted = shapes.get(name, ()) if kind == "weights" else shapes.get(name, ())[:1]
                if array.shape != wanted or not np.isfinite(array).all():
                    raise UserError(
                        f"calibrated {kind} of {name!r} have shape {list(array.shape)}, not {list(wanted)}, "
                        "or are not finite: they are of another network"
                    )

    def to_bytes(self) -> bytes:
        """An xz-compressed safetensors file: `ranges/<tensor>` float64 [2, C], and `clips/`, `biases/`, `weights/<layer>`.

        Weights are kept in the narrowest integers that hold them.
        """
        arrays: dict[str, NDArray[np.generic]] = {
            f"{_RANGES}/{name}": np.stack([r.low, r.high]) for name, r in self.tensors.items()
        }
        for kind in _KINDS:
            for name, array in getattr(self, kind).items():
                narrow = array
                if kind == "weights":
                    narrow = array.astype(np.min_scalar_type(-int(np.abs(array).max()) - 1))
                arrays[f"{kind}/{name}"] = np.ascontiguousarray(narrow)
        metadata = {
            "calibrator": self.calibrator,
            "samples": str(self.samples),
            "precision": self.precision,
        }
        return lzma.compress(save(arrays, metadata))

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """What `to_bytes` gave; UserError says what is wrong with the file."""
        try:
            if path.stat().st_size > MAX_CALIBRATION_BYTES:
                raise UserError(f"calibration {path} is larger than {MAX_CALIBRATION_BYTES} bytes")
            data = decompress(path.read_bytes(), MAX_CALIBRATION_BYTES)
            arrays, metadata = load(data), _metadata(data)
            found: dict[str, dict[str, NDArray[np.generic]]] = {
                _RANGES: {},
                **{k: {} for k in _KINDS},
            }
            for key, array in arrays.items():
                kind, _, name = key.partition("/")
                found[kind][name] = array
            calibration = cls(
                calibrator=metadata["calibrator"],
                samples=int(metadata["samples"]),
                precision=metadata["precision"],
                tensors={
                    name: ChannelRange(low=low.astype(np.float64), high=high.astype(np.float64))
                    for name, (low, high) in found[_RANGES].items()
                },
                clips={n: a.astype(np.float64) for n, a in found["clips"].items()},
                biases={n: a.astype(np.float64) for n, a in found["biases"].items()},
                weights={n: a.astype(np.int32) for n, a in found["weights"].items()},
            )
        except (
            OSError,
            EOFError,
            lzma.LZMAError,
            SafetensorError,
            KeyError,
            ValueError,
            TypeError,
        ) as error:
            raise UserError(f"cannot read calibration {path}: {error}") from error
        for name, r in calibration.tensors.items():
            if (
                r.low.ndim != 1
                or not (np.isfinite(r.low) & np.isfinite(r.high)).all()
                or not (r.low <= r.high).all()
            ):
                raise UserError(f"calibration {path}: {name} has no valid low <= high per channel")
        return calibration


def _metadata(data: bytes) -> dict[str, str]:
    """The header of a safetensors file begins with its length; the library reads metadata from paths only."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]).get("__metadata__", {}))
