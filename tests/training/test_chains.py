"""Chains of P frames: they go on where they were, end, and can be taken up again."""

import numpy as np
import pytest
import torch
from PIL import Image

from harness.case import rng
from harness.codecs import ssf2020
from harness.compressai_import import CompressionModel
from harness.training import chains as module
from harness.training.chains import CHAINS, FRAMES, Chains, inter_rate_and_distortion
from harness.training.initialise import initialise

LENGTH = 7


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", (128, 128))
    monkeypatch.setattr(module, "WIDE_SIZE", (128, 256))
    monkeypatch.setattr(module, "IS_WRONG", 0.0)


@pytest.fixture(scope="module")
def model() -> CompressionModel:
    torch.manual_seed(3)
    made = ssf2020.build(4, 6, 4).eval()
    initialise(made)
    return made


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    coarse = rng("chains").integers(0, 256, (2, 32, 34, 3), dtype=np.uint8)
    return [
        np.asarray(Image.fromarray(c).resize((272, 256), Image.Resampling.BICUBIC)) for c in coarse
    ]


def go(chains: Chains, model: CompressionModel, steps: range) -> list[float]:
    """The errors of these steps."""
    with torch.no_grad():
        return [
            float(chains.step(model, np.random.default_rng(s), step=s, length=LENGTH)[1])
            for s in steps
        ]


def where(chains: Chains, place: int) -> tuple[int, int, int]:
    return tuple(chains.state_dict()[f"{place}.numbers"].tolist())


def test_rates_and_errors_are_those_of_predictions_from_what_was_decoded(
    model: CompressionModel,
) -> None:
    frames = torch.rand(3, 1, 3, 128, 128)
    reference, errors = torch.rand(1, 3, 128, 128), []
    start = reference
    with torch.no_grad():
        for frame in frames:
            x_hat, _ = model.forward_inter(frame, reference)
            reference = x_hat.clamp(0, 1)
            errors.append(torch.mean((x_hat - frame) ** 2))
        rate, error, last = inter_rate_and_distortion(model, frames, start)
    assert torch.equal(last, reference)
    torch.testing.assert_close(error, torch.stack(errors).mean())
    assert rate > 0
    # Which frames count must be seen in the numbers.
    assert not torch.isclose(error, errors[0])


def test_a_chain_goes_on_from_its_own_pictures_and_another_follows_it(
    model: CompressionModel, images: list[np.ndarray]
) -> None:
    chains, place = Chains(images), CHAINS - 1
    seen = []
    for turn in range(5):
        go(chains, model, range(place + CHAINS * turn, place + CHAINS * turn + 1))
        seen.append(where(chains, place))
    assert [frame for _, frame, _ in seen] == [1 + FRAMES * n for n in (1, 2, 3, 1, 2)]
    assert len({seed for seed, _, _ in seen[:3]}) == 1
    assert seen[2][0] != seen[3][0] == seen[4][0]
    assert {end for _, _, end in seen[:3]} == {1 + LENGTH}


def test_the_first_chains_end_at_different_frames(
    model: CompressionModel, images: list[np.ndarray]
) -> None:
    chains = Chains(images)
    go(chains, model, range(CHAINS))
    ends = {where(chains, place)[2] for place in range(CHAINS)}
    assert ends == set(range(1, 2 + LENGTH))


def test_every_frame_is_learned_from_and_no_gradient_crosses_steps(
    model: CompressionModel, images: list[np.ndarray]
) -> None:
    chains = Chains(images)
    for step in (1, 1 + CHAINS):
        rate, error = chains.step(model, np.random.default_rng(step), step=step, length=60)
        (rate + error).backward()  # twice through the same graph would raise
    assert not chains.state_dict()["1.reference"].requires_grad
    assert all(
        p.grad is not None for n, p in model.named_parameters() if n.startswith("res_decoder")
    )
    # Key frames are what the chain starts from, and learn nothing by it.
    assert all(p.grad is None for n, p in model.named_parameters() if n.startswith("img_"))


def test_chains_taken_up_again_are_the_same(
    model: CompressionModel, images: list[np.ndarray]
) -> None:
    through, stopped, resumed = Chains(images), Chains(images), Chains(images)
    expected = go(through, model, range(20))
    first = go(stopped, model, range(14))
    resumed.load_state_dict(stopped.state_dict())
    assert first + go(resumed, model, range(14, 20)) == expected
    resumed.load_state_dict({})
    assert resumed.state_dict() == {}


def test_references_can_have_a_patch_of_something_else(
    model: CompressionModel, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def kept(_: object, clip: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(reference)
        return torch.zeros(()), torch.zeros(()), clip[-1]

    monkeypatch.setattr(module, "inter_rate_and_distortion", kept)
    for chance in (0.0, 1.0):
        monkeypatch.setattr(module, "IS_WRONG", chance)
        Chains(images).step(model, np.random.default_rng(2), step=1, length=LENGTH)
    right, wrong = seen
    changed = (right - wrong).abs().amax(1) > 0.01
    assert 0 < changed.float().mean() < 1
