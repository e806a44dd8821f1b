"""Speed, as paired ratios: `make bench`. Not a test: nothing here is asserted.

Every lowering of the integer h_s against FP32 h_s on ONNX Runtime's CPU provider, at several widths and two sizes, and
the simulated DSP beside them: ScaleHyperprior(128, 192) with random weights, one thread, interleaved runs, median of the
ratios of CPU time (which other work on the machine disturbs less than wall time). Then with the index stage on both
sides: ours is a table, CompressAI's 63 comparisons a value, and a binary search on the host stands between. Then the
harness itself: wall time of a run over the time spent inside platforms.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from harness.build import Build, build
from harness.calibrate import observe
from harness.calibration import Calibration
from harness.codecs.base import FAMILIES, Codec
from harness.codecs.checkpoint import make_tables, to_codec
from harness.errors import UserError
from harness.library import Library, pictures
from harness.lowerings.base import Artifact, IntegerLowering, integer_lowerings
from harness.platforms.base import PLATFORMS, Feeds
from harness.suite import load

SIZES = ((8, 12), (16, 30))
PRECISIONS = ("w4a4", "w8a8", "w12a12", "w16a16")
WARM_UP = 3
ORT, DSP = "ort-cpu", "dsp-exact32"
Timed = Callable[[], object]


@cache
def wide_codec() -> tuple[Codec, Calibration]:
    """ScaleHyperprior(128, 192) with random weights of realistic magnitude, calibrated on random symbols."""
    torch.manual_seed(0)
    family = FAMILIES["bmshj2018-hyperprior"]
    model = family.build(128, 192)
    codec = to_codec(family, model, make_tables(model, {}), quality=0, provenance={})
    rng = np.random.default_rng(0)
    latents = [np.rint(rng.normal(size=(1, 128, 8, 12)) * 4).astype(np.float32) for _ in range(4)]
    return codec, observe(codec.networks["h_s"], latents)


@cache
def made(precision: str, lowering: str) -> Build:
    codec, calibration = wide_codec()
    return build(codec, precision, {"h_s": calibration}, lowering=lowering)


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


def with_comparisons(model: bytes, table: np.ndarray) -> bytes:
    """FP32 h_s with CompressAI's build_indexes behind it: 63, less one for every scale that is not below."""
    graph = onnx.load_model_from_string(model)
    constants = {"least": table[:1], "indexes_0": np.full(1, len(table) - 1, np.int32)}
    nodes = [helper.make_node("Max", ["scales_hat", "least"], ["bounded"])]
    for k, scale in enumerate(table[:-1]):
        constants[f"scale_{k}"] = scale.reshape(1)
        nodes += [
            helper.make_node("LessOrEqual", ["bounded", f"scale_{k}"], [f"within_{k}"]),
            helper.make_node("Cast", [f"within_{k}"], [f"one_{k}"], to=TensorProto.INT32),
            helper.make_node("Sub", [f"indexes_{k}", f"one_{k}"], [f"indexes_{k + 1}"]),
        ]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    last = f"indexes_{len(table) - 1}"
    graph.graph.output.append(helper.make_tensor_value_info(last, TensorProto.INT32, None))
    return graph.SerializeToString()


def symbols(size: tuple[int, int]) -> np.ndarray:
    drawn = np.random.default_rng(1).normal(size=(1, 128, *size)) * 4
    return np.rint(drawn).astype(np.int32)


def runner(platform: str, model: bytes, feeds: Feeds) -> Timed:
    session = PLATFORMS[platform].open().load(model)
    return lambda: session.run(feeds)


