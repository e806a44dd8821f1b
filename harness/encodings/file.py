"""AIMET encodings files 0.6.1 and 1.0.0 as values, read and written without loss. Knows no network.

0.6.1: `activation_encodings` and `param_encodings` map a tensor's name to a list, one entry a scale, of bitwidth, dtype
"int", is_symmetric "True" or "False" (strings), min, max, scale, offset. 1.0.0: both are lists of name, enc_type, dtype
"INT", bw, is_sym, scale [..], offset [..]. In both x is scale * (q + offset) with q in 0..2^bits-1. Other top-level
fields (quantizer_args, producer, ..) are kept as they are. Floats, blocks, LPBQ and zero points between integers are
refused: integer networks here have none of them.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as _shown

from harness.errors import UserError

VERSIONS = ("0.6.1", "1.0.0")
MAX_BYTES = 1 << 26
# Of a bias; other tensors have up to 16, which is checked where their meaning is known.
MOST_BITS = 32
SCALES = (2.0**-64, 2.0**8)
PER_TENSOR, PER_CHANNEL = "PER_TENSOR", "PER_CHANNEL"
_SECTIONS = ("activation_encodings", "param_encodings")
_FIELDS = {
    "0.6.1": {"bitwidth", "dtype", "is_symmetric", "min", "max", "offset", "scale"},
    "1.0.0": {"name", "enc_type", "dtype", "bw", "is_sym", "scale", "offset"},
}


class Malformed(Exception):
    """What is wrong, without where; it becomes a UserError that names the file."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """A tensor's grid: scale * (q + offset), q in 0..2^bits-1; one scale and offset, or one for each channel.

    `limits`: min and max as a file of version 0.6.1 has them; what scale and offset say, but for the last digits.
    """

    bits: int
    symmetric: bool
    scales: tuple[float, ...]
    offsets: tuple[int, ...]
    per_channel: bool
    limits: tuple[tuple[float, float], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raise Malformed where this is no grid of integers; the caller knows the file and the tensor."""
        if not 1 <= self.bits <= MOST_BITS:
            raise Malformed(f"{self.bits} bits; 1 to {MOST_BITS} are possible")
        if not self.scales or len(self.scales) != len(self.offsets):
            raise Malformed(f"{len(self.scales)} scales and {len(self.offsets)} offsets")
        if not self.per_channel and len(self.scales) > 1:
            raise Malformed(f"{len(self.scales)} scales for a whole tensor")
        for scale in self.scales:
            if not SCALES[0] <= scale <= SCALES[1]:
                raise Malformed(f"scale {scale!r}; it has to be positive and of a sane size")
        half = 2 ** (self.bits - 1)
        # AIMET's strict symmetric grids leave the lowest integer out.
        allowed = {-half, 1 - half} if self.symmetric else range(1 - 2 * half, 1)
        for offset in self.offsets:
            if offset not in allowed:
                kind = "symmetric" if self.symmetric else "asymmetric"
                raise Malformed(f"offset {offset}, which no {kind} grid of {self.bits} bits has")


@dataclass(frozen=True, kw_only=True)
class Encodings:
    """A file: its version, encodings by the tensors' names, and what else is at its top level.

    `source` is what messages call it.
    """

    version: str
    activations: Mapping[str, Encoding]
    parameters: Mapping[str, Encoding]
    others: Mapping[str, object] = field(default_factory=dict)
    source: str = field(default="encodings", compare=False)

    @classmethod
    def read(cls, path: Path) -> "Encodings":
        """UserError says in one line what is wrong with the file."""
        source = f"encodings {path}"
        try:
            if path.stat().st_size > MAX_BYTES:
                raise UserError(f"{source}: larger than {MAX_BYTES} bytes")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot read {source}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{source}: not JSON: {error}") from error
        return cls.parse(text, source)

    @classmethod
    def parse(cls, text: str, source: str) -> "Encodings":
        try:
            raw = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
        except (ValueError, RecursionError, Malformed) as error:
            raise UserError(f"{source}: not JSON: {error}") from error
        try:
            return _encodings(raw, source)
        except Malformed as error:
            raise UserError(f"{source}: {error}") from error

    def to_bytes(self) -> bytes:
        """The file, as JSON."""
        sections = (self.activations, self.parameters)
        found: dict[str, object] = {"version": self.version, **self.others}
        for section, encodings in zip(_SECTIONS, sections, strict=True):
            if self.version == "0.6.1":
                found[section] = {name: _to_0_6_1(each) for name, each in encodings.items()}
            else:
                found[section] = [_to_1_0_0(name, each) for name, each in encodings.items()]
        return (json.dumps(found, indent=2, sort_keys=True) + "\n").encode()


