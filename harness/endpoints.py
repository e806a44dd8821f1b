"""The two ends of a codec: encode pixels to a bitstream on one platform, decode it on another; traces of both.

Everything outside the networks is exact by construction: integer arithmetic, single IEEE operations, table look-ups.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bitstream import Bitstream, Header, check_specification, symbol_hash
from harness.build import Build
from harness.cdf import indexes_from_scales
from harness.codecs.base import DOWNSAMPLING
from harness.errors import StreamError
from harness.images import pad_to_multiple, to_pixels, to_tensor, unpad
from harness.latent_coding import (
    channel_indexes,
    checked_indexes,
    decode_symbols,
    encode_symbols,
    fixed_y_hat,
    float_means,
    float_y_hat,
    round_symbols,
)
from harness.lowerings.base import Artifact
from harness.trace import TensorRecord, Trace

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Arrays = Mapping[str, NDArray[np.generic]]
# Runs one artifact: (network name, artifact, feeds) to its outputs, wherever that is.
Run = Callable[[str, Artifact, Arrays], Arrays]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    bitstream: Bitstream
    trace: Trace


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A decoder's trace; `problem` says which of the stream's own hashes failed, empty if none."""

    trace: Trace
    problem: str


def encode(made: Build, pixels: U8, run: Run) -> Encoded:
    """Encode an [H, W, 3] picture; the trace ends with the encoder's own reconstruction."""
    codec = made.codec
    height, width = pixels.shape[:2]
    y = run("g_a", made.artifacts["g_a"], {"x": to_tensor(pad_to_multiple(pixels, DOWNSAMPLING))})[
        "y"
    ]
    z = run("h_a", made.artifacts["h_a"], {"y": y})["z"]
    z_symbols = round_symbols(np.asarray(z, np.float32) - codec.median_values)
    parameters = _entropy_parameters(made, z_symbols, run)
    means = _float_means(made, parameters)
    y_symbols = round_symbols(np.asarray(y, np.float32) - means)
    indexes = np.asarray(parameters["indexes"], np.int32)
    header = Header(
        codec=codec.family,
        quality=codec.quality,
        profile=made.profile,
        specification=bytes.fromhex(made.specification),
        tables=bytes.fromhex(codec.tables_digest),
        height=height,
        width=width,
        y_shape=_shape(y_symbols),
        z_shape=_shape(z_symbols),
    )
    trace = _finish(made, z_symbols, parameters, y_symbols, (height, width), run)
    bitstream = Bitstream(
        header=header,
        payload_z=encode_symbols(z_symbols, channel_indexes(z_symbols.shape), codec.z_tables),
        payload_y=encode_symbols(y_symbols, indexes, codec.y_tables),
        z_hash=symbol_hash(z_symbols),
        index_hash=symbol_hash(indexes),
        y_hash=symbol_hash(y_symbols),
        picture_hash=symbol_hash(trace.array("picture")) if _gates_pictures(made) else b"",
    )
    return Encoded(bitstream=bitstream, trace=trace)


def decode(made: Build, bitstream: Bitstream, run: Run, *, reconstruct: bool = True) -> Decoded:
    """Decode a stream of exactly this build; StreamError if it is of another one or cannot be decoded at all.

    A desynchronised stream still gives a trace and a picture: what a user would see. Without `reconstruct` the trace ends
    with y_hat: all that scope hyperprior gates.
    """
    codec, header = made.codec, bitstream.header
    check_specification(
        header,
        codec=codec.family,
        quality=codec.quality,
        profile=made.profile,
        specification=bytes.fromhex(made.specification),
        tables=bytes.fromhex(codec.tables_digest),
    )
    _check_shapes(made, header)
    z_symbols = decode_symbols(
        bitstream.payload_z, channel_indexes((1, *header.z_shape)), codec.z_tables
    )
    if symbol_hash(z_symbols) != bitstream.z_hash:
        raise StreamError("the z symbols do not match the stream's hash: the stream is damaged")
    parameters = _entropy_parameters(made, z_symbols, run)
    indexes = np.asarray(parameters["indexes"], np.int32)
    y_symbols = decode_symbols(bitstream.payload_y, indexes, codec.y_tables)
    problem = ""
    if symbol_hash(y_symbols) != bitstream.y_hash:
        problem = "the y symbols do not match the stream's hash"
    elif symbol_hash(indexes) != bitstream.index_hash:
        problem = "the CDF indexes do not match the stream's hash"
    size = (header.height, header.width)
    trace = _finish(made, z_symbols, parameters, y_symbols, size, run if reconstruct else None)
    checks_picture = not problem and reconstruct and _gates_pictures(made)
    if checks_picture and symbol_hash(trace.array("picture")) != bitstream.picture_hash:
        problem = "the picture does not match the stream's hash"
    return Decoded(trace=trace, problem=problem)


