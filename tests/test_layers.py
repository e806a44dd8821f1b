"""The import graph is the data flow. `MAY_IMPORT` is the architecture; a new module fails until it is placed."""

import ast
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# Module or package of `harness` -> what it may import of `harness` besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    # Ground: knows nothing of the rest.
    "errors": set(),
    "fixtures": set(),
    "compressai_import": set(),
    "files": {"errors"},
    "part_file": {"errors"},
    "registry": {"errors"},
    "case": {"errors"},
    "trace": {"errors", "files"},
    "images": {"errors", "files"},
    "footage": {"errors", "images", "part_file", "registry"},
    "network": {"errors"},
    # Tables, coder, container: integers only.
    "cdf": {"errors", "files", "trace"},
    "coder": {"cdf", "compressai_import", "errors"},
    "stream_fields": {"errors"},
    "bitstream": {"errors", "stream_fields", "trace"},
    "video_stream": {"errors", "part_file", "stream_fields"},
    # Codec -> calibrate -> quantize -> lower.
    "codecs": {
        "cdf", "compressai_import", "errors", "files", "fixtures", "network", "registry", "specification",
    },
    "precision": {"errors"},
    "calibration": {"errors", "files", "precision"},
    "calibrate": {"calibration", "errors", "network"},
    "specification": set(),
    "grid": {"calibration", "errors", "network", "specification"},
    "integer_layer": {"errors", "grid", "specification"},
    "activations": {"calibration", "grid", "precision", "specification"},
    "quantize": {
        "activations", "calibration", "cdf", "errors", "grid", "integer_layer", "network", "precision",
        "specification",
    },
    "reference": {"specification"},
    "emulate": {"grid", "network", "specification"},
    "code_length": {"cdf"},
    "roles": {"network", "precision"},
    "calibrators": {
        "calibrate", "calibration", "emulate", "errors", "grid", "network", "precision",
        "registry", "roles", "specification",
    },
    "encodings": {"activations", "calibration", "errors", "network", "precision", "roles"},
    "problems": {
        "calibrate", "calibration", "calibrators", "code_length", "codecs", "emulate", "errors",
        "images", "network", "precision", "quantize", "specification",
    },
    "lowerings": {"calibration", "errors", "network", "registry", "specification"},
    "warp": {"errors", "lowerings"},
    "build": {
        "calibration", "cdf", "codecs", "errors", "files", "lowerings", "precision", "quantize",
        "specification",
    },
    # Static analysis: ONNX bytes in, a report out; no codec, no runtime.
    "sarif": set(),
    "lint": {"errors", "graph_node", "onnx_shapes", "sarif"},
    # Platforms: ONNX bytes and feeds in, traces out.
    "graph_node": {"errors"},
    "onnx_shapes": {"errors", "graph_node"},
    "interpreter": {"errors", "graph_node"},
    "dsp": {"errors", "graph_node", "interpreter", "onnx_shapes"},
    "torch_ops": {"errors", "graph_node", "interpreter", "onnx_shapes"},
    "jax_ops": {"dsp", "errors", "graph_node", "interpreter", "onnx_shapes"},
    "platforms": {
        "dsp", "errors", "files", "interpreter", "jax_ops", "registry", "torch_ops", "trace",
    },
    # Both ends; who runs the networks is an argument.
    "latent_coding": {"cdf", "coder", "errors", "trace"},
    "endpoints": {
        "bitstream", "build", "cdf", "codecs", "errors", "images", "latent_coding", "lowerings",
        "specification", "trace",
    },
    # Compare -> verdict -> report.
    "compare": {"trace"},
    "verdict": {"case", "compare"},
    # Record there, compare here: files of digests that know no platform.
    "archive": {"errors", "files"},
    "digest": {"archive", "errors", "trace"},
    "recording": {"archive", "digest", "errors", "trace"},
    "bundle": {"archive", "digest", "errors", "recording", "trace"},
    "compare_recordings": {"compare", "digest", "errors", "recording", "trace"},
    "goldens": {"digest", "errors", "recording"},
    # Makes bundles of builds; who runs the networks is an argument.
    "bundling": {
        "bitstream", "build", "bundle", "case", "digest", "endpoints", "errors", "lowerings", "recording",
        "reference", "trace",
    },
    "golden_suite": {
        "archive", "bitstream", "build", "bundle", "bundling", "endpoints", "errors", "files", "goldens",
        "recording",
    },
    # Runs bundles; with its programs it stands alone where the package is not installed.
    "recorder": {"bundle", "digest", "errors", "platforms", "recording", "trace"},
    "trace_files": {"archive", "bundle", "errors", "recording"},
    "kit": {"bundle", "compare_recordings", "errors", "platforms", "recorder", "trace_files"},
    "one_file": {"archive", "errors"},
    # From "differs" to the node, and to the mechanism: ONNX files and traces, whoever made them.
    "taps": {"errors", "lint"},
    "bisect": {"cdf", "compare", "errors", "files", "platforms", "taps", "trace"},
    "explain": {
        "bisect", "dsp", "errors", "graph_node", "interpreter", "onnx_shapes", "platforms",
        "registry", "taps", "trace",
    },
    # Which divergence a known deviation of a runtime covers; what may be expected of a cell by the linter's word.
    "covered": set(),
    "linted": {"build", "case", "covered", "lint", "suite", "verdict"},
    "results": {"case", "covered", "verdict"},
    # Rate and distortion: pictures and numbers.
    "bd_rate": {"errors"},
    "ms_ssim": {"errors"},
    "rd": {"bd_rate", "errors", "images", "ms_ssim"},
    "clip_rd": {"bd_rate", "errors", "images", "rd"},
    "jpeg": {"errors", "images", "rd"},
    "rd_study": {"bd_rate", "errors", "jpeg", "ms_ssim", "rd"},
    "margin": {"errors"},
    "narrowest": {"errors", "precision", "rd"},
    "report": {
        "bd_rate", "case", "clip_rd", "compare", "covered", "errors", "files", "jpeg", "margin", "rd", "rd_study",
        "results", "sarif", "verdict",
    },
    "suite": {
        "case", "compare", "errors", "fixtures", "lowerings", "precision", "verdict",
    },
    # What the self-test is made of.
    "mutants": {
        "bitstream", "build", "calibration", "case", "cdf", "endpoints", "lowerings",
        "specification", "trace",
    },
    "specimens": {"case", "cdf", "codecs", "network", "specification"},
    # Training stands beside the flow: it makes what codecs read.
    "training": {"codecs", "compressai_import", "errors", "files"},
    # These see wide.
    "library": {
        "build", "calibration", "calibrators", "case", "codecs", "encodings", "errors", "fixtures",
        "images", "precision", "problems", "specification",
    },
    "video": {
        "bitstream", "build", "calibrate", "calibration", "calibrators", "case", "cdf", "code_length", "codecs",
        "bd_rate", "clip_rd", "emulate", "endpoints", "errors", "files", "fixtures", "footage", "grid", "images", "latent_coding", "library",
        "lowerings", "network", "precision", "problems", "quantize", "rd", "specification", "trace", "video_stream",
        "warp",
    },
    # Which lowering is exact on the machine that will run it.
    "auto": {
        "build", "calibrate", "case", "cdf", "endpoints", "errors", "lowerings", "network",
        "precision", "quantize", "reference", "specification",
    },
    "ship": {
        "bitstream", "build", "calibration", "cdf", "codecs", "endpoints", "errors", "files",
        "images", "library", "ms_ssim", "rd",
    },
    "margin_study": {"cdf", "codecs", "endpoints", "errors", "lowerings", "margin", "problems"},
    "measure": {"build", "endpoints", "images", "lowerings", "ms_ssim", "rd", "ship", "trace"},
    # Pictures and clips alike.
    "ends": {
        "bitstream", "build", "endpoints", "errors", "trace", "video", "video_stream",
    },
    "cells": {
        "auto", "build", "case", "codecs", "compare", "endpoints", "ends", "errors", "lowerings",
        "platforms", "precision", "trace", "verdict", "video",
    },
    "group": {
        "build", "case", "cells", "codecs", "compare", "ends", "images", "platforms", "results", "suite",
        "trace", "verdict",
    },
    "executors": {
        "case", "cells", "endpoints", "ends", "errors", "group", "lowerings", "platforms", "verdict",
    },
    "pipeline": {
        "case", "cells", "covered", "executors", "group", "lowerings", "results", "suite", "verdict",
    },
    "pytest_plugin": {
        "case", "cells", "covered", "errors", "executors", "group", "library", "linted", "platforms", "report",
        "suite", "verdict", "video",
    },
    "selftest": {
        "bitstream", "build", "calibrate", "calibration", "case", "cells", "compare", "endpoints",
        "errors", "fixtures", "lowerings", "mutants", "pipeline", "platforms", "reference", "results",
        "specimens", "trace", "verdict",
    },
    "cli": {
        "auto", "bd_rate", "bitstream", "build", "calibration", "calibrators", "cells", "codecs",
        "encodings", "endpoints", "errors", "executors", "files", "images", "jpeg", "library", "lint", "linted",
        "lowerings", "margin", "margin_study", "measure", "narrowest", "pipeline", "platforms", "precision", "problems", "rd",
        "rd_study", "report", "results", "selftest", "ship", "specification", "suite", "training",
        "verdict", "video", "video_stream", "ends", "footage", "clip_rd",
        "bisect", "case", "explain", "taps", "trace",
        "bundle", "bundling", "compare_recordings", "fixtures", "golden_suite", "goldens", "one_file",
        "recorder", "recording", "trace_files",
    },
}  # fmt: skip
SEE_WIDE = {
    "cells",
    "group",
    "executors",
    "pipeline",
    "pytest_plugin",
    "selftest",
    "library",
    "ship",
    "cli",
}


