"""Our rules beside AIMET itself. Opt-in: skipped unless `aimet_onnx` can be imported.

It can, beside the pinned set: tried with aimet-onnx 2.42.0, Python 3.11, numpy 1.26, torch 2.13 (CPU), onnxruntime 1.31.
Its dependencies would pull a CUDA torch, so what it imports was installed by name (some 120 MB to fetch, 85 of them AIMET):

    pip install --no-deps aimet-onnx onnx_ir onnxscript onnx2torch osqp bokeh hvplot holoviews panel param pyviz_comms \
        colorcet xyzservices tornado bleach webencodings markdown linkify-it-py uc-micro-py mdit-py-plugins narwhals \
        jsonschema jsonschema-specifications referencing rpds-py PyYAML scikit-learn joblib threadpoolctl cloudpickle

AIMET changed its histogram after 2024 (1536 bins, aligned to zero; values fall into the bin that holds them) and no longer
has `mse`. So the rules are compared on AIMET's own histogram, and ranges from the two histograms only roughly.
"""

import json
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from harness.calibrators.histogram import Collector, Histogram, asymmetric, symmetric
from harness.calibrators.percentile import PERCENTILE, Percentile
from harness.calibrators.tf_enhanced import TfEnhanced, cost
from harness.encodings import VERSIONS, Encodings, calibration_of, encodings_of, precision_of
from harness.lowerings.base import FLOAT, LOWERINGS, Source
from harness.precision import Precision
from tests.calibrators.posed import H_S as NETWORK
from tests.calibrators.posed import MIXED, calibrated, pose_g_s, pose_h_s, with_relus
from tests.calibrators.test_histogram import KINDS, draw

pytestmark = pytest.mark.filterwarnings("ignore")
SHAPES = [kind for kind in KINDS if kind != "constant"]
SEEDS = range(5)


@pytest.fixture(scope="module")
def aimet() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "aimet-onnx is not installed; this file says how"
        return pytest.importorskip("aimet_onnx", reason=reason, exc_type=ImportError)  # type: ignore[no-any-return]


class Theirs:
    """AIMET's quantizer of one tensor, after some batches; strict symmetric, as our integers are."""

    def __init__(self, mode: str, bits: int, batches: list[np.ndarray]) -> None:
        from aimet_onnx.common import libpymo  # type: ignore[import-not-found] # noqa: PLC0415

        modes = libpymo.QuantizationMode.__members__
        self._quantizer = libpymo.BlockTensorQuantizer([1], bits, modes[mode])
        self._quantizer.setStrictSymmetric(True)
        self._quantizer.setUnsignedSymmetric(False)
        if mode == "QUANTIZATION_PERCENTILE":
            self._quantizer.setPercentileValue(PERCENTILE)
        for batch in batches:
            self._quantizer.updateStats(batch[None])

    def encoding(self, is_symmetric: bool) -> tuple[float, float]:
        (found,) = self._quantizer.computeEncodings(is_symmetric)
        return found.delta, found.offset

    def histogram(self) -> Histogram:
        bins = np.array(self._quantizer.getStatsHistogram()[0])
        width = (bins[-1, 0] - bins[0, 0]) / (len(bins) - 1)
        return Histogram(
            left=bins[:1, 0], width=np.array([width]), shares=bins[None, :, 1], empty=np.array([False])
        )  # fmt: skip