def _gates_pictures(made: Build) -> bool:
    """Whether the picture comes out of an integer specification: then the stream carries its hash."""
    return made.artifacts["g_s"].integer


def _shape(latent: I32) -> tuple[int, int, int]:
    _, c, h, w = latent.shape
    return c, h, w


def _check_shapes(made: Build, header: Header) -> None:
    """The latents' shapes follow from the picture's size and the codec; a stream may not claim others."""
    rows, columns = (-(-n // DOWNSAMPLING) for n in (header.height, header.width))
    z_shape = (made.codec.networks["h_s"].in_channels, rows, columns)
    y_shape = (made.codec.networks["g_s"].in_channels, 4 * rows, 4 * columns)
    if (header.y_shape, header.z_shape) != (y_shape, z_shape):
        raise StreamError(
            f"the stream claims latents {header.y_shape} and {header.z_shape} for a picture of "
            f"{header.height}x{header.width}; {made.codec.name} makes {y_shape} and {z_shape}"
        )


def _entropy_parameters(made: Build, z_symbols: I32, run: Run) -> Arrays:
    """scales_hat, means_hat (where the family has them) and indexes, in graph order."""
    artifact = made.artifacts["h_s"]
    if artifact.integer:
        outputs = run("h_s", artifact, {"z_symbols": z_symbols})
        checked_indexes(outputs["indexes"], made.codec.y_tables)
        return outputs
    floats = dict(
        run("h_s", artifact, {"z_hat": z_symbols.astype(np.float32) + made.codec.median_values})
    )
    scales = np.asarray(floats["scales_hat"], np.float32)
    floats["indexes"] = indexes_from_scales(scales, made.codec.scale_thresholds)
    return floats


def _float_means(made: Build, parameters: Arrays) -> F32 | np.float32:
    """The means as float32, exactly."""
    if "means_hat" not in parameters:
        return np.float32(0)
    return float_means(parameters["means_hat"], made.fraction_bits if made.integer else None)


def _y_hat(made: Build, parameters: Arrays, y_symbols: I32) -> NDArray[np.generic]:
    """Symbol + mean: int32 with `fraction_bits` in an integer build, else one float32 addition."""
    if made.integer is None:
        return float_y_hat(y_symbols, _float_means(made, parameters))
    return fixed_y_hat(y_symbols, parameters.get("means_hat"), made.fraction_bits)


def _finish(
    made: Build,
    z_symbols: I32,
    parameters: Arrays,
    y_symbols: I32,
    size: tuple[int, int],
    run: Run | None,
) -> Trace:
    """Reconstruct by `run`, and record every tensor in graph order.

    An integer g_s takes y_hat in fixed point and gives pixels.
    """
    y_hat = _y_hat(made, parameters, y_symbols)
    arrays: dict[str, NDArray[np.generic]] = {
        "z_symbols": z_symbols,
        **parameters,
        "y_symbols": y_symbols,
        "y_hat": y_hat,
    }
    g_s = made.artifacts["g_s"]
    if run is None:
        pass
    elif g_s.integer:
        pixels = run("g_s", g_s, {"y_hat": y_hat})["picture"].astype(np.uint8, copy=False)
        arrays["picture"] = unpad(np.ascontiguousarray(pixels[0].transpose(1, 2, 0)), *size)
    else:
        feed = y_hat.astype(np.float32)
        if made.integer is not None:
            feed = float_means(y_hat, made.fraction_bits)
        x_hat = np.asarray(run("g_s", g_s, {"y_hat": feed})["x_hat"], np.float32)
        arrays |= {"x_hat": x_hat, "picture": unpad(to_pixels(x_hat), *size)}
    return Trace(
        tensors=tuple(TensorRecord.of(name, array) for name, array in arrays.items()),
        environment={},
    )
