"""`crosscheck bisect` and `crosscheck explain`: from "differs" to "where", and to "because"."""
# ruff: noqa: PLC0415 - `crosscheck --help` must not wait for torch

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Json, RunsOn, app
from harness.cli.subject import Files, Subject, from_case, from_files
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.bisect.results import Bisection
    from harness.platforms.pool import Pool

SideA = Annotated[
    str,
    typer.Argument(
        metavar="A", help="A platform, or what `crosscheck taps` wrote of the same --model."
    ),
]
SideB = Annotated[str, typer.Argument(metavar="B", help="The other one.")]
CaseName = Annotated[
    str | None,
    typer.Argument(
        metavar="[CASE]",
        help="A case of a codec that ships, without its platforms: A encodes, B decodes.",
    ),
]
Model = Annotated[Path | None, typer.Option(help="An ONNX file in the place of a case.")]
FeedsFile = Annotated[Path | None, typer.Option(help="Its inputs by name, an .npz.")]
ModelB = Annotated[
    Path | None, typer.Option(help="B's own ONNX file: the same nodes with other weights.")
]
FeedsB = Annotated[Path | None, typer.Option(help="B's own inputs.")]
Network = Annotated[str, typer.Option(help="Which network of the case.")]
Images = Annotated[
    Path | None, typer.Option(help="Folder of pictures in place of the shipped ones.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder to write: the least graph and input that diverge."),
]
Keep = Annotated[int, typer.Option(min=1, help="Cut no axis of the least input shorter than this.")]
EXIT_CODES = "Exit codes: 0 identical, 1 a divergence was found, 2 wrong usage or bad input, 3 a platform is missing."


@app.command(
    epilog=f"""Examples:

- `crosscheck bisect ort-cpu torch mbt2018-mean/q3/fp32/hyperprior/float32/astronaut.c128 -o repro` - its middle 128 x 128
- `python repro/repro.py` - runs the least graph again
- `crosscheck bisect ort-cpu ort-cpu-noopt --model h_s.onnx --feeds z.npz` - any ONNX file
- `crosscheck bisect a.trace b.trace --model h_s.onnx --feeds z.npz` - what `crosscheck taps` wrote on two machines

{EXIT_CODES}"""
)
def bisect(
    a: SideA,
    b: SideB,
    case: CaseName = None,
    model: Model = None,
    feeds: FeedsFile = None,
    model_b: ModelB = None,
    feeds_b: FeedsB = None,
    network: Network = "h_s",
    images: Images = None,
    out: Out = None,
    keep: Keep = 1,
    as_json: Json = False,
) -> None:
    """Find the first node on which two platforms differ, and the least graph and input that show it."""
    files = Files(model=model, feeds=feeds, model_b=model_b, feeds_b=feeds_b)
    with _bisected(a, b, case, files, network, images, keep) as look:
        pass
    _conclude(look, out, as_json=as_json)


