"""Weights of anybody: read without running anything, of any width and either family, or refused in one line."""

import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness import fixtures
from harness.build import build
from harness.calibrate import observe
from harness.cdf import load_tables, save_tables
from harness.codecs import checkpoint
from harness.codecs.base import FAMILIES, Family
from harness.codecs.store import CodecFiles
from harness.errors import UserError
from harness.library import Library, calibration_path, check_specification, own_codec
from harness.network import Abs, Gdn, LeakyRelu, Relu
from harness.specification import MEDIAN_FRACTION_BITS

N, M = 8, 12
State = dict[str, torch.Tensor]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=FAMILIES.names())
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def state_of(family: Family, *, tables: bool = False, n: int = N, m: int = M) -> State:
    """A random model, with or without the CDF tables that CompressAI's `update()` adds."""
    torch.manual_seed(n * m)
    model = family.build(n, m)
    if tables:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.update()
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def save(kind: str, state: State, folder: Path) -> Path:
    path = folder / f"weights.{'safetensors' if kind == 'safetensors' else 'pth'}"
    match kind:
        case "safetensors":
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        case "state_dict":
            torch.save(state, path)
        case "in a dict":
            torch.save({"epoch": 3, "state_dict": state, "loss": 0.5}, path)
        case "under model":
            torch.save({"model": state}, path)
        case "old format":
            torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def foreign(state: State, family: Family | None = None) -> Any:
    return checkpoint.load_foreign(state, family=family, quality=4, origin="test")


KINDS = ["state_dict", "in a dict", "under model", "old format", "safetensors"]


@pytest.mark.parametrize("tables", [False, True], ids=["no tables", "tables"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read(
    kind: str, tables: bool, family: Family, tmp_path: Path
) -> None:
    state = state_of(family, tables=tables)
    codec = foreign(checkpoint.read_checkpoint(save(kind, state, tmp_path)))
    assert codec.family == family.name
    assert codec.name == f"{family.name}/q4"
    networks = codec.networks
    assert (networks["g_a"].out_channels, networks["h_s"].in_channels) == (M, N)
    assert networks["h_s"].outputs == family.h_s_outputs
    assert codec.has_means == ("means_hat" in family.h_s_outputs)
    assert codec.digest == foreign(state).digest


@pytest.mark.parametrize(("n", "m"), [(4, 6), (8, 8), (16, 24)])
def test_the_width_is_that_of_the_weights(n: int, m: int, family: Family) -> None:
    codec = foreign(state_of(family, n=n, m=m))
    shares = len(family.h_s_outputs)
    assert codec.networks["g_s"].in_channels == m
    assert codec.networks["h_s"].out_channels == shares * m
    assert codec.medians.shape == (n,)
    assert codec.z_tables.cdf.shape[0] == n
    assert codec.y_tables.cdf.shape[0] == 64


def test_layers_are_those_of_the_model(family: Family) -> None:
    state = state_of(family)
    codec = foreign(state)
    kinds = {name: [type(layer) for layer in net.layers] for name, net in codec.networks.items()}
    assert kinds["g_a"].count(Gdn) == kinds["g_s"].count(Gdn) == 3
    assert (Abs in kinds["h_a"]) == family.h_a_takes_magnitudes
    assert (Relu in kinds["h_s"]) != (LeakyRelu in kinds["h_s"]) or Relu in kinds["h_s"]
    first = codec.networks["h_s"].convolutions[0]
    assert first.transposed
    stored = state["h_s.0.weight"].numpy().swapaxes(0, 1)  # [in, out] there, [out, in] here
    assert (first.weight == stored).all()


def test_tables_of_the_checkpoint_are_kept(family: Family) -> None:
    state = state_of(family, tables=True)
    kept = foreign(state)
    assert (kept.z_tables.offset == state["entropy_bottleneck._offset"].numpy()).all()
    # Another table than anyone would make here stays what it is.
    state["entropy_bottleneck._offset"] += 1
    state["gaussian_conditional._quantized_cdf"][5, 1] += 1
    other = foreign(state)
    assert (other.z_tables.offset == kept.z_tables.offset + 1).all()
    assert other.y_tables.cdf[5, 1] == kept.y_tables.cdf[5, 1] + 1
    assert other.tables_digest != kept.tables_digest


def test_a_scale_table_of_the_checkpoint_is_kept(family: Family) -> None:
    state = state_of(family, tables=True)
    state["gaussian_conditional.scale_table"] = torch.linspace(0.2, 50, 64)
    thresholds = foreign(state).scale_thresholds.view(np.float32)
    assert (thresholds == torch.linspace(0.2, 50, 64).numpy()).all()


def test_tables_that_are_there_in_part_are_made_anew(family: Family) -> None:
    state = state_of(family, tables=True)
    whole = foreign(state)
    del state["gaussian_conditional._offset"]
    state["entropy_bottleneck._offset"] = torch.empty(0, dtype=torch.int32)
    assert foreign(state).y_tables == whole.y_tables


def test_broken_tables_are_refused(family: Family) -> None:
    state = state_of(family, tables=True)
    state["entropy_bottleneck._quantized_cdf"][0] = 7
    with pytest.raises(UserError, match="CDF tables: ") as caught:
        foreign(state)
    assert "\n" not in str(caught.value)


def test_medians_are_integers_of_an_eighth_bit(family: Family) -> None:
    state = state_of(family)
    quantiles = state["entropy_bottleneck.quantiles"]
    exact = torch.arange(N) - 3 + torch.linspace(-0.49, 0.49, N) / 2**MEDIAN_FRACTION_BITS
    quantiles[:, 0, 1] = exact
    assert foreign(state).medians.tolist() == [(n - 3) * 2**MEDIAN_FRACTION_BITS for n in range(N)]
    quantiles[:, 0, 1] = 0.5 / 2**MEDIAN_FRACTION_BITS  # half up
    assert set(foreign(state).medians.tolist()) == {1}
    quantiles[:, 0, 1] = -0.5 / 2**MEDIAN_FRACTION_BITS
    assert set(foreign(state).medians.tolist()) == {0}


def test_half_precision_weights_are_what_they_are(family: Family, tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in state_of(family).items()}
    codec = foreign(checkpoint.read_checkpoint(save("safetensors", state, tmp_path)))
    assert (codec.networks["g_a"].convolutions[0].weight == state["g_a.0.weight"].numpy()).all()


def test_the_digest_changes_with_every_weight(family: Family) -> None:
    state = state_of(family)
    before = foreign(state).digest
    assert foreign(state).digest == before
    for name in sorted(state):
        changed = {key: tensor.clone() for key, tensor in state.items()}
        flat = changed[name].view(-1)
        # The middle quantile is rounded to 2^-8; the others shape the tables.
        place = 1 if name.endswith("quantiles") else flat.numel() - 1
        flat[place] += 0.5
        assert foreign(changed).digest != before, name


def test_a_family_can_be_named_but_not_wrongly(family: Family) -> None:
    state = state_of(family)
    assert foreign(state, family).family == family.name
    for other in FAMILIES:
        if other.name != family.name:
            with pytest.raises(UserError, match=f"not a {other.name}: h_s"):
                foreign(state, other)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {os.environ['EVIL']}",)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch old", "inside", "renamed"])
