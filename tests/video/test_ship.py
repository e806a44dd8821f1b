"""What ships with a video codec: tables, calibrations and digests that a later load is held against."""

import json
import shutil
from pathlib import Path

import pytest

from harness import fixtures
from harness.build import DECODER, HYPERPRIOR
from harness.codecs import ssf2020
from harness.codecs.store import CodecFiles
from harness.errors import UserError
from harness.training.loop import half_weights
from harness.video import ship
from harness.video.library import VideoLibrary
from tests.video import tiny
from tests.video.tiny import clip, run

NAME = f"ssf2020/q{tiny.QUALITY}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixtures folder with one video codec in it."""
    root = tmp_path_factory.mktemp("fixtures")
    (root / "codecs").mkdir()
    shutil.copy(fixtures.root() / "codecs" / "gaussian.npz", root / "codecs")
    (root / "video" / "ssf2020").mkdir(parents=True)
    files = CodecFiles(root / "video" / "ssf2020", tiny.QUALITY)
    files.write_weights(half_weights(ssf2020.build_model(tiny.weights())))
    files.write_record({"lmbda": 0.01})
    ship.finalise(
        files,
        clips=lambda: [clip(3)],
        gaussian=root / "codecs" / "gaussian.npz",
        run=run,
        report=lambda _: None,
    )
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "fixtures"
    shutil.copytree(made, copy)
    monkeypatch.setattr(fixtures, "root", lambda: copy)
    return copy


def test_everything_that_ships_is_recorded_and_found(root: Path) -> None:
    record = json.loads((root / "video" / f"{NAME}.json").read_text())
    assert (record["lmbda"], record["calibration"]) == (0.01, {"clips": 1, "frames": 3})
    assert len(record["specifications"]) == 4 * 9
    library = VideoLibrary()
    assert library.codec(NAME).digest == record["digest"]
    for precision in ship.PRECISIONS:
        for scope in (HYPERPRIOR, DECODER):
            built = library.build(NAME, precision, scope=scope)  # checks its specifications
            rules = {"w4a4": {"rate"}, "w8a8": {"tf-enhanced"}}.get(precision, {"min-max"})
            if scope == DECODER:
                rules = rules | {"min-max"}
            assert set(built.calibrator.split(", ")) == rules


def test_a_calibration_that_is_not_the_one_recorded_is_found(root: Path) -> None:
    folder = root / "calibrations" / NAME
    (rate,) = folder.glob("img_hyper_decoder_scale.rate.*")
    rate.unlink()
    with pytest.raises(UserError, match="it shipped with"):
        VideoLibrary().build(NAME, "w4a4")
    VideoLibrary().build(NAME, "w16a16")
