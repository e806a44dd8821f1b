"""Measure rate points: every codec and variant on every picture, through the real encoder. Platforms are an argument."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.build import Build
from harness.endpoints import Arrays, Run
from harness.images import Pixels, read_image
from harness.lowerings.base import Artifact
from harness.ms_ssim import Similarity, ms_ssim
from harness.rd import Point, Sample, Variant
from harness.ship import sample
from harness.trace import TensorRecord

# The encoder's networks that no variant changes: what they give is kept from one call to the next, up to so many bytes.
ANALYSIS = ("g_a", "h_a")
KEPT_BYTES = 2**29
Each = Callable[[Callable[[Path], list[Sample]], Sequence[Path]], Iterable[list[Sample]]]


@dataclass(kw_only=True)
class Measurements:
    """Rate points by codec and variant, each measured once.

    `build` makes a codec (`family/qN`) in a variant. `runner` makes a function that runs networks and may remember what
    it ran: it lives as long as a picture of a codec, so that variants share g_a, h_a and whatever else is equal. `each`
    applies a function to pictures, in order or several at a time (then `runner` is called where the picture is measured).
    """

    build: Callable[[str, Variant], Build]
    runner: Callable[[], Run]
    pictures: Sequence[Path]
    each: Each = map
    _points: dict[tuple[str, Variant], Point] = field(default_factory=dict)
    _kept: dict[tuple[str, ...], Arrays] = field(default_factory=dict)
    _kept_bytes: int = 0

    def missing(self, names: Iterable[str], variants: Iterable[Variant]) -> int:
        """How many times a picture has to be measured for `points` of these."""
        wanted = {(name, variant) for name in names for variant in variants}
        return len(wanted - set(self._points)) * len(self.pictures)

    def points(
        self,
        names: Sequence[str],
        variants: Sequence[Variant],
        advance: Callable[[str], None],
        *,
        by_ms_ssim: bool = True,
    ) -> list[Point]:
        """Every codec in every variant; `advance` is called with the codec's name after each picture and variant.

        MS-SSIM takes as long as all the rest: without `by_ms_ssim`, points that are new have none.
        """
        for name in names:
            new = [variant for variant in variants if (name, variant) not in self._points]
            self._measure(name, new, advance, by_ms_ssim)
        return [self._points[name, variant] for name in names for variant in variants]

    def _measure(
        self,
        name: str,
        variants: Sequence[Variant],
        advance: Callable[[str], None],
        by_ms_ssim: bool,
    ) -> None:
        builds = {variant: self.build(name, variant) for variant in variants}

        def measured(path: Path) -> list[Sample]:
            pixels = read_image(path)
            run = self._keeping(self.runner())
            similarity = _once(ms_ssim) if by_ms_ssim else _none
            samples = []
            for made in builds.values():
                samples.append(sample(made, path.name, pixels, run, similarity))
                advance(name)
            return samples

        found = list(self.each(measured, self.pictures if builds else []))
        for number, (variant, made) in enumerate(builds.items()):
            self._points[name, variant] = _point(made, variant, [s[number] for s in found])

    def _keeping(self, run: Run) -> Run:
        def kept(network: str, artifact: Artifact, feeds: Arrays) -> Arrays:
            if network not in ANALYSIS:
                return run(network, artifact, feeds)
            key = (artifact.sha256, *(TensorRecord.of(k, v).digest for k, v in feeds.items()))
            if key in self._kept:
                return self._kept[key]
            arrays = run(network, artifact, feeds)
            size = sum(array.nbytes for array in arrays.values())
            if self._kept_bytes + size <= KEPT_BYTES:
                self._kept[key] = arrays
                self._kept_bytes += size
            return arrays

        return kept


def _once(similarity: Similarity) -> Similarity:
    """Variants that only spend other bits decode to the same picture."""
    known: dict[bytes, float | None] = {}

    def remembered(original: Pixels, picture: Pixels) -> float | None:
        key = picture.tobytes()
        if key not in known:
            known[key] = similarity(original, picture)
        return known[key]

    return remembered


def _none(_original: Pixels, _picture: Pixels) -> None:
    return None


def _point(made: Build, variant: Variant, samples: Sequence[Sample]) -> Point:
    lmbda = made.codec.provenance.get("lmbda")
    return Point(
        family=made.codec.family,
        quality=made.codec.quality,
        lmbda=float(lmbda) if isinstance(lmbda, int | float) else None,
        variant=replace(variant, precision=made.precision),  # a table of bits has a name of its own
        samples=tuple(samples),
        calibrator=made.calibrator,
        widths=dict(made.widths),
    )
