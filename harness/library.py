"""What can be built: the codecs that ship, one of your own, their ranges, and pictures by name."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from harness import fixtures, images
from harness.build import Build, build
from harness.calibrate import Ranges, forward, observe
from harness.case import input_name
from harness.codecs import checkpoint
from harness.codecs.base import DOWNSAMPLING, FAMILIES, Codec
from harness.errors import UserError
from harness.specification import MEDIAN_FRACTION_BITS

U8 = NDArray[np.uint8]


def hyper_latents(codec: Codec, pixels: U8) -> NDArray[np.float32]:
    """z_hat float32 [1, N, H/64, W/64] of a picture, as its decoder sees it (rounded around the medians)."""
    x = images.to_tensor(images.pad_to_multiple(pixels, DOWNSAMPLING))
    y = list(forward(codec.networks["g_a"], x).values())[-1]
    z = list(forward(codec.networks["h_a"], y).values())[-1]
    medians = codec.medians.astype(np.float32)[None, :, None, None] / 2**MEDIAN_FRACTION_BITS
    return np.asarray(np.rint(z - medians) + medians, np.float32)


def calibrated(codec: Codec, folder: Path) -> Ranges:
    """Ranges of h_s over the images of `folder` (and the folders in it)."""
    folders = (
        [folder, *sorted(p for p in folder.glob("*") if p.is_dir())]
        if folder.is_dir()
        else [folder]
    )
    paths: list[Path] = []
    for candidate in folders:
        try:
            paths += images.list_images(candidate)
        except UserError:
            if len(folders) == 1:
                raise
    if not paths:
        raise UserError(f"no images in {folder}: calibration wants a folder of photographs")
    return observe(
        codec.networks["h_s"], (hyper_latents(codec, images.read_image(path)) for path in paths)
    )


class Library:
    """Codecs by `family/qN` and their builds, each made once; safe to share between threads."""

    def __init__(self, own: Codec | None = None, calibrate_on: Path | None = None) -> None:
        self._own = own
        self._calibrate_on = calibrate_on
        self._lock = Lock()
        self._builds: dict[tuple[str, str, str | None], Build] = {}
        self._codecs: dict[str, Codec] = {}
        self._ranges: dict[str, Ranges] = {}

    @property
    def is_foreign(self) -> bool:
        return self._own is not None

    def names(self) -> list[str]:
        return [self._own.name] if self._own else checkpoint.shipped()

    def codec(self, name: str) -> Codec:
        if self._own is not None and name == self._own.name:
            return self._own
        if name not in self._codecs:
            self._codecs[name] = checkpoint.load_shipped(name)
        return self._codecs[name]

    def ranges(self, name: str) -> Ranges:
        """The shipped calibration, unless the codec is foreign or a folder was given; then measured here, once."""
        if name not in self._ranges:
            shipped = fixtures.root() / "codecs" / f"{name}.ranges.json"
            if self._calibrate_on is None and self._own is None:
                self._ranges[name] = Ranges.from_json(shipped)
            else:
                folder = self._calibrate_on or fixtures.root() / "images"
                self._ranges[name] = calibrated(self.codec(name), folder)
        return self._ranges[name]

    def build(self, name: str, precision: str, lowering: str | None = None) -> Build:
        """A codec at a precision; the specification of a shipped one must have the digest it was shipped with."""
        with self._lock:
            key = (name, precision, lowering)
            if key not in self._builds:
                codec = self.codec(name)
                ranges = None if precision == "fp32" else self.ranges(name)
                made = build(codec, precision, ranges, lowering=lowering)
                if self._calibrate_on is None and made.integer is not None:
                    check_specification(made)
                self._builds[key] = made
            return self._builds[key]


def check_specification(made: Build) -> None:
    """Quantization is the same function on every machine; the digest shipped with a codec proves it on this one."""
    specifications = made.codec.provenance.get("specifications", {})
    assert isinstance(specifications, Mapping)
    wanted = specifications.get(made.precision)
    if wanted is not None and wanted != made.specification:
        raise UserError(
            f"{made.codec.name} {made.precision}: quantizing here gave specification "
            f"{made.specification[:12]}, it shipped with {wanted[:12]}; report this machine, please"
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
    state = checkpoint.download_pretrained(chosen, quality)
    return checkpoint.load_foreign(
        state, family=chosen, quality=quality, origin="CompressAI model zoo"
    )


def pictures(folder: Path | None) -> dict[str, Callable[[], U8]]:
    """Readers of the pictures of a folder (the shipped ones by default), by their names in cases."""
    paths = images.list_images(folder or fixtures.root() / "images")
    return {
        input_name(path.stem): cache(lambda path=path: images.read_image(path)) for path in paths
    }


def describe(names: Sequence[str]) -> list[dict[str, object]]:
    """What ships, for `crosscheck codecs`: name, provenance and rate-distortion."""
    root = fixtures.root() / "codecs"
    return [
        {"name": name, **json.loads((root / f"{name}.json").read_text(encoding="utf-8"))}
        for name in names
    ]