def _distinct(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Malformed(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
    return found


def _refuse_constant(text: str) -> object:
    raise Malformed(f"{text} is no number")


def _encodings(raw: object, source: str) -> Encodings:
    if not isinstance(raw, dict):
        raise Malformed("not an object with version, activation_encodings and param_encodings")
    version = raw.get("version")
    if version not in VERSIONS:
        raise Malformed(f"version {_shown(version)}; {' and '.join(VERSIONS)} are read")
    sections = []
    for section in _SECTIONS:
        if section not in raw:
            raise Malformed(f"no {section}")
        sections.append(_section(raw[section], section, version))
    return Encodings(
        version=version,
        activations=sections[0],
        parameters=sections[1],
        others={k: v for k, v in raw.items() if k not in {"version", *_SECTIONS}},
        source=source,
    )


def _section(raw: object, section: str, version: str) -> dict[str, Encoding]:
    if version == "0.6.1":
        if not isinstance(raw, dict):
            raise Malformed(f"{section} is no object, as version 0.6.1 has it")
        return {name: _named(name, _of_0_6_1, entry) for name, entry in raw.items()}
    if not isinstance(raw, list):
        raise Malformed(f"{section} is no list, as version 1.0.0 has it")
    found: dict[str, Encoding] = {}
    for entry in raw:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise Malformed(f"an entry of {section} has no name")
        if name in found:
            raise Malformed(f"{name!r} is there twice")
        found[name] = _named(name, _of_1_0_0, entry)
    return found


def _named(name: str, read: Callable[[object], Encoding], entry: object) -> Encoding:
    try:
        return read(entry)
    except Malformed as error:
        raise Malformed(f"{name!r}: {error}") from error


def _of_0_6_1(raw: object) -> Encoding:
    if not isinstance(raw, list) or not raw:
        raise Malformed("not a list of encodings, one a scale")
    entries = [_fields(entry, "0.6.1", "int") for entry in raw]
    shared = {(_integer(e["bitwidth"], "bitwidth"), _word(e["is_symmetric"])) for e in entries}
    if len(shared) > 1:
        raise Malformed("its channels differ in bitwidth or is_symmetric")
    ((bits, symmetric),) = shared
    encoding = Encoding(
        bits=bits,
        symmetric=symmetric,
        scales=tuple(_number(e["scale"], "scale") for e in entries),
        offsets=tuple(_integer(e["offset"], "offset") for e in entries),
        per_channel=len(entries) > 1,
        limits=tuple((_number(e["min"], "min"), _number(e["max"], "max")) for e in entries),
    )
    for given, wanted, scale in zip(
        encoding.limits, _limits(encoding), encoding.scales, strict=True
    ):
        for what, ours, theirs in zip(("min", "max"), wanted, given, strict=True):
            if not abs(theirs - ours) <= scale / 2:
                raise Malformed(f"{what} {theirs!r}, but scale and offset make it {ours!r}")
    return encoding


def _of_1_0_0(raw: object) -> Encoding:
    entry = _fields(raw, "1.0.0", "INT")
    kind, symmetric = entry["enc_type"], entry["is_sym"]
    if kind not in (PER_TENSOR, PER_CHANNEL):
        raise Malformed(f"enc_type {_shown(kind)}; {PER_TENSOR} and {PER_CHANNEL} are read")
    if not isinstance(symmetric, bool):
        raise Malformed(f"is_sym {_shown(symmetric)} is neither true nor false")
    scales, offsets = entry["scale"], entry["offset"]
    if not isinstance(scales, list) or not isinstance(offsets, list):
        raise Malformed("scale and offset are no lists")
    return Encoding(
        bits=_integer(entry["bw"], "bw"),
        symmetric=symmetric,
        scales=tuple(_number(scale, "scale") for scale in scales),
        offsets=tuple(_integer(offset, "offset") for offset in offsets),
        per_channel=kind == PER_CHANNEL,
    )


def _fields(entry: object, version: str, integer: str) -> dict[str, object]:
    """An entry with exactly the fields of its version."""
    if not isinstance(entry, dict):
        raise Malformed("no encoding, but something else")
    if "dtype" in entry and entry["dtype"] != integer:
        raise Malformed(
            f"dtype {_shown(entry['dtype'])}; only {integer!r} has an integer specification"
        )
    if missing := sorted(_FIELDS[version] - set(entry)):
        raise Malformed(f"no {missing[0]}")
    if unknown := sorted(set(entry) - _FIELDS[version]):
        raise Malformed(f"unknown field {_shown(unknown[0])}")
    return entry


def _number(raw: object, what: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise Malformed(f"{what} {_shown(raw)} is no number")
    try:
        found = float(raw)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Malformed(f"{what} is not finite")
    return found


def _integer(raw: object, what: str) -> int:
    """AIMET writes offsets as floats too."""
    found = _number(raw, what)
    if not found.is_integer():
        raise Malformed(f"{what} {_shown(raw)} is no whole number")
    return int(found)


def _word(raw: object) -> bool:
    if raw not in ("True", "False"):
        raise Malformed(f'is_symmetric {_shown(raw)} is neither "True" nor "False"')
    return raw == "True"


def _limits(encoding: Encoding) -> list[tuple[float, float]]:
    """Min and max of each scale."""
    steps = 2**encoding.bits - 1
    return [
        (offset * scale, (offset + steps) * scale)
        for scale, offset in zip(encoding.scales, encoding.offsets, strict=True)
    ]


def _to_0_6_1(encoding: Encoding) -> list[dict[str, object]]:
    return [
        {
            "bitwidth": encoding.bits,
            "dtype": "int",
            "is_symmetric": str(encoding.symmetric),
            "offset": offset,
            "scale": scale,
            "min": low,
            "max": high,
        }
        for scale, offset, (low, high) in zip(
            encoding.scales, encoding.offsets, encoding.limits or _limits(encoding), strict=True
        )
    ]


def _to_1_0_0(name: str, encoding: Encoding) -> dict[str, object]:
    return {
        "name": name,
        "enc_type": PER_CHANNEL if encoding.per_channel else PER_TENSOR,
        "dtype": "INT",
        "bw": encoding.bits,
        "is_sym": encoding.symmetric,
        "scale": list(encoding.scales),
        "offset": list(encoding.offsets),
    }
