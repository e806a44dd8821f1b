"""Speed and memory of video at full size, as paired ratios: `python -m tests.bench_video CLIP`. Nothing here is asserted.

The integer hyper-decoders of a shipped codec (in the lowering that `auto` chooses) against its FP32 ones, at the size of CLIP (CPU time, one thread, median of
interleaved ratios). Then whole streams: frames decoded at w8a8 and at FP32 by turns, frame by frame, and what
`crosscheck encode` and `crosscheck decode` take as commands: frames a second and the memory of their largest process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.auto import choose
from harness.cdf import indexes_from_scales
from harness.codecs.video import BRANCHES, MEAN, SCALE, VIDEO_DOWNSAMPLING
from harness.endpoints import Arrays, Run
from harness.footage.base import open_clip
from harness.lowerings.base import Artifact
from harness.platforms.base import PLATFORMS, Session
from harness.video.build import VideoBuild, network_name
from harness.video.endpoints import decode, encode
from harness.video.library import VideoLibrary
from tests.bench import ORT, Timed, ratios, without_index_stage

FP32, W8A8 = "fp32", "w8a8"
CODEC = "ssf2020/q5"


def runner() -> Run:
    """Every network of a build loaded once, in this process."""
    sessions: dict[bytes, Session] = {}

    def run(_: str, artifact: Artifact, feeds: Arrays) -> Arrays:
        model = artifact.onnx_model
        if model not in sessions:
            sessions[model] = PLATFORMS[ORT].open().load(model)
        return sessions[model].run(feeds)

    return run


def hyper_decoders(fp32: VideoBuild, w8a8: VideoBuild, size: tuple[int, int], repeats: int) -> None:
    """All six by turns: networks alone, and with the CDF indexes on both sides (ours in the graph, FP32's searched)."""
    thresholds = fp32.codec.scale_thresholds
    rng = np.random.default_rng(0)
    feeds = {}
    for branch in BRANCHES:
        rows, columns = (-(-n // VIDEO_DOWNSAMPLING) for n in size)
        shape = (1, len(fp32.codec.branches[branch].medians), rows, columns)
        feeds[branch] = np.rint(rng.normal(size=shape) * 2).astype(np.int32)

    def all_of(made: VideoBuild, *, indexes: bool) -> Timed:
        loaded = []
        for branch in BRANCHES:
            for part in (SCALE, MEAN):
                artifact = made.artifacts[network_name(branch, part)]
                model = artifact.onnx_model if indexes else without_index_stage(artifact.onnx_model)
                z = feeds[branch].astype(np.int32 if artifact.integer else np.float32)
                loaded.append((PLATFORMS[ORT].open().load(model), {artifact.input: z}, part))

        def run() -> None:
            for session, given, part in loaded:
                outputs = session.run(given)
                if indexes and part == SCALE and "indexes" not in outputs:
                    indexes_from_scales(outputs["scales_hat"], thresholds)

        return run

    for title, indexes in (("networks alone", False), ("with the CDF indexes", True)):
        found, milliseconds = ratios(
            all_of(fp32, indexes=indexes), {W8A8: all_of(w8a8, indexes=indexes)}, repeats
        )
        print(f"six hyper-decoders, {title}: w8a8 {found[W8A8]:.2f} of FP32's {milliseconds:.1f} ms", flush=True)  # fmt: skip


def streams(builds: dict[str, VideoBuild], pictures: list[NDArray[np.uint8]]) -> None:
    """CPU time of decoding each frame at w8a8 over that at FP32, by turns; the first frames warm up."""
    size = (pictures[0].shape[0], pictures[0].shape[1])
    decoders: dict[str, Iterator[object]] = {}
    for name, made in builds.items():
        run = runner()
        began = time.perf_counter()
        frames = [coded.frame for coded in encode(made, pictures, run)]
        rate = len(frames) / (time.perf_counter() - began)
        print(f"encode {name}: {rate:.2f} frames/s in one process", flush=True)
        decoders[name] = decode(made, frames, size, run)
    taken: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in pictures:
        for name, decoder in decoders.items():
            began = time.process_time()
            next(decoder)
            taken[name].append(time.process_time() - began)
    pairs = [a / b for a, b in zip(taken[W8A8][2:], taken[FP32][2:], strict=True)]
    print(
        f"decode, {len(pairs)} P frames: w8a8 {statistics.median(pairs):.3f} of FP32's"
        f" {1e3 * statistics.median(taken[FP32][2:]):.0f} ms CPU time a frame; in all"
        f" {sum(taken[W8A8]) / sum(taken[FP32]):.3f}",
        flush=True,
    )


def commands(codec: str, clip: Path, frames: int) -> None:
    """`crosscheck encode` and `decode` as users call them, each in a process of its own that is asked for its peak."""
    command = f"{Path(sys.executable).parent / 'crosscheck'}"
    with tempfile.TemporaryDirectory() as folder:
        stream, out = f"{folder}/stream.xck", f"{folder}/out.y4m"
        for precision in (FP32, W8A8):
            lowering = ["--lowering", "auto"] if precision == W8A8 else []
            given = ["--codec", codec, "--precision", precision, "--frames", str(frames), *lowering]
            for call in (
                [command, "encode", str(clip), *given, "-o", stream],
                [command, "decode", stream, "-o", out, *lowering],
            ):
                began = time.perf_counter()
                peak = _peak(call)
                seconds = time.perf_counter() - began
                print(
                    f"crosscheck {call[1]} {precision}: {frames / seconds:.2f} frames/s with its start,"
                    f" largest process {peak / 2**20:.0f} MiB",
                    flush=True,
                )


def _peak(call: list[str]) -> int:
    """Bytes that the largest of the processes of a command held at once."""
    program = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "print(json.dumps([done.returncode, done.stderr, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))\n"
    )
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", program, *call], check=True, capture_output=True, text=True, env=environment)  # fmt: skip
    code, errors, kibibytes = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{' '.join(call)}: {errors}")
    return int(kibibytes) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path, help="any clip that crosscheck reads")
    parser.add_argument("--codec", default=CODEC)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    library = VideoLibrary()
    choice = choose(library.build(given.codec, W8A8), runner())
    builds = {
        FP32: library.build(given.codec, FP32),
        W8A8: library.build(given.codec, W8A8, choice.lowering),
    }
    pictures = list(islice(iter(open_clip(given.clip)), given.frames))
    height, width = pictures[0].shape[:2]
    print(f"{given.codec}, {given.clip.name}, {width}x{height}, {len(pictures)} frames, {ORT}")
    print(f"lowering: {choice}")
    hyper_decoders(builds[FP32], builds[W8A8], (height, width), given.repeats)
    streams(builds, pictures)
    commands(given.codec, given.clip, given.frames)


if __name__ == "__main__":
    main()
