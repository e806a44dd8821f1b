"""Both ends of the P-frame loop: what is identical where, the reference rule, padding, key frames, hashes, foreign streams."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from harness.case import rng
from harness.cells import platform_runner
from harness.codecs import ssf2020
from harness.codecs.video import BRANCHES
from harness.endpoints import Arrays
from harness.ends import check_header, header_of
from harness.errors import StreamError
from harness.images import pad_to_multiple, to_pixels, to_tensor
from harness.lowerings.base import Artifact
from harness.platforms.pool import Pool
from harness.trace import Trace
from harness.video.build import WARP_SPECIFICATION, VideoBuild, build
from harness.video.endpoints import CodedFrame, DecodedFrame, decode, encode
from harness.video.playback import play
from harness.video_stream import DamagedStream, FrameKind
from harness.warp import reference as warp
from harness.warp.specification import PICTURE_MAX
from tests.video import tiny
from tests.video.tiny import HEIGHT, WIDTH, built, changed, clip, coded, one_more, run

SIZE = (HEIGHT, WIDTH)
INTEGERS = [("w8a8", "hyperprior"), ("w8a8", "decoder")]
ENTROPY = ("z_symbols", "scales_hat", "means_hat", "indexes", "y_symbols", "y_hat")
KEY, INTER = FrameKind.KEY, FrameKind.INTER
Calls = list[tuple[str, Arrays, Arrays]]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as children:
        yield children


def frames_of(made: list[CodedFrame]) -> list:
    return [each.frame for each in made]


def picture(trace: Trace) -> np.ndarray:
    return trace.array("picture")


def gated(made: VideoBuild, trace: Trace) -> dict[str, str]:
    """Digests of what the scope makes the same everywhere."""
    found = {
        tensor.name: tensor.digest
        for tensor in trace.tensors
        if tensor.name.rpartition(".")[2] in ENTROPY
        or (made.has_integer_pictures and tensor.name == "picture")
    }
    branches = len({name.partition(".")[0] for name in found} & set(BRANCHES))
    assert branches
    assert len(found) == len(ENTROPY) * branches + made.has_integer_pictures
    return found


def agree(made: VideoBuild, encoded: list[CodedFrame], decoded: list[DecodedFrame]) -> None:
    for sent, shown in zip(encoded, decoded, strict=True):
        assert shown.problem == ""
        assert gated(made, sent.trace) == gated(made, shown.trace)


@pytest.mark.platform
@pytest.mark.parametrize("platform", ["ort-cpu", "torch", "dsp-exact32"])
@pytest.mark.parametrize(("precision", "scope"), INTEGERS, ids=["hyperprior", "decoder"])
def test_integers_are_the_same_on_both_ends(
    pool: Pool, platform: str, precision: str, scope: str
) -> None:
    made, there = built(precision, scope), platform_runner(pool, platform)
    agree(
        made,
        coded(precision, scope),
        list(decode(made, frames_of(coded(precision, scope)), SIZE, there)),
    )
    sent = list(encode(made, clip(2), there))
    agree(made, sent, list(decode(made, frames_of(sent), SIZE, run)))


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_one_end_agrees_with_itself(precision: str) -> None:
    made, sent = built(precision), coded(precision)
    shown = list(decode(made, frames_of(sent), SIZE, run))
    for one, other in zip(sent, shown, strict=True):
        assert other.problem == ""
        assert [(t.name, t.digest) for t in one.trace.tensors] == [
            (t.name, t.digest) for t in other.trace.tensors
        ]
    without = list(decode(made, frames_of(sent), SIZE, run, reconstruct=False))
    assert ["picture" in {t.name for t in each.trace.tensors} for each in without] == [False] * 3
    assert [each.problem for each in without] == [""] * 3


# The reference rule.


def watched(calls: Calls) -> tiny.Run:
    def watching(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        outputs = run(network, artifact, feeds)
        calls.append((artifact.network, dict(feeds), outputs))
        return outputs

    return watching


def feeds_of(calls: Calls, name: str) -> list[Arrays]:
    return [feeds for network, feeds, _ in calls if network == name]


def outputs_of(calls: Calls, name: str) -> list[np.ndarray]:
    return [next(iter(outputs.values())) for network, _, outputs in calls if network == name]


@pytest.mark.parametrize(("precision", "scope"), [("fp32", "hyperprior"), ("w8a8", "decoder")])
def test_every_frame_predicts_from_the_clamped_unrounded_frame_before(
    precision: str, scope: str
) -> None:
    made, calls = built(precision, scope), Calls()
    sent = list(encode(made, clip(3), watched(calls)))
    most = PICTURE_MAX if made.has_integer_pictures else 1
    whole = outputs_of(calls, "img_decoder") + [
        prediction + residual
        for prediction, residual in zip(
            outputs_of(calls, "warp"), outputs_of(calls, "res_decoder"), strict=True
        )
    ]
    assert len(whole) == 3
    assert any((each > most).any() for each in whole), "nothing to clamp: the rule was not tried"
    references = [np.clip(each, 0, most) for each in whole]
    for number, feeds in enumerate(feeds_of(calls, "warp")):
        assert feeds["reference"].dtype == (np.int32 if made.has_integer_pictures else np.float32)
        assert (feeds["reference"] == references[number]).all()
    for number, feeds in enumerate(feeds_of(calls, "motion_encoder")):
        known = references[number].astype(np.float32) / np.float32(most)
        x = to_tensor(pad_to_multiple(clip(3)[number + 1], 128))
        assert (feeds["x"] == np.concatenate([x, known], axis=1)).all()
    for one, reference in zip(sent, references, strict=True):
        eight = (
            ((reference + 32) >> 6).astype(np.uint8)[0].transpose(1, 2, 0)
            if made.has_integer_pictures
            else to_pixels(reference)
        )
        assert (picture(one.trace) == eight[:HEIGHT, :WIDTH]).all()


def test_the_integer_warp_that_runs_is_the_specified_one() -> None:
    calls = Calls()
    list(encode(built("w8a8", "decoder"), clip(2), watched(calls)))
    (feeds,), (made,) = feeds_of(calls, "warp"), outputs_of(calls, "warp")
    wanted = warp.predict(WARP_SPECIFICATION, feeds["reference"], feeds["motion"])
    assert np.asarray(wanted).astype(np.int32).tobytes() == made.astype(np.int32).tobytes()


def test_the_integer_warp_by_itself_stands_between_float_networks() -> None:
    calls, made = Calls(), built("fp32", "warp")
    sent = list(encode(made, clip(2), watched(calls)))
    (feeds,), (prediction,) = feeds_of(calls, "warp"), outputs_of(calls, "warp")
    (key,), (flow,) = outputs_of(calls, "img_decoder"), outputs_of(calls, "motion_decoder")
    assert {each.dtype for each in feeds.values()} == {np.dtype(np.int32)}
    assert np.abs(feeds["reference"] - np.clip(key, 0, 1) * PICTURE_MAX).max() <= 0.5
    units = 2.0 ** np.array([16, 16, 14])[:, None, None]
    assert np.abs(feeds["motion"] - np.clip(flow * units, -(2**15) + 1, 2**15 - 1)).max() <= 0.5
    wanted = warp.predict(WARP_SPECIFICATION, feeds["reference"], feeds["motion"])
    assert (np.asarray(wanted) == prediction).all()
    (residual_input,) = [each["x"] for each in feeds_of(calls, "res_encoder")]
    x = to_tensor(pad_to_multiple(clip(2)[1], 128))
    assert (residual_input == x - prediction.astype(np.float32) / np.float32(PICTURE_MAX)).all()
    assert (made.profile, made.has_integer_pictures) == ("float32/warp", False)
    assert made.specification != built("fp32").specification
    shown = list(decode(made, frames_of(sent), SIZE, run))
    assert [each.problem for each in shown] == ["", ""]
    assert (picture(shown[1].trace) == picture(sent[1].trace)).all()


# Padding and cropping.


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (128, 128), (3, 250)], ids=str)
def test_odd_sizes_are_padded_and_cropped(size: tuple[int, int]) -> None:
    made, shown = built("fp32"), clip(2, *size)
    sent = list(encode(made, shown, run))
    padded = list(encode(made, [pad_to_multiple(each, 128) for each in shown], run))
    for one, other in zip(sent, padded, strict=True):
        assert one.frame.branches == other.frame.branches
        assert picture(one.trace).shape == (*size, 3)
        assert (picture(one.trace) == picture(other.trace)[: size[0], : size[1]]).all()
        rows, columns = (-(-side // 128) for side in size)
        for tensor in one.trace.tensors:
            if tensor.name.endswith("y_symbols"):
                assert tensor.array().shape == (1, 12, 8 * rows, 8 * columns)
    for one, back in zip(sent, decode(made, frames_of(sent), size, run), strict=True):
        assert back.problem == ""
        assert (picture(back.trace) == picture(one.trace)).all()


# Key frames.


@pytest.mark.parametrize(
    ("intra", "kinds"),
    [(0, [KEY, INTER, INTER, INTER]), (2, [KEY, INTER, KEY, INTER]), (1, [KEY] * 4)],
)
def test_key_frames_come_as_often_as_asked(intra: int, kinds: list[FrameKind]) -> None:
    made, shown = built("fp32"), clip(4)
    sent = list(encode(made, shown, run, intra=intra))
    assert [each.frame.kind for each in sent] == kinds
    assert [each.frame.number for each in sent] == [0, 1, 2, 3]
    for number, each in enumerate(sent):
        if each.frame.kind is KEY:  # depends on nothing before it
            (alone,) = encode(made, shown[number : number + 1], run)
            assert alone.frame.branches == each.frame.branches
    if intra == 2:
        (first, second) = decode(made, frames_of(sent)[2:], SIZE, run)
        assert (first.number, second.number) == (2, 3)
        assert (picture(second.trace) == picture(sent[3].trace)).all()


def test_a_stream_cannot_start_with_a_p_frame() -> None:
    with pytest.raises(StreamError, match="frame 1 is a P frame without a frame before it"):
        list(decode(built("fp32"), frames_of(coded("fp32"))[1:], SIZE, run))


# Hashes.

WRONG = {
    "img hyper_decoder_scale": ("img_hyper_decoder_scale", "indexes", 0, "img"),
    "motion hyper_decoder_scale": ("motion_hyper_decoder_scale", "indexes", 1, "motion"),
    "res hyper_decoder_scale": ("res_hyper_decoder_scale", "indexes", 2, "res"),
}


@pytest.mark.parametrize("scope", ["hyperprior", "decoder"])
@pytest.mark.parametrize("which", WRONG)
def test_a_flipped_index_is_found_in_its_frame(which: str, scope: str) -> None:
    network, output, frame, branch = WRONG[which]
    made, sent = built("w8a8", scope), frames_of(coded("w8a8", scope))
    flips = changed(network, output, one_more, since=max(0, frame - 1))
    shown = list(decode(made, sent, SIZE, flips))
    assert [each.problem == "" for each in shown[:frame]] == [True] * frame
    assert shown[frame].problem.startswith(f"frame {frame}: the ")
    assert f" of {branch} do not match the stream's hash" in shown[frame].problem
    # `play` gives the frames before it, then says which it is; or goes on, as a user would see it.
    flips = changed(network, output, one_more, since=max(0, frame - 1))
    seen = []
    with pytest.raises(
        DamagedStream, match=rf"^frame {frame}: .*this platform computes"
    ) as stopped:
        seen.extend(play(made, sent, SIZE, flips))
    assert (len(seen), stopped.value.frame) == (frame, frame)
    flips = changed(network, output, one_more, since=max(0, frame - 1))
    going = list(play(made, sent, SIZE, flips, keep_going=True))
    assert [each.number for each in going] == [0, 1, 2]
    assert going[frame].problem == shown[frame].problem


def test_means_that_differ_are_found_though_no_index_does() -> None:
    made, sent = built("w8a8"), frames_of(coded("w8a8"))
    shown = list(decode(made, sent, SIZE, changed("res_hyper_decoder_mean", "means_hat", one_more)))
    assert [each.problem for each in shown[:2]] == [
        "",
        "frame 1: the entropy parameters do not match the stream's hash",
    ]


@pytest.mark.parametrize("network", ["img_decoder", "motion_decoder", "res_decoder", "warp"])
def test_pictures_that_differ_are_found_in_scope_decoder(network: str) -> None:
    made, sent = built("w8a8", "decoder"), frames_of(coded("w8a8", "decoder"))

    def darker(array: np.ndarray) -> np.ndarray:
        return (array - np.array(640, array.dtype)).astype(array.dtype)

    output = {"img": "reconstruction", "motion": "motion", "res": "residual", "warp": "prediction"}
    name = output[network.partition("_")[0]]
    shown = list(decode(made, sent, SIZE, changed(network, name, darker)))
    frame = 0 if network == "img_decoder" else 1
    assert [each.problem == "" for each in shown[:frame]] == [True] * frame
    assert shown[frame].problem == f"frame {frame}: the picture does not match the stream's hash"


def test_payloads_that_no_encoder_made_name_their_frame() -> None:
    made, sent = built("w8a8"), frames_of(coded("w8a8"))
    branches = sent[1].branches
    cut = replace(sent[1], branches=(replace(branches[0], payload_y=b"\0" * 6), branches[1]))
    other = replace(sent[1], branches=(replace(branches[0], z_hash=bytes(16)), branches[1]))
    for frame in (cut, other):
        seen = []
        with pytest.raises(DamagedStream, match=r"^frame 1: .*damaged") as stopped:
            seen.extend(play(made, [sent[0], frame, sent[2]], SIZE, run))
        assert (len(seen), stopped.value.frame) == (1, 1)


# Streams of something else.


def test_a_stream_of_another_build_is_refused() -> None:
    made = built("w8a8")
    header = header_of(made, SIZE, tiny.RATE)
    check_header(made, header)
    others = {
        "profile 'w8a8'": built("w8a8", "decoder"),
        "profile 'w8a8', specification": built("fp32"),
        "quality 1": replace(made, codec=replace(made.codec, quality=2)),
        "codec 'ssf2020'": replace(made, codec=replace(made.codec, family="other")),
    }
    for says, other in others.items():
        with pytest.raises(StreamError, match=says):
            check_header(other, header)
    seeded = ssf2020.load_foreign(tiny.weights(1), quality=tiny.QUALITY, origin="test")
    with pytest.raises(StreamError, match="specification"):
        check_header(build(seeded, "fp32", {}), header_of(built("fp32"), SIZE, tiny.RATE))


# Memory.


def canned(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
    """Outputs of the right shapes, at once, and latents that follow the picture: what is measured is the loop."""
    del network
    (first, *_) = feeds.values()
    _, _, height, width = first.shape
    part = artifact.network.partition("_")[2]
    if part == "encoder":
        y = 20 * first[:, :1, ::16, ::16] + np.zeros((1, 12, 1, 1))
        return {name: y.astype(np.float32) for name in artifact.outputs}
    channels, scale = {
        "hyper_encoder": (12, 1 / 8), "hyper_decoder_scale": (12, 8), "hyper_decoder_mean": (12, 8),
        "decoder": (3, 16), "": (3, 1),
    }[part]  # fmt: skip
    shape = (1, channels, int(height * scale), int(width * scale))
    return {name: np.zeros(shape, np.float32) for name in artifact.outputs}


def noise(count: int) -> Iterator[np.ndarray]:
    random = rng("video/noise")
    return (random.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(count))


def peak(count: int, *, keep: bool = False) -> int:
    """Bytes at most while so many frames are coded and decoded one by one."""
    made = built("fp32")
    sent = encode(made, noise(count), canned)
    kept = []
    tracemalloc.start()
    try:
        for each in decode(made, (each.frame for each in sent), (128, 128), canned):
            assert each.problem == ""
            kept += [each] if keep else []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    a_frame = 3 * 128 * 128
    peak(2)  # what is made once
    # By then the coder's cache of what it coded last is full.
    some = peak(24)
    assert peak(48) - some < a_frame
    assert peak(48, keep=True) - some > 15 * a_frame, "frames that are kept were not noticed"
