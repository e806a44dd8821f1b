"""The cells of one codec and one picture: both ends, compare, judge, each distinct piece of work once."""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from harness.build import DECODER
from harness.case import Case
from harness.cells import (
    Ends,
    Failed,
    Inputs,
    borrowed,
    decoder_runs,
    encoder_runs,
    gated_tensors,
)
from harness.codecs.video import VIDEO_FAMILIES
from harness.compare import Comparison, compare, merged
from harness.ends import Received, Sent
from harness.images import psnr
from harness.platforms.base import PLATFORMS
from harness.results import Panel
from harness.suite import Expect
from harness.trace import Trace
from harness.verdict import Severity, Verdict, judge

U8 = NDArray[np.uint8]
# The control whose desynchronised cells get figures.
BROKEN = "fp32"


@dataclass(frozen=True, kw_only=True)
class Work:
    """Cells of one codec and one picture, and what is expected of them.

    `show`: make a panel of every cell, not only of desynchronised controls. Without `reconstruct`, decoders of scope
    hyperprior stop at y_hat.
    """

    cases: tuple[Case, ...]
    inputs: Inputs
    expectations: Mapping[Case, Expect]
    show: bool = False
    reconstruct: bool = True


def groups(cases: Iterable[Case]) -> Iterator[tuple[Case, ...]]:
    """The cases by codec and picture, in the order of their names."""

    def key(case: Case) -> tuple[str, int, str]:
        return case.codec, case.quality, case.input

    for _, group in groupby(sorted(cases, key=lambda c: (key(c), str(c))), key):
        yield tuple(group)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Verdicts, the panel of the worst cell that has one, and the number of distinct float results."""

    verdicts: tuple[Verdict, ...]
    panels: tuple[Panel, ...]
    float_results: int


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """What the cells of one variant have in common: streams by encoder, decodes by stream and decoder, comparisons of both."""

    encoded: dict[str, Callable[[], Sent | Failed]] = field(default_factory=dict)
    decoded: dict[tuple[bytes, str], Callable[[], Received | Failed]] = field(default_factory=dict)
    compared: dict[tuple[int, int], Comparison] = field(default_factory=dict)


class Group:
    """Some work under way: its cells share encodes, decodes and comparisons, which only cells of one variant can."""

    def __init__(self, work: Work, ends: Ends) -> None:
        self._work = work
        self._ends = ends
        self._source = work.inputs.source(work.cases[0])
        self._shared: defaultdict[tuple[str, str, str], _Shared] = defaultdict(_Shared)

    def ask(self, stop: threading.Event) -> None:
        """Ask for all that the cells need, decodes as their streams arrive: ends that are elsewhere work side by side."""
        for case in self._work.cases:
            self._encode(case)
        for case in self._work.cases:
            if stop.is_set():
                break
            sent = self._encode(case)()
            if isinstance(sent, Sent):
                self._decode(case, sent)

    def run(self, stop: threading.Event) -> Finished:
        """Every cell, until `stop` is set; what a variant's cells shared is dropped behind the last of them."""
        verdicts, panels = [], []
        floats = 0
        for variant, cases in groupby(self._work.cases, _variant):
            done: list[Case] = []
            for case in cases:
                if stop.is_set():
                    break
                verdict, panel = self.cell(case)
                verdicts.append(verdict)
                done.append(case)
                if panel is not None:
                    panels.append((verdict.psnr_decoder_vs_encoder or 0.0, panel))
            floats = max(floats, self._distinct_floats(done))
            self._shared.pop(variant, None)
        worst = [panel for _, panel in sorted(panels, key=lambda pair: pair[0])[:1]]
        return Finished(verdicts=tuple(verdicts), panels=tuple(worst), float_results=floats)

    def cell(self, case: Case) -> tuple[Verdict, Panel | None]:
        """One case, and its panel if it gets one."""
        began = time.perf_counter()
        expect = self._work.expectations[case]
        sent = self._encode(case)()
        got = self._decode(case, sent)() if isinstance(sent, Sent) else sent
        if isinstance(got, Failed):
            verdict = Verdict(
                case=case,
                outcome=got.outcome,
                severity=Severity.NONE,
                expected=expect.outcome,
                reason=expect.reason,
                borrowed=_loans(case),
                message=got.message,
                seconds=time.perf_counter() - began,
            )
            return verdict, None
        assert isinstance(sent, Sent)
        comparison = self._compare(case, sent, got)
        outcome, severity = judge(comparison, decodable=not got.problem)
        originals = self._originals
        seen = [_picture(trace) for trace in got.frames]
        between = [
            psnr(_sure(_picture(ours)), theirs)
            for ours, theirs in zip(sent.frames, seen, strict=False)
            if theirs is not None
        ]
        verdict = Verdict(
            case=case,
            outcome=outcome,
            severity=severity,
            expected=expect.outcome,
            reason=expect.reason,
            comparison=comparison,
            borrowed=_loans(case),
            message=got.problem,
            bpp=8 * sent.payload_bytes / sum(p.shape[0] * p.shape[1] for p in originals),
            psnr=math.fsum(
                psnr(original, _sure(_picture(trace)))
                for original, trace in zip(originals, sent.frames, strict=True)
            )
            / len(originals),
            psnr_decoder_vs_encoder=min(between, default=None),
            seconds=time.perf_counter() - began,
        )
        if not between:
            return verdict, None
        if self._work.show or (case.precision == BROKEN and severity is Severity.DESYNC):
            worst = between.index(min(between))
            pair = sent.frames[worst], got.frames[worst]
            return verdict, _panel(case, originals[worst], *pair)
        return verdict, None

    @property
    def _originals(self) -> Sequence[U8]:
        """The pictures of the source, as many as there are frames."""
        return [self._source] if isinstance(self._source, np.ndarray) else self._source

    def _encode(self, case: Case) -> Callable[[], Sent | Failed]:
        encoded = self._shared[_variant(case)].encoded
        if case.encoder not in encoded:
            encoded[case.encoder] = self._ends.encode(case, self._source)
        return encoded[case.encoder]

    def _decode(self, case: Case, sent: Sent) -> Callable[[], Received | Failed]:
        decoded, key = self._shared[_variant(case)].decoded, (sent.stream, case.decoder)
        if key not in decoded:
            reconstruct = self._work.reconstruct or case.scope == DECODER
            decoded[key] = self._ends.decode(case, sent.stream, reconstruct=reconstruct)
        return decoded[key]

    def _compare(self, case: Case, sent: Sent, got: Received) -> Comparison:
        compared, key = self._shared[_variant(case)].compared, (id(sent), id(got))
        if key not in compared:
            frames = []
            for number, ours in enumerate(sent.frames):
                theirs = got.frames[number] if number < len(got.frames) else None
                kept = ours
                if theirs is not None and _picture(theirs) is None:
                    kept = _until(ours, theirs)
                frames.append(compare(kept, theirs, gated_tensors(case.scope, ours)))
            is_clip = case.codec in VIDEO_FAMILIES
            compared[key] = merged(frames) if is_clip else frames[0]
        return compared[key]

    def _distinct_floats(self, cases: Sequence[Case]) -> int:
        """Most distinct FP32 scales_hat that decoders made of one stream."""
        results: dict[bytes, set[str]] = {}
        for case in cases:
            if case.precision != BROKEN:
                continue
            sent = self._encode(case)()
            if isinstance(sent, Sent):
                got = self._decode(case, sent)()
                if isinstance(got, Received):
                    results.setdefault(sent.stream, set()).add(_float_result(got))
        return max(map(len, results.values()), default=0)


