"""`crosscheck train`: making the codecs that ship."""
# ruff: noqa: PLC0415

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.cli.app import app, console
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.codecs.store import CodecFiles
    from harness.endpoints import Run
    from harness.training.loop import Progress as Step
    from harness.training.recipe import Recipe


@app.command(
    epilog="""Examples:

- `crosscheck train fixtures/recipes/mbt2018-mean.toml --data photos --evaluate kodak`
- interrupted? The same command resumes; finished rate points are kept.
- `crosscheck train fixtures/recipes/mbt2018-mean.toml --data photos --only-calibrate`"""
)
def train(
    recipe: Annotated[Path, typer.Argument(help="TOML: family, widths, rate points.")],
    data: Annotated[
        Path, typer.Option(help="Folder of training photographs, at least 256x256 each.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder that gets FAMILY/qN.safetensors.xz. [default: fixtures/codecs, of clips fixtures/video]",
        ),
    ] = None,
    evaluate: Annotated[
        Path | None, typer.Option(help="Folder of pictures for the RD figures; never train on it.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for resumable checkpoints.")] = Path(
        "build/train"
    ),
    threads: Annotated[int, typer.Option(min=1, max=256)] = 2,
    scale_steps: Annotated[
        float, typer.Option(min=1e-6, help="Shorten or lengthen every point; for trials.")
    ] = 1.0,
    only_calibrate: Annotated[
        bool, typer.Option(help="Keep the weights as they are and renew their calibrations alone.")
    ] = False,
) -> None:
    """Train the codecs of a recipe and make everything that ships with them."""
    import torch

    from harness import ship
    from harness.cells import platform_runner
    from harness.codecs import ssf2020
    from harness.platforms.pool import Pool
    from harness.training import loop
    from harness.training.recipe import read_recipe
    from harness.training.subjects import subject_of

    if not data.is_dir():
        raise UserError(f"no folder {data}: give photographs with --data")
    torch.set_num_threads(threads)
    plan = read_recipe(recipe)
    out = out or Path("fixtures") / ("video" if plan.family == ssf2020.NAME else "codecs")
    if only_calibrate:
        _calibrate_again(plan, out, data)
        return
    log = out / plan.family / "train.log.jsonl"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {out}: {error.strerror}; give a writable folder with -o"
        ) from error
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bar:
        tasks = {
            p.quality: bar.add_task(
                f"q{p.quality}", total=max(1, int(p.steps * scale_steps)), left="?"
            )
            for p in plan.points
        }

        def report(step: "Step") -> None:
            bar.update(
                tasks[step.quality],
                completed=step.step,
                left=f"{step.seconds_left / 60:.0f} min",
                description=f"q{step.quality} {step.bpp:.3f} bpp {step.psnr:.2f} dB",
            )
            with log.open("a", encoding="utf-8") as lines:
                lines.write(
                    json.dumps(
                        {
                            "quality": step.quality,
                            "step": step.step,
                            "loss": round(step.loss, 4),
                            "bpp": round(step.bpp, 4),
                            "psnr": round(step.psnr, 3),
                        }
                    )
                    + "\n"
                )

        files = loop.train(
            plan,
            subject_of(plan.family, data),
            out / plan.family,
            work=work / plan.family,
            report=report,
            scale_steps=scale_steps,
        )
    with Pool() as pool:
        run = platform_runner(pool, "ort-cpu")
        for point in files:
            if plan.family == ssf2020.NAME:
                _finalise_clips(point, data, run)
                continue
            codec = ship.finalise(
                point, calibrate_on=data, evaluate_on=evaluate, run=run, report=typer.echo
            )
            typer.echo(
                f"{codec.name}: {codec.digest[:12]} {json.dumps(codec.provenance.get('rd', {}))}"
            )


def _finalise_clips(files: "CodecFiles", data: Path, run: "Run") -> None:
    from functools import cache

    from harness import fixtures
    from harness.training.clips import calibration_clips
    from harness.video import ship

    clips = cache(lambda: calibration_clips(data))
    gaussian = fixtures.root() / "codecs" / "gaussian.npz"
    codec = ship.finalise(files, clips=clips, gaussian=gaussian, run=run, report=typer.echo)
    typer.echo(f"{codec.name}: {codec.digest[:12]}")


def _calibrate_again(plan: "Recipe", out: Path, data: Path) -> None:
    """Renew what calibration makes for every shipped point of a recipe."""
    from harness import ship
    from harness.cells import platform_runner
    from harness.codecs import ssf2020
    from harness.codecs.checkpoint import load_shipped
    from harness.codecs.store import CodecFiles
    from harness.platforms.pool import Pool

    with Pool() as pool:
        run = platform_runner(pool, "ort-cpu")
        for point in plan.points:
            files = CodecFiles(out / plan.family, point.quality)
            if not (point.ships and files.weights.is_file()):
                continue
            if plan.family == ssf2020.NAME:
                _finalise_clips(files, data, run)  # of which calibration is nearly all
            else:
                codec = load_shipped(f"{plan.family}/q{point.quality}")
                ship.calibrate(codec, files, data, typer.echo)
