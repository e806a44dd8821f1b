"""What can be built of video codecs: those that ship, one of your own, their calibrations; each build made once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from harness import fixtures
from harness.build import HYPERPRIOR
from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, Granularity
from harness.case import input_name
from harness.codecs import ssf2020
from harness.codecs.video import VideoCodec
from harness.endpoints import Run
from harness.errors import UserError
from harness.footage.base import Clip
from harness.footage.datasets import find_clips
from harness.library import MIN_MAX, RATE, TF_ENHANCED, calibration_path, check_specification
from harness.precision import CONTROLS, read_precision
from harness.problems import Latents
from harness.specification import IntegerNet
from harness.video.build import VideoBuild, build, quantized_networks
from harness.video.problems import latents, problem

U8 = NDArray[np.uint8]
# What hyper-decoders ship with at few bits. Ranges alone do at 8 bits: fitted weights would take half a megabyte a codec.
FITTED = {"w4a4": RATE, "w8a8": TF_ENHANCED}
Clips = Sequence[Iterable[U8]]


class VideoLibrary:
    """Video codecs by `family/qN` and their builds; safe to share between threads.

    `calibrate_on` gives clips, and `run` says where their fp32 networks run; without them only what ships can be had.
    """

    def __init__(
        self,
        own: VideoCodec | None = None,
        *,
        calibrate_on: Callable[[], Clips] | None = None,
        run: Run | None = None,
        granularity: Granularity | None = None,
    ) -> None:
        self._own = own
        self._calibrate_on = calibrate_on
        self._run = run
        self._granularity = granularity or Granularity()
        self._lock = RLock()
        self._codecs: dict[str, VideoCodec] = {}
        self._builds: dict[tuple[str, ...], VideoBuild] = {}
        self._latents: dict[str, dict[str, list[Latents]]] = {}
        self._calibrations: dict[tuple[str, ...], Calibration] = {}

    def names(self) -> list[str]:
        return [self._own.name] if self._own else list(ssf2020.shipped())

    def codec(self, name: str) -> VideoCodec:
        if self._own is not None and name == self._own.name:
            return self._own
        if name not in self._codecs:
            self._codecs[name] = ssf2020.load_shipped(name)
        return self._codecs[name]

    def calibration(
        self, name: str, network: str, precision: str, calibrator: str | None = None
    ) -> Calibration:
        """What ships (by `FITTED` for its precisions, else min-max); else made here from the clips, once."""
        if self._own is None and self._calibrate_on is None:
            fitted = FITTED.get(precision, MIN_MAX)
            for rule in [calibrator] if calibrator else [fitted, MIN_MAX]:
                kept = fixtures.root() / calibration_path(
                    name, network, rule, "" if rule == MIN_MAX else precision
                )
                if kept.is_file():
                    return Calibration.read(kept)
        chosen = calibrator or MIN_MAX
        key = (name, network, precision, chosen)
        with self._lock:
            if key not in self._calibrations:
                self._calibrations[key] = self._measured(name, network, precision, chosen)
            return self._calibrations[key]

    def _measured(self, name: str, network: str, precision: str, calibrator: str) -> Calibration:
        parsed = read_precision(precision if precision not in CONTROLS else "w8a8")

        def nets() -> dict[str, IntegerNet]:
            return dict(self.build(name, parsed.name, calibrator=calibrator).integers)

        return CALIBRATORS[calibrator].calibrate(
            problem(
                self.codec(name),
                network,
                parsed,
                self.latents(name),
                granularity=self._granularity,
                nets=nets,
            )
        )

    def latents(self, name: str) -> dict[str, list[Latents]]:
        """What the codec makes of the calibration clips, measured once."""
        if self._calibrate_on is None or self._run is None:
            raise UserError(
                f"no such calibration of {name} ships: give --calibrate FOLDER of clips"
            )
        with self._lock:
            if name not in self._latents:
                made = self.build(name, "fp32")
                self._latents[name] = latents(made, self._calibrate_on(), self._run)
            return self._latents[name]

    def build(
        self,
        name: str,
        precision: str,
        lowering: str | None = None,
        *,
        scope: str = HYPERPRIOR,
        calibrator: str | None = None,
    ) -> VideoBuild:
        """A codec at a precision."""
        with self._lock:
            key = (name, precision, str(lowering), scope, str(calibrator))
            if key not in self._builds:
                networks = quantized_networks(precision, scope) if precision != "fp32" else ()
                calibrations = {
                    network: self.calibration(name, network, precision, calibrator)
                    for network in networks
                }
                made = build(
                    self.codec(name), precision, calibrations, lowering=lowering, scope=scope
                )
                if not (self._own or self._calibrate_on or calibrator):
                    check_specification(made)
                self._builds[key] = made
            return self._builds[key]


def clips(
    folder: Path | None, frames: int | None = None
) -> Mapping[str, Callable[[], Sequence[U8]]]:
    """Readers of whole clips by their names in cases: the shipped ones, or those of a folder; at most `frames` of each."""

    def reader(clip: Clip) -> Callable[[], Sequence[U8]]:
        return cache(lambda: list(clip if frames is None else clip.limited(frames)))

    found = find_clips(folder or fixtures.root() / "clips")
    return {input_name(clip.name): reader(clip) for clip in found}