def _loans(case: Case) -> tuple[str, ...]:
    """Which networks either end borrowed, in words."""
    found = [
        f"{end}: {network} from {PLATFORMS[end].borrows_from}"
        for end, networks in (
            (case.encoder, encoder_runs(case)),
            (case.decoder, decoder_runs(case)),
        )
        for network in borrowed(case, end, networks)
    ]
    return tuple(dict.fromkeys(found))


def _variant(case: Case) -> tuple[str, str, str]:
    return case.precision, case.scope, case.lowering


def _float_result(got: Received) -> str:
    """Identifies all sigmas that a decoder computed."""
    digests = [
        tensor.digest
        for trace in got.frames
        for tensor in trace.tensors
        if tensor.name.rpartition(".")[2] == "scales_hat"
    ]
    return " ".join(digests)


def _sure(picture: U8 | None) -> U8:
    assert picture is not None, "encoders reconstruct"
    return picture


def _picture(trace: Trace) -> U8 | None:
    names = {tensor.name for tensor in trace.tensors}
    return trace.array("picture").astype(np.uint8, copy=False) if "picture" in names else None


def _until(ours: Trace, theirs: Trace) -> Trace:
    """The encoder's trace, without what a decoder that stops at y_hat does not make."""
    return replace(ours, tensors=ours.tensors[: len(theirs.tensors)])


def _panel(case: Case, original: U8, ours: Trace, theirs: Trace) -> Panel:
    """Of one frame, in whose latents y is coded one after the other."""
    flips = _differences(ours, theirs, "indexes")
    wrong = _differences(ours, theirs, "y_symbols")
    block = 16
    first = np.unravel_index(int(flips.argmax()), flips.shape) if flips.any() else None
    return Panel(
        case=case,
        original=original,
        encoder_picture=_sure(_picture(ours)),
        decoder_picture=_sure(_picture(theirs)),
        first_at=(int(first[2]) * block, int(first[3]) * block) if first else None,
        block=block,
        flipped_indexes=int(flips.sum()),
        wrong_symbols=int(wrong.sum()),
        symbols=int(wrong.size),
        before=int(wrong.argmax()) if wrong.any() else int(wrong.size),
    )


def _differences(ours: Trace, theirs: Trace, kind: str) -> NDArray[np.bool_]:
    """Where all tensors of a kind differ, along the channels of one behind the other."""
    names = [t.name for t in ours.tensors if t.name.rpartition(".")[2] == kind]
    found = [ours.array(name) != theirs.array(name) for name in names]
    return np.concatenate(found, axis=1)
