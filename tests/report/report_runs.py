"""Synthetic runs: no platform is needed to test a report."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.case import Case, rng
from harness.compare import Comparison, Divergence, TensorComparison
from harness.results import Kernels, Panel, Run
from harness.verdict import Expectation, Outcome, Severity, Verdict, gate

PLATFORMS = ("dsp-exact32", "onnx-reference", "ort-cpu", "torch")
PRECISIONS = ("fp32", "w8a8-qdq", "w8a8")
TENSORS = {"z_symbols": 4_096, "means_hat": 49_152, "indexes": 49_152, "y_symbols": 49_152,
           "y_hat": 49_152, "scales_hat": 49_152, "x_hat": 196_608, "picture": 196_608}  # fmt: skip
GATED = ("z_symbols", "means_hat", "indexes", "y_symbols", "y_hat")


def make_case(
    precision: str = "fp32",
    encoder: str = "ort-cpu",
    decoder: str = "torch",
    name: str = "astronaut",
) -> Case:
    return Case(
        codec="mbt2018-mean", quality=3, precision=precision, scope="hyperprior",
        lowering="mmi-u8u8" if precision == "w8a8" else "float32",
        encoder=encoder, decoder=decoder, input=name,
    )  # fmt: skip


def make_comparison(mismatched: dict[str, int]) -> Comparison:
    found = [
        Divergence(
            tensor=name, kind="value", gated=name in GATED, index=(0, 17, 3, 9), expected="-5",
            actual="-4", mismatched=count, values=TENSORS[name], identical_before=3,
        )
        for name, count in mismatched.items()
    ]  # fmt: skip
    return Comparison(
        tensors={
            name: TensorComparison(
                values=values, bytes=values * 4, mismatched=mismatched.get(name, 0),
                gated=name in GATED,
            )
            for name, values in TENSORS.items()
        },
        first=found[0] if found else None,
        first_gated=next((divergence for divergence in found if divergence.gated), None),
    )  # fmt: skip


def make_verdict(case: Case, outcome: Outcome, *, message: str = "") -> Verdict:
    """A verdict as the pipeline would give it; `w8a8` is expected to hold, the others to break."""
    desync = {"means_hat": 20_112, "indexes": 3, "y_symbols": 31_004, "y_hat": 40_000,
              "picture": 180_000}  # fmt: skip
    found = desync if outcome in {Outcome.DIVERGED, Outcome.UNDECODABLE} else {}
    identical = case.encoder == case.decoder
    if outcome is Outcome.IDENTICAL and not identical:
        found = {"x_hat": 150_000}
    holds = identical or case.precision == "w8a8"
    mild = Severity.ROUND_OFF if found else Severity.NONE
    return Verdict(
        case=case,
        outcome=outcome,
        severity=Severity.DESYNC if "indexes" in found else mild,
        expected=Expectation.IDENTICAL if holds else Expectation.DIVERGES,
        reason="integer only" if case.precision == "w8a8" else "summation order differs",
        comparison=make_comparison(found) if outcome.ran else None,
        borrowed=("g_s",) if case.decoder == "dsp-exact32" else (),
        message=message or ("hash of y_symbols differs" if outcome is Outcome.UNDECODABLE else ""),
        bpp=0.4123456 if outcome.ran else None,
        psnr=31.25 if outcome.ran else None,
        psnr_decoder_vs_encoder=(8.75 if "indexes" in found else math.inf) if outcome.ran else None,
        seconds=0.25,
    )  # fmt: skip


def make_panel(case: Case, *, lost: bool = True, side: int = 96) -> Panel:
    random = rng(str(case))
    ramp = np.linspace(0, 255, side)
    original = np.stack([np.add.outer(ramp, ramp) / 2, np.outer(ramp, ramp) / 255,
                         np.add.outer(ramp, -ramp) / 2 + 127], axis=2).astype(np.uint8)  # fmt: skip
    encoder_picture = (original // 4) * 4
    decoder_picture = encoder_picture.copy()
    if lost:
        decoder_picture[40:] = random.integers(0, 256, decoder_picture[40:].shape)
    return Panel(
        case=case, original=original, encoder_picture=encoder_picture,
        decoder_picture=decoder_picture, first_at=(40, 16) if lost else None, block=16,
        flipped_indexes=3 if lost else 0, wrong_symbols=31_004 if lost else 0,
        before=17 if lost else 49_152, symbols=49_152,
    )  # fmt: skip


def make_run(
    verdicts: Sequence[Verdict], panels: Sequence[Panel] = (), *, seconds: float = 12.5
) -> Run:
    return Run(
        suite="default",
        verdicts=tuple(verdicts),
        environments={
            name: {"runtime": name.split("-")[0], "version": "1.2.3", "integer_kernel": "vnni"}
            for name in PLATFORMS
        },
        gate=gate(verdicts, required=("ort-cpu", "torch"), absent=(),
                  must_diverge=sorted({v.case.precision for v in verdicts} - {"w8a8"})),
        panels=tuple(panels),
        kernels=Kernels(float_results=3, integer_kernels=2, platforms=len(PLATFORMS)),
        seconds=seconds,
        platform_seconds=seconds / 2,
    )  # fmt: skip


def usual_outcome(case: Case) -> Outcome:
    if case.precision == "w8a8" or case.encoder == case.decoder:
        return Outcome.IDENTICAL
    return Outcome.DIVERGED if case.precision == "w8a8-qdq" else Outcome.UNDECODABLE


def make_grid(outcome: Callable[[Case], Outcome] = usual_outcome, inputs: int = 2) -> list[Verdict]:
    """Every encoder with every decoder in every precision."""
    cases = [
        make_case(precision, encoder, decoder, f"picture{number}")
        for precision in PRECISIONS
        for encoder in PLATFORMS
        for decoder in PLATFORMS
        for number in range(inputs)
    ]
    return [make_verdict(case, outcome(case)) for case in cases]