def test_code_in_a_checkpoint_is_refused_and_never_run(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "it ran"
    monkeypatch.setenv("EVIL", f"'{mark}'")
    path = tmp_path / ("evil.safetensors" if how == "renamed" else "evil.pth")
    if how in {"pickle", "renamed"}:
        path.write_bytes(pickle.dumps(Evil()))
    else:
        thing = {"weight": torch.zeros(3), "x": Evil()} if how == "inside" else Evil()
        torch.save(thing, path, _use_new_zipfile_serialization=how != "torch old")
    says = "cannot read" if how == "renamed" else "could run code"
    with pytest.raises(UserError, match=says) as caught:
        checkpoint.read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def damaged(family: Family, folder: Path) -> dict[str, Path]:
    """Files that are no checkpoint."""
    good = save("state_dict", state_of(family), folder).read_bytes()
    safe = save("safetensors", state_of(family), folder).read_bytes()
    old = save("old format", state_of(family), folder).read_bytes()
    contents = {
        "empty.pth": b"",
        "empty.safetensors": b"",
        "text.pth": b"these are not the weights you are looking for\n" * 9,
        "text.safetensors": b"neither are these" * 9,
        "html.pth": b"<!DOCTYPE html><html>404</html>",
        "cut.pth": good[: len(good) // 2],
        "cut.safetensors": safe[: len(safe) // 2],
        "cut-old.pth": old[: len(old) // 2],
        "head.safetensors": (2**63 - 1).to_bytes(8, "little") + b"{}",
        "zeros.pth": bytes(1000),
        "list.pth": None,
        "number.pth": None,
        "module.pth": None,
        "nested.pth": None,
        "keys.pth": None,
        "zip.pth": None,
        "missing.pth": None,
    }
    for name, data in contents.items():
        if data is not None:
            (folder / name).write_bytes(data)
    torch.save([torch.zeros(2)], folder / "list.pth")
    torch.save(3, folder / "number.pth")
    torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
    torch.save({"state_dict": {"a": {"b": torch.zeros(1)}}}, folder / "nested.pth")
    torch.save({1: torch.zeros(1)}, folder / "keys.pth")
    with zipfile.ZipFile(folder / "zip.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    return {name: folder / name for name in contents} | {"folder": folder}


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, path in damaged(FAMILIES["mbt2018-mean"], tmp_path).items():
        with pytest.raises(UserError) as caught:
            own_codec(file=path, family=None, quality=None, pretrained=False)
        message = str(caught.value)
        assert "\n" not in message, name
        assert path.name in message or "architecture" in message, name


def without(name: str) -> Callable[[State], None]:
    return lambda state: state.__delitem__(name)


def set_to(name: str, tensor: torch.Tensor) -> Callable[[State], None]:
    return lambda state: state.__setitem__(name, tensor)


WRONG: dict[str, tuple[Callable[[State], None], str]] = {
    "no g_a": (without("g_a.6.weight"), "another architecture"),
    "no h_s": (without("h_s.4.weight"), "another architecture"),
    "no first layer": (without("g_a.0.weight"), "is missing"),
    "no bias": (without("h_a.2.bias"), "h_a.2.bias is missing"),
    "no gdn": (without("g_s.1.beta"), "g_s.1.beta is missing"),
    "no quantiles": (without("entropy_bottleneck.quantiles"), "quantiles is missing"),
    "a scalar": (set_to("g_a.6.weight", torch.zeros(())), "another architecture"),
    "nothing": (set_to("g_a.6.weight", torch.zeros(0, 8, 5, 5)), "another architecture"),
    "three outputs": (set_to("h_s.4.weight", torch.zeros(3 * M, N, 3, 3)), "3 outputs"),
    "another kernel": (set_to("g_a.2.weight", torch.zeros(N, N, 3, 3)), "g_a.2.weight is"),
    "another width": (set_to("g_s.0.weight", torch.zeros(M, N + 1, 5, 5)), "g_s.0.weight is"),
    "NaN": (set_to("g_a.0.bias", torch.full((N,), torch.nan)), "g_a.0.bias contains NaN"),
    "infinity": (set_to("h_a.0.bias", torch.full((N,), torch.inf)), "h_a.0.bias contains NaN"),
    "NaN in GDN": (set_to("g_a.1.beta", torch.full((N,), torch.nan)), "g_a.1.beta contains NaN"),
    "NaN in quantiles": (
        set_to("entropy_bottleneck.quantiles", torch.full((N, 1, 3), torch.nan)),
        "quantiles contains NaN",
    ),
    "quantiles beyond reason": (
        set_to("entropy_bottleneck.quantiles", torch.tensor([-1e30, 0, 1e30]).repeat(N, 1, 1)),
        "quantiles",
    ),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_weights_of_something_else_are_refused_by_name(
    change: Callable[[State], None], says: str, family: Family
) -> None:
    state = state_of(family)
    change(state)
    with pytest.raises(UserError, match=says) as caught:
        foreign(state)
    assert "\n" not in str(caught.value)


def test_another_architecture_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="bmshj2018-hyperprior, mbt2018-mean"):
        foreign({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)})
    with pytest.raises(UserError, match="another architecture"):
        foreign({})


@pytest.mark.parametrize("error", [URLError("no route"), OSError("disk"), RuntimeError("bad hash")])
def test_a_download_that_fails_says_what_to_do(
    error: Exception, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, **options: object) -> None:
        assert options["weights_only"] is True
        assert url.startswith("https://")
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(UserError, match="fetch that file yourself") as caught:
        own_codec(file=None, family=family.name, quality=3, pretrained=True)
    assert "--checkpoint FILE" in str(caught.value)
    assert "https://" in str(caught.value)


def test_a_download_that_works_is_a_codec(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(family)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: state)
    codec = own_codec(file=None, family=family.name, quality=3, pretrained=True)
    assert codec is not None
    assert codec.name == f"{family.name}/q3"


def test_a_quality_that_the_zoo_lacks(family: Family) -> None:
    with pytest.raises(UserError, match=r"no .* of quality 99; it has \[1, 2"):
        checkpoint.download_pretrained(family.zoo_name, 99)
    with pytest.raises(UserError, match="--pretrained needs"):
        own_codec(file=None, family=None, quality=3, pretrained=True)


# What ships.


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_every_shipped_codec_has_the_digests_it_shipped_with(name: str) -> None:
    library = Library()
    codec = library.codec(name)
    assert codec.name == name
    assert codec.digest == codec.provenance["digest"]
    made = library.build(name, "w8a8")
    specifications = codec.provenance["specifications"]
    assert isinstance(specifications, dict)
    assert made.specification == specifications["h_s w8a8"]
    # The shipped tables are read, not made.
    gaussian = load_tables(fixtures.root() / "codecs" / "gaussian.npz")
    assert (codec.y_tables.cdf == gaussian["y.cdf"]).all()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny codec that ships from a folder of its own; the path of its weights."""
    family = FAMILIES["mbt2018-mean"]
    folder = tmp_path / "codecs" / family.name
    folder.mkdir(parents=True)
    state = state_of(family)
    files = CodecFiles(folder, 3)
    files.write_weights(state)
    codec = foreign(state)
    shared = {"scale_thresholds": codec.scale_thresholds, **codec.y_tables.to_arrays("y")}
    save_tables(folder.parent / "gaussian.npz", shared)
    own = {"medians": codec.medians, **codec.z_tables.to_arrays("z")}
    save_tables(folder / "q3.tables.npz", own)
    files.write_record({"digest": codec.digest})
    monkeypatch.setattr(fixtures, "root", lambda: tmp_path)
    return files.weights


def test_a_small_codec_ships(small: Path) -> None:
    assert list(checkpoint.shipped()) == ["mbt2018-mean/q3"]
    assert checkpoint.load_shipped("mbt2018-mean/q3").quality == 3
    with pytest.raises(UserError, match="there are: mbt2018-mean/q3"):
        checkpoint.load_shipped("mbt2018-mean/q9")
    assert small.is_file()


def tamper(path: Path, name: str) -> None:
    tables = {key: array.copy() for key, array in load_tables(path).items()}
    tables[name].flat[1] += 1
    save_tables(path, tables)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("q3.tables.npz", "z.cdf"),
        ("q3.tables.npz", "z.offset"),
        ("q3.tables.npz", "medians"),
        ("../gaussian.npz", "y.cdf"),
        ("../gaussian.npz", "scale_thresholds"),
    ],
)
def test_a_tampered_table_is_found(file: str, name: str, small: Path) -> None:
    tamper(small.parent / file, name)
    with pytest.raises(UserError, match=r"do not match the digest in q3\.json"):
        checkpoint.load_shipped("mbt2018-mean/q3")


def test_a_tampered_weight_is_found(small: Path) -> None:
    state = checkpoint.read_checkpoint(small)
    state["h_s.2.weight"][0, 0, 0, 0] += 2**-10
    CodecFiles(small.parent, 3).write_weights(state)
    with pytest.raises(UserError, match="do not match the digest"):
        checkpoint.load_shipped("mbt2018-mean/q3")


@pytest.mark.parametrize(
    "file", ["q3.json", "q3.tables.npz", "q3.safetensors.xz", "../gaussian.npz"]
)
@pytest.mark.parametrize("damage", ["cut", "gone", "noise"])
def test_a_damaged_file_of_a_shipped_codec_is_one_line(file: str, damage: str, small: Path) -> None:
    path = small.parent / file
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:40])
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(b"\x00\xff" * 50)
    with pytest.raises(UserError) as caught:
        checkpoint.load_shipped("mbt2018-mean/q3")
    assert "\n" not in str(caught.value)


def test_another_specification_than_shipped_is_found(family: Family) -> None:
    codec = foreign(state_of(family))
    z_hat = np.random.default_rng(1).integers(-9, 9, (1, N, 4, 4)).astype(np.float32)
    made = build(codec, "w8a8", {"h_s": observe(codec.networks["h_s"], [z_hat])})
    check_specification(made)  # nothing is claimed about a foreign one
    for digest, right in ((made.specification, True), ("0" * 64, False)):
        claims = {"specifications": {"h_s w8a8": digest}}
        claimed = replace(made, codec=replace(codec, provenance=claims))
        if right:
            check_specification(claimed)
        else:
            with pytest.raises(UserError, match="it shipped with 000000000000"):
                check_specification(claimed)


def test_a_library_checks_what_it_ships(small: Path) -> None:
    codec = checkpoint.load_shipped("mbt2018-mean/q3")
    z_hat = np.random.default_rng(1).integers(-9, 9, (1, N, 4, 4)).astype(np.float32)
    ranges = observe(codec.networks["h_s"], [z_hat])
    kept = fixtures.root() / calibration_path(codec.name, "h_s", "min-max")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(ranges.to_bytes())
    right = build(codec, "w8a8", {"h_s": ranges}).specification
    record = CodecFiles(small.parent, 3).record
    record.write_text(json.dumps({"digest": codec.digest, "specifications": {"h_s w8a8": right}}))
    assert Library().build(codec.name, "w8a8").specification == right
    record.write_text(
        json.dumps({"digest": codec.digest, "specifications": {"h_s w8a8": "f" * 64}})
    )
    with pytest.raises(UserError, match="it shipped with ffffffffffff"):
        Library().build(codec.name, "w8a8")


def test_nothing_ships_from_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixtures, "root", lambda: tmp_path)
    assert Library().names() == []
    shutil.rmtree(tmp_path)
    assert Library().names() == []
