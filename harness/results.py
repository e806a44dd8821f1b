"""What a run leaves behind: verdicts, environments, panels for figures. Reports are pure functions of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.case import Case
from harness.covered import Judgement
from harness.verdict import Gate, Verdict

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The pictures behind one figure: 8-bit RGB [H, W, 3], and where the first divergence lies in them.

    `first_at` is the (row, column), in pixels, of the top left corner of the block whose index flipped first in
    coding order, None if none did; `block` is that block's side. `before` counts the symbols that come before the
    first wrong one in coding order.
    """

    case: Case
    original: NDArray[np.uint8]
    encoder_picture: NDArray[np.uint8]
    decoder_picture: NDArray[np.uint8]
    first_at: tuple[int, int] | None
    block: int
    flipped_indexes: int
    wrong_symbols: int
    before: int
    symbols: int


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """How many platforms were really different: names are not evidence, bits and kernels are.

    `float_results`: the largest number of distinct FP32 `scales_hat` that one input had over the platforms;
    `integer_kernels`: distinct `integer_kernel` values of the environments of the platforms that ran.
    """

    float_results: int
    integer_kernels: int
    platforms: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished (or interrupted) run of one suite; `judgements` by variant, where the linter was asked."""

    suite: str
    verdicts: tuple[Verdict, ...]
    environments: Mapping[str, Mapping[str, str]]
    gate: Gate
    panels: tuple[Panel, ...]
    kernels: Kernels
    seconds: float
    platform_seconds: float
    interrupted: bool = False
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
