"""A calibration and its file: what is written is read, and what is damaged or of something else is refused."""

import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from harness.calibrate import activations, observe
from harness.calibration import Calibration, ChannelRange
from harness.errors import UserError
from harness.precision import Precision
from harness.specimens import tiny_codec, tiny_hyper_latent

H_S = tiny_codec().networks["h_s"]
RANGES = observe(H_S, [tiny_hyper_latent()])
FULL = replace(
    RANGES,
    precision="w4a4",
    clips={"h_s.0": np.full(8, 0.5)},
    biases={"h_s.0": np.arange(8.0)},
    weights={"h_s.0": np.arange(8 * 8 * 25, dtype=np.int32).reshape(8, 8, 5, 5) % 15 - 7},
)
WIDTHS = {"z_hat": 8, "h_s.0": 8}
SHAPES = {"h_s.0": (8, 8, 5, 5)}


@pytest.mark.parametrize("calibration", [RANGES, FULL])
def test_what_is_written_is_read(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors.xz"
    path.write_bytes(calibration.to_bytes())
    got = Calibration.read(path)
    assert (got.calibrator, got.samples, got.precision) == ("min-max", 1, calibration.precision)
    for name, r in calibration.tensors.items():
        assert got[name].low.tobytes() == r.low.tobytes()
        assert got[name].high.tobytes() == r.high.tobytes()
    for kind in ("clips", "biases", "weights"):
        ours, theirs = getattr(calibration, kind), getattr(got, kind)
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            assert theirs[name].dtype == array.dtype
            assert theirs[name].tolist() == array.tolist()


def test_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors.xz"
    data = FULL.to_bytes()
    cases = [
        b"",
        b"\0" * 40,
        data[: len(data) // 2],
        lzma.compress(b"{}"),
        lzma.compress(b"\xff" * 50),
    ]
    cases += [
        lzma.compress(save({"other/x": np.zeros(2)})),
        lzma.compress(save({"ranges/x": np.zeros(2)})),
    ]
    for damaged in cases:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot read calibration") as caught:
            Calibration.read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="No such file"):
        Calibration.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("low", "high"),
    [([1.0], [0.0]), ([np.nan], [1.0]), ([0.0], [np.inf]), ([[0.0]], [[1.0]])],
)
def test_a_range_that_is_none_is_refused(low: object, high: object, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors.xz"
    broken = ChannelRange(low=np.asarray(low), high=np.asarray(high))
    path.write_bytes(replace(RANGES, tensors={"z_hat": broken}).to_bytes())
    with pytest.raises(UserError, match="z_hat has no valid low <= high"):
        Calibration.read(path)


def test_what_is_of_another_network_or_precision_is_refused() -> None:
    FULL.check(WIDTHS, SHAPES, Precision.parse("w4a4"))
    with pytest.raises(UserError, match="this calibration is of w4a4, not w8a8"):
        FULL.check(WIDTHS, SHAPES, Precision.parse("w8a8"))
    with pytest.raises(UserError, match=r"no calibrated range for 'h_s\.9'"):
        FULL.check({"h_s.9": 8}, SHAPES, Precision.parse("w4a4"))
    with pytest.raises(UserError, match="'z_hat' has 8 channels, not 9"):
        FULL.check({"z_hat": 9}, SHAPES, Precision.parse("w4a4"))
    for kind in ("clips", "biases", "weights"):
        for wrong in ({"h_s.0": np.zeros(3)}, {"h_s.9": np.zeros(8)}):
            with pytest.raises(UserError, match=f"calibrated {kind} of "):
                replace(FULL, **{kind: wrong}).check(WIDTHS, SHAPES, Precision.parse("w4a4"))


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ([], "no calibration inputs for h_s"),
        ([np.zeros((1, 7, 2, 2), np.float32)], r"shape \[1, 7, 2, 2\]"),
        ([np.zeros((8, 2, 2), np.float32)], r"shape \[8, 2, 2\]"),
        ([np.full((1, 8, 2, 2), np.nan, np.float32)], "input 0 of h_s contains NaN"),
        ([tiny_hyper_latent(), np.full((1, 8, 2, 2), np.inf, np.float32)], "input 1 of h_s"),
    ],
)
def test_inputs_that_cannot_calibrate_are_one_line(inputs: list[np.ndarray], what: str) -> None:
    with pytest.raises(UserError, match=what):
        list(activations(H_S, inputs))
