"""A divergence as a folder: the least graph and feeds that show it, what both sides got, and two lines that repeat it."""

from collections.abc import Mapping
from pathlib import Path

from harness.bisect.feeds import write_feeds
from harness.bisect.report import to_json
from harness.bisect.results import Reproduction
from harness.errors import UserError
from harness.files import write_file

MODEL, FEEDS, REPORT, SCRIPT = "repro.onnx", "feeds.npz", "report.json", "repro.py"
MODEL_B, FEEDS_B = "repro-b.onnx", "feeds-b.npz"
A, B = "a.trace", "b.trace"
MOST_BYTES = 8 << 20


def write_repro(
    folder: Path, found: Reproduction, platforms: tuple[str, str], report: Mapping[str, object]
) -> list[Path]:
    """Write the folder; a second model or feeds only where the sides' differ.

    A reproduction of more than 8 MiB, as one of two records may be, leaves its traces and feeds out: a UserError.
    """
    shown = found.least or found.whole
    specimen = shown.specimen
    if specimen.bytes > MOST_BYTES:
        raise UserError(
            f"the reproduction takes {specimen.bytes >> 20} MiB: record a smaller crop, or bisect two live platforms, "
            "which finds the least input"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; give --out") from error
    models = {MODEL: specimen.graph_a.onnx_model, MODEL_B: specimen.graph_b.onnx_model}
    same_model = models[MODEL] == models[MODEL_B]
    same_feeds = all(
        array.tobytes() == specimen.feeds_b[name].tobytes()
        for name, array in specimen.feeds_a.items()
    )
    write_file(folder / MODEL, models[MODEL])
    write_feeds(folder / FEEDS, specimen.feeds_a)
    written = [MODEL, FEEDS, A, B, REPORT, SCRIPT]
    options: list[str] = []
    if not same_model:
        write_file(folder / MODEL_B, models[MODEL_B])
        options += ["--model-b", MODEL_B]
    if not same_feeds:
        write_feeds(folder / FEEDS_B, specimen.feeds_b)
        options += ["--feeds-b", FEEDS_B]
    shown.a.save(folder / A)
    shown.b.save(folder / B)
    write_file(folder / REPORT, to_json(report).encode())
    command = ["crosscheck", "bisect", *platforms, "--model", MODEL, "--feeds", FEEDS, *options]
    script = f"import subprocess, sys\nsys.exit(subprocess.call({command!r}, cwd=sys.path[0]))\n"
    write_file(folder / SCRIPT, script.encode())
    extra = [*([] if same_model else [MODEL_B]), *([] if same_feeds else [FEEDS_B])]
    return [folder / name for name in [*written, *extra]]
