"""What an encoder and a decoder of video have in common: the networks of one build on one platform, a frame at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.bitstream import symbol_hash
from harness.cdf import indexes_from_scales
from harness.codecs.video import (
    DECODER,
    ENCODER,
    HYPER_ENCODER,
    IMAGE,
    MEAN,
    MOTION,
    RESIDUAL,
    SCALE,
    VIDEO_DOWNSAMPLING,
)
from harness.endpoints import Arrays, Run
from harness.errors import StreamError
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
from harness.video.build import (
    WARP,
    WARP_SPECIFICATION,
    VideoBuild,
    decoder_fraction_bits,
    network_name,
)
from harness.video.latent import Latent
from harness.video.pictures import Picture, as_fixed, as_float, clamped, motion_as_fixed
from harness.video_stream import Branch as CodedBranch

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
# The names by which platforms know the kinds of networks.
ROLES = {ENCODER: "g_a", HYPER_ENCODER: "h_a", SCALE: "h_s", MEAN: "h_s", DECODER: "g_s"}
# Told of every latent that an encoder makes: branch, y float32 [1, C, H, W], z symbols int32.
Observe = Callable[[str, F32, I32], None]


class End:
    """What an encoder and a decoder have in common: the networks of one build on one platform."""

    def __init__(self, made: VideoBuild, run: Run) -> None:
        self._made, self._run = made, run

    def frame(
        self, x: F32, reference: Picture | None, observe: Observe = lambda *_: None
    ) -> tuple[list[Latent], Picture]:
        """Code one padded picture [1, 3, H, W], a key frame where there is no reference; its latents, and the next reference."""
        if reference is None:
            image = self.code(IMAGE, x, observe)
            return [image], self.key_frame(image)
        motion = self.code(MOTION, np.concatenate([x, as_float(reference)], axis=1), observe)
        prediction = self.predict(motion, reference)
        residual = self.code(RESIDUAL, x - as_float(prediction), observe)
        return [motion, residual], self.rebuild(motion, residual, prediction)

    def _network(self, branch: str, part: str, feeds: Arrays) -> Arrays:
        artifact = self._made.artifacts[network_name(branch, part)]
        return self._run(ROLES[part], artifact, feeds)

    def code(self, branch: str, x: F32, observe: Observe) -> Latent:
        """Analyse and entropy-code one branch of a frame."""
        codec, of = self._made.codec, self._made.codec.branches[branch]
        y = np.asarray(self._network(branch, ENCODER, {"x": x})["y"], np.float32)
        z = np.asarray(self._network(branch, HYPER_ENCODER, {"y": y})["z"], np.float32)
        z_symbols = round_symbols(z - of.median_values)
        observe(branch, y, z_symbols)
        parameters = self._parameters(branch, z_symbols)
        bits = self._made.fraction_bits(branch)
        y_symbols = round_symbols(y - float_means(parameters["means_hat"], bits))
        indexes = np.asarray(parameters["indexes"], np.int32)
        return Latent(
            branch=branch,
            z_symbols=z_symbols,
            parameters=parameters,
            y_symbols=y_symbols,
            y_hat=self._y_hat(branch, parameters, y_symbols),
            payload_z=encode_symbols(z_symbols, channel_indexes(z_symbols.shape), of.z_tables),
            payload_y=encode_symbols(y_symbols, indexes, codec.y_tables),
        )

    def decode(self, coded: CodedBranch, size: tuple[int, int]) -> Latent:
        """Entropy-decode one branch of a frame."""
        codec, of = self._made.codec, self._made.codec.branches[coded.name]
        rows, columns = (-(-n // VIDEO_DOWNSAMPLING) for n in size)
        shape = (1, len(of.medians), rows, columns)
        z_symbols = decode_symbols(coded.payload_z, channel_indexes(shape), of.z_tables)
        if symbol_hash(z_symbols) != coded.z_hash:
            raise StreamError(
                f"the z symbols of {coded.name} do not match the stream's hash: the stream is damaged"
            )
        parameters = self._parameters(coded.name, z_symbols)
        indexes = np.asarray(parameters["indexes"], np.int32)
        y_symbols = decode_symbols(coded.payload_y, indexes, codec.y_tables)
        problem = ""
        if symbol_hash(y_symbols) != coded.y_hash:
            problem = f"the y symbols of {coded.name} do not match the stream's hash"
        elif symbol_hash(indexes) != coded.index_hash:
            problem = f"the CDF indexes of {coded.name} do not match the stream's hash"
        return Latent(
            branch=coded.name,
            z_symbols=z_symbols,
            parameters=parameters,
            y_symbols=y_symbols,
            y_hat=self._y_hat(coded.name, parameters, y_symbols),
            problem=problem,
        )

    def _parameters(self, branch: str, z_symbols: I32) -> Arrays:
        """scales_hat, means_hat and indexes."""
        codec, of = self._made.codec, self._made.codec.branches[branch]
        found: dict[str, Picture] = {}
        for part, name in ((SCALE, "scales_hat"), (MEAN, "means_hat")):
            if self._made.is_integer:
                outputs = self._network(branch, part, {"z_symbols": z_symbols})
            else:
                z_hat = z_symbols.astype(np.float32) + of.median_values
                outputs = self._network(branch, part, {"z_hat": z_hat})
            found[name] = outputs[name]
            if "indexes" in outputs:
                found["indexes"] = checked_indexes(outputs["indexes"], codec.y_tables)
        if "indexes" not in found:
            scales = np.asarray(found["scales_hat"], np.float32)
            found["indexes"] = indexes_from_scales(scales, codec.scale_thresholds)
        return {name: found[name] for name in ("scales_hat", "means_hat", "indexes")}

    def _y_hat(self, branch: str, parameters: Arrays, y_symbols: I32) -> Picture:
        bits = self._made.fraction_bits(branch)
        if bits is None:
            return float_y_hat(y_symbols, np.asarray(parameters["means_hat"], np.float32))
        return fixed_y_hat(y_symbols, parameters["means_hat"], bits)

    def _synthesis(self, branch: str, *latents: Latent) -> Picture:
        """The output of a branch's decoder, which reads the y_hat of all `latents` side by side."""
        made, name = self._made, network_name(branch, DECODER)
        output = made.codec.branches[branch].networks[DECODER].outputs[0]
        if not made.artifacts[name].integer:
            floats = [
                float_means(latent.y_hat, made.fraction_bits(latent.branch)) for latent in latents
            ]
            feed: Picture = np.concatenate(floats, axis=1)
            return np.asarray(self._network(branch, DECODER, {"y_hat": feed})[output], np.float32)
        bits = decoder_fraction_bits(made.integers, branch)
        fixed = [
            latent.y_hat << np.int32(bits - (made.fraction_bits(latent.branch) or 0))
            for latent in latents
        ]
        feed = np.concatenate(fixed, axis=1).astype(np.int32)
        return self._network(branch, DECODER, {"y_hat": feed})[output].astype(np.int32, copy=False)

    def key_frame(self, latent: Latent) -> Picture:
        """The new reference."""
        return clamped(self._synthesis(IMAGE, latent), integer=self._made.has_integer_pictures)

    def predict(self, motion: Latent, reference: Picture) -> Picture:
        flow, warp = self._synthesis(MOTION, motion), self._made.artifacts[WARP]
        # Between float networks, the integer warp is measured by itself.
        stands_alone = warp.integer and not self._made.has_integer_pictures
        if stands_alone:
            reference, flow = as_fixed(reference), motion_as_fixed(flow, WARP_SPECIFICATION)
        prediction = self._run(WARP, warp, {"reference": reference, "motion": flow})["prediction"]
        return as_float(prediction) if stands_alone else prediction

    def rebuild(self, motion: Latent, residual: Latent, prediction: Picture) -> Picture:
        """The new reference."""
        return clamped(
            prediction + self._synthesis(RESIDUAL, residual, motion),
            integer=self._made.has_integer_pictures,
        )
