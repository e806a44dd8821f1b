"""A video codec of a few channels, calibrated on three small frames, and who runs it in the tests' own process."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.case import rng
from harness.codecs import ssf2020
from harness.codecs.checkpoint import StateDict
from harness.endpoints import Arrays, Run
from harness.images import Pixels
from harness.lowerings.base import Artifact
from harness.video.build import VideoBuild
from harness.video.endpoints import CodedFrame, encode
from harness.video.library import VideoLibrary

# Padded to 128x128.
HEIGHT, WIDTH = 100, 120
QUALITY = 1
RATE = Fraction(25)
LAST_INDEX = 63
Array = NDArray[np.generic]


def weights(seed: int = 0) -> StateDict:
    """Untrained; the decoders' biases are raised, or pictures would be black, and those of key frames beyond white."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ssf2020.build(8, 12, 12)
    for name, parameter in model.named_parameters():
        if "decoder" in name and name.endswith("bias"):
            parameter.data += 0.3
    model.img_decoder[6].bias.data += torch.tensor([-0.3, 0.3, 0.8])
    return dict(model.state_dict())


def clip(frames: int, height: int = HEIGHT, width: int = WIDTH, *, name: str = "") -> list[Pixels]:
    """A soft picture that moves by a row and two columns a frame."""
    coarse = rng(f"video/{name}").integers(0, 256, (24, 24, 3), dtype=np.uint8)  # type: ignore[arg-type]
    size = (width + 2 * frames, height + frames)
    whole = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return [whole[n : n + height, 2 * n : 2 * n + width].copy() for n in range(frames)]


@cache
def session(digest: str, model: bytes) -> onnxruntime.InferenceSession:
    del digest
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
    """ONNX Runtime here: no process to start."""
    del network
    made = session(artifact.sha256, artifact.onnx_model)
    names = [output.name for output in made.get_outputs()]
    return dict(zip(names, made.run(names, dict(feeds)), strict=True))


@cache
def library() -> VideoLibrary:
    own = ssf2020.load_foreign(weights(), quality=QUALITY, origin="test")
    return VideoLibrary(own, calibrate_on=lambda: [clip(3)], run=run)


def built(precision: str, scope: str = "hyperprior") -> VideoBuild:
    return library().build(library().names()[0], precision, scope=scope)


@cache
def coded(precision: str, scope: str = "hyperprior", frames: int = 3) -> Sequence[CodedFrame]:
    """`clip(frames)`, coded by `run`."""
    return list(encode(built(precision, scope), clip(frames), run))


def changed(part: str, output: str, change: Callable[[Array], Array], *, since: int = 0) -> Run:
    """As `run`, but from call number `since` on the networks that are named so give `output` otherwise."""
    calls = 0

    def other(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        nonlocal calls
        outputs = dict(run(network, artifact, feeds))
        if artifact.network.endswith(part) and output in outputs:
            if calls >= since:
                outputs[output] = change(outputs[output])
            calls += 1
        return outputs

    return other


def one_more(array: Array) -> Array:
    """The first element one larger (smaller, of the last index there is)."""
    other = array.copy()
    other.flat[0] += -1 if array.flat[0] >= LAST_INDEX else 1
    return other
