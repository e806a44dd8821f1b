"""A bundle: all that another machine, or another decoder, needs to be checked against this one. One file, documented here.

A bundle (`.bundle`) and a trace (`.trace`) are zip files whose members are stored, not compressed, in the order of their
names, with the date 1980-01-01: equal content gives equal bytes. Every number is little-endian, every array in C order.

    manifest.json         what there is (below); JSON with sorted keys, integers and texts only
    onnx/SHA256.onnx      a network, named by the SHA-256 of the file
    tensors/SHA256.bin    the elements of a tensor, named by its digest
    streams/SHA256.xchk   a bitstream, named by the SHA-256 of the file; `harness/bitstream.py` has its layout
    record.pyz            the recorder: `python record.pyz x.bundle --platform NAME -o y.trace`; needs numpy and a runtime
    README.md             these layouts, for people
    decode_example.py     about 100 lines that read all of it with numpy alone, and entropy-decode the streams

A trace has `manifest.json` (the object `expected` below) and `tensors/` only.

A *tensor* is {"name", "dtype", "shape", "sha256"}. Its digest is the SHA-256 of the text DTYPE + SHAPE, such as
`int32[1, 64, 2, 2]`, a zero byte, and the elements. dtype is numpy's name; bool is a byte of 0 or 1.

    manifest  kind "crosscheck bundle", format 1, variants, streams, expected
    variant   a codec at a precision: name codec/qN/precision/scope; profile, specification, tables and codec (SHA-256), as
              a stream names them; lowering; fraction_bits of means_hat and y_hat (0: y_hat is symbols, or floats in fp32);
              arrays: `z.cdf` `z.length` `z.offset` (a row a channel of z), `y.cdf` `y.length` `y.offset` (a row an index),
              `medians` (units of 2^-8), `scale_thresholds` (bits of float32): all int32, all in `tensors/`
    stream    name VARIANT/input; sha256; tensors: what decoding it gives, in order: z_symbols, the outputs of h_s, indexes,
              y_symbols, y_hat, x_hat, picture. The bytes of `indexes` are in `tensors/`
    expected  kind "crosscheck trace", format 1; environment (texts); runs; skipped (run: reason)
    run       a network alone: name VARIANT/input/network; specification, tables, lowering, artifact (of `onnx/`); integer;
              feeds (their bytes are in `tensors/`), outputs (their bytes are there if they were kept)

A decoder: z_symbols are the z payload, each coded with the row of its channel; h_s takes them (integer) or z_symbols +
medians / 256 in float32 (float); y_symbols are the y payload, coded with the rows `indexes`; y_hat = (y_symbols <<
fraction_bits) + means_hat in integers, or y_symbols + means_hat in float32; g_s takes y_hat / 2^fraction_bits in float32
(an integer g_s: y_hat as it is).

Nothing in a bundle is believed: all digests are checked, nothing is unpickled, no path is made from its names, and its
programs are never run by the package.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import archive
from harness.archive import Fields
from harness.digest import TensorDigest, check_sha256
from harness.errors import UserError
from harness.recording import (
    RecordedRun,
    Recording,
    blob_members,
    check_kind,
    check_run_name,
    take,
    take_contents,
)
from harness.trace import TensorRecord

FORMAT, KIND = 1, "crosscheck bundle"
INDEXES = "indexes"
PROGRAMS = ("README.md", "decode_example.py", "record.pyz")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A codec at a precision in a scope; `arrays` are its integer tables."""

    name: str
    profile: str
    codec: str
    specification: str
    tables: str
    lowering: str
    fraction_bits: int
    arrays: tuple[TensorDigest, ...]

    def __post_init__(self) -> None:
        check_run_name(f"{self.name}/input/network")
        for what in ("codec", "specification", "tables"):
            check_sha256(f"variant {self.name}: {what}", getattr(self, what))

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "profile": self.profile,
            "codec": self.codec,
            "specification": self.specification,
            "tables": self.tables,
            "lowering": self.lowering,
            "fraction_bits": self.fraction_bits,
            "arrays": [array.to_json() for array in self.arrays],
        }

    @classmethod
    def from_json(cls, fields: Fields) -> "Variant":
        texts = ("name", "profile", "codec", "specification", "tables", "lowering")
        fields.only(*texts, "fraction_bits", "arrays")
        name, profile, codec, specification, tables, lowering = map(fields.text, texts)
        return cls(
            name=name,
            profile=profile,
            codec=codec,
            specification=specification,
            tables=tables,
            lowering=lowering,
            fraction_bits=fields.integer("fraction_bits"),
            arrays=tuple(map(TensorDigest.from_json, fields.objects("arrays"))),
        )


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A bitstream by its digest, named VARIANT/input, and the tensors that decoding it gives."""

    name: str
    sha256: str
    tensors: tuple[TensorDigest, ...]

    def __post_init__(self) -> None:
        check_run_name(f"{self.name}/network")
        check_sha256(f"stream {self.name}", self.sha256)
        if INDEXES not in {tensor.name for tensor in self.tensors}:
            raise UserError(f"stream {self.name}: it has no tensor {INDEXES}")

    @property
    def indexes(self) -> TensorDigest:
        return next(tensor for tensor in self.tensors if tensor.name == INDEXES)

    def to_json(self) -> dict[str, object]:
        tensors = [tensor.to_json() for tensor in self.tensors]
        return {"name": self.name, "sha256": self.sha256, "tensors": tensors}

    @classmethod
    def from_json(cls, fields: Fields) -> "Stream":
        fields.only("name", "sha256", "tensors")
        return cls(
            name=fields.text("name"),
            sha256=fields.text("sha256"),
            tensors=tuple(map(TensorDigest.from_json, fields.objects("tensors"))),
        )


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Variants, their streams and their runs; `artifacts`, `bitstreams` and `tensors` are contents by digest.

    Every reference resolves, nothing is left over, and every digest has been checked: else a UserError.
    """

    variants: tuple[Variant, ...]
    streams: tuple[Stream, ...]
    expected: Recording
    artifacts: Mapping[str, bytes]
    bitstreams: Mapping[str, bytes]
    tensors: Mapping[str, bytes]

    def __post_init__(self) -> None:
        variants = {variant.name: variant for variant in self.variants}
        if len(variants) != len(self.variants):
            raise UserError("two variants have one name")
        if len({stream.name for stream in self.streams}) != len(self.streams):
            raise UserError("two streams have one name")
        for name in [stream.name for stream in self.streams]:
            if name.rpartition("/")[0] not in variants:
                raise UserError(f"stream {name} is of no variant")
        if self.expected.skipped:
            raise UserError("its expectation skips runs")
        for run in self.expected.runs:
            variant = variants.get(run.name.rsplit("/", 2)[0])
            if variant is None:
                raise UserError(f"run {run.name} is of no variant")
            if (run.specification, run.tables) != (variant.specification, variant.tables):
                raise UserError(f"run {run.name} is of another specification than its variant")
        self._check_contents()

    def _check_contents(self) -> None:
        wanted = {
            "a network": ({run.artifact for run in self.expected.runs}, self.artifacts),
            "a bitstream": ({stream.sha256 for stream in self.streams}, self.bitstreams),
            "a tensor": (
                {tensor.sha256 for tensor in self._needed()} | set(self.expected.kept),
                self.tensors,
            ),
        }
        for what, (digests, contents) in wanted.items():
            wrong = sorted(digests ^ set(contents))
            if wrong:
                raise UserError(f"{what} {wrong[0][:12]} is missing or belongs to nothing")
        for contents in (self.artifacts, self.bitstreams):
            for digest, data in contents.items():
                if hashlib.sha256(data).hexdigest() != digest:
                    raise UserError(f"content {digest[:12]} does not match its digest")
        for tensor in self._needed():
            tensor.record(self.tensors[tensor.sha256])

    def _needed(self) -> Iterator[TensorDigest]:
        """Tensors whose bytes must be there."""
        for variant in self.variants:
            yield from variant.arrays
        for stream in self.streams:
            yield stream.indexes
        for run in self.expected.runs:
            yield from run.feeds

    def feeds(self, run: RecordedRun) -> list[TensorRecord]:
        return [feed.record(self.tensors[feed.sha256]) for feed in run.feeds]

    def save(self, path: Path, programs: Mapping[str, bytes]) -> None:
        """Write it, with the PROGRAMS that it carries; equal bundles give equal bytes."""
        manifest = {
            "kind": KIND,
            "format": FORMAT,
            "variants": [variant.to_json() for variant in self.variants],
            "streams": [stream.to_json() for stream in self.streams],
            "expected": self.expected.to_json(),
        }
        members = {
            archive.MANIFEST: archive.to_json(manifest),
            **{name: programs[name] for name in PROGRAMS},
            **{f"onnx/{digest}.onnx": data for digest, data in self.artifacts.items()},
            **{f"streams/{digest}.xchk": data for digest, data in self.bitstreams.items()},
            **blob_members(self.tensors),
        }
        archive.save(path, members)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bundle":
        """What `save` wrote; anything else is a UserError of one line."""
        members = archive.unpack(data)
        fields = archive.from_json(take(members, archive.MANIFEST))
        check_kind(fields, KIND, FORMAT)
        fields.only("kind", "format", "variants", "streams", "expected")
        for name in PROGRAMS:
            take(members, name)
        tensors = take_contents(members, "tensors", "bin")
        artifacts = take_contents(members, "onnx", "onnx")
        bitstreams = take_contents(members, "streams", "xchk")
        if members:
            raise UserError(f"it has a member {min(members)[:80]!r} that does not belong in it")
        return cls(
            variants=tuple(map(Variant.from_json, fields.objects("variants"))),
            streams=tuple(map(Stream.from_json, fields.objects("streams"))),
            expected=Recording.from_json(fields.object("expected"), tensors),
            artifacts=artifacts,
            bitstreams=bitstreams,
            tensors=tensors,
        )

    @classmethod
    def load(cls, path: Path) -> "Bundle":
        try:
            return cls.from_bytes(archive.read_bytes(path))
        except UserError as error:
            raise UserError(f"cannot read bundle {path}: {error}") from error


def expectation_or_recording(path: Path) -> Recording:
    """What a file says of a platform: a trace, or the expectation of a bundle; else a UserError."""
    try:
        data = archive.read_bytes(path)
        manifest = archive.from_json(take(archive.unpack(data), archive.MANIFEST))
        if manifest.text("kind") == KIND:
            return Bundle.from_bytes(data).expected
        return Recording.from_bytes(data)
    except UserError as error:
        raise UserError(f"cannot read {path} as a trace or a bundle: {error}") from error
