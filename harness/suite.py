"""Suites: TOML files that say which cases run and what is expected of them. Knows names, runs nothing."""

import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import fixtures
from harness.case import Case
from harness.compare import SCOPES
from harness.errors import UserError
from harness.lowerings.base import default_lowering
from harness.specification import Precision
from harness.verdict import Expectation


@dataclass(frozen=True, kw_only=True)
class Expect:
    outcome: Expectation
    reason: str


# Has a file beside the suites, but is no product of names: see selftest.py.
SELFTEST = "selftest"
# Precisions without an integer specification.
CONTROLS = {"fp32", "w8a8-qdq"}
SAME_PLATFORM = Expect(
    outcome=Expectation.IDENTICAL, reason="one platform at both ends repeats its own bits"
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A product of names; every list may hold shell-style patterns."""

    codecs: tuple[str, ...]
    precisions: tuple[str, ...]
    images: tuple[str, ...]
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Suite:
    name: str
    summary: str
    scope: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    must_diverge: tuple[str, ...]
    blocks: tuple[Block, ...]
    expectations: Mapping[str, Expect]

    def with_platforms(self, names: Sequence[str]) -> "Suite":
        """The same suite with more required platforms."""
        return replace(
            self, required=(*self.required, *(n for n in names if n not in self.required))
        )

    def cases(
        self,
        *,
        codecs: Sequence[str],
        images: Sequence[str],
        platforms: Sequence[str],
        pattern: str = "*",
    ) -> dict[Case, Expect]:
        """Every case that the blocks span over these names and `pattern` matches, in order, without repeats."""
        cases: dict[Case, Expect] = {}
        for block in self.blocks:
            for codec in _select(block.codecs, codecs):
                family, _, quality = codec.rpartition("/q")
                for image in _select(block.images, images):
                    for precision in block.precisions:
                        for encoder in _select(block.encoders, platforms):
                            for decoder in _select(block.decoders, platforms):
                                case = Case(
                                    codec=family,
                                    quality=int(quality),
                                    precision=precision,
                                    scope=self.scope,
                                    lowering=default_lowering(precision),
                                    encoder=encoder,
                                    decoder=decoder,
                                    input=image,
                                )
                                if case.matches(pattern):
                                    cases.setdefault(case, self.expect(case))
        return cases

    def expect(self, case: Case) -> Expect:
        if case.encoder == case.decoder:
            return SAME_PLATFORM
        return self.expectations.get(
            case.precision, Expect(outcome=Expectation.IDENTICAL, reason="not stated")
        )


def on_all_images(suite: Suite) -> Suite:
    """The same suite with every picture in every block (for pictures that the suite does not know)."""
    return replace(suite, blocks=tuple(replace(block, images=("*",)) for block in suite.blocks))


def on_all_codecs(suite: Suite) -> Suite:
    """The same suite with every codec in every block (for a codec that the suite does not know)."""
    return replace(suite, blocks=tuple(replace(block, codecs=("*",)) for block in suite.blocks))


def _select(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return [
        name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]


def available() -> list[str]:
    stems = {path.stem for path in (fixtures.root() / "suites").glob("*.toml")}
    return sorted(stems - {SELFTEST})


def load(name: str) -> Suite:
    """A suite that ships, by name, or a TOML file of your own, by path; UserError says what is wrong with it."""
    shipped = fixtures.root() / "suites" / f"{name}.toml"
    path = shipped if name in available() else Path(name)
    if not path.is_file():
        raise UserError(
            f"no suite {name!r}; there are: {', '.join(available())}, or give a .toml file"
        )
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        expectations = {
            key: _expectation(**value) for key, value in raw.pop("expectations", {}).items()
        }
        blocks = tuple(
            Block(**{key: _strings(value) for key, value in block.items()})
            for block in raw.pop("blocks", [])
        )
        suite = Suite(
            name=path.stem,
            summary=str(raw.pop("summary")),
            scope=str(raw.pop("scope")),
            required=_strings(raw.pop("required")),
            optional=_strings(raw.pop("optional", [])),
            must_diverge=_strings(raw.pop("must_diverge", [])),
            blocks=blocks,
            expectations=expectations,
        )
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(f"suite {path}: {type(error).__name__}: {error}") from error
    if raw:
        raise UserError(f"suite {path}: unknown fields {', '.join(sorted(raw))}")
    if suite.scope not in SCOPES:
        raise UserError(f"suite {path}: no scope {suite.scope!r}; known: {', '.join(SCOPES)}")
    if not suite.blocks or not suite.required:
        raise UserError(f"suite {path}: it needs at least one [[blocks]] and one required platform")
    precisions = {precision for block in suite.blocks for precision in block.precisions}
    for precision in precisions - CONTROLS:
        Precision.parse(precision)
    idle = sorted({*suite.expectations, *suite.must_diverge} - precisions)
    if idle:
        raise UserError(
            f"suite {path}: no block runs {', '.join(idle)}, yet something is expected of it"
        )
    return suite


def _expectation(outcome: str, reason: str) -> Expect:
    return Expect(outcome=Expectation(outcome), reason=str(reason))


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of strings, got {value!r}")
    return tuple(value)
