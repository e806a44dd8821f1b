"""Latents times a gain: what stands between encoder and decoder grows, what comes out of the decoder does not."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from harness.codecs import ssf2020
from harness.codecs.base import FAMILIES
from harness.errors import UserError
from harness.training.clips import Clips
from harness.training.gain import scale_latents
from harness.training.initialise import initialise
from harness.training.stills import Stills

GAIN = 1.5


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    Image.new("RGB", (256, 256), (90, 120, 30)).save(tmp_path / "a.png")
    return tmp_path


def test_a_gain_changes_the_step_of_quantization_alone() -> None:
    torch.manual_seed(1)
    model = ssf2020.build(8, 12, 6).eval()
    initialise(model)
    finer = ssf2020.build(8, 12, 6).eval()
    weights = scale_latents(dict(model.named_parameters()), Clips.gains, GAIN)
    assert set(Clips.gains) <= set(weights)
    torch.nn.Module.load_state_dict(finer, weights, strict=False)
    with torch.no_grad():
        for branch, channels in (("img", 3), ("motion", 6), ("res", 3)):
            x = torch.rand(1, channels, 128, 128)
            latents = []
            for each in (model, finer):
                part = {n: getattr(each, f"{branch}_{n}") for n in ("encoder", "decoder")}
                hyper = getattr(each, f"{branch}_hyperprior")
                y = part["encoder"](x)
                z = hyper.hyper_encoder(y)
                stacked = torch.cat([y, y], dim=1) if branch == "res" else y
                scales = hyper.hyper_decoder_scale(z)
                latents.append(
                    (y, z, hyper.hyper_decoder_mean(z), scales, part["decoder"](stacked))
                )
            grown = (GAIN, 1, GAIN, GAIN, 1)
            for before, after, factor in zip(*latents, grown, strict=True):
                assert before.abs().max() > 0
                torch.testing.assert_close(after, factor * before, rtol=1e-4, atol=1e-5)


def test_a_family_without_gains_refuses_one(photographs: Path) -> None:
    stills = Stills(FAMILIES["mbt2018-mean"], photographs)
    assert scale_latents({"a": torch.ones(1)}, stills.gains, 1.0) == {"a": torch.ones(1)}
    with pytest.raises(UserError, match="no gain"):
        scale_latents({"a": torch.ones(1)}, stills.gains, 2.0)
