"""What can be built: the codecs that ship, one of your own, their calibrations, and pictures by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from harness import fixtures, images
from harness.build import DECODER, HYPERPRIOR, Build, Quantized, build
from harness.calibration import Calibration
from harness.calibrators.base import CALIBRATORS, Granularity
from harness.case import crop_of, input_name
from harness.codecs import checkpoint
from harness.codecs.base import FAMILIES, Codec
from harness.encodings import read_encodings
from harness.errors import UserError
from harness.precision import CONTROLS, read_precision
from harness.problems import Latents, latents, problem

U8 = NDArray[np.uint8]
MIN_MAX, TF_ENHANCED, RATE = "min-max", "tf-enhanced", "rate"
# Calibration uses this many pictures at most, evenly chosen from the folder.
MOST_IMAGES = 64


def calibration_path(name: str, network: str, calibrator: str, precision: str = "") -> Path:
    """Where, below the fixtures, the calibration of a shipped codec's network is kept."""
    parts = [network, calibrator, *([precision] if precision else []), "safetensors.xz"]
    return Path("calibrations") / name / ".".join(parts)


class Library:
    """Codecs by `family/qN` and their builds, each made once; safe to share between threads."""

    def __init__(self, own: Codec | None = None, calibrate_on: Path | None = None) -> None:
        self._own = own
        self._calibrate_on = calibrate_on
        self._lock = RLock()
        self._builds: dict[tuple[str, ...], Build] = {}
        self._codecs: dict[str, Codec] = {}
        self._latents: dict[str, list[Latents]] = {}
        self._calibrations: dict[tuple[str, ...], Calibration] = {}
        self._given: dict[str, Path] = {}

    @property
    def is_foreign(self) -> bool:
        return self._own is not None

    def names(self) -> list[str]:
        return [self._own.name] if self._own else list(checkpoint.shipped())

    def codec(self, name: str) -> Codec:
        if self._own is not None and name == self._own.name:
            return self._own
        if name not in self._codecs:
            self._codecs[name] = checkpoint.load_shipped(name)
        return self._codecs[name]

    def use(self, network: str, file: Path) -> None:
        """Take the calibration or the AIMET encodings (.json) of this file for `network` from now on."""
        with self._lock:
            self._given[network] = file
            self._builds.clear()

    def calibration(
        self,
        name: str,
        network: str,
        precision: str,
        calibrator: str | None = None,
        granularity: Granularity | None = None,
    ) -> Calibration:
        """What was given to `use`; else what ships; else made here from the calibration images, once.

        Without a `calibrator`, a shipped codec has its own (rate, where it ships for this precision, else min-max) and
        any other one min-max.
        """
        if network in self._given and calibrator is None:
            return self._read(self._given[network], name, network, precision)
        stored = self._stored(name, network, precision, calibrator) if granularity is None else None
        chosen = calibrator or MIN_MAX
        key = (name, network, precision, str(stored or chosen), str(granularity))
        with self._lock:
            if key not in self._calibrations:
                self._calibrations[key] = (
                    Calibration.read(stored)
                    if stored
                    else self._measured(name, network, precision, chosen, granularity)
                )
            return self._calibrations[key]

    def _read(self, file: Path, name: str, network: str, precision: str) -> Calibration:
        if file.suffix != ".json":
            return Calibration.read(file)
        return read_encodings(file, self.codec(name).networks[network], read_precision(precision))

    def _stored(
        self, name: str, network: str, precision: str, calibrator: str | None
    ) -> Path | None:
        if self._own is not None or (self._calibrate_on is not None and calibrator is None):
            return None
        root = fixtures.root()
        candidates = {
            RATE: root / calibration_path(name, network, RATE, precision),
            MIN_MAX: root / calibration_path(name, network, MIN_MAX),
        }
        wanted = [calibrator] if calibrator else [RATE, MIN_MAX]
        found = [candidates[each] for each in wanted if each in candidates]
        return next((path for path in found if path.is_file()), None)

    def _measured(
        self,
        name: str,
        network: str,
        precision: str,
        calibrator: str,
        granularity: Granularity | None,
    ) -> Calibration:
        rule = CALIBRATORS[calibrator]
        if self._own is None and self._calibrate_on is None:
            raise UserError(
                f"no {calibrator} calibration of {name} {network} ships for {precision}: "
                "give --calibrate FOLDER of photographs"
            )
        return rule.calibrate(
            problem(
                self.codec(name),
                network,
                read_precision(precision if precision not in CONTROLS else "w8a8"),
                self.latents(name),
                granularity=granularity or Granularity(),
                h_s=lambda: self.build(name, precision, calibrator=calibrator).integers["h_s"],
            )
        )

    def latents(self, name: str) -> list[Latents]:
        """What the codec makes of the calibration images, measured once."""
        with self._lock:
            if name not in self._latents:
                folder = self._calibrate_on or fixtures.root() / "images"
                self._latents[name] = [
                    latents(self.codec(name), images.read_image(path))
                    for path in images.list_images_below(folder, MOST_IMAGES)
                ]
            return self._latents[name]

    def build(
        self,
        name: str,
        precision: str,
        lowering: str | None = None,
        *,
        scope: str = HYPERPRIOR,
        calibrator: str | None = None,
    ) -> Build:
        """A codec at a precision; the specification of a shipped one must have the digest it was shipped with."""
        with self._lock:
            key = (name, precision, str(lowering), scope, str(calibrator))
            if key not in self._builds:
                networks = ["h_s", "g_s"] if scope == DECODER else ["h_s"]
                calibrations = {
                    network: self.calibration(name, network, precision, calibrator)
                    for network in (networks if precision != "fp32" else [])
                }
                made = build(
                    self.codec(name), precision, calibrations, lowering=lowering, scope=scope
                )
                as_shipped = not (self._own or self._given or self._calibrate_on or calibrator)
                if as_shipped:
                    check_specification(made)
                self._builds[key] = made
            return self._builds[key]


