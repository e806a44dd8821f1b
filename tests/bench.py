"""Speed, as paired ratios: `make bench`. Not a test: nothing here is asserted.

Integer h_s against FP32 h_s, and the simulated DSP against ONNX Runtime FP32, on ScaleHyperprior(128, 192) with random
weights, one thread, interleaved runs, median of the ratios. Then the harness itself: wall time of a run over the time
spent inside platforms.
"""

import argparse
import statistics
import time

import numpy as np
import onnx
import torch

from harness.build import Build, build
from harness.codecs.base import FAMILIES
from harness.codecs.checkpoint import make_tables, to_codec
from harness.library import Library, pictures
from harness.platforms.base import PLATFORMS, Session
from harness.suite import load

SIZES = ((8, 12), (16, 30))


def wide_builds() -> dict[str, Build]:
    """ScaleHyperprior(128, 192) with random weights of realistic magnitude, calibrated on random symbols."""
    from harness.calibrate import observe  # noqa: PLC0415

    torch.manual_seed(0)
    family = FAMILIES["bmshj2018-hyperprior"]
    model = family.build(128, 192)
    codec = to_codec(family, model, make_tables(model, {}), quality=0, provenance={})
    rng = np.random.default_rng(0)
    latents = [np.rint(rng.normal(size=(1, 128, 8, 12)) * 4).astype(np.float32) for _ in range(4)]
    ranges = observe(codec.networks["h_s"], latents)
    return {precision: build(codec, precision, ranges) for precision in ("fp32", "w8a8")}


def without_index_stage(model: bytes) -> bytes:
    """The same graph up to scales_hat: what the FP32 graph computes too."""
    graph = onnx.load_model_from_string(model)
    dropped = [node for node in graph.graph.node if node.output[0].startswith(("indexes", "sigma"))]
    for node in dropped:
        graph.graph.node.remove(node)
    outputs = [output for output in graph.graph.output if output.name != "indexes"]
    del graph.graph.output[:]
    graph.graph.output.extend(outputs)
    return graph.SerializeToString()


def feed(made: Build, size: tuple[int, int]) -> dict[str, np.ndarray]:
    symbols = np.rint(np.random.default_rng(1).normal(size=(1, 128, *size)) * 4).astype(np.int32)
    artifact = made.artifacts["h_s"]
    return {artifact.input: symbols if artifact.integer else symbols.astype(np.float32)}


def ratio(
    one: tuple[Session, dict], other: tuple[Session, dict], repeats: int
) -> tuple[float, float]:
    """Median of the interleaved ratios one/other, and the median milliseconds of `other`."""
    ratios, baseline = [], []
    for _ in range(repeats + 3):
        times = []
        for session, feeds in (one, other):
            began = time.perf_counter()
            session.run(feeds)
            times.append(time.perf_counter() - began)
        ratios.append(times[0] / times[1])
        baseline.append(times[1])
    return statistics.median(ratios[3:]), 1e3 * statistics.median(baseline[3:])


def networks(repeats: int) -> None:
    builds = wide_builds()
    ort, dsp = PLATFORMS["ort-cpu"].open(), PLATFORMS["dsp-exact32"].open()
    models = {p: b.artifacts["h_s"].onnx_model for p, b in builds.items()}
    models["network"] = without_index_stage(models["w8a8"])
    sessions = {name: ort.load(model) for name, model in models.items()}
    simulated = dsp.load(builds["w8a8"].artifacts["h_s"].onnx_model)
    print("h_s of ScaleHyperprior(128, 192), one thread, median of interleaved ratios")
    for size in SIZES:
        fp32 = (sessions["fp32"], feed(builds["fp32"], size))
        integer = feed(builds["w8a8"], size)
        speed, milliseconds = ratio((sessions["network"], integer), fp32, repeats)
        print(f"  z {size[0]}x{size[1]}: w8a8 mmi-u8u8 {speed:.2f} of FP32 ({milliseconds:.2f} ms)")
        speed, _ = ratio((sessions["w8a8"], integer), fp32, repeats)
        print(
            f"  z {size[0]}x{size[1]}: the same with its index stage {speed:.2f} of FP32 without one"
        )
        speed, _ = ratio((simulated, integer), fp32, max(5, repeats // 5))
        print(f"  z {size[0]}x{size[1]}: dsp-exact32 {speed:.2f} of FP32 on ort-cpu")


def overhead(pattern: str) -> None:
    """Wall time of the default suite with one job over the time inside platforms (imports, loading, running)."""
    from harness import pipeline  # noqa: PLC0415
    from harness.cells import Inputs  # noqa: PLC0415
    from harness.platforms.pool import Pool  # noqa: PLC0415

    suite, library, images = load("default"), Library(), pictures(None)
    began = time.perf_counter()
    with Pool() as pool:
        environments, ready = pipeline.probe(suite, pool)
        cases = suite.cases(
            codecs=library.names(), images=list(images), platforms=ready, pattern=pattern
        )
        run = pipeline.run_suite(
            suite,
            Inputs(build=library.build, pictures=images),
            cases,
            pool,
            environments,
            jobs=1,
            controls=False,
            report=lambda _: None,
            finished=lambda _: None,
        )
    wall = time.perf_counter() - began
    print(
        f"harness: {len(run.verdicts)} cells, {wall:.1f} s wall, {run.platform_seconds:.1f} s inside platforms,"
        f" overhead {wall / run.platform_seconds:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument(
        "--case", default="*", help="cells of the default suite for the overhead figure"
    )
    arguments = parser.parse_args()
    networks(arguments.repeats)
    overhead(arguments.case)


if __name__ == "__main__":
    main()
