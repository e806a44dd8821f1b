"""How many bits each tensor gets: a name such as `w8a8`, or a table of exceptions by layer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UserError

_PRECISION = re.compile(r"w([1-9][0-9]?)a([1-9][0-9]?)(?:-o([1-9][0-9]?))?", re.ASCII)
_STEM = re.compile(r"[A-Za-z0-9._-]+")
WIDEST, NARROWEST = 16, 2
MAX_TABLE_BYTES = 1 << 20
# Precisions without an integer specification.
CONTROLS = frozenset({"fp32", "w8a8-qdq", "w8a8-qoperator"})


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits of the weights, and of the input and every hidden activation; outputs are 16 bits wide unless said.

    `weights` and `activations` hold exceptions by the name of a layer (`h_s.2`) or of the input (`z_q`, `y_q`).
    """

    name: str
    weight_bits: int
    activation_bits: int
    output_bits: int = WIDEST
    weights: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str) -> "Precision":
        """`w8a8` and the like, 2 to 16 bits each; `w4a4-o4` holds the outputs to 4 bits too.

        >>> Precision.parse("w4a16").activation_bits
        16
        """
        match = _PRECISION.fullmatch(name)
        bits = [int(group or WIDEST) for group in match.groups()] if match else []
        if not bits or not all(NARROWEST <= b <= WIDEST for b in bits):
            raise UserError(
                f"no precision {name!r}: integer precisions are w2a2 to w16a16, such as w8a8, or a .json table of bits"
            )
        return cls(name=name, weight_bits=bits[0], activation_bits=bits[1], output_bits=bits[2])

    def of_weights(self, layer: str) -> int:
        return self.weights.get(layer, self.weight_bits)

    def of_activation(self, tensor: str) -> int:
        return self.activations.get(tensor, self.activation_bits)

    def check_names(self, layers: "set[str]") -> None:
        """Every exception must be of a tensor that exists."""
        unknown = sorted({*self.weights, *self.activations} - layers)
        if unknown:
            raise UserError(
                f"precision {self.name}: no layer {unknown[0]!r}; there are {', '.join(sorted(layers))}"
            )


def read_precision(text: str) -> Precision:
    """A precision by name, or from a JSON table.

    {"default": "w8a8", "weights": {"h_s.2": 4}, "activations": {"z_q": 12}}; it is called mixed-<name of the file>.
    """
    if not text.endswith(".json"):
        return Precision.parse(text)
    path = Path(text)
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UserError(f"{path} is larger than any table of bits")
        raw = json.loads(path.read_text(encoding="utf-8"))
        default = Precision.parse(str(raw.pop("default")))
        tables = {kind: _bits(path, raw.pop(kind, {})) for kind in ("weights", "activations")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"cannot read a table of bits from {path}: {type(error).__name__} {error}; "
            'it looks like {"default": "w8a8", "weights": {"h_s.2": 4}, "activations": {}}'
        ) from error
    if raw:
        raise UserError(f"table of bits {path}: unknown fields {', '.join(sorted(raw))}")
    if not _STEM.fullmatch(path.stem):
        raise UserError(f"table of bits {path}: name the file with letters, digits, '.', '_', '-'")
    return Precision(
        name=f"mixed-{path.stem}",
        weight_bits=default.weight_bits,
        activation_bits=default.activation_bits,
        output_bits=default.output_bits,
        weights=tables["weights"],
        activations=tables["activations"],
    )


def _bits(path: Path, table: Mapping[str, object]) -> dict[str, int]:
    found = {}
    for name, bits in table.items():
        if type(bits) is not int or not NARROWEST <= bits <= WIDEST:
            raise UserError(f"table of bits {path}: {name} has {bits!r} bits; 2 to 16 are possible")
        found[name] = bits
    return found
