"""Scale-space flow (Agustsson et al., CVPR 2020), CompressAI's `ScaleSpaceFlow`: any width, any checkpoint, what ships."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness import fixtures
from harness.cdf import CdfTables, load_tables
from harness.codecs import store
from harness.codecs.checkpoint import (
    StateDict,
    download_pretrained,
    fill,
    make_tables,
    read_checkpoint,
    to_layer,
)
from harness.codecs.video import (
    BRANCHES,
    DECODER,
    ENCODER,
    HYPER_ENCODER,
    MEAN,
    SCALE,
    Branch,
    VideoCodec,
)
from harness.compressai_import import CompressionModel, ScaleSpaceFlow
from harness.errors import UserError
from harness.network import Layer, Network, QRelu

NAME = "ssf2020"
# The published widths: channels within encoders and decoders, of every latent, and of every hyper-latent.
WIDTHS = (128, 192, 192)
# Its QReLU ends at 255.
QRELU_BITS = 8
# The tables of the Gaussian conditional are the same for every codec.
GAUSSIAN = ("y.cdf", "y.length", "y.offset", "scale_thresholds")
Tables = Mapping[str, NDArray[np.generic]]


def build(n: int, m: int, k: int) -> CompressionModel:
    """An untrained model: `n` channels in the middle of encoders and decoders, `m` in latents, `k` in hyper-latents.

    The same modules under the same names as CompressAI's, whose widths are fixed: its classes are taken from an instance.
    """
    if (n, m, k) == WIDTHS:
        return ScaleSpaceFlow()
    with torch.device("meta"):  # 34 million weights that nobody will see
        model = ScaleSpaceFlow()
    encoder, decoder = type(model.img_encoder), type(model.img_decoder)
    hyperprior = type(model.img_hyperprior)
    model.img_encoder = encoder(3, n, m)
    model.img_decoder = decoder(3, m, n)
    model.motion_encoder = encoder(2 * 3, n, m)
    model.motion_decoder = decoder(2 + 1, m, n)
    model.res_encoder = encoder(3, n, m)
    model.res_decoder = decoder(3, 2 * m, n)
    for branch in BRANCHES:
        made = hyperprior(m, k)
        # Its class has decoders that read as many channels as they give.
        made.hyper_decoder_mean = type(made.hyper_decoder_mean)(k, k, m)
        made.hyper_decoder_scale = type(made.hyper_decoder_scale)(k, k, m)
        setattr(model, f"{branch}_hyperprior", made)
    return model


def build_model(state: StateDict) -> CompressionModel:
    """The model that these tensors fill exactly, its width taken from them; UserError says what does not fit."""
    widths = (
        "img_encoder.0.weight",
        "img_encoder.6.weight",
        "img_hyperprior.hyper_encoder.0.weight",
    )
    return fill(build, widths, state, NAME)


def tables_of(model: CompressionModel, state: StateDict) -> dict[str, NDArray[np.int32]]:
    """Integer tables: those of the checkpoint where it has them, else made once. `img.z.cdf`, `img.medians`, ...; `y.cdf`, ..."""
    found: dict[str, NDArray[np.int32]] = {}
    for name in BRANCHES:
        prefix = f"{name}_hyperprior."
        own = {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}
        made = make_tables(getattr(model, f"{name}_hyperprior"), own)
        shared = {key: made[key] for key in GAUSSIAN}
        if any((found.setdefault(key, table) != table).any() for key, table in shared.items()):
            raise UserError(f"this checkpoint's {name} hyperprior has a scale table of its own")
        found |= {f"{name}.{key}": table for key, table in made.items() if key not in GAUSSIAN}
    return found


def to_codec(
    model: CompressionModel,
    tables: Tables,
    *,
    quality: int,
    provenance: Mapping[str, object],
) -> VideoCodec:
    """Turn a model and its tables into the framework-free `VideoCodec`."""
    return VideoCodec(
        family=NAME,
        quality=quality,
        branches={name: _branch(model, tables, name) for name in BRANCHES},
        y_tables=CdfTables.from_arrays(tables, "y"),
        scale_thresholds=np.asarray(tables["scale_thresholds"], np.int32),
        provenance=provenance,
    )


def _branch(model: CompressionModel, tables: Tables, name: str) -> Branch:
    hyperprior = getattr(model, f"{name}_hyperprior")
    output = {"img": "reconstruction", "motion": "motion", "res": "residual"}[name]
    ends = {
        ENCODER: (getattr(model, f"{name}_encoder"), "x", "y"),
        HYPER_ENCODER: (hyperprior.hyper_encoder, "y", "z"),
        SCALE: (hyperprior.hyper_decoder_scale, "z_hat", "scales_hat"),
        MEAN: (hyperprior.hyper_decoder_mean, "z_hat", "means_hat"),
        DECODER: (getattr(model, f"{name}_decoder"), "y_hat", output),
    }
    return Branch(
        name=name,
        networks={
            part: Network(
                name=f"{name}_{part}",
                input=given,
                outputs=(made,),
                layers=tuple(_layers(f"{name}_{part}", module)),
            )
            for part, (module, given, made) in ends.items()
        },
        z_tables=CdfTables.from_arrays(tables, f"{name}.z"),
        medians=np.asarray(tables[f"{name}.medians"], np.int32),
    )


def _layers(name: str, module: torch.nn.Module) -> list[Layer]:
    if isinstance(module, torch.nn.Sequential):
        return [to_layer(f"{name}.{i}", child) for i, child in enumerate(module)]
    layers: list[Layer] = []
    for number in (1, 2, 3):  # its QReLUs are functions, not modules
        layers.append(to_layer(f"{name}.deconv{number}", getattr(module, f"deconv{number}")))
        layers.append(QRelu(name=f"{name}.qrelu{number}", bits=QRELU_BITS))
    return layers


def shipped() -> dict[str, store.CodecFiles]:
    """The video codecs that ship, by name (`ssf2020/qN`)."""
    return store.shipped(fixtures.root() / "video" / NAME)


def load_shipped(name: str) -> VideoCodec:
    """A codec that ships, with its stored tables; nothing is regenerated. UserError if there is none or it is damaged."""
    files = store.find(name, shipped())
    model = build_model(read_checkpoint(files.weights))
    tables = load_tables(files.tables) | load_tables(fixtures.root() / "codecs" / "gaussian.npz")
    codec = to_codec(model, tables, quality=files.quality, provenance=files.read_record())
    files.check_digest(codec.digest, codec.provenance)
    return codec


def load_foreign(state: StateDict, *, quality: int, origin: str) -> VideoCodec:
    """A codec from somebody else's weights; tables it lacks are made once and travel with whatever is exported."""
    model = build_model(state)
    return to_codec(model, tables_of(model, state), quality=quality, provenance={"origin": origin})


def load_pretrained(quality: int) -> VideoCodec:
    """CompressAI's own weights, from its zoo."""
    state = download_pretrained(NAME, quality)
    return load_foreign(state, quality=quality, origin="CompressAI model zoo")