def layer(path: Path) -> str:
    """`harness/platforms/ort.py` is of layer platforms, `harness/case.py` of layer case."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """The layers of `harness` that a source imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("harness.")}
    return found


def violations(of: str, source: str) -> set[str]:
    return imported(source) - MAY_IMPORT[of] - {of}


def reachable(start: str) -> set[str]:
    """All that a layer may come to know, through others too."""
    seen: set[str] = set()
    todo = {start}
    while todo:
        seen |= todo
        todo = set().union(*(MAY_IMPORT[name] for name in todo)) - seen
    return seen - {start}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    if path == ROOT / "__init__.py":
        assert imported(path.read_text(encoding="utf-8")) == set()
        return
    assert layer(path) in MAY_IMPORT, f"place {path.name} in MAY_IMPORT: what may it import?"
    assert violations(layer(path), path.read_text(encoding="utf-8")) == set()


def test_every_layer_exists() -> None:
    assert set(MAY_IMPORT) == {layer(path) for path in MODULES} - {"__init__"}


def test_every_permission_is_to_a_layer() -> None:
    assert set().union(*MAY_IMPORT.values()) <= set(MAY_IMPORT)


def test_layers_form_no_cycle() -> None:
    assert [
        name for name in MAY_IMPORT if name in set().union(*map(reachable, MAY_IMPORT[name]))
    ] == []


