"""Cells of clips: streams of both ends, comparisons over frames and latents, verdicts and panels."""

import threading
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness import ends
from harness.case import Case
from harness.cells import Failed, Inputs, attempt
from harness.compare import SCOPES, compare, merged, scope_of
from harness.endpoints import Run
from harness.ends import Received, Sent, Source
from harness.errors import StreamError
from harness.group import Group, Work
from harness.suite import Expect
from harness.trace import TensorRecord, Trace
from harness.verdict import Expectation, Outcome, Severity
from tests.video import tiny

CLIP = tiny.clip(3)


def case(precision: str, scope: str = "hyperprior") -> Case:
    return Case(
        codec="ssf2020", quality=tiny.QUALITY, precision=precision, scope=scope, lowering="any",
        encoder="ort-cpu", decoder="torch", input="soft",
    )  # fmt: skip


class Ends:
    """Both ends in this process; the decoder's networks may be wrong."""

    def __init__(self, decode: Run = tiny.run) -> None:
        self._decode = decode

    def encode(self, asked: Case, source: Source) -> Callable[[], Sent | Failed]:
        made = tiny.built(asked.precision, asked.scope)
        return lambda: attempt(lambda: ends.encode(made, source, tiny.run))

    def decode(
        self, asked: Case, stream: bytes, *, reconstruct: bool
    ) -> Callable[[], Received | Failed]:
        made = tiny.built(asked.precision, asked.scope)
        done = attempt(lambda: ends.decode(made, stream, self._decode, reconstruct=reconstruct))
        return lambda: done


def group(asked: Case, decode: Run = tiny.run, **options: bool) -> Group:
    return Group(work_of(asked, **options), Ends(decode))


def work_of(*cases: Case, **options: bool) -> Work:
    expect = Expect(outcome=Expectation.IDENTICAL, reason="test")
    inputs = Inputs(build=None, pictures={}, clips={"soft": lambda: CLIP})  # type: ignore[arg-type]
    return Work(cases=cases, inputs=inputs, expectations=dict.fromkeys(cases, expect), **options)


@pytest.mark.parametrize("scope", ["hyperprior", "decoder"])
def test_a_clip_that_comes_back_is_identical_and_everything_is_counted(scope: str) -> None:
    asked = case("w8a8", scope)
    (verdict,) = group(asked).run(threading.Event()).verdicts
    assert (verdict.outcome, verdict.severity) == (Outcome.IDENTICAL, Severity.NONE)
    comparison = verdict.comparison
    assert comparison is not None
    gated = {name for name, one in comparison.tensors.items() if one.gated}
    assert gated == set(SCOPES[scope])
    # One latent in the key frame, two in each P frame, 8 x 8 of 12 channels each.
    assert comparison.tensors["y_symbols"].values == (1 + 2 + 2) * 12 * 8 * 8
    assert comparison.tensors["picture"].values == 3 * tiny.HEIGHT * tiny.WIDTH * 3
    sent = ends.encode(tiny.built("w8a8", scope), CLIP, tiny.run)
    assert verdict.bpp == 8 * sent.payload_bytes / (3 * tiny.HEIGHT * tiny.WIDTH)
    assert verdict.psnr_decoder_vs_encoder == float("inf")


def test_without_pictures_only_the_entropy_parameters_are_compared() -> None:
    (verdict,) = group(case("w8a8"), reconstruct=False).run(threading.Event()).verdicts
    assert verdict.outcome is Outcome.IDENTICAL
    assert verdict.comparison is not None
    assert "picture" not in verdict.comparison.tensors
    assert verdict.psnr_decoder_vs_encoder is None


def test_a_wrong_index_in_a_later_frame_is_named_by_its_frame() -> None:
    wrong = tiny.changed("res_hyper_decoder_scale", "indexes", tiny.one_more, since=1)
    done = group(case("w8a8"), wrong, show=True).run(threading.Event())
    (verdict,) = done.verdicts
    assert verdict.outcome is Outcome.UNDECODABLE
    assert verdict.severity in {Severity.INDEX, Severity.DESYNC}
    first = verdict.first_divergence
    assert first is not None
    assert first.tensor == "frame 2 res.indexes"
    assert "frame 2" in verdict.message
    (panel,) = done.panels
    assert panel.flipped_indexes == 1
    assert panel.original.shape == (tiny.HEIGHT, tiny.WIDTH, 3)