def batches(kind: str, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    return [draw(kind, rng) for _ in range(1 + seed % 3)]


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_tf_enhanced_chooses_the_same(bits: int, is_symmetric: bool) -> None:
    """In nine cases of ten at least; else one of nearly that cost: AIMET's float32 sees ends of ranges in other bins."""
    same = []
    for kind in SHAPES:
        for seed in SEEDS:
            theirs = Theirs("QUANTIZATION_TF_ENHANCED", bits, batches(kind, seed))
            histogram, (delta, offset) = theirs.histogram(), theirs.encoding(is_symmetric)
            if is_symmetric:
                ours = TfEnhanced().symmetric(histogram, 0, bits), 1.0 - 2 ** (bits - 1)
            else:
                ours = TfEnhanced().asymmetric(histogram, 0, bits)
            steps, offsets = np.array([ours[0], delta]), np.array([ours[1], offset])
            costs = cost(histogram, 0, steps, offsets, bits)
            same.append(ours == (pytest.approx(delta, rel=1e-5), offset))
            assert same[-1] or costs[1] == pytest.approx(costs[0], rel=0.15)
    assert np.mean(same) >= 0.9


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("kind", SHAPES)
def test_percentile_chooses_the_same_to_a_bin(kind: str, is_symmetric: bool) -> None:
    """Sums of shares in float32 may pass a percentile a bin earlier."""
    for seed in SEEDS:
        theirs = Theirs("QUANTIZATION_PERCENTILE", 8, batches(kind, seed))
        histogram, (delta, _) = theirs.histogram(), theirs.encoding(is_symmetric)
        if is_symmetric:
            ours, steps = Percentile().symmetric(histogram, 0, 8), 127
        else:
            ours, steps = Percentile().asymmetric(histogram, 0, 8)[0], 255
        assert abs(ours - delta) * steps <= 2.001 * histogram.width[0]


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("kind", SHAPES)
def test_min_max_is_the_same(kind: str) -> None:
    for seed in SEEDS:
        given = batches(kind, seed)
        low = min(0.0, *(float(b.min()) for b in given))
        high = max(0.0, *(float(b.max()) for b in given))
        theirs = Theirs("QUANTIZATION_TF", 8, given)
        delta, offset = asymmetric(np.asarray(low), np.asarray(high), 8)
        assert theirs.encoding(False) == (pytest.approx(float(delta), rel=1e-6), offset)
        wanted = float(symmetric(np.asarray(max(-low, high)), 8))
        assert theirs.encoding(True) == (pytest.approx(wanted, rel=1e-6), -127)


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("bits", [4, 8])
def test_ranges_from_the_two_histograms_are_close(bits: int) -> None:
    """512 bins over three times the first range, or as many over the range itself: some per cent apart."""
    apart = []
    for kind in SHAPES:
        for seed in SEEDS:
            given = batches(kind, seed)
            collector = Collector(512)
            for batch in given:
                collector.add(batch[None])
            ours = TfEnhanced().asymmetric(collector.histogram(), 0, bits)[0]
            theirs = Theirs("QUANTIZATION_TF_ENHANCED", bits, given).encoding(False)[0]
            apart.append(abs(ours / theirs - 1))
    assert np.median(apart) < 0.02
    assert max(apart) < 0.25


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("version", VERSIONS)
def test_aimet_reads_what_we_write(version: str) -> None:
    from aimet_onnx._encoding import EncodingBase  # type: ignore[import-not-found] # noqa: PLC0415

    for problem in (pose_h_s("w4a8", MIXED), pose_g_s("w4a8", MIXED)):
        written = encodings_of(
            calibrated("tf-enhanced", problem), problem.network, problem.precision, version
        )
        raw = json.loads(written.to_bytes())
        for section, given in (
            ("activation_encodings", written.activations),
            ("param_encodings", written.parameters),
        ):
            entries = raw[section]
            for name, encoding in given.items():
                entry = (
                    entries[name]
                    if version == "0.6.1"
                    else next(e for e in entries if e["name"] == name)
                )
                read = EncodingBase.from_qnn_encoding_dict(entry)
                assert read.scale.ravel().tolist() == list(encoding.scales)
                assert read.bitwidth == encoding.bits
                assert read.signed == encoding.symmetric
                unsigned = read.to_unsigned().offset.ravel().tolist()
                assert unsigned == list(encoding.offsets)
                back = read.to_qnn_encoding_dict(version)
                assert back == (
                    entry if version == "0.6.1" else {k: v for k, v in entry.items() if k != "name"}
                )


@pytest.mark.usefixtures("aimet")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("network", ["h_s", "h_s with ReLUs", "g_s"])
def test_we_read_what_aimet_exports(network: str, version: str, tmp_path: Path) -> None:
    """AIMET simulates the float graph that we export, calibrates it, and its encodings become integers here."""
    from aimet_onnx.common.defs import QuantScheme  # type: ignore[import-not-found] # noqa: PLC0415
    from aimet_onnx.quantsim import QuantizationSimModel  # type: ignore[import-not-found] # noqa: PLC0415

    problem = {
        "h_s": pose_h_s("w8a8-o8", MIXED),
        "h_s with ReLUs": pose_h_s("w8a8-o8", MIXED, network=with_relus(NETWORK)),
        "g_s": pose_g_s("w8a8", MIXED),
    }[network]
    exported = LOWERINGS[FLOAT].lower(Source(network=problem.network)).onnx_model
    model = onnx.load_model_from_string(exported)
    simulation = QuantizationSimModel(
        model, quant_scheme=QuantScheme.post_training_tf_enhanced, default_param_bw=8, default_activation_bw=8,
    )  # fmt: skip
    simulation.compute_encodings([{problem.network.input: x} for x in problem.inputs])
    simulation.export(str(tmp_path), "theirs", encoding_version=version)
    path = tmp_path / "theirs.encodings"
    read = Encodings.read(path)
    assert json.loads(read.to_bytes()) == json.loads(path.read_text())
    precision = precision_of(read, problem.network)
    assert precision == Precision.parse(problem.precision.name)
    found = calibration_of(read, problem.network, precision)
    assert found.calibrator == "post_training_tf_enhanced"
    ours = problem.quantize(calibrated("tf-enhanced", problem), None)
    theirs = problem.quantize(found, None)
    for mine, its in zip(ours.convolutions, theirs.convolutions, strict=True):
        assert np.corrcoef(mine.weight.ravel(), its.weight.ravel())[0, 1] > 0.98
