"""Goldens: accepted recordings as text, one line a tensor in graph order, so that a diff shows what changed first.

    # crosscheck golden 1
    # case mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu/astronaut.c128
    # specification 5f0c1b...
    # tables 9c56cc...
    # integer h_s
    # environment runtime: onnxruntime 1.23.2
    h_s.in.z_symbols int32 1x64x2x2 3a7bd3e2360a3d29...
    h_s.out.indexes int32 1x96x8x8 b5bb9d8014a0f9b1...

`NAME.in.` is a feed of a network, `NAME.out.` an output. Lines of the networks named `integer` hold on every machine and
platform; the others belong to the environment they were recorded in. Knows neither models nor platforms.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.digest import TensorDigest, check_sha256
from harness.errors import UserError
from harness.recording import Recording, check_run_name

FORMAT = "crosscheck golden 1"
MAX_BYTES = 2**20
CASE_PARTS = 7
_SHAPE = re.compile(r"scalar|[0-9]{1,10}(?:x[0-9]{1,10})*")
_PLACE = re.compile(r"(?P<network>[A-Za-z0-9_]+)\.(?:in|out)\.(?P<tensor>.+)")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What one platform makes of one picture's stream: `variant` is codec/qN/precision/scope."""

    variant: str
    lowering: str
    platform: str
    input: str
    specification: str
    tables: str
    integer: tuple[str, ...]
    environment: Mapping[str, str]
    tensors: tuple[TensorDigest, ...]

    def __post_init__(self) -> None:
        # As a run's name these parts are legal; the golden's own name becomes a path.
        for part in (self.input, self.lowering, self.platform):
            check_run_name(f"{self.variant}/{part}/network")
        check_sha256("specification", self.specification)
        check_sha256("tables", self.tables)
        names = [tensor.name for tensor in self.tensors]
        if not names or len(set(names)) != len(names) or not all(map(_PLACE.fullmatch, names)):
            raise UserError("a golden has distinct lines NETWORK.in.NAME or NETWORK.out.NAME")
        if not set(self.integer) <= self.networks:
            raise UserError(f"it has no line of {min(set(self.integer) - self.networks)[:50]!r}")

    @property
    def name(self) -> str:
        """Names the case, and its file below the goldens."""
        return f"{self.variant}/{self.lowering}/{self.platform}/{self.input}"

    @property
    def subject(self) -> tuple[str, str]:
        """What two goldens must share to be compared."""
        return self.variant, self.input

    @property
    def networks(self) -> set[str]:
        return {network_of(tensor) for tensor in self.tensors}

    def to_text(self) -> str:
        head = [
            FORMAT,
            f"case {self.name}",
            f"specification {self.specification}",
            f"tables {self.tables}",
            f"integer {' '.join(self.integer) or 'none'}",
            *(f"environment {key}: {value}" for key, value in sorted(self.environment.items())),
        ]
        lines = [f"# {line}" for line in head]
        lines += [
            f"{t.name} {t.dtype} {'x'.join(map(str, t.shape)) or 'scalar'} {t.sha256}"
            for t in self.tensors
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, text: str) -> "Golden":
        """What `to_text` gave; anything else is a UserError."""
        if len(text) > MAX_BYTES:
            raise UserError(f"it takes more than {MAX_BYTES} bytes")
        lines = text.split("\n")
        if not all(map(str.isprintable, lines)):
            raise UserError("it has lines that are not printable text")
        heads = [line[2:] for line in lines if line.startswith("# ")]
        fields = {key: value for key, _, value in (head.partition(" ") for head in heads)}
        parts = fields.get("case", "").split("/")
        if heads[:1] != [FORMAT] or len(parts) != CASE_PARTS:
            raise UserError(f"it is not a {FORMAT!r}")
        integer = fields.get("integer", "")
        environment = (head.partition(" ")[2] for head in heads if head.startswith("environment "))
        made = cls(
            variant="/".join(parts[:4]),
            lowering=parts[4],
            platform=parts[5],
            input=parts[6],
            specification=fields.get("specification", ""),
            tables=fields.get("tables", ""),
            integer=() if integer == "none" else tuple(integer.split(" ")),
            environment={key: value for key, _, value in (e.partition(": ") for e in environment)},
            tensors=tuple(_tensor(line) for line in lines if line and not line.startswith("#")),
        )
        if made.to_text() != text:
            raise UserError("it is not as this project writes it")
        return made

    @classmethod
    def load(cls, path: Path) -> "Golden":
        try:
            if path.stat().st_size > MAX_BYTES:
                raise UserError(f"golden {path} takes more than {MAX_BYTES} bytes")
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read golden {path}: {error}") from error
        try:
            return cls.from_text(text)
        except UserError as error:
            raise UserError(f"cannot read golden {path}: {error}") from error