@app.command(
    epilog=f"""Examples:

- `crosscheck explain ort-cpu torch-avx2 bmshj2018-hyperprior/q3/fp32/hyperprior/float32/hubble`
- `crosscheck explain dsp-exact32 dsp-pairsat --model layer.onnx --feeds layer.npz`
- `crosscheck explain a.trace b.trace --model a.onnx --model-b b.onnx --feeds x.npz` - a flipped weight is named
- `crosscheck explain ncnn torch --model x.onnx --feeds x.npz --switch ncnn=ncnn-nowinograd` - by intervention

A mechanism is named if it accounts for every bit on both sides; "summation order" if both lie in the bound for
reordering; else the answer is "unknown". {EXIT_CODES}"""
)
def explain(
    a: SideA,
    b: SideB,
    case: CaseName = None,
    model: Model = None,
    feeds: FeedsFile = None,
    model_b: ModelB = None,
    feeds_b: FeedsB = None,
    network: Network = "h_s",
    images: Images = None,
    out: Out = None,
    keep: Keep = 1,
    switch: Annotated[
        list[str] | None,
        typer.Option(help="PLATFORM=VARIANT: does the variant restore identity? May be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bisect, then name the mechanism that reproduces the bits of the node that differs; or say that none does."""
    from harness.bisect.sides import on_platform
    from harness.explain.interventions import one_option_apart, parse_switch, restored
    from harness.explain.report import to_lines, to_report
    from harness.explain.shown import explain_found
    from harness.platforms.base import PLATFORMS

    own = [parse_switch(text) for text in switch or []]
    for each in own:
        PLATFORMS[each.variant]  # unknown names end here
    files = Files(model=model, feeds=feeds, model_b=model_b, feeds_b=feeds_b)
    with _bisected(a, b, case, files, network, images, keep) as look:
        found, names = look.found, look.subject.names
        why = explain_found(found)
        if why is not None and found.reproduction is not None:
            first, second = map(one_option_apart, names)
            # Said once if the two platforms themselves are one option apart.
            switches = [*own, *first, *(s for s in second if s.variant != names[0])]
            shown = found.reproduction.whole
            switched = list(
                restored(shown, names, switches, lambda name: on_platform(look.pool, name))
            )
            look.report["explanation"] = to_report(why, names, switched)
            look.lines.extend(to_lines(why, names, switched))
    _conclude(look, out, as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A finished bisection, whose report and lines may grow while its platforms are at hand."""

    pool: "Pool"
    subject: Subject
    found: "Bisection"
    report: dict[str, object]
    lines: list[str]


@contextmanager
def _bisected(
    a: str, b: str, case: str | None, files: Files, network: str, images: Path | None, keep: int
) -> Iterator[Look]:
    """Bisect what was asked for; the platforms live until the end of the block."""
    from harness.bisect.find import bisect as search
    from harness.bisect.report import to_lines, to_report
    from harness.platforms.base import PLATFORMS
    from harness.platforms.pool import Pool
    from harness.trace_files import Kind, refuse

    for name in (a, b):
        if name not in PLATFORMS.names():
            refuse(Path(name), Kind.RECORDING, Kind.BUNDLE)
    if case is not None and any((files.model, files.feeds, files.model_b, files.feeds_b)):
        raise UserError("give a case, or --model and --feeds: not both")
    with Pool() as pool:
        subject = (
            from_files(pool, a, b, files)
            if case is None
            else from_case(pool, a, b, case, network, images)
        )
        found = search(subject.a, subject.b, keep)
        report = to_report(found, subject.names, subject.thresholds)
        lines = to_lines(found, subject.names, subject.thresholds)
        if subject.ruined:
            report["ruined"] = subject.ruined
            lines.append(subject.ruined)
        yield Look(pool=pool, subject=subject, found=found, report=report, lines=lines)


def _conclude(look: Look, out: Path | None, *, as_json: bool) -> None:
    from harness.bisect.report import to_json
    from harness.bisect.repro import write_repro

    made = look.found.reproduction
    written: list[Path] = []
    if out is not None and made is not None:
        written = write_repro(out, made, look.subject.names, look.report)
    if as_json:
        typer.echo(to_json(look.report), nl=False)
    else:
        for line in [*look.lines, *(f"written: {path}" for path in written)]:
            typer.echo(line)
    if not look.found.identical:
        raise typer.Exit(1)


@app.command(
    epilog="""Examples:

- there: `crosscheck taps --model h_s.onnx --feeds z.npz --platform torch -o there.trace`
- here: `crosscheck bisect ort-cpu there.trace --model h_s.onnx --feeds z.npz`"""
)
def taps(
    model: Annotated[Path, typer.Option(help="An ONNX file.")],
    feeds: Annotated[Path, typer.Option(help="Its inputs by name, an .npz.")],
    platform: RunsOn,
    out: Annotated[Path, typer.Option("--out", "-o", help="Trace to write.")],
) -> None:
    """Record every intermediate value of a graph on one platform, for a bisection elsewhere."""
    from harness.bisect.feeds import read_feeds
    from harness.bisect.sides import Live, execute, on_platform
    from harness.lint.loading import read_file
    from harness.platforms.pool import Pool
    from harness.taps import Graph

    graph = Graph.of(read_file(model), str(model))
    with Pool() as pool:
        side = Live(
            name=platform, graph=graph, feeds=read_feeds(feeds), run=on_platform(pool, platform)
        )
        trace = execute(side, graph.tapped())
    trace.save(out)
    typer.echo(f"{out}: {len(trace.tensors)} values")