def test_a_platform_never_sees_a_model() -> None:
    assert reachable("platforms").isdisjoint(
        {"codecs", "quantize", "lowerings", "calibrate", "network", "build"}
    )


def test_the_comparison_never_sees_a_platform() -> None:
    for name in ("compare", "compare_recordings", "goldens", "verdict", "results", "report"):
        assert reachable(name).isdisjoint({"platforms", "lowerings", "codecs", "quantize"})


def test_the_specification_needs_no_lowering() -> None:
    assert reachable("reference").isdisjoint({"lowerings", "platforms"})


def test_nothing_imports_the_command_line() -> None:
    assert [name for name, allowed in MAY_IMPORT.items() if "cli" in allowed] == []


def test_only_a_few_see_both_models_and_platforms() -> None:
    models, runners = {"codecs", "quantize", "lowerings"}, {"platforms"}
    both = {n for n in MAY_IMPORT if reachable(n) & models and reachable(n) & runners}
    assert both <= SEE_WIDE


@pytest.mark.parametrize(
    ("of", "planted"),
    [
        ("platforms", "from harness.codecs.base import Codec"),
        ("platforms", "import harness.quantize as q"),
        ("platforms", "def late() -> None:\n    from harness import lowerings"),
        ("compare", "from harness.platforms.pool import Pool"),
        ("reference", "import numpy, harness.lowerings.base"),
        ("pipeline", "from harness.cli import main"),
    ],
)
def test_a_planted_import_is_seen(of: str, planted: str) -> None:
    assert len(violations(of, planted)) == 1
