"""From weights in a file to a `Codec`: checkpoints of any width, CompressAI's zoo, and the codecs that ship.

Nothing here ever unpickles objects: safetensors, or torch files read weights-only.
"""

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, load_file

from harness import fixtures
from harness.cdf import CdfTables, load_tables, scale_thresholds
from harness.codecs import store
from harness.codecs.base import FAMILIES, Codec, Family
from harness.compressai_import import (
    GDN,
    CompressionModel,
    get_scale_table,
    load_pretrained,
    model_urls,
)
from harness.errors import UserError
from harness.files import decompress
from harness.network import F32, Abs, Convolution, Gdn, Layer, LeakyRelu, Network, Relu
from harness.specification import MEDIAN_FRACTION_BITS

MAX_CHECKPOINT_BYTES = 2**31
MAX_QUANTILE = 2**15  # a table has an entry for every symbol between its channel's quantiles
I32 = NDArray[np.int32]
StateDict = Mapping[str, torch.Tensor]


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from safetensors (as it is or .xz) or a torch file (weights only); UserError says what is wrong."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror}") from error
    if size > MAX_CHECKPOINT_BYTES:
        raise UserError(f"checkpoint {path} is larger than {MAX_CHECKPOINT_BYTES} bytes")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        if path.name.endswith(".safetensors.xz"):
            return dict(load(decompress(path.read_bytes(), MAX_CHECKPOINT_BYTES)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch then refuses
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"checkpoint {path} is damaged or holds Python objects besides weights, which could run code: save its state_dict() alone"
        ) from None
    except Exception as error:  # unpickling damage raises almost anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read checkpoint {path}: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in loaded.items()
    ):
        raise UserError(f"checkpoint {path} is not a state dict of tensors")
    return dict(load_pretrained(loaded))


def download_pretrained(zoo_name: str, quality: int) -> dict[str, torch.Tensor]:
    """Weights from CompressAI's model zoo, read weights-only (the zoo's own loader unpickles)."""
    urls = model_urls.get(zoo_name, {}).get("mse", {})
    if quality not in urls:
        raise UserError(
            f"CompressAI's zoo has no {zoo_name} of quality {quality}; it has {sorted(urls)}"
        )
    try:
        state = torch.hub.load_state_dict_from_url(
            urls[quality], progress=False, weights_only=True, check_hash=True
        )
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"cannot download {zoo_name} q{quality} from {urls[quality]} ({error}): fetch that file yourself and "
            f"give it with --checkpoint FILE"
        ) from error
    return dict(load_pretrained(state))


def infer_family(state: StateDict) -> Family:
    """The family whose h_s has as many output channels as the tensors say; UserError if there is none."""
    try:
        m = state["g_a.6.weight"].shape[0]
        ratio = state["h_s.4.weight"].shape[0] / m
    except (KeyError, IndexError, ZeroDivisionError):
        raise UserError(
            f"this checkpoint is of another architecture; known: {', '.join(FAMILIES.names())}"
        ) from None
    for family in FAMILIES:
        if len(family.h_s_outputs) == ratio:
            return family
    raise UserError(f"h_s has {ratio:g} outputs per latent channel; known families have 1 or 2")


def build_model(family: Family, state: StateDict) -> CompressionModel:
    """The model of `family` that these tensors fill exactly, in float32, with its width taken from them."""
    return fill(family.build, ("g_a.0.weight", "g_a.6.weight"), state, family.name)


def fill(
    build: Callable[..., CompressionModel],
    widths: tuple[str, ...],
    state: StateDict,
    name_of_family: str,
) -> CompressionModel:
    """The model that these tensors fill exactly; the output channels of the tensors `widths` are what `build` takes."""
    try:
        model = build(*(int(state[name].shape[0]) for name in widths))
        wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
        wrong = [f"{name} is missing" for name in wanted if name not in state]
        wrong += [
            f"{name} is {list(state[name].shape)}, not {list(shape)}"
            for name, shape in wanted.items()
            if name in state and state[name].shape != shape
        ]
    except (KeyError, IndexError) as error:
        wrong = [f"{error} is missing"]
    if wrong:
        raise UserError(
            f"this checkpoint is not a {name_of_family}: {wrong[0]} ({len(wrong)} such differences)"
        )
    weights = {name: state[name].float() for name in wanted}
    broken = [name for name, weight in weights.items() if not torch.isfinite(weight).all()]
    if broken:
        raise UserError(f"this checkpoint's {broken[0]} contains NaN or infinity")
    # Not CompressAI's own method: that one insists on the CDF tables, which many checkpoints lack.
    torch.nn.Module.load_state_dict(model, weights, strict=False)
    return model.eval()


def _medians(model: CompressionModel) -> torch.Tensor:
    """Round the entropy bottleneck's medians, in place, to the fixed point that the specification gives them."""
    quantiles = model.entropy_bottleneck.quantiles
    if quantiles.data.abs().max() >= MAX_QUANTILE:
        raise UserError(f"this checkpoint's quantiles of z reach {quantiles.data.abs().max():g}")
    fixed = torch.floor(quantiles.data[:, 0, 1].double() * 2**MEDIAN_FRACTION_BITS + 0.5).int()
    quantiles.data[:, 0, 1] = fixed.double().div(2**MEDIAN_FRACTION_BITS).float()
    return fixed