def _tensor(line: str) -> TensorDigest:
    parts = line.split(" ")
    if len(parts) != len(("name", "dtype", "shape", "sha256")) or not _SHAPE.fullmatch(parts[2]):
        raise UserError(f"{line[:80]!r} is no line `name dtype shape sha256`")
    name, dtype, shape, sha256 = parts
    sizes = () if shape == "scalar" else tuple(map(int, shape.split("x")))
    return TensorDigest(name=name, dtype=dtype, shape=sizes, sha256=sha256)


def network_of(tensor: TensorDigest) -> str:
    return tensor.name.partition(".")[0]


def goldens_of(recording: Recording) -> list[Golden]:
    """A golden of every variant and picture in a recording."""
    subjects = dict.fromkeys(run.name.rpartition("/")[0] for run in recording.runs)
    found = []
    for subject in subjects:
        runs = [run for run in recording.runs if run.name.rpartition("/")[0] == subject]
        variant, _, picture = subject.rpartition("/")
        names_lowering = next((run for run in runs if run.network == "h_s"), runs[0])
        found.append(
            Golden(
                variant=variant,
                lowering=names_lowering.lowering,
                platform=recording.name,
                input=picture,
                specification=runs[0].specification,
                tables=runs[0].tables,
                integer=tuple(run.network for run in runs if run.integer),
                environment={k: v or "-" for k, v in recording.environment.items()},
                tensors=tuple(
                    TensorDigest(
                        name=f"{run.network}.{side}.{tensor.name}",
                        dtype=tensor.dtype,
                        shape=tensor.shape,
                        sha256=tensor.sha256,
                    )
                    for run in runs
                    for side, tensors in (("in", run.feeds), ("out", run.outputs))
                    for tensor in tensors
                ),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs from a golden; `stale` if that is an error and not a matter of two environments."""

    golden: str
    text: str
    stale: bool


def differences(golden: Golden, now: Golden) -> list[Difference]:
    """How what is recorded `now` differs from a golden of the same variant and picture, whatever its platform.

    Integer networks must agree, whoever ran them; all of it must in the same lowering and environment.
    """

    def stale(text: str) -> list[Difference]:
        return [Difference(golden=golden.name, text=text, stale=True)]

    for what in ("specification", "tables"):
        ours, theirs = getattr(golden, what), getattr(now, what)
        if ours != theirs:
            return stale(f"{what} {ours[:12]}, now {theirs[:12]}")
    if golden.integer != now.integer:
        return stale(f"in integers: {golden.integer}, now {now.integer}")
    same = (golden.lowering, golden.environment) == (now.lowering, now.environment)
    if same and golden.networks != now.networks:
        return stale(f"networks {sorted(golden.networks)}, now {sorted(now.networks)}")
    networks = golden.networks & now.networks
    integer = set(golden.integer)

    def gated(tensor: TensorDigest) -> bool:
        # What h_s takes is the stream's own symbols, in any arithmetic.
        exact = network_of(tensor) in integer or tensor.name.startswith("h_s.in.")
        return exact if not same else network_of(tensor) in networks

    def others(tensor: TensorDigest) -> bool:
        return network_of(tensor) in networks and not gated(tensor)

    first, floats = _first(golden, now, gated), _first(golden, now, others)
    return [
        Difference(golden=golden.name, text=text, stale=is_stale)
        for text, is_stale in ((first, True), (floats, False))
        if text
    ]


def _first(golden: Golden, now: Golden, chosen: Callable[[TensorDigest], bool]) -> str:
    """The first of the chosen lines that differs, and how many do; empty if none."""
    ours = {t.name: t for t in golden.tensors if chosen(t)}
    theirs = {t.name: t for t in now.tensors if chosen(t)}
    names = [n for n in dict.fromkeys([*ours, *theirs]) if ours.get(n) != theirs.get(n)]
    if not names:
        return ""
    change = f"{_shown(ours.get(names[0]))} -> {_shown(theirs.get(names[0]))}"
    return f"{names[0]}: {change} ({len(names)} of {len(ours)} lines differ)"


def _shown(tensor: TensorDigest | None) -> str:
    if tensor is None:
        return "absent"
    return f"{tensor.dtype}{list(tensor.shape)} {tensor.sha256[:8]}"
