"""Measuring once: what is remembered between variants, pictures and calls, with an encoder that is made up."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import measure
from harness.build import Build
from harness.endpoints import Arrays, Run
from harness.images import write_png
from harness.lowerings.base import Artifact
from harness.measure import Measurements
from harness.ms_ssim import Similarity
from harness.rd import ANCHOR, Sample, Variant
from tests.rd_points import W4, W8

NAMES = ["a/q1", "a/q3"]


def artifact(network: str, content: str) -> Artifact:
    return Artifact(
        network=network,
        lowering="float32",
        onnx_model=content.encode(),
        input="x",
        outputs=("y",),
        integer=False,
        specification="",
    )


def build(name: str, variant: Variant) -> Build:
    family, quality = name.split("/q")
    made = SimpleNamespace(
        codec=SimpleNamespace(
            family=family, quality=int(quality), provenance={"lmbda": 0.01 * int(quality)}
        ),
        precision="mixed-b" if variant.precision == "b.json" else variant.precision,
        calibrator="mse",
        widths={"z_q": "s8"},
        artifacts={
            "g_a": artifact("g_a", f"g_a of {name}"),
            "h_s": artifact("h_s", f"h_s of {name} {variant.label}"),
        },
    )
    return cast("Build", made)


def sample(
    made: Build, image: str, pixels: NDArray[np.uint8], run: Run, similarity: Similarity
) -> Sample:
    """In w4a4 the decoded picture is another one, in the others it is the same."""
    y = run("g_a", made.artifacts["g_a"], {"x": pixels})["y"]
    run("h_s", made.artifacts["h_s"], {"x": y})
    return Sample(
        image=image,
        pixels=pixels.size // 3,
        payload_bytes=int(y[0]),
        file_bytes=99,
        psnr=30.0,
        ms_ssim=similarity(pixels, pixels + (made.precision == "w4a4")),
    )


def similar(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Each call gives another value."""
    CALLS.append((int(original.flat[0]), int(picture.flat[0])))
    return 1 / len(CALLS)


CALLS: list[tuple[int, int]] = []


class Bench:
    """Notes what ran, and how many runners there were."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.runners = 0

    def runner(self) -> Run:
        self.runners += 1

        def run(network: str, what: Artifact, feeds: Arrays) -> Arrays:
            assert network == what.network
            self.ran.append(what.onnx_model.decode())
            return {"y": np.array([feeds["x"].flat[0]], np.int64)}

        return run


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for number, path in enumerate(paths, 1):
        write_png(path, np.full((4, 5, 3), number, np.uint8))
    return paths


@pytest.fixture
def measured(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[Measurements, Bench]]:
    monkeypatch.setattr(measure, "sample", sample)
    monkeypatch.setattr(measure, "ms_ssim", similar)
    CALLS.clear()

    def make() -> tuple[Measurements, Bench]:
        bench = Bench()
        return Measurements(build=build, runner=bench.runner, pictures=pictures), bench

    return make


Make = Callable[[], tuple[Measurements, Bench]]


def test_every_codec_and_variant_becomes_a_point(measured: Make) -> None:
    found, _ = measured()
    seen: list[str] = []
    points = found.points(NAMES, [ANCHOR, W8], seen.append)
    assert [point.name for point in points] == ["a/q1 fp32", "a/q1 w8a8", "a/q3 fp32", "a/q3 w8a8"]
    assert seen == ["a/q1"] * 4 + ["a/q3"] * 4
    first = points[0]
    assert [(s.image, s.payload_bytes) for s in first.samples] == [("one.png", 1), ("two.png", 2)]
    assert (first.lmbda, first.calibrator, first.widths) == (0.01, "mse", {"z_q": "s8"})


def test_variants_share_the_analysis_and_a_picture_has_a_runner(measured: Make) -> None:
    found, bench = measured()
    found.points(["a/q1"], [ANCHOR, W8, W4], lambda _: None)
    assert bench.runners == 2
    assert bench.ran.count("g_a of a/q1") == 2  # one a picture, not one a variant
    assert bench.ran.count("h_s of a/q1 w4a4") == 2


def test_a_later_call_measures_only_what_is_new(measured: Make) -> None:
    found, bench = measured()
    before = found.points(NAMES, [ANCHOR, W8], lambda _: None)
    assert found.missing(NAMES, [ANCHOR, W8]) == 0
    assert found.missing(NAMES, [ANCHOR, W4]) == 4
    bench.ran.clear()
    seen: list[str] = []
    after = found.points(NAMES, [ANCHOR, W4], seen.append)
    assert len(seen) == 4
    assert bench.ran == ["h_s of a/q1 w4a4"] * 2 + ["h_s of a/q3 w4a4"] * 2  # and no g_a again
    assert (after[0], after[2]) == (before[0], before[2])


def test_the_same_picture_is_compared_once(measured: Make) -> None:
    found, _ = measured()
    anchor, w8, w4 = found.points(["a/q1"], [ANCHOR, W8, W4], lambda _: None)
    assert CALLS == [(1, 1), (1, 2), (2, 2), (2, 3)]
    assert [s.ms_ssim for s in anchor.samples] == [s.ms_ssim for s in w8.samples] == [1, 1 / 3]
    assert [s.ms_ssim for s in w4.samples] == [1 / 2, 1 / 4]


def test_a_search_does_without_ms_ssim(measured: Make) -> None:
    found, _ = measured()
    (before,) = found.points(["a/q1"], [ANCHOR], lambda _: None)
    anchor, w8 = found.points(["a/q1"], [ANCHOR, W8], lambda _: None, by_ms_ssim=False)
    assert anchor == before
    assert (before.ms_ssim, w8.ms_ssim) == (0.75, None)


def test_what_is_kept_is_bounded(measured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "KEPT_BYTES", 8)  # one y
    found, bench = measured()
    found.points(["a/q1"], [ANCHOR], lambda _: None)
    found.points(["a/q1"], [W8], lambda _: None)
    assert bench.ran.count("g_a of a/q1") == 3


def test_a_point_is_named_for_the_precision_that_was_built(measured: Make) -> None:
    found, _ = measured()
    (point,) = found.points(
        ["a/q1"], [Variant(precision="b.json", scope="decoder")], lambda _: None
    )
    assert point.variant == Variant(precision="mixed-b", scope="decoder")