def make_tables(model: CompressionModel, state: StateDict) -> dict[str, I32]:
    """The integer tables of a codec: those of the checkpoint where it has them, else made once, here.

    Keys: z.cdf z.length z.offset, y.cdf y.length y.offset, medians, scale_thresholds.
    """
    medians = _medians(model)
    scale_table = torch.as_tensor(get_scale_table(), dtype=torch.float32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.entropy_bottleneck.update(force=True)
        model.gaussian_conditional.update_scale_table(scale_table, force=True)
    arrays: dict[str, I32] = {}
    for prefix, module in (("z", "entropy_bottleneck"), ("y", "gaussian_conditional")):
        made = dict(getattr(model, module).named_buffers())
        given = {
            name: state.get(f"{module}.{name}")
            for name in ("_quantized_cdf", "_cdf_length", "_offset")
        }
        complete = all(tensor is not None and tensor.numel() for tensor in given.values())
        for key, name in (
            ("cdf", "_quantized_cdf"),
            ("length", "_cdf_length"),
            ("offset", "_offset"),
        ):
            tensor = given[name] if complete else made[name]
            arrays[f"{prefix}.{key}"] = np.asarray(tensor, np.int32)
    given_table = state.get("gaussian_conditional.scale_table")
    if given_table is not None and given_table.numel():
        scale_table = given_table.float()
    arrays["medians"] = medians.numpy().astype(np.int32)
    arrays["scale_thresholds"] = scale_thresholds(scale_table.numpy())
    return arrays


def to_codec(
    family: Family,
    model: CompressionModel,
    tables: Mapping[str, NDArray[np.generic]],
    *,
    quality: int,
    provenance: Mapping[str, object],
) -> Codec:
    """Turn a model and its tables into the framework-free `Codec`."""
    inputs = {"g_a": "x", "h_a": "y", "h_s": "z_hat", "g_s": "y_hat"}
    outputs = {"g_a": ("y",), "h_a": ("z",), "h_s": family.h_s_outputs, "g_s": ("x_hat",)}
    networks = {}
    for name, tensor in inputs.items():
        layers = [to_layer(f"{name}.{i}", module) for i, module in enumerate(getattr(model, name))]
        if name == "h_a" and family.h_a_takes_magnitudes:
            layers.insert(0, Abs(name="h_a.abs"))
        networks[name] = Network(
            name=name, input=tensor, outputs=outputs[name], layers=tuple(layers)
        )
    return Codec(
        family=family.name,
        quality=quality,
        networks=networks,
        provenance=provenance,
        z_tables=CdfTables.from_arrays(tables, "z"),
        y_tables=CdfTables.from_arrays(tables, "y"),
        medians=np.asarray(tables["medians"], np.int32),
        scale_thresholds=np.asarray(tables["scale_thresholds"], np.int32),
    )


def _numpy(tensor: torch.Tensor) -> F32:
    return np.ascontiguousarray(tensor.detach().float().numpy())


def to_layer(name: str, module: torch.nn.Module) -> Layer:
    match type(module).__name__, module:
        case "Conv2d", torch.nn.Conv2d() as m:
            assert m.bias is not None
            return Convolution(
                name=name,
                weight=_numpy(m.weight),
                bias=_numpy(m.bias),
                stride=m.stride[0],
                padding=int(m.padding[0]),
            )
        case "ConvTranspose2d", torch.nn.ConvTranspose2d() as m:
            assert m.bias is not None
            return Convolution(
                name=name,
                weight=_numpy(m.weight.transpose(0, 1)),
                bias=_numpy(m.bias),
                stride=m.stride[0],
                padding=int(m.padding[0]),
                transposed=True,
                output_padding=int(m.output_padding[0]),
            )
        case "ReLU", _:
            return Relu(name=name)
        case "LeakyReLU", torch.nn.LeakyReLU() as m:
            return LeakyRelu(name=name, slope=m.negative_slope)
        case "GDN", GDN() as m:
            return Gdn(
                name=name,
                beta=_numpy(m.beta_reparam(m.beta)),
                gamma=_numpy(m.gamma_reparam(m.gamma)),
                inverse=bool(m.inverse),
            )
        case kind, _:
            raise UserError(f"layer {name}: no rule for {kind}")


def shipped() -> dict[str, store.CodecFiles]:
    """The codecs that ship, by name (`family/qN`)."""
    folders = sorted(p for p in (fixtures.root() / "codecs").glob("*") if p.is_dir())
    return {name: files for folder in folders for name, files in store.shipped(folder).items()}


def load_shipped(name: str) -> Codec:
    """A codec that ships, with its stored tables; nothing is regenerated. UserError if there is none or it is damaged."""
    files = store.find(name, shipped())
    family = FAMILIES[files.folder.name]
    model = build_model(family, read_checkpoint(files.weights))
    tables = load_tables(files.tables) | load_tables(fixtures.root() / "codecs" / "gaussian.npz")
    codec = to_codec(family, model, tables, quality=files.quality, provenance=files.read_record())
    files.check_digest(codec.digest, codec.provenance)
    return codec


def load_foreign(state: StateDict, *, family: Family | None, quality: int, origin: str) -> Codec:
    """A codec from somebody else's weights; tables it lacks are made once and travel with whatever is exported."""
    family = family or infer_family(state)
    model = build_model(family, state)
    return to_codec(
        family, model, make_tables(model, state), quality=quality, provenance={"origin": origin}
    )
