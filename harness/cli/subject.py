"""What `bisect` and `explain` look at: an ONNX file and feeds, or a network of a case with what the codec feeds it."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.bisect.sides import Side
    from harness.case import Case
    from harness.platforms.pool import Pool
    from harness.taps import Graph

Array = NDArray[np.generic]
CASE_FORM = "family/qN/precision/scope/lowering/A+B/picture"
PAIR = 5
PARTS = 7


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Both sides; `thresholds` and `ruined` (one line) where a codec's case is given."""

    a: "Side"
    b: "Side"
    thresholds: NDArray[np.int32] | None = None
    ruined: str = ""

    @property
    def names(self) -> tuple[str, str]:
        return self.a.name, self.b.name


@dataclass(frozen=True, kw_only=True)
class Files:
    """The options that name files; `b` is the other side's, where it has its own."""

    model: Path | None
    feeds: Path | None
    model_b: Path | None
    feeds_b: Path | None


def from_files(pool: "Pool", a: str, b: str, files: Files) -> Subject:
    from harness.bisect.feeds import read_feeds
    from harness.lint.loading import read_file
    from harness.taps import Graph

    if files.model is None or files.feeds is None:
        raise UserError(f"which graph? Give a case ({CASE_FORM}), or --model x.onnx --feeds x.npz")
    graph = Graph.of(read_file(files.model), str(files.model))
    feeds = read_feeds(files.feeds)
    other = graph
    if files.model_b is not None:
        other = Graph.of(read_file(files.model_b), str(files.model_b))
    feeds_b = feeds if files.feeds_b is None else read_feeds(files.feeds_b)
    return Subject(a=side(pool, a, graph, feeds), b=side(pool, b, other, feeds_b))


def side(pool: "Pool", name: str, graph: "Graph", feeds: Mapping[str, Array]) -> "Side":
    """A platform by its name, or a trace by its file."""
    from harness.bisect.sides import Live, Recorded, on_platform
    from harness.platforms.base import PLATFORMS
    from harness.trace import Trace

    missing = sorted(set(graph.inputs) - set(feeds))
    if missing:
        raise UserError(f"the feeds lack {', '.join(missing)}, which {graph.named} takes")
    given = {key: feeds[key] for key in graph.inputs}
    if name in PLATFORMS.names():
        return Live(name=name, graph=graph, feeds=given, run=on_platform(pool, name))
    if not Path(name).is_file():
        known = ", ".join(PLATFORMS.names())
        raise UserError(f"{name!r} is no platform and no trace file; platforms: {known}")
    return Recorded(name=name, graph=graph, feeds=given, trace=Trace.load(Path(name)))


def from_case(
    pool: "Pool", a: str, b: str, name: str, network: str, images: Path | None
) -> Subject:
    """Encode the case's picture on `a`, decode it on `b`, and take what `network` was fed with."""
    from harness.build import Build
    from harness.case import crop_of
    from harness.cells import platform_runner
    from harness.endpoints import Arrays, decode, encode
    from harness.errors import StreamError
    from harness.library import Library, pictures
    from harness.lowerings.base import Artifact
    from harness.platforms.base import PLATFORMS
    from harness.taps import Graph

    for side_name in (a, b):
        if Path(side_name).is_file():
            raise UserError(
                f"a case runs on platforms, and {side_name} is a file: give a trace with the --model and --feeds it was made of"
            )
        PLATFORMS[side_name]  # unknown names end here
    case = read_case(name, a, b)
    library = Library()
    made: Build = library.build(
        f"{case.codec}/q{case.quality}", case.precision, case.lowering, scope=case.scope
    )
    if network not in made.artifacts:
        raise UserError(f"no network {network!r}; there are: {', '.join(made.artifacts)}")
    fed: dict[str, Arrays] = {}
    on_a = platform_runner(pool, a)

    def run(called: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        fed.setdefault(called, feeds)
        return on_a(called, artifact, feeds)

    available = pictures(images)
    if crop_of(case.input)[0] not in available and case.input not in available:
        raise UserError(f"no picture {case.input!r}; there are: {', '.join(available)}")
    sent = encode(made, available[case.input](), run)
    try:
        got = decode(made, sent.bitstream, platform_runner(pool, b), reconstruct=False)
        ruined = _ruined(sent.trace.array("y_symbols"), got.trace.array("y_symbols"))
    except StreamError as error:
        ruined = f"{b} cannot decode what {a} encoded: {error}"
    graph = Graph.of(
        made.artifacts[network].onnx_model, f"{network} of {case.codec}/q{case.quality}"
    )
    ours, theirs = (side(pool, platform, graph, fed[network]) for platform in (a, b))
    return Subject(a=ours, b=theirs, thresholds=made.codec.scale_thresholds, ruined=ruined)


def _ruined(ours: Array, theirs: Array) -> str:
    wrong = int((ours != theirs).sum())
    return f"symbols ruined: {wrong} of {ours.size} ({100 * wrong / ours.size:.1f} %)"


def read_case(name: str, a: str, b: str) -> "Case":
    """A case by its name, with `a` and `b` in the place of its platforms."""
    from harness.case import Case

    parts = name.split("/")
    if len(parts) == PARTS:
        del parts[PAIR]
    if len(parts) != PARTS - 1 or not parts[1].removeprefix("q").isdigit():
        raise UserError(f"no case {name!r}: it is written {CASE_FORM}; A+B may be left out")
    return Case(
        codec=parts[0],
        quality=int(parts[1].removeprefix("q")),
        precision=parts[2],
        scope=parts[3],
        lowering=parts[4],
        encoder=a,
        decoder=b,
        input=parts[5],
    )