def ratios(
    baseline: Timed, others: dict[str, Timed], repeats: int
) -> tuple[dict[str, float], float]:
    """Median of the interleaved ratios to `baseline`, and its median milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in others}
    base = []
    for number in range(repeats + WARM_UP):
        for name, other in others.items():
            first, second = cpu_time(baseline), cpu_time(other)
            if number >= WARM_UP:
                taken[name].append(second / first)
                base.append(first)
    return {n: statistics.median(r) for n, r in taken.items()}, 1e3 * statistics.median(base)


def cpu_time(run: Timed) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def networks(repeats: int) -> None:
    """One row a lowering, one column a precision: CPU time of h_s over that of FP32, sigma out."""
    fp32 = made("fp32", "float32").artifacts["h_s"]
    print(
        "h_s of ScaleHyperprior(128, 192) over FP32 on ort-cpu, one thread, median of interleaved ratios of CPU time"
    )
    for size in SIZES:
        x = symbols(size)
        baseline = runner(ORT, fp32.onnx_model, {fp32.input: x.astype(np.float32)})
        print(f"\nz {size[0]}x{size[1]}          " + "".join(f"{p:>9}" for p in PRECISIONS))
        for lowering in integer_lowerings():
            cells = [cell(lowering, p, x, baseline, repeats) for p in PRECISIONS]
            print(f"{lowering.name:15}" + "".join(f"{text:>9}" for text in cells), flush=True)
        dsp = made("w8a8", "mmi-u8u8").artifacts["h_s"]
        others = {DSP: runner(DSP, dsp.onnx_model, {dsp.input: x})}
        found, milliseconds = ratios(baseline, others, max(3, repeats // 10))
        print(f"{DSP:15}" + " " * 9 + f"{found[DSP]:9.2f}")
        print(f"FP32: {milliseconds:.2f} ms")


def cell(
    lowering: IntegerLowering, precision: str, x: np.ndarray, baseline: Timed, repeats: int
) -> str:
    artifact = lowered(precision, lowering)
    if artifact is None:
        return "refused"
    one = runner(ORT, without_index_stage(artifact.onnx_model), {artifact.input: x})
    found, _ = ratios(baseline, {"": one}, repeats)
    return f"{found['']:.2f}"


def lowered(precision: str, lowering: IntegerLowering) -> Artifact | None:
    """None where the lowering refuses: these weights are too large for it."""
    try:
        return made(precision, lowering.name).artifacts["h_s"]
    except UserError:
        return None


def index_stage(repeats: int) -> None:
    """h_s and its index stage, ours over the ways that float decoders take."""
    fp32 = made("fp32", "float32").artifacts["h_s"]
    table = np.exp(np.linspace(np.log(0.11), np.log(256), 64)).astype(np.float32)
    print("\nw8a8 h_s and CDF indexes, over FP32 h_s and CDF indexes by")
    print(f"{'':27}{'63 comparisons':>16}{'searchsorted':>14}")
    for size in SIZES:
        x = symbols(size)
        feeds = {fp32.input: x.astype(np.float32)}
        compared = runner(ORT, with_comparisons(fp32.onnx_model, table), feeds)
        plain = PLATFORMS[ORT].open().load(fp32.onnx_model)
        searched = lambda: np.searchsorted(table[:-1], plain.run(feeds)["scales_hat"])  # noqa: E731, B023
        for lowering in integer_lowerings():
            artifact = lowered("w8a8", lowering)
            if artifact is None:
                continue
            one = runner(ORT, artifact.onnx_model, {artifact.input: x})
            cells = [ratios(base, {"": one}, repeats)[0][""] for base in (compared, searched)]
            label = f"z {size[0]}x{size[1]} {lowering.name}"
            print(f"{label:27}{cells[0]:16.2f}{cells[1]:14.2f}", flush=True)


def overhead(pattern: str) -> None:
    """Wall time of the default suite with one job over the time inside platforms (imports, loading, running)."""
    from harness import pipeline  # noqa: PLC0415
    from harness.cells import Inputs  # noqa: PLC0415
    from harness.executors.local import LocalExecutor  # noqa: PLC0415
    from harness.platforms.pool import Pool  # noqa: PLC0415

    suite, library, images = load("default"), Library(), pictures(None)
    began = time.perf_counter()
    with Pool() as pool:
        executor = LocalExecutor(pool, jobs=1)
        environments, ready = pipeline.probe(suite, executor)
        cases = suite.cases(
            codecs=library.names(), images=list(images), platforms=ready, pattern=pattern
        )
        run = pipeline.run_suite(
            suite,
            Inputs(build=library.build, pictures=images),
            cases,
            executor,
            environments,
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
    index_stage(arguments.repeats)
    overhead(arguments.case)


if __name__ == "__main__":
    main()
