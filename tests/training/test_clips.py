"""Clips made of photographs, and scale-space flow trained on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.case import rng
from harness.codecs import ssf2020
from harness.codecs.checkpoint import read_checkpoint
from harness.codecs.store import CodecFiles
from harness.errors import UserError
from harness.training.clips import Clips, clip_rate_and_distortion, make_clip
from harness.training.loop import Progress, train
from harness.training.recipe import Point, Recipe
from harness.training.widen import widen

SIZE = (64, 96)


pytestmark = pytest.mark.usefixtures("one_thread")


def photograph(name: str) -> np.ndarray:
    coarse = rng(f"clips/{name}").integers(0, 256, (32, 34, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((272, 256), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("photographs")
    for number in range(2):
        Image.fromarray(photograph(str(number))).save(made / f"{number}.png")
    return made


def clip(seed: int, frames: int = 4) -> torch.Tensor:
    images = [photograph("0"), photograph("1")]
    return make_clip(images, np.random.default_rng(seed), frames=frames, size=SIZE)


def test_a_clip_is_a_function_of_its_generator_in_eight_bits() -> None:
    first, again, other = clip(1), clip(1), clip(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.shape, first.dtype) == ((4, 3, *SIZE), torch.float32)
    assert torch.equal(first, torch.round(first * 255) / 255)
    assert 0 <= float(first.min()) < float(first.max()) <= 1


def test_clips_move_more_or_less_and_smoothly() -> None:
    """Of many: some stand still, some do not, and neighbours are always nearer than ends."""
    changes, spans = [], []
    for seed in range(24):
        frames = clip(seed, frames=5)
        changes.append(float((frames[1:] - frames[:-1]).abs().mean()))
        spans.append(float((frames[4] - frames[0]).abs().mean()))
    assert min(changes) < 0.01 < max(changes)
    assert np.mean(changes) < np.mean(spans)


def test_a_longer_clip_begins_as_the_shorter_one_where_nothing_is_random_per_frame() -> None:
    images = [photograph("0"), photograph("1")]
    short, long = (
        make_clip(images, np.random.default_rng(9), frames=n, size=SIZE, noise=0) for n in (3, 6)
    )
    assert torch.equal(short, long[:3])


def test_widths_are_those_asked_for_and_the_published_ones_are_compressais() -> None:
    narrow = dict(ssf2020.build(8, 12, 12).named_parameters())
    published = dict(ssf2020.build(*ssf2020.WIDTHS).named_parameters())
    assert narrow.keys() == published.keys()
    assert narrow["res_decoder.0.weight"].shape == (24, 8, 5, 5)
    assert narrow["motion_hyperprior.hyper_decoder_scale.deconv3.weight"].shape == (12, 12, 5, 5)
    assert published["img_encoder.6.weight"].shape == (192, 128, 5, 5)


def test_rates_and_errors_are_means_over_frames() -> None:
    torch.manual_seed(0)
    model = ssf2020.build(4, 6, 3).eval()
    frames = torch.stack([clip(3, 3)[:, :, :64, :64]], dim=1)
    frames = torch.nn.functional.interpolate(frames.flatten(0, 1), (128, 128))[:, None]
    with torch.no_grad():
        bpp, mse = clip_rate_and_distortion(model, frames)
        only, error = clip_rate_and_distortion(model, frames[:1])
    assert bpp > 0
    assert not torch.equal(bpp, only)
    assert not torch.equal(mse, error)


def test_what_is_frozen_stays_and_the_rest_learns(folder: Path, tmp_path: Path) -> None:
    common = {"lmbda": 0.01, "learning_rate": 1e-3, "m": 6}
    start = Point(quality=4, steps=1, ships=False, **common)

    def trained(prefix: str) -> dict[str, torch.Tensor]:
        held = Point(quality=5, steps=2, start_from=4, frozen=(prefix,), **common)
        recipe = Recipe(family=ssf2020.NAME, n=4, seed=1, points=(start, held), optimizer="muon")
        (files,) = train(
            recipe, Clips(folder), tmp_path / "out", work=tmp_path / "work", report=lambda _: None
        )
        return read_checkpoint(files.weights)

    after = trained("img_")
    before = read_checkpoint(CodecFiles(tmp_path / "work", 4).weights)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.partition(".")[0] for name in changed} == {
        f"{branch}_{part}"
        for branch in ("motion", "res")
        for part in ("encoder", "decoder", "hyperprior")
    }
    CodecFiles(tmp_path / "out", 5).weights.unlink()
    with pytest.raises(UserError, match="'image_': no parameter begins with that"):
        trained("image_")


def test_parts_come_from_another_point_and_without_a_gain(folder: Path, tmp_path: Path) -> None:
    common = {"lmbda": 0.01, "learning_rate": 1e-3, "m": 6, "steps": 1}
    points = (
        Point(quality=1, ships=False, **common),
        Point(quality=2, ships=False, **(common | {"steps": 2})),
        Point(
            quality=3,
            start_from=1,
            gain=2.0,
            parts_from={"img_": 2},
            frozen=("img_", "motion_", "res_e"),
            chain=4,
            **common,
        ),
    )
    recipe = Recipe(family=ssf2020.NAME, n=4, seed=1, points=points, optimizer="muon")
    (files,) = train(
        recipe, Clips(folder), tmp_path / "out", work=tmp_path / "work", report=lambda _: None
    )
    after = read_checkpoint(files.weights)
    first, second = (read_checkpoint(CodecFiles(tmp_path / "work", q).weights) for q in (1, 2))
    for name in (n for n in after if n.startswith("img_")):
        assert torch.equal(after[name], second[name])
    last = "motion_encoder.6.weight"
    torch.testing.assert_close(after[last], 2 * first[last])
    assert files.read_record()["parts_from"] == {"img_": 2}


def test_training_goes_through_both_stages_and_starts_wider_ones(
    folder: Path, tmp_path: Path
) -> None:
    common = {"lmbda": 0.01, "learning_rate": 1e-4}
    points = (
        Point(quality=5, m=6, steps=4, **common),
        Point(quality=7, m=8, steps=1, start_from=5, **common),
    )
    recipe = Recipe(family=ssf2020.NAME, n=4, seed=1, points=points)
    seen: list[Progress] = []
    subject = Clips(folder)
    files = train(recipe, subject, tmp_path / "out", work=tmp_path / "work", report=seen.append)
    assert files == [CodecFiles(tmp_path / "out", 5), CodecFiles(tmp_path / "out", 7)]
    assert [(p.quality, p.step) for p in seen] == [(5, 4), (7, 1)]
    record = files[0].read_record()
    assert (record["family"], record["n"], record["m"], record["images"]) == ("ssf2020", 4, 6, 2)
    # The residual decoder's inputs, residual then motion, are widened each by itself.
    narrow = read_checkpoint(files[0].weights)
    fresh = dict(ssf2020.build(4, 8, 4).named_parameters())
    wide = widen(narrow, fresh, subject.stacked)["res_decoder.0.weight"]
    old = narrow["res_decoder.0.weight"].float()
    assert torch.equal(wide[:6], old[:6])
    assert torch.equal(wide[8:14], old[6:])
