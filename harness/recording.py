"""What a platform made of a bundle, compactly: digests of every tensor, bytes only of those that were kept.

A recording is made on one machine and compared on another. Knows neither models nor platforms. Its file (`.trace`) is
an archive (`harness.archive`) of `manifest.json` and `tensors/SHA256.bin`; `harness.bundle` documents every byte.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness import archive
from harness.archive import Fields
from harness.digest import TensorDigest, check_sha256
from harness.errors import UserError
from harness.trace import TensorRecord

FORMAT, KIND = 1, "crosscheck trace"
MAX_RUNS = 2**16
MAX_TEXT = 4096
# Of a run: codec/qN/precision/scope/input/network. A part of dots alone would climb out of a folder.
_PART = r"(?!\.+(?:/|$))[A-Za-z0-9._-]{1,100}"
_RUN_NAME = re.compile(rf"{_PART}/q[0-9]{{1,5}}(?:/{_PART}){{4}}")


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """One network, run alone on given feeds.

    `name` is codec/qN/precision/scope/input/network; `specification` and `tables` (SHA-256) say which function both ends
    must share, `lowering` and `artifact` (SHA-256 of the ONNX file) who realised it, `integer` whether in integers alone.
    """

    name: str
    specification: str
    tables: str
    lowering: str
    artifact: str
    integer: bool
    feeds: tuple[TensorDigest, ...]
    outputs: tuple[TensorDigest, ...]

    def __post_init__(self) -> None:
        check_run_name(self.name)
        for what in ("specification", "tables", "artifact"):
            check_sha256(f"run {self.name}: {what}", getattr(self, what))
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", self.lowering) or not self.lowering.strip(
            "."
        ):
            raise UserError(f"run {self.name}: {self.lowering[:50]!r} is no name of a lowering")
        for what, tensors in (("feeds", self.feeds), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            if not names or len(set(names)) != len(names):
                raise UserError(f"run {self.name}: its {what} need distinct names, at least one")

    @property
    def network(self) -> str:
        return self.name.rpartition("/")[2]

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "specification": self.specification,
            "tables": self.tables,
            "lowering": self.lowering,
            "artifact": self.artifact,
            "integer": self.integer,
            "feeds": [feed.to_json() for feed in self.feeds],
            "outputs": [output.to_json() for output in self.outputs],
        }

    @classmethod
    def from_json(cls, fields: Fields) -> "RecordedRun":
        fields.only(
            "name", "specification", "tables", "lowering", "artifact", "integer", "feeds", "outputs"
        )
        return cls(
            name=fields.text("name"),
            specification=fields.text("specification"),
            tables=fields.text("tables"),
            lowering=fields.text("lowering"),
            artifact=fields.text("artifact"),
            integer=fields.boolean("integer"),
            feeds=tuple(map(TensorDigest.from_json, fields.objects("feeds"))),
            outputs=tuple(map(TensorDigest.from_json, fields.objects("outputs"))),
        )


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Runs in the bundle's order, the environment that really ran, and the runs it `skipped`, with the reason.

    `kept` has the bytes of some outputs by their digest.
    """

    runs: tuple[RecordedRun, ...]
    environment: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs] + list(self.skipped)
        if not names or len(set(names)) != len(names) or len(names) > MAX_RUNS:
            raise UserError(f"a recording has 1 to {MAX_RUNS} runs with distinct names")
        for name in self.skipped:
            check_run_name(name)
        for texts in (self.environment, self.skipped):
            for key, value in texts.items():
                if not all(len(t) <= MAX_TEXT and t.isprintable() for t in (key, value)):
                    raise UserError(f"{key[:50]!r}: texts are of one printable line")
        strange = set(self.kept) - set(self._outputs)
        if strange:
            raise UserError(f"it keeps bytes of {min(strange)[:12]}, which no run gave")
        for digest in self.kept:
            self.tensor(self._outputs[digest])

    @cached_property
    def _outputs(self) -> dict[str, TensorDigest]:
        return {output.sha256: output for run in self.runs for output in run.outputs}

    @property
    def name(self) -> str:
        """Which platform it was recorded on."""
        return self.environment.get("platform", "an unnamed platform")

    def tensor(self, digest: TensorDigest) -> TensorRecord | None:
        """An output with its bytes; None if they were not kept."""
        data = self.kept.get(digest.sha256)
        return None if data is None else digest.record(data)

    def to_json(self) -> dict[str, object]:
        return {
            "kind": KIND,
            "format": FORMAT,
            "environment": dict(self.environment),
            "runs": [run.to_json() for run in self.runs],
            "skipped": dict(self.skipped),
        }

    @classmethod
    def from_json(cls, fields: Fields, blobs: Mapping[str, bytes]) -> "Recording":
        """`blobs` by digest; those of outputs are kept."""
        check_kind(fields, KIND, FORMAT)
        fields.only("kind", "format", "environment", "runs", "skipped")
        runs = tuple(map(RecordedRun.from_json, fields.objects("runs")))
        given = {output.sha256 for run in runs for output in run.outputs}
        return cls(
            runs=runs,
            environment=fields.texts("environment"),
            skipped=fields.texts("skipped"),
            kept={digest: data for digest, data in blobs.items() if digest in given},
        )

    def to_bytes(self) -> bytes:
        return archive.pack(self._members())

    def save(self, path: Path) -> None:
        """Write it; equal recordings give equal bytes."""
        archive.save(path, self._members())

    def _members(self) -> dict[str, bytes]:
        return {archive.MANIFEST: archive.to_json(self.to_json()), **blob_members(self.kept)}

    @classmethod
    def from_bytes(cls, data: bytes) -> "Recording":
        """What `to_bytes` gave; anything else is a UserError of one line."""
        members = archive.unpack(data)
        manifest = archive.from_json(take(members, archive.MANIFEST))
        blobs = take_contents(members, "tensors", "bin")
        if members:
            raise UserError(f"it has a member {min(members)[:80]!r} that does not belong in it")
        made = cls.from_json(manifest, blobs)
        if len(made.kept) != len(blobs):
            raise UserError("it has bytes of tensors that no run gave")
        return made

    @classmethod
    def load(cls, path: Path) -> "Recording":
        try:
            return cls.from_bytes(archive.read_bytes(path))
        except UserError as error:
            raise UserError(f"cannot read trace {path}: {error}") from error


