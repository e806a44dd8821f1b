"""The files of a codec that ships: `qN.safetensors.xz` (weights), `qN.tables.npz`, `qN.json` (where they come from).

Weights are half precision and the half-rounded weights *are* the codec; xz makes a seventh of them go away.
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from harness.errors import UserError
from harness.files import write_file

_WEIGHTS = ".safetensors.xz"
# Contexts of single bytes at even and at odd places: exponents and mantissas of half-precision numbers take turns.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 1, "pb": 1}]


@dataclass(frozen=True)
class CodecFiles:
    """Where the files of a rate point lie in the folder of its family."""

    folder: Path
    quality: int

    @property
    def weights(self) -> Path:
        return self._file(_WEIGHTS)

    @property
    def tables(self) -> Path:
        return self._file(".tables.npz")

    @property
    def record(self) -> Path:
        return self._file(".json")

    def _file(self, suffix: str) -> Path:
        return self.folder / f"q{self.quality}{suffix}"

    def write_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        write_file(self.weights, lzma.compress(save(dict(weights)), filters=_FILTERS))

    def read_record(self) -> dict[str, object]:
        """Where the weights come from, what they were calibrated on, digests; UserError if it cannot be read."""
        try:
            return dict(json.loads(self.record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"codec {self.folder.name}/q{self.quality}: cannot read its .json: {error}"
            ) from error

    def write_record(self, record: Mapping[str, object]) -> None:
        write_file(self.record, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())

    def check_digest(self, digest: str, record: Mapping[str, object]) -> None:
        """UserError unless the codec made of the files has the digest that their `record` names."""
        if digest != record.get("digest"):
            raise UserError(
                f"codec {self.folder.name}/q{self.quality}: its weights or tables do not match the digest in "
                f"{self.record.name}"
            )


def shipped(folder: Path) -> dict[str, CodecFiles]:
    """By name (`family/qN`), the codecs that lie in `folder`, a family's."""
    stems = (path.name[1 : -len(_WEIGHTS)] for path in folder.glob(f"q*{_WEIGHTS}"))
    numbers = sorted(int(stem) for stem in stems if stem.isdecimal())
    return {f"{folder.name}/q{number}": CodecFiles(folder, number) for number in numbers}


def find(name: str, codecs: Mapping[str, CodecFiles]) -> CodecFiles:
    """The files of one of `codecs`; UserError if there is none of that name."""
    if name not in codecs:
        raise UserError(f"no codec {name!r} ships; there are: {', '.join(codecs)}")
    return codecs[name]
