"""Training: what it writes, that it resumes as if never stopped, and how a narrow model starts a wide one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import fixtures
from harness.case import rng
from harness.codecs import checkpoint, ssf2020
from harness.codecs.base import FAMILIES, Family
from harness.codecs.store import CodecFiles
from harness.errors import UserError
from harness.training import loop
from harness.training.loop import Progress, half_weights, train
from harness.training.recipe import Recipe, read_recipe
from harness.training.stills import Crops
from harness.training.subjects import subject_of
from harness.training.widen import DAMPING, widen

RECIPE = """
family = "mbt2018-mean"
n = 8
seed = 7

[[points]]
quality = 0
m = 8
lmbda = 0.01
steps = 3
learning_rate = 1e-3
ships = false

[[points]]
quality = 3
m = 12
lmbda = 0.01
steps = 3
learning_rate = 1e-3
start_from = 0
"""
POINTS = RECIPE[: RECIPE.index("[[points]]\nquality = 3")]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(2):
        coarse = rng(f"train/{number}").integers(0, 256, (16, 17, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((272, 256), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{number}.png")
    (folder / "small").mkdir()
    Image.new("RGB", (200, 300)).save(folder / "small" / "too-small.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def recipe(folder: Path, text: str = RECIPE) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def run(
    folder: Path, data: Path, report: Callable[[Progress], None], text: str = RECIPE
) -> list[Path]:
    plan = recipe(folder, text)
    out, work = folder / "out", folder / "work"
    return train(plan, subject_of(plan.family, data), out, work=work, report=report)


@pytest.fixture(scope="module")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    folder = tmp_path_factory.mktemp("trained")
    progress: list[Progress] = []
    assert run(folder, photographs, progress.append) == [CodecFiles(folder / "out", 3)]
    return folder, progress


def test_weights_and_a_record_are_written(trained: tuple[Path, list]) -> None:
    folder, progress = trained
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["q3.json", "q3.safetensors.xz"]
    assert sorted(p.name for p in (folder / "work").iterdir()) == ["q0.json", "q0.safetensors.xz"]
    assert [(p.quality, p.step, p.steps) for p in progress] == [(0, 3, 3), (3, 3, 3)]
    assert all(np.isfinite([p.loss, p.bpp, p.psnr]).all() for p in progress)
    record = json.loads((folder / "out" / "q3.json").read_text())
    assert record["family"] == "mbt2018-mean"
    assert (record["n"], record["m"], record["quality"], record["steps"]) == (8, 12, 3, 3)
    assert (record["start_from"], record["seed"], record["images"]) == (0, 7, 2)
    assert len(record["data_sha256"]) == 64
    assert record["data"].startswith("photographs")  # no path of this machine


def test_the_weights_are_a_codec(trained: tuple[Path, list]) -> None:
    state = checkpoint.read_checkpoint(trained[0] / "out" / "q3.safetensors.xz")
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    codec = checkpoint.load_foreign(state, family=None, quality=3, origin="test")
    assert codec.networks["g_s"].in_channels == 12


def test_what_is_there_is_not_trained_again(trained: tuple[Path, list], photographs: Path) -> None:
    folder, _ = trained
    before = (folder / "out" / "q3.safetensors.xz").read_bytes()
    progress: list[Progress] = []
    assert run(folder, photographs, progress.append) == [CodecFiles(folder / "out", 3)]
    assert progress == []
    assert (folder / "out" / "q3.safetensors.xz").read_bytes() == before


def test_an_interrupted_run_goes_on_as_if_it_never_stopped(
    trained: tuple[Path, list], photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RESUME_EVERY", 1)

    def stop(progress: Progress) -> None:
        if progress.quality == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, photographs, stop)
    assert not list((tmp_path / "out").iterdir())  # nothing half made
    state = torch.load(tmp_path / "work" / "q3.resume.pt", weights_only=True)
    assert state["step"] == 2
    seen: list[Progress] = []
    run(tmp_path, photographs, seen.append)
    assert [(p.quality, p.step) for p in seen] == [(3, 3)]
    assert not list((tmp_path / "work").glob("*.resume.pt"))
    for file in ("out/q3.safetensors.xz", "work/q0.safetensors.xz"):
        ours, theirs = (
            checkpoint.read_checkpoint(tmp_path / file),
            checkpoint.read_checkpoint(trained[0] / file),
        )
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), file


def test_another_seed_is_another_model(
    trained: tuple[Path, list], photographs: Path, tmp_path: Path
) -> None:
    run(tmp_path, photographs, lambda _: None, POINTS.replace("seed = 7", "seed = 8"))
    ours = checkpoint.read_checkpoint(tmp_path / "work" / "q0.safetensors.xz")
    theirs = checkpoint.read_checkpoint(trained[0] / "work" / "q0.safetensors.xz")
    assert not torch.equal(ours["g_a.0.weight"], theirs["g_a.0.weight"])


def test_steps_scale_and_are_never_none(photographs: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(
        recipe(tmp_path, POINTS),
        subject_of("mbt2018-mean", photographs),
        tmp_path,
        work=tmp_path / "work",
        report=seen.append,
        scale_steps=0.01,
    )
    assert [(p.step, p.steps) for p in seen] == [(1, 1)]


def test_training_that_diverges_says_so(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="training of q0 diverged at step 3: lower"):
        run(tmp_path, photographs, lambda _: None, POINTS.replace("0.01", "1e38"))
    assert not list((tmp_path / "out").iterdir())


def test_training_wants_photographs(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no PNG or JPEG images below"):
        Crops(tmp_path)
    with pytest.raises(UserError, match="at least 256x256"):
        Crops(photographs / "small")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=r"broken\.png") as caught:
        Crops(tmp_path)
    assert "\n" not in str(caught.value)


def test_crops_repeat_and_are_mirrored_by_half(photographs: Path) -> None:
    crops = Crops(photographs)
    assert len(crops.images) == 2
    first, again = (crops.batch(np.random.default_rng(5), 64, 6) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (6, 3, 64, 64)
    assert first.dtype == torch.float32
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    assert not torch.equal(first, crops.batch(np.random.default_rng(6), 64, 6))


BAD = {
    "no TOML": (RECIPE + "[[", "recipe"),
    "no UTF-8": (b"\xff\xfe\xff", "recipe"),
    "nothing": ("", "points"),
    "no points": ('family = "x"\nn = 8\nseed = 1\npoints = []\n', "point"),
    "points are no tables": ('family = "x"\nn = 8\nseed = 1\npoints = [3]\n', "recipe"),
    "points are a number": ('family = "x"\nn = 8\nseed = 1\npoints = 3\n', "recipe"),
    "no family": (RECIPE.replace('family = "mbt2018-mean"', ""), "family"),
    "no lmbda": (RECIPE.replace("lmbda = 0.01", "", 1), "lmbda"),
    "a typo": (RECIPE.replace("lmbda", "lambda", 1), "lambda"),
    "a typo above": (RECIPE.replace("seed", "sead", 1), "sead"),
    "a word for a number": (RECIPE.replace("n = 8", 'n = "8"', 1), "n "),
    "a word for a rate": (RECIPE.replace("lmbda = 0.01", 'lmbda = "x"', 1), "lmbda"),
    "half a channel": (RECIPE.replace("m = 12", "m = 12.5"), "m "),
    "a truth": (RECIPE.replace("m = 12", "m = true"), "m "),
    "ships as a word": (RECIPE.replace("ships = false", 'ships = "no"'), "ships"),
    "frozen is a word": (RECIPE.replace("ships = false", 'frozen = "g_a"'), "frozen"),
    "frozen is a number": (RECIPE.replace("ships = false", "frozen = [3]"), "frozen"),
    "frozen is nothing": (RECIPE.replace("ships = false", 'frozen = [""]'), "frozen"),
    "parts of no point": (
        RECIPE.replace("ships = false", "parts_from = {g_a = 3}"),
        "q0 starts from q3",
    ),
    "parts of many": (RECIPE.replace("ships = false", "parts_from = {g_a = [3]}"), "parts_from"),
    "a chain backwards": (RECIPE.replace("ships = false", "chain = -1"), "chain"),
    "no steps": (RECIPE.replace("steps = 3", "steps = 0", 1), "steps"),
    "a start that is not there": (RECIPE.replace("start_from = 0", "start_from = 9"), "q9"),
    "a start in itself": (RECIPE.replace("start_from = 0", "start_from = 3"), "q3"),
    "twice the same": (RECIPE.replace("quality = 3", "quality = 0"), "q0"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_bad_recipe_is_one_line_that_names_it(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=says) as caught:
        read_recipe(path)
    assert "bad.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recipe"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "path", sorted((fixtures.root() / "recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_shipped_recipes_are_read(path: Path) -> None:
    plan = read_recipe(path)
    assert plan.family == path.stem
    assert plan.family in (*FAMILIES.names(), ssf2020.NAME)
    assert any(point.ships for point in plan.points)


# Widening.


@pytest.fixture(params=FAMILIES.names())
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def networks(family: Family, n: int, m: int, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    model = family.build(n, m).eval()
    torch.nn.Module.load_state_dict(model, weights, strict=False)
    return model


def parameters(family: Family, n: int, m: int, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {name: p.detach().clone() for name, p in family.build(n, m).named_parameters()}


def test_equal_shapes_are_taken_over_exactly(family: Family) -> None:
    narrow, fresh = parameters(family, 8, 12, 1), parameters(family, 8, 12, 2)
    widened = widen(narrow, fresh, {"h_s.4.": len(family.h_s_outputs)})
    assert widened.keys() == fresh.keys()
    assert all(torch.equal(widened[name], narrow[name]) for name in fresh)
    widened["g_a.0.weight"].zero_()
    assert narrow["g_a.0.weight"].any()  # a copy


def test_a_widened_model_computes_nearly_the_same(family: Family) -> None:
    shares = len(family.h_s_outputs)
    narrow, fresh = parameters(family, 8, 12, 1), parameters(family, 8, 20, 2)
    widened = widen(narrow, fresh, {"h_s.4.": shares})
    assert {k: v.shape for k, v in widened.items()} == {k: v.shape for k, v in fresh.items()}
    small, large = (
        networks(family, 8, 12, narrow),
        networks(family, 8, 20, widened),
    )
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y, y_wide = small.g_a(x), large.g_a(x)
        assert torch.equal(y, y_wide[:, :12])  # the old channels know nothing of the new ones
        z_hat = torch.randn(1, 8, 2, 2, generator=torch.Generator().manual_seed(4))
        old = small.h_s(z_hat).chunk(shares, 1)
        new = large.h_s(z_hat).chunk(shares, 1)
        # Scales and means of the old channels are where they were, each in its own share.
        for share, wide in zip(old, new, strict=True):
            assert (share - wide[:, :12]).abs().max() < 0.3 * share.abs().max()
        x_hat, x_wide = small.g_s(y), large.g_s(y_wide)
        assert (x_hat - x_wide).abs().max() < 0.3 * x_hat.abs().max()
    # What is new is small.
    extra = widened["g_a.6.weight"][12:]
    assert torch.equal(extra, fresh["g_a.6.weight"][12:] * DAMPING)


def test_half_weights_are_all_parameters_in_half_precision(family: Family) -> None:
    torch.manual_seed(0)
    model = family.build(4, 6)
    halves = half_weights(model)
    assert halves.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert halves[name].dtype == torch.float16
        assert halves[name].is_contiguous()
        assert torch.equal(halves[name], parameter.detach().half())
