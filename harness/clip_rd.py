"""The values of a study of a video codec: frames, clip points, drift between platforms, cost. Knows no codec or platform."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.bd_rate import Bd
from harness.errors import HarnessError
from harness.images import Pixels
from harness.rd import Variant

# Every curve but the fp32 anchor's is compared with it; all-intra coding is the anchor's codec with key frames only.
ALL_INTRA = "all-intra"
# Stands for all clips where a clip's name does.
MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class FrameSample:
    """One coded frame: payload bits by branch (`img`, or `motion` and `res`), PSNR in dB of its 8-bit RGB picture."""

    number: int
    bits: Mapping[str, int]
    psnr: float

    @property
    def is_key(self) -> bool:
        return "img" in self.bits

    @property
    def total_bits(self) -> int:
        return sum(self.bits.values())


@dataclass(frozen=True, kw_only=True)
class ClipPoint:
    """A codec's rate point on one clip in one variant; `pixels` of one frame, without padding.

    The rate is payload bits over all pixels of all frames, the quality the mean of the frames' PSNR, as CompressAI's
    evaluation of video codecs has it. `intra`: every frame was a key frame. `calibrator`: the one that was used.
    `mirroring`: how the clip was mirrored (see footage), 0 not at all.
    """

    family: str
    quality: int
    clip: str
    variant: Variant
    pixels: int
    frames: tuple[FrameSample, ...]
    calibrator: str = "none"
    intra: bool = False
    mirroring: int = 0

    def __post_init__(self) -> None:
        if not self.frames:
            raise HarnessError(f"{self.family}/q{self.quality} was measured on no frame")
        kinds = [frame.is_key for frame in self.frames]
        numbers = [frame.number for frame in self.frames]
        if not kinds[0] or (self.intra and not all(kinds)) or numbers != sorted(set(numbers)):
            raise HarnessError(f"{self.family}/q{self.quality} {self.clip}: frames out of order")

    @property
    def bpp(self) -> float:
        return sum(f.total_bits for f in self.frames) / (self.pixels * len(self.frames))

    @property
    def psnr(self) -> float:
        return _mean(f.psnr for f in self.frames)

    @property
    def inter_bpp(self) -> float | None:
        """Of the P frames alone; None where there is none."""
        inter = [f.total_bits for f in self.frames if not f.is_key]
        return sum(inter) / (self.pixels * len(inter)) if inter else None


@dataclass(frozen=True, kw_only=True)
class ClipBdRate:
    """What a variant costs against fp32 on one clip, payload bits, RGB PSNR; `clip` is `MEAN` for the mean of the clips' percentages.

    `error`: the standard error of a mean over mirrored clips, in points of percent; None of a single figure.
    """

    clip: str
    variant: Variant
    calibrator: str
    method: str
    psnr: Bd
    error: float | None = None

    @property
    def percent(self) -> float | None:
        return self.psnr.percent


@dataclass(frozen=True, kw_only=True)
class IntraShare:
    """Bits a P frame takes, as a share of what all-intra coding takes at the same PSNR (interpolated); None: out of reach.

    `beyond`: dB by which that PSNR lies outside of the all-intra curve, which is then extended by its outermost line.
    """

    quality: int
    clip: str
    inter_bpp: float
    psnr: float
    intra_bpp: float | None
    beyond: float = 0.0

    @property
    def share(self) -> float | None:
        return None if self.intra_bpp is None else self.inter_bpp / self.intra_bpp


@dataclass(frozen=True, kw_only=True)
class DriftFrame:
    """One frame of a stream that one platform coded and another decoded.

    `flips`: CDF indexes that differ, of `indexes`; `wrong_symbols` of `symbols`; `differing_samples`: 8-bit samples that
    differ, of `samples`; `psnr_between`: dB between both ends' 8-bit pictures, None where they are identical; then each end's PSNR
    against the source.
    """

    number: int
    flips: int
    indexes: int
    wrong_symbols: int
    symbols: int
    differing_samples: int
    samples: int
    psnr_between: float | None
    psnr_encoder: float
    psnr_decoder: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A clip of `coded` frames, coded on `encoder` and decoded on `decoder`, frame by frame.

    `problem`: which of the stream's own checks failed first, or what stopped the decoder; empty if nothing.
    """

    family: str
    quality: int
    clip: str
    variant: Variant
    lowering: str
    encoder: str
    decoder: str
    coded: int
    frames: tuple[DriftFrame, ...]
    problem: str = ""

    @property
    def first_damaged(self) -> int | None:
        """The first frame with a wrong symbol."""
        return next((f.number for f in self.frames if f.wrong_symbols), None)

    @property
    def first_flip(self) -> int | None:
        return next((f.number for f in self.frames if f.flips), None)

    @property
    def is_identical(self) -> bool:
        """Every picture of every frame, to the last bit."""
        wrong = any(f.differing_samples or f.flips or f.wrong_symbols for f in self.frames)
        return len(self.frames) == self.coded > 0 and not self.problem and not wrong


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The pictures behind a residual figure: uint8 RGB [H, W, 3] of one frame, the source's and both ends'.

    Both ends' may be equal: then it is what stands beside a mismatch.
    """

    family: str
    quality: int
    clip: str
    variant: Variant
    encoder: str
    decoder: str
    frame: int
    original: Pixels = field(repr=False)
    encoder_picture: Pixels = field(repr=False)
    decoder_picture: Pixels = field(repr=False)

    def __post_init__(self) -> None:
        pictures = (self.original, self.encoder_picture, self.decoder_picture)
        if len({picture.shape for picture in pictures}) != 1:
            raise HarnessError(f"frame {self.frame} of {self.clip}: pictures of several sizes")

    @property
    def residual(self) -> Pixels:
        """Absolute difference of both ends' pictures."""
        ours, theirs = (p.astype(np.int16) for p in (self.encoder_picture, self.decoder_picture))
        difference: Pixels = np.abs(ours - theirs).astype(np.uint8)
        return difference


@dataclass(frozen=True, kw_only=True)
class HyperCost:
    """Memory and compute of both hyper-decoders of a branch at one precision, for one frame of `size` (height, width).

    `macs` multiply-accumulates; `bit_operations`: MACs times bits of weights times bits of activations (32 x 32 for fp32);
    `activation_bytes`: the largest input and output of a layer together.
    """

    family: str
    quality: int
    precision: str
    branch: str
    size: tuple[int, int]
    weights: int
    weight_bytes: float
    activation_bytes: float
    macs: int
    bit_operations: int


@dataclass(frozen=True, kw_only=True)
class ClipStudy:
    """Everything that was measured. `notes`: lines that qualify a number.

    `open_points`: variants that predict from fp32's references (see video/open_loop.py), and their BD-rates against it.
    `mirrored_points`: of clips that were mirrored, where they were; `mirrored_bd_rates`: means over these and the clips as they are.
    """

    points: tuple[ClipPoint, ...]
    bd_rates: tuple[ClipBdRate, ...]
    intra_shares: tuple[IntraShare, ...]
    drifts: tuple[Drift, ...]
    mismatches: tuple[Mismatch, ...]
    costs: tuple[HyperCost, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    open_points: tuple[ClipPoint, ...] = ()
    open_bd_rates: tuple[ClipBdRate, ...] = ()
    mirrored_points: tuple[ClipPoint, ...] = ()
    mirrored_bd_rates: tuple[ClipBdRate, ...] = ()

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0

    @property
    def clips(self) -> Sequence[str]:
        return list(dict.fromkeys(point.clip for point in self.points))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