def test_a_picture_that_differs_is_round_off_in_one_scope_and_divergence_in_the_other() -> None:
    wrong = tiny.changed("res_decoder", "residual", lambda x: (x + x.dtype.type(1)).astype(x.dtype))
    (verdict,) = group(case("w8a8"), wrong).run(threading.Event()).verdicts
    assert (verdict.outcome, verdict.severity) == (Outcome.IDENTICAL, Severity.ROUND_OFF)
    wrong = tiny.changed("res_decoder", "residual", lambda x: x + np.int32(64))
    (verdict,) = group(case("w8a8", "decoder"), wrong).run(threading.Event()).verdicts
    assert verdict.outcome is Outcome.UNDECODABLE  # the stream carries the hash of its pictures
    assert verdict.first_divergence is not None
    assert verdict.first_divergence.tensor == "frame 1 picture"


def test_what_a_decoder_does_not_come_to_is_missing() -> None:
    whole = ends.encode(tiny.built("w8a8"), CLIP, tiny.run)
    cut = whole.stream[: len(whole.stream) - 40]
    received = ends.decode(tiny.built("w8a8"), cut, tiny.run, reconstruct=True)
    assert len(received.frames) in {1, 2}
    assert "frame" in received.problem
    with pytest.raises(StreamError):
        ends.decode(tiny.built("w8a8"), whole.stream[:150], tiny.run, reconstruct=True)
    gated = scope_of([t.name for t in whole.frames[2].tensors], "hyperprior")
    nothing = compare(whole.frames[2], None, gated)
    assert nothing.first_gated is not None
    assert nothing.first_gated.kind == "missing"


def trace(**tensors: list[int]) -> Trace:
    records = [
        TensorRecord.of(k.replace("_dot_", "."), np.array(v, np.int32)) for k, v in tensors.items()
    ]
    return Trace(tensors=tuple(records), environment={})


def test_counts_of_a_clip_are_sums_over_frames_and_latents() -> None:
    ours = trace(motion_dot_indexes=[1, 2], res_dot_indexes=[3, 4], picture=[5])
    theirs = trace(motion_dot_indexes=[1, 2], res_dot_indexes=[3, 5], picture=[5])
    gated = scope_of([t.name for t in ours.tensors], "hyperprior")
    assert "motion.indexes" in gated
    assert "motion.means_hat" not in gated  # it has none
    assert "motion.y_hat" in gated  # gated, though this trace lacks it
    names = ("motion.indexes", "res.indexes")
    whole = merged([compare(ours, ours, names), compare(ours, theirs, names)])
    assert (whole.tensors["indexes"].values, whole.tensors["indexes"].mismatched) == (8, 1)
    assert whole.first is not None
    assert whole.first.tensor == "frame 1 res.indexes"
    assert merged([compare(ours, ours, names)] * 2).first is None
    assert scope_of(["indexes", "picture"], "decoder") == (
        "z_symbols", "indexes", "y_symbols", "y_hat", "picture",
    )  # fmt: skip


def test_a_case_of_a_clip_is_read_from_the_clips() -> None:
    inputs = Inputs(build=None, pictures={}, clips={"soft": lambda: CLIP})  # type: ignore[arg-type]
    assert inputs.source(case("fp32")) is CLIP
    with pytest.raises(KeyError):
        inputs.source(replace(case("fp32"), codec="mbt2018-mean"))


def test_a_variants_traces_are_dropped_behind_its_last_cell_and_made_once() -> None:
    made: list[tuple[str, weakref.ref[Sent]]] = []
    alive: list[list[str]] = []

    class Watched(Ends):
        def encode(self, asked: Case, source: Source) -> Callable[[], Sent | Failed]:
            alive.append([name for name, sent in made if sent() is not None])
            sent = super().encode(asked, source)()
            assert isinstance(sent, Sent)
            made.append((asked.precision, weakref.ref(sent)))
            return lambda: sent

    decoders = ("ort-cpu", "torch")
    cases = [
        replace(case(precision), decoder=name)
        for precision in ("fp32", "w16a16", "w8a8")
        for name in decoders
    ]
    done = Group(work_of(*cases), Watched()).run(threading.Event())
    assert [verdict.outcome for verdict in done.verdicts] == [Outcome.IDENTICAL] * 6
    assert [name for name, _ in made] == ["fp32", "w16a16", "w8a8"]
    assert alive == [[], [], []]
    assert done.float_results == 1


def test_what_was_asked_for_beforehand_is_not_asked_for_again() -> None:
    asked: list[str] = []

    class Counted(Ends):
        def encode(self, wanted: Case, source: Source) -> Callable[[], Sent | Failed]:
            asked.append(wanted.precision)
            return super().encode(wanted, source)

    group = Group(work_of(case("w16a16"), case("w8a8")), Counted())
    group.ask(threading.Event())
    assert len(group.run(threading.Event()).verdicts) == 2
    assert asked == ["w16a16", "w8a8"]