def check_specification(made: Quantized) -> None:
    """Quantization is the same function on every machine; the digests shipped with a codec prove it on this one."""
    specifications = made.codec.provenance.get("specifications", {})
    assert isinstance(specifications, Mapping)
    for network, net in made.integers.items():
        wanted = specifications.get(f"{network} {made.precision}")
        if wanted is not None and wanted != net.digest:
            raise UserError(
                f"{made.codec.name} {made.precision}: quantizing {network} here gave specification "
                f"{net.digest[:12]}, it shipped with {wanted[:12]}; report this machine, please"
            )


def own_codec(
    *, file: Path | None, family: str | None, quality: int | None, pretrained: bool
) -> Codec | None:
    """The user's codec: from a checkpoint file, or from CompressAI's zoo; None if neither is asked for."""
    chosen = FAMILIES[family] if family else None
    if file is not None:
        state = checkpoint.read_checkpoint(file)
        return checkpoint.load_foreign(state, family=chosen, quality=quality or 0, origin=file.name)
    if not pretrained:
        return None
    if chosen is None or quality is None:
        raise UserError(
            "--pretrained needs --codec FAMILY and --quality N, such as --codec mbt2018-mean --quality 3"
        )
    state = checkpoint.download_pretrained(chosen.zoo_name, quality)
    return checkpoint.load_foreign(
        state, family=chosen, quality=quality, origin="CompressAI model zoo"
    )


class Pictures(Mapping[str, Callable[[], U8]]):
    """Readers of pictures by their names in cases; `NAME.c256` is the middle 256 x 256 pixels of `NAME`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._whole = {
            input_name(path.stem): cache(lambda path=path: images.read_image(path))
            for path in paths
        }

    def __getitem__(self, name: str) -> Callable[[], U8]:
        whole, size = crop_of(name)
        if name in self._whole or not size:
            return self._whole[name]
        read = self._whole[whole]
        return lambda: images.middle(read(), size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


def pictures(folder: Path | None) -> Pictures:
    """Readers of the pictures of a folder (the shipped ones by default)."""
    return Pictures(images.list_images(folder or fixtures.root() / "images"))
