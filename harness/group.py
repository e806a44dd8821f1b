"""The cells of one codec and one picture: both ends, compare, judge, each distinct piece of work once."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from harness.bitstream import pack
from harness.build import DECODER
from harness.case import Case
from harness.cells import (
    DECODER_RUNS,
    ENCODER_RUNS,
    Ends,
    Failed,
    Inputs,
    borrowed,
    gated_tensors,
)
from harness.compare import Comparison, compare
from harness.endpoints import Decoded, Encoded
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


class Group:
    """Some work under way: its cells share encodes, decodes and comparisons."""

    def __init__(self, work: Work, ends: Ends) -> None:
        self._work = work
        self._ends = ends
        self._pixels = work.inputs.pictures[work.cases[0].input]()
        self._encoded: dict[tuple[str, ...], Callable[[], Encoded | Failed]] = {}
        self._decoded: dict[tuple[bytes, str, str], Callable[[], Decoded | Failed]] = {}
        self._compared: dict[tuple[int, int], Comparison] = {}

    def ask(self, stop: threading.Event) -> None:
        """Ask for all that the cells need, decodes as their streams arrive: ends that are elsewhere work side by side."""
        for case in self._work.cases:
            self._encode(case)
        for case in self._work.cases:
            if stop.is_set():
                break
            sent = self._encode(case)()
            if isinstance(sent, Encoded):
                self._decode(case, sent)

    def run(self, stop: threading.Event) -> Finished:
        """Every cell, until `stop` is set."""
        verdicts, panels = [], []
        for case in self._work.cases:
            if stop.is_set():
                break
            verdict, panel = self.cell(case)
            verdicts.append(verdict)
            if panel is not None:
                panels.append((verdict.psnr_decoder_vs_encoder or 0.0, panel))
        worst = [panel for _, panel in sorted(panels, key=lambda pair: pair[0])[:1]]
        return Finished(
            verdicts=tuple(verdicts),
            panels=tuple(worst),
            float_results=self._distinct_floats([verdict.case for verdict in verdicts]),
        )

    def cell(self, case: Case) -> tuple[Verdict, Panel | None]:
        """One case, and its panel if it gets one."""
        began = time.perf_counter()
        expect = self._work.expectations[case]
        sent = self._encode(case)()
        got = self._decode(case, sent)() if isinstance(sent, Encoded) else sent
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
        assert isinstance(sent, Encoded)
        comparison = self._compare(case, sent.trace, got.trace)
        outcome, severity = judge(comparison, decodable=not got.problem)
        ours, theirs = _picture(sent.trace), _picture(got.trace)
        assert ours is not None
        verdict = Verdict(
            case=case,
            outcome=outcome,
            severity=severity,
            expected=expect.outcome,
            reason=expect.reason,
            comparison=comparison,
            borrowed=_loans(case),
            message=got.problem,
            bpp=8 * sent.bitstream.payload_bytes / (self._pixels.shape[0] * self._pixels.shape[1]),
            psnr=psnr(self._pixels, ours),
            psnr_decoder_vs_encoder=None if theirs is None else psnr(ours, theirs),
            seconds=time.perf_counter() - began,
        )
        if theirs is None:
            return verdict, None
        if self._work.show or (case.precision == BROKEN and severity is Severity.DESYNC):
            return verdict, _panel(case, (self._pixels, ours, theirs), sent.trace, got.trace)
        return verdict, None

    def _encode(self, case: Case) -> Callable[[], Encoded | Failed]:
        key = (*_variant(case), case.encoder)
        if key not in self._encoded:
            self._encoded[key] = self._ends.encode(case, self._pixels)
        return self._encoded[key]

    def _decode(self, case: Case, sent: Encoded) -> Callable[[], Decoded | Failed]:
        stream = pack(sent.bitstream)
        key = (stream, case.lowering, case.decoder)
        if key not in self._decoded:
            reconstruct = self._work.reconstruct or case.scope == DECODER
            self._decoded[key] = self._ends.decode(case, stream, reconstruct=reconstruct)
        return self._decoded[key]

    def _compare(self, case: Case, ours: Trace, theirs: Trace) -> Comparison:
        key = (id(ours), id(theirs))
        if key not in self._compared:
            kept = ours if _picture(theirs) is not None else _until(ours, theirs)
            self._compared[key] = compare(kept, theirs, gated_tensors(case.scope, ours))
        return self._compared[key]

    def _distinct_floats(self, cases: Sequence[Case]) -> int:
        """Most distinct FP32 scales_hat that decoders made of one stream."""
        results: dict[bytes, set[str]] = {}
        for case in cases:
            if case.precision != BROKEN:
                continue
            sent = self._encode(case)()
            if isinstance(sent, Encoded):
                got = self._decode(case, sent)()
                if isinstance(got, Decoded):
                    results.setdefault(pack(sent.bitstream), set()).add(
                        got.trace["scales_hat"].digest
                    )
        return max(map(len, results.values()), default=0)


def _loans(case: Case) -> tuple[str, ...]:
    """Which networks either end borrowed, in words."""
    found = [
        f"{end}: {network} from {PLATFORMS[end].borrows_from}"
        for end, networks in ((case.encoder, ENCODER_RUNS), (case.decoder, DECODER_RUNS))
        for network in borrowed(case, end, networks)
    ]
    return tuple(dict.fromkeys(found))


def _variant(case: Case) -> tuple[str, str, str]:
    return case.precision, case.scope, case.lowering


def _picture(trace: Trace) -> U8 | None:
    names = {tensor.name for tensor in trace.tensors}
    return trace.array("picture").astype(np.uint8, copy=False) if "picture" in names else None


def _until(ours: Trace, theirs: Trace) -> Trace:
    """The encoder's trace, without what a decoder that stops at y_hat does not make."""
    return replace(ours, tensors=ours.tensors[: len(theirs.tensors)])


def _panel(case: Case, pictures: tuple[U8, U8, U8], ours: Trace, theirs: Trace) -> Panel:
    """`pictures`: the original, the encoder's and the decoder's."""
    pixels, ours_picture, theirs_picture = pictures
    flips = ours.array("indexes") != theirs.array("indexes")
    wrong = ours.array("y_symbols") != theirs.array("y_symbols")
    block = 16
    first = np.unravel_index(int(flips.argmax()), flips.shape) if flips.any() else None
    return Panel(
        case=case,
        original=pixels,
        encoder_picture=ours_picture,
        decoder_picture=theirs_picture,
        first_at=(int(first[2]) * block, int(first[3]) * block) if first else None,
        block=block,
        flipped_indexes=int(flips.sum()),
        wrong_symbols=int(wrong.sum()),
        symbols=int(wrong.size),
        before=int(wrong.argmax()) if wrong.any() else int(wrong.size),
    )