def blob_members(blobs: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"tensors/{digest}.bin": data for digest, data in blobs.items()}


def take_contents(members: dict[str, bytes], folder: str, suffix: str) -> dict[str, bytes]:
    """Remove the members FOLDER/SHA256.SUFFIX and give them by digest."""
    form = re.compile(rf"{folder}/([0-9a-f]{{64}})\.{suffix}")
    found = [match for match in map(form.fullmatch, members) if match]
    return {match[1]: members.pop(match[0]) for match in found}


def take(members: dict[str, bytes], name: str) -> bytes:
    """Remove a member that must be there and give it."""
    if name not in members:
        raise UserError(f"it has no {name}")
    return members.pop(name)


def printable(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment as texts of one line."""

    def line(text: str) -> str:
        return "".join(c if c.isprintable() else " " for c in str(text))[:MAX_TEXT]

    return {line(key): line(value) for key, value in environment.items()}


def check_kind(fields: Fields, kind: str, version: int) -> None:
    if fields.text("kind") != kind:
        raise UserError(f"it is a {fields.text('kind')[:50]!r}, not a {kind}")
    if fields.integer("format") != version:
        raise UserError(f"it has format {fields.integer('format')}; this version reads {version}")


def check_run_name(name: str) -> None:
    if not _RUN_NAME.fullmatch(name):
        raise UserError(
            f"{name[:80]!r} is no name of a run: codec/qN/precision/scope/input/network"
        )


def select(names: Iterable[str], keep: Iterable[str]) -> frozenset[str]:
    """The names of tensors that `keep` asks for: `all`, `none` or names; an unknown name is a UserError."""
    known, wanted = set(names), set(keep)
    if "all" in wanted:
        return frozenset(known)
    unknown = wanted - known - {"none"}
    if unknown:
        raise UserError(
            f"no tensor {min(unknown)!r} to keep; there are all, none, {', '.join(sorted(known))}"
        )
    return frozenset(wanted - {"none"})
