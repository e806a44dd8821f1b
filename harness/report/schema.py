"""The shape of results.json, written down once as types; every other report is a function of it.

JSON has no infinity: where `pictures_identical` is true, a PSNR of `null` is infinite; where that
is `null` too, nothing was measured.
"""

import types
import typing
from functools import lru_cache
from typing import NotRequired, TypedDict


class TensorCounts(TypedDict):
    values: int
    bytes: int
    mismatched: int
    gated: bool
    differing_bits: NotRequired[int]


class DivergenceResult(TypedDict):
    """The fields of `harness.compare.Divergence`."""

    tensor: str
    kind: str
    gated: bool
    index: list[int]
    expected: str
    actual: str
    mismatched: int
    values: int
    identical_before: int


class CellResult(TypedDict):
    """One case and what became of it; `outcome`, `severity`, `expected` are the enums' values."""

    case: str
    codec: str
    quality: int
    precision: str
    scope: str
    lowering: str
    encoder: str
    decoder: str
    input: str
    outcome: str
    severity: str
    expected: str
    as_expected: bool
    reason: str
    message: str
    borrowed: list[str]
    first_divergence: DivergenceResult | None
    first_gated_divergence: DivergenceResult | None
    compared: dict[str, TensorCounts]
    bpp: float | None
    psnr: float | None
    psnr_decoder_vs_encoder: float | None
    pictures_identical: bool | None
    seconds: float


class KernelCounts(TypedDict):
    float_results: int
    integer_kernels: int
    platforms: int


class Summary(TypedDict):
    cells: int
    as_expected: int
    by_outcome: dict[str, int]
    compared_values: int
    exit_code: int
    problems: list[str]
    kernels: KernelCounts
    seconds: float
    platform_seconds: float
    interrupted: bool


class FigureResult(TypedDict):
    """A figure of this run: `figures/{name}.png`, and what it shows in plain words."""

    name: str
    case: str
    caption: str


class JudgementResult(TypedDict):
    """The linter on one variant: its verdict, and the runtimes of each rule of its table of deviations that fired."""

    verdict: str
    deviations: dict[str, list[str]]


class Results(TypedDict):
    """`lint`, by variant (codec/qN/precision/scope/lowering), is there where the suite asked the linter."""

    schema: int
    suite: str
    environment: dict[str, dict[str, str]]
    cells: list[CellResult]
    figures: list[FigureResult]
    summary: Summary
    lint: NotRequired[dict[str, JudgementResult]]


def misfit(value: object, hint: object, where: str = "results") -> str | None:
    """Where `value` is not what the type `hint` says, in one line; None if it is.

    >>> misfit({"float_results": 1, "integer_kernels": "2", "platforms": 3}, KernelCounts)
    'results.integer_kernels: expected int, got str'
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        found = [misfit(value, option, where) for option in arguments]
        return None if None in found else found[0]
    if isinstance(hint, type) and typing.is_typeddict(hint):
        return _misfit_of_fields(value, hint, where)
    if origin is list or origin is dict:
        if not isinstance(value, origin):
            return f"{where}: expected {origin.__name__}, got {type(value).__name__}"
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = [misfit(item, arguments[-1], f"{where}.{key}") for key, item in items]
        return next((line for line in found if line is not None), None)
    if _is_a(value, hint):
        return None
    return f"{where}: expected {_name(hint)}, got {_name(type(value))}"


def _misfit_of_fields(value: object, hint: type, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where}: expected an object, got {type(value).__name__}"
    for key, field in _fields(hint).items():
        if key not in value and key in getattr(hint, "__optional_keys__", ()):
            continue
        if key not in value:
            return f"{where}.{key}: missing"
        if (line := misfit(value[key], field, f"{where}.{key}")) is not None:
            return line
    return None


@lru_cache
def _fields(hint: type) -> dict[str, object]:
    return typing.get_type_hints(hint)


def _is_a(value: object, hint: object) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
