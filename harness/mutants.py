"""Traces, decoders and streams that are wrong in one way each: what the self-test lets loose on the harness."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from harness import endpoints
from harness.bitstream import Bitstream, pack
from harness.build import Build, build
from harness.calibration import Calibration
from harness.case import rng
from harness.cdf import CdfTables
from harness.lowerings.base import INTEGER, LOWERINGS, Artifact
from harness.specification import IntegerLayer
from harness.trace import TensorRecord, Trace

Mutant = Callable[[Trace, str], Trace]


def flip(data: bytes, bit: int) -> bytes:
    r"""`data` with one bit flipped, counted from the lowest bit of the first byte.

    >>> flip(bytes(2), 9)
    b'\x00\x02'
    """
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _with(trace: Trace, *records: TensorRecord) -> Trace:
    """`trace` with some tensors exchanged."""
    new = {record.name: record for record in records}
    return replace(trace, tensors=tuple(new.get(tensor.name, tensor) for tensor in trace.tensors))


def flip_bit(trace: Trace, name: str) -> Trace:
    data = trace[name].data
    bit = int(rng(f"selftest/flip-bit/{name}").integers(8 * len(data)))
    return _with(trace, replace(trace[name], data=flip(data, bit)))


def drop_tensor(trace: Trace, name: str) -> Trace:
    return replace(trace, tensors=tuple(tensor for tensor in trace.tensors if tensor.name != name))


def widen_dtype(trace: Trace, name: str) -> Trace:
    return _with(trace, TensorRecord.of(name, trace.array(name).astype(np.int64)))


def flatten_shape(trace: Trace, name: str) -> Trace:
    return _with(trace, replace(trace[name], shape=(trace[name].values,)))


def swap_channels(trace: Trace, name: str) -> Trace:
    return _with(trace, TensorRecord.of(name, np.flip(trace.array(name), axis=1)))


def swap_tensors(trace: Trace, name: str) -> Trace:
    """`name` and the next tensor of its dtype and shape carry each other's elements."""
    names = [tensor.name for tensor in trace.tensors]
    this = trace[name]
    other = next(
        t
        for t in trace.tensors[names.index(name) + 1 :]
        if (t.dtype, t.shape) == (this.dtype, this.shape)
    )
    return _with(trace, replace(other, name=name), replace(this, name=other.name))


MUTANTS: Mapping[str, Mutant] = {
    "flip-bit": flip_bit,
    "drop-tensor": drop_tensor,
    "widen-dtype": widen_dtype,
    "flatten-shape": flatten_shape,
    "swap-channels": swap_channels,
}


def other_tables(made: Build, ranges: Calibration) -> dict[str, tuple[Build, str]]:
    """Decoders whose tables were computed again, a last bit apart."""
    codec = made.codec
    thresholds = codec.scale_thresholds.copy()
    thresholds[len(thresholds) // 2] += 1  # the next float32
    codecs = {
        "scale-table-ulp": replace(codec, scale_thresholds=thresholds),
        "y-cdf-entry": replace(codec, y_tables=_entry_off(codec.y_tables)),
        "z-cdf-entry": replace(codec, z_tables=_entry_off(codec.z_tables)),
        "median-step": replace(codec, medians=codec.medians + np.int32(1)),
    }
    return {
        name: (build(other, made.precision, {"h_s": ranges}), "tables")
        for name, other in codecs.items()
    }


def _entry_off(tables: CdfTables) -> CdfTables:
    cdf = tables.cdf.copy()
    cdf[len(cdf) // 2, 1] += 1
    return replace(tables, cdf=cdf)


def other_codecs(made: Build, ranges: Calibration) -> dict[str, tuple[Build, str]]:
    """Decoders of other numbers: another precision, another codec, or one weight one step away."""
    net = made.integer
    assert net is not None
    last = net.layers[-1]
    assert isinstance(last, IntegerLayer)
    weight = last.weight.copy()
    weight.flat[int(np.abs(weight).argmin())] += 1
    altered = replace(net, layers=(*net.layers[:-1], replace(last, weight=weight)))
    nudged = LOWERINGS[INTEGER].lower(replace(made.sources["h_s"], integer=altered))
    return {
        "w4a8": (build(made.codec, "w4a8", {"h_s": ranges}), "profile"),
        "fp32": (build(made.codec, "fp32", {}), "profile"),
        "other-quality": (replace(made, codec=replace(made.codec, quality=1)), "quality"),
        "one-weight-off": (
            replace(made, integers={"h_s": altered}, artifacts={**made.artifacts, "h_s": nudged}),
            "specification",
        ),
    }


def damaged_streams(sent: Bitstream) -> dict[str, tuple[bytes, str]]:
    """Damaged bytes, and the part that the refusal must name."""
    stream = pack(sent)
    first = {
        "header": 8,
        "z payload": stream.index(sent.payload_z),
        "y payload": stream.index(sent.payload_y),
    }
    flips = {
        f"{part.replace(' ', '-')}-bit": (flip(stream, 8 * at + 15), part)
        for part, at in first.items()
    }
    forged_z = replace(sent, payload_z=flip(sent.payload_z, 15))
    claimed = replace(sent, header=replace(sent.header, height=sent.header.height + 64))
    return {
        **flips,
        "cut": (stream[:-1], "y payload"),
        "longer": (stream + b"\0", "end"),
        "forged-z": (pack(forged_z), "z symbols"),
        "forged-size": (pack(claimed), "latents"),
    }


def one_index_off(run: endpoints.Run) -> endpoints.Run:
    """A platform whose h_s computes one index wrong by one: what one last bit can do."""

    def wrong(network: str, artifact: Artifact, feeds: endpoints.Arrays) -> endpoints.Arrays:
        outputs = dict(run(network, artifact, feeds))
        if "indexes" in outputs:
            indexes = outputs["indexes"].astype(np.int32)
            indexes.flat[0] ^= 1
            outputs["indexes"] = indexes
        return outputs

    return wrong
