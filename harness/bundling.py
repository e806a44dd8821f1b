"""From builds and pictures (or streams) to a bundle: every network's feeds and outputs are caught where the codec runs it.

Who runs the networks is an argument. What an integer network gives is checked against the reference, so that the
expectation of a bundle is the specification's and not one platform's.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness import endpoints, reference
from harness.bitstream import Bitstream, pack
from harness.build import Build
from harness.bundle import Bundle, Stream, Variant
from harness.case import input_name
from harness.digest import TensorDigest
from harness.endpoints import Arrays, Run
from harness.errors import UserError
from harness.lowerings.base import Artifact
from harness.recording import RecordedRun, Recording, printable, select
from harness.trace import TensorRecord, Trace

U8 = NDArray[np.uint8]


@dataclass
class Bundler:
    """Collects runs; `run` is who executes networks, `environment` what it says of itself.

    Without `verify`, integer networks may give something else than the specification does: whoever compares will see it.
    """

    run: Run
    environment: Mapping[str, str]
    verify: bool = True
    _variants: dict[str, Variant] = field(default_factory=dict)
    _streams: list[Stream] = field(default_factory=list)
    runs: list[RecordedRun] = field(default_factory=list)
    _artifacts: dict[str, bytes] = field(default_factory=dict)
    _bitstreams: dict[str, bytes] = field(default_factory=dict)
    _records: dict[str, TensorRecord] = field(default_factory=dict)
    _needed: set[str] = field(default_factory=set)

    def encode(self, made: Build, picture: str, pixels: U8) -> None:
        """Add what encoding [H, W, 3] pixels takes: all four networks, and the stream."""
        variant = self._variant(made)
        name = f"{variant.name}/{input_name(picture)}"
        sent = endpoints.encode(made, pixels, self._catching(made, variant, name))
        self._stream(name, sent.bitstream, sent.trace)

    def decode(self, made: Build, picture: str, bitstream: Bitstream) -> str:
        """Add what decoding a stream takes: h_s and g_s. Gives which of the stream's own hashes failed, empty if none."""
        variant = self._variant(made)
        name = f"{variant.name}/{input_name(picture)}"
        got = endpoints.decode(made, bitstream, self._catching(made, variant, name))
        self._stream(name, bitstream, got.trace)
        return got.problem

    def bundle(self, keep: Collection[str] = ("all",)) -> Bundle:
        """All that was added; `keep` names the outputs whose bytes come along (or `all`, or `none`)."""
        outputs = [output for run in self.runs for output in run.outputs]
        names = select((output.name for output in outputs), keep)
        kept = {output.sha256 for output in outputs if output.name in names}
        tensors = {digest: self._records[digest].data for digest in self._needed | kept}
        # What is there as a feed of another network is there as an output too.
        given = {output.sha256 for output in outputs}
        return Bundle(
            variants=tuple(self._variants.values()),
            streams=tuple(self._streams),
            expected=Recording(
                runs=tuple(self.runs),
                environment=printable(self.environment),
                kept={digest: data for digest, data in tensors.items() if digest in given},
            ),
            artifacts=self._artifacts,
            bitstreams=self._bitstreams,
            tensors=tensors,
        )

    def _catching(self, made: Build, variant: Variant, name: str) -> Run:
        """`self.run`, every call of which becomes a run of the bundle."""

        def run(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
            outputs = self.run(network, artifact, feeds)
            if artifact.integer and self.verify:
                _check_against_reference(made, network, feeds, outputs)
            given = self._digests(feeds)
            self._needed.update(feed.sha256 for feed in given)
            self._artifacts[artifact.sha256] = artifact.onnx_model
            self.runs.append(
                RecordedRun(
                    name=f"{name}/{network}",
                    specification=variant.specification,
                    tables=variant.tables,
                    lowering=artifact.lowering,
                    artifact=artifact.sha256,
                    integer=artifact.integer,
                    feeds=given,
                    outputs=self._digests(outputs),
                )
            )
            return outputs

        return run

    def _variant(self, made: Build) -> Variant:
        codec = made.codec
        arrays = {
            **codec.z_tables.to_arrays("z"),
            **codec.y_tables.to_arrays("y"),
            "medians": codec.medians,
            "scale_thresholds": codec.scale_thresholds,
        }
        digests = self._digests(arrays)
        self._needed.update(digest.sha256 for digest in digests)
        variant = Variant(
            name=f"{codec.name}/{made.precision}/{made.scope}",
            profile=made.profile,
            codec=codec.digest,
            specification=made.specification,
            tables=codec.tables_digest,
            lowering=made.lowering,
            fraction_bits=made.fraction_bits,
            arrays=digests,
        )
        if self._variants.setdefault(variant.name, variant) != variant:
            raise UserError(f"two different builds are both named {variant.name}")
        return variant

    def _stream(self, name: str, bitstream: Bitstream, trace: Trace) -> None:
        data = pack(bitstream)
        digest = hashlib.sha256(data).hexdigest()
        self._bitstreams[digest] = data
        stream = Stream(name=name, sha256=digest, tensors=self._add(trace.tensors))
        self._needed.add(stream.indexes.sha256)
        self._streams.append(stream)

    def _digests(self, arrays: Arrays) -> tuple[TensorDigest, ...]:
        return self._add(TensorRecord.of(name, array) for name, array in arrays.items())

    def _add(self, records: Iterable[TensorRecord]) -> tuple[TensorDigest, ...]:
        found = []
        for record in records:
            self._records[record.digest] = record
            found.append(TensorDigest.of(record))
        return tuple(found)


def _check_against_reference(made: Build, network: str, feeds: Arrays, outputs: Arrays) -> None:
    (feed,) = feeds.values()
    wanted = reference.run(made.integers[network], feed.astype(np.int32, copy=False))
    for name, array in outputs.items():
        ours = wanted[name].astype(array.dtype)
        # Equal both ways: no value of the reference may be lost in the artifact's dtype.
        if ours.astype(np.int32).tobytes() != wanted[name].tobytes() or (
            TensorRecord.of(name, ours) != TensorRecord.of(name, array)
        ):
            raise UserError(
                f"{network} of {made.codec.name} {made.precision} in lowering {made.lowering}: {name} is not what the"
                " specification gives; make the bundle on another --platform or with another --lowering"
            )
