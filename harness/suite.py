"""Suites: TOML files that say which cases run and what is expected of them. Knows names, runs nothing."""

import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from harness import fixtures
from harness.case import Case, cropped_name
from harness.compare import SCOPES
from harness.errors import UserError
from harness.lowerings.base import default_lowering
from harness.precision import CONTROLS, Precision
from harness.verdict import Expectation


@dataclass(frozen=True, kw_only=True)
class Expect:
    outcome: Expectation
    reason: str


# What a suite's file may say, and whether it must.
SUITE_FIELDS = {
    **dict.fromkeys(("summary", "scope", "required"), True),
    **dict.fromkeys(("reconstruct", "may_refuse", "linted", "optional", "must_diverge"), False),
    **dict.fromkeys(("blocks", "expectations"), False),
}
BLOCK_FIELDS = {
    **dict.fromkeys(("codecs", "precisions", "encoders", "decoders"), True),
    **dict.fromkeys(("images", "clips", "lowerings", "scope", "crop"), False),
}
EXPECTATION_FIELDS = {"outcome": True, "reason": True}
# Has a file beside the suites, but is no product of names: see selftest.py.
SELFTEST = "selftest"
SAME_PLATFORM = Expect(
    outcome=Expectation.IDENTICAL, reason="one platform at both ends repeats its own bits"
)
INTEGER_ONLY = Expect(
    outcome=Expectation.IDENTICAL,
    reason="an integer-only specification is the same function everywhere",
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A product of names; codecs, images or clips, and platforms may be shell-style patterns.

    Image codecs code `images`, video codecs `clips`: a block has one or the other.
    Without `lowerings` each precision takes its default one; without a `scope` the suite's holds. With a `crop` only the
    middle of each picture is coded, at most so many pixels wide and high.
    """

    codecs: tuple[str, ...]
    precisions: tuple[str, ...]
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    images: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    lowerings: tuple[str, ...] = ()
    scope: str = ""
    crop: int = 0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What to run.

    Without `reconstruct`, decoders of scope hyperprior stop at y_hat: no pictures, but much less work.
    `may_refuse`: optional platforms need not run every graph; what they refuse is said, and no fault.
    `linted`: what the linter calls exact must be identical, whatever `expectations` say, except on runtimes that its table of
    deviations names for that very graph.
    """

    name: str
    summary: str
    scope: str
    reconstruct: bool = True
    may_refuse: bool = False
    linted: bool = False
    required: tuple[str, ...]
    optional: tuple[str, ...]
    must_diverge: tuple[str, ...]
    blocks: tuple[Block, ...]
    expectations: Mapping[str, Expect]

    @property
    def refusing(self) -> tuple[str, ...]:
        """The platforms that need not run every graph."""
        return tuple(n for n in self.optional if self.may_refuse and n not in self.required)

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
        videos: Sequence[str] = (),
        clips: Sequence[str] = (),
        pattern: str = "*",
    ) -> dict[Case, Expect]:
        """Every case that the blocks span over these names and `pattern` matches, in order, without repeats.

        `codecs` code `images`, `videos` are codecs that code `clips`.
        """
        cases: dict[Case, Expect] = {}
        for block in self.blocks:
            for codec, image, precision, encoder, decoder in product(
                _select(block.codecs, videos if block.clips else codecs),
                _select(block.clips, clips) if block.clips else _select(block.images, images),
                block.precisions,
                _select(block.encoders, platforms),
                _select(block.decoders, platforms),
            ):
                family, _, quality = codec.rpartition("/q")
                for lowering in block.lowerings or (default_lowering(precision),):
                    case = Case(
                        codec=family,
                        quality=int(quality),
                        precision=precision,
                        scope=block.scope or self.scope,
                        lowering=lowering,
                        encoder=encoder,
                        decoder=decoder,
                        input=cropped_name(image, block.crop) if block.crop else image,
                    )
                    if case.matches(pattern):
                        cases.setdefault(case, self.expect(case))
        return cases

    def expect(self, case: Case) -> Expect:
        if case.encoder == case.decoder:
            return SAME_PLATFORM
        return self.expectations.get(case.precision, INTEGER_ONLY)


def on_all_images(suite: Suite) -> Suite:
    """The same suite with every picture in every block (for pictures that the suite does not know)."""
    blocks = (b if b.clips else replace(b, images=("*",)) for b in suite.blocks)
    return replace(suite, blocks=tuple(blocks))


def on_all_clips(suite: Suite) -> Suite:
    """The same suite with every clip in every block of clips."""
    blocks = (replace(b, clips=("*",)) if b.clips else b for b in suite.blocks)
    return replace(suite, blocks=tuple(blocks))


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
        _check_fields(f"suite {path}", raw, SUITE_FIELDS)
        for block in raw.get("blocks", []):
            _check_fields(f"suite {path}: [[blocks]]", block, BLOCK_FIELDS)
        for key, value in raw.get("expectations", {}).items():
            _check_fields(f"suite {path}: [expectations.{key}]", value, EXPECTATION_FIELDS)
        expectations = {
            key: _expectation(**value) for key, value in raw.pop("expectations", {}).items()
        }
        blocks = tuple(
            Block(
                **{k: _strings(v) for k, v in block.items() if k not in {"scope", "crop"}},
                scope=str(block.get("scope", "")),
                crop=int(block.get("crop", 0)),
            )
            for block in raw.pop("blocks", [])
        )
        suite = Suite(
            name=path.stem,
            summary=str(raw.pop("summary")),
            scope=str(raw.pop("scope")),
            reconstruct=bool(raw.pop("reconstruct", True)),
            may_refuse=bool(raw.pop("may_refuse", False)),
            linted=bool(raw.pop("linted", False)),
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
    for scope in (suite.scope, *(block.scope or suite.scope for block in suite.blocks)):
        if scope not in SCOPES:
            raise UserError(f"suite {path}: no scope {scope!r}; known: {', '.join(SCOPES)}")
    if any(bool(block.images) == bool(block.clips) for block in suite.blocks):
        raise UserError(f"suite {path}: a block has either images or clips")
    if any(block.clips and block.crop for block in suite.blocks):
        raise UserError(f"suite {path}: clips are not cropped")
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


def _check_fields(where: str, given: object, fields: Mapping[str, bool]) -> None:
    """UserError that names what is missing or unknown; `fields` says of each whether it must be there."""
    if not isinstance(given, dict):
        raise UserError(f"{where} is written as a table, with {', '.join(fields)}")
    lacking = [name for name, needed in fields.items() if needed and name not in given]
    unknown = [name for name in given if name not in fields]
    if lacking or unknown:
        said = [f"it lacks {', '.join(lacking)}"] * bool(lacking)
        said += [f"unknown fields {', '.join(sorted(unknown))}"] * bool(unknown)
        raise UserError(f"{where}: {'; '.join(said)}")


def _expectation(outcome: str, reason: str) -> Expect:
    return Expect(outcome=Expectation(outcome), reason=str(reason))


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of strings, got {value!r}")
    return tuple(value)
