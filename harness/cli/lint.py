"""`crosscheck lint`: what threatens the determinism of any ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Json, app
from harness.errors import UserError
from harness.files import write_file

if TYPE_CHECKING:
    from harness.lint.analyse import Range
    from harness.lint.findings import Level


@app.command(
    epilog="""Examples:

- `crosscheck lint h_s.onnx` reports node by node; exit code 1 if the graph is not exact
- `crosscheck lint *.onnx --sarif -o lint.sarif --fail-on condition` for a code scanner, strict
- `crosscheck lint model.onnx --range x=0:255 --range y=-1:1:0.25` states what the inputs hold
- `crosscheck lint model.onnx --runtime openvino --provider cuda` counts what those do wrong, or leave to the CPU
- `crosscheck lint --rules` lists every rule, with sources"""
)
def lint(
    models: Annotated[
        list[Path] | None, typer.Argument(help="ONNX files, any; weights inside the file.")
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range", help="NAME=LOW:HIGH[:STEP], what an input holds; default: all of its type."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help="Known deviations of this runtime count as inexact, such as openvino."),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Also report what this provider leaves to the CPU: cuda, webgpu."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="What makes exit code 1: inexact (default), condition, deviation or note and all"
            " that is worse; or a rule; or never."
        ),
    ] = None,
    as_json: Json = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, for code scanners.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write to, not the terminal.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every node of a group, not the worst three.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and leave.")] = False,
) -> None:
    """Report node by node what threatens determinism: exact, exact under stated conditions, or order-dependent."""
    from importlib.metadata import version  # noqa: PLC0415

    from harness.lint import formats  # noqa: PLC0415
    from harness.lint.analyse import Options  # noqa: PLC0415
    from harness.lint.analyse import lint as judge  # noqa: PLC0415
    from harness.lint.loading import read_file  # noqa: PLC0415

    if rules:
        _put(formats.rules_text(), out)
        return
    if not models:
        raise UserError("which model? Give one or more ONNX files, or --rules")
    if as_json and sarif:
        raise UserError("--json and --sarif exclude each other")
    wanted = _fail_on(fail_on or ["inexact"])
    options = Options(
        ranges=dict(map(_range, ranges or [])),
        providers=tuple(provider or ()),
        runtimes=tuple(runtime or ()),
    )
    reports = [judge(read_file(path), name=str(path), options=options) for path in models]
    here = version("codec-crosscheck")
    if as_json:
        _put(formats.to_json(reports, here), out)
    elif sarif:
        _put(formats.to_sarif(reports, here), out)
    else:
        _put("\n".join(formats.to_text(report, every=every) for report in reports), out)
    if any(report.failures(wanted) for report in reports):
        raise typer.Exit(1)


def _put(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_file(out, text.encode())


def _fail_on(words: list[str]) -> "list[Level | str]":
    from harness.lint.findings import Level  # noqa: PLC0415
    from harness.lint.rules import RULES  # noqa: PLC0415

    levels = {level.value: level for level in Level}
    wanted: list[Level | str] = []
    for word in words:
        if word in levels:
            wanted.append(levels[word])
        elif word in RULES:
            wanted.append(word)
        elif word != "never":
            known = ", ".join([*levels, "never"])
            raise UserError(f"--fail-on {word!r} is no level and no rule; levels: {known}")
    return wanted


def _range(text: str) -> "tuple[str, Range]":
    """`name=low:high` or `name=low:high:step`."""
    from harness.lint.analyse import Range  # noqa: PLC0415

    name, _, numbers = text.rpartition("=")
    try:
        values = [float(value) for value in numbers.split(":")]
    except ValueError:
        values = []
    if not name or len(values) not in {2, 3}:
        raise UserError(f"--range {text!r}: write it as name=low:high, such as x=0:255")
    low, high, *step = values
    return name, Range(low=low, high=high, step=step[0] if step else None)
