"""Which clips a folder holds: the layouts of the test and training sets of the literature.

- `vimeo-90k`: septuplets, `sequences/00001/0001/im1.png` to `im7.png` (`sequences` may be left
  out, and so may the first number), with `sep_trainlist.txt` and `sep_testlist.txt` where a part
  of it is asked for
- `uvg`, `hevc-b`: a folder of nothing but sequences that the set names, of any depth and size
- `folder`: any clips, each a file or a folder of PNGs
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import UserError
from harness.footage.base import Clip, clip_suffixes, open_clip
from harness.footage.formats.png import list_frames
from harness.footage.planar import opened

Subset = Literal["all", "train", "test"]

# Sequences by the first word of their names. UVG: the seven at 1920x1080 that studies report.
SEQUENCES: dict[str, tuple[str, ...]] = {
    "uvg": (
        "Beauty", "Bosphorus", "HoneyBee", "Jockey", "ReadySteadyGo", "ShakeNDry", "YachtRide",
    ),
    "hevc-b": ("BasketballDrive", "BQTerrace", "Cactus", "Kimono1", "ParkScene"),
}  # fmt: skip
ALSO_CALLED = {"readysetgo": "readysteadygo", "kimono": "kimono1"}
SEPTUPLET = 7
CALIBRATION_CLIPS, CALIBRATION_FRAMES, CALIBRATION_SIDE = 64, 7, 256
LIST_BYTES = 2**24  # of a list at most; that of 91701 septuplets has one million


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What was recognised; nothing is opened yet."""

    layout: str  # vimeo-90k, uvg, hevc-b or folder
    clips: tuple[tuple[str, Path], ...]  # name and place, in the order of the names
    missing: tuple[str, ...]  # sequences of the set that are not there


def recognise(root: Path, *, subset: Subset = "all") -> Dataset:
    """Tell the layout of `root`, which may also be one clip; `UserError` if there is no clip.

    `subset` takes the septuplets of one of Vimeo-90k's two lists only.
    """
    base = root / "sequences" if (root / "sequences").is_dir() else root
    if base != root or _is_septuplets(base):
        found = _septuplets(base) if subset == "all" else _listed(root, base, subset)
        return Dataset(layout="vimeo-90k", clips=tuple(found), missing=())
    if subset != "all":
        raise UserError(f"{str(root)!r} is not Vimeo-90k and has no {subset} subset; leave it away")
    clips = tuple((_name(path), path) for path in _clips_in(root))
    names = [name for name, _ in clips]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{str(root)!r} has two clips named {twice[0]!r}; rename or remove one")
    words = {_word(name) for name in names}
    for layout, sequences in SEQUENCES.items():
        if words <= {_word(each) for each in sequences}:
            missing = tuple(each for each in sequences if _word(each) not in words)
            return Dataset(layout=layout, clips=clips, missing=missing)
    return Dataset(layout="folder", clips=clips, missing=())


def find_clips(
    root: Path,
    *,
    most: int | None = None,
    subset: Subset = "all",
    opener: Callable[[Path], Clip] = open_clip,
) -> list[Clip]:
    """Open the clips of `recognise`; where there are more than `most`, that many, evenly chosen.

    The clips have the names that `recognise` gives: of a septuplet, `00001-0001`. `opener` is for
    options: `partial(open_clip, matrix="bt601")`.
    """
    dataset = recognise(root, subset=subset)
    if most is not None and most < 1:
        raise UserError(f"cannot choose {most} clips; give 1 or more")
    count = len(dataset.clips) if most is None else min(most, len(dataset.clips))
    chosen = [dataset.clips[n * len(dataset.clips) // count] for n in range(count)]
    clips = [replace(opener(path), name=name) for name, path in chosen]
    if dataset.layout == "vimeo-90k":
        for clip, (_, path) in zip(clips, chosen, strict=True):
            if clip.frames != SEPTUPLET:
                raise UserError(f"{str(path)!r} has {clip.frames} of 7 frames; extract it again")
    return clips


def seeded_crop(clip: Clip, height: int, width: int, *, seed: int = 0) -> Clip:
    """A window at a random place, the same for every frame, which `clip.name` and `seed` decide."""
    digest = hashlib.sha256(f"{clip.name}/{seed}".encode()).digest()
    spare = (clip.height - height + 1, clip.width - width + 1)
    if min(spare) < 1:  # says so
        return clip.cropped(height, width)
    top, left = (
        int.from_bytes(digest[8 * axis : 8 * axis + 8], "little") % places
        for axis, places in enumerate(spare)
    )
    return clip.cropped_at(top, left, height, width)


def calibration_clips(folder: Path) -> list[Clip]:
    """What a folder of clips gives to calibrate on: at most 64 of them, evenly chosen, their first frames, a window of each.

    Windows of 256 x 256 as in the study of scale-space flow's precision, smaller where a clip is.
    """
    return [
        seeded_crop(
            clip.limited(CALIBRATION_FRAMES),
            min(CALIBRATION_SIDE, clip.height),
            min(CALIBRATION_SIDE, clip.width),
        )
        for clip in find_clips(folder, most=CALIBRATION_CLIPS)
    ]


def _word(name: str) -> str:
    word = re.split(r"[_.]", name)[0].lower()
    return ALSO_CALLED.get(word, word)


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise UserError(f"cannot list {str(folder)!r}: {error.strerror}; check the path") from error


def _folders(folder: Path) -> list[Path]:
    return [path for path in _listing(folder) if path.is_dir()]


def _clips_in(root: Path) -> Sequence[Path]:
    if root.is_file():
        return [root]
    suffixes = clip_suffixes()
    clips = [
        path
        for path in _listing(root)
        if (list_frames(path) if path.is_dir() else path.suffix.lower() in suffixes)
    ]
    if clips or list_frames(root):
        return clips or [root]
    raise UserError(
        f"no clips in {str(root)!r}; give a folder with folders of PNGs or files ending in"
        f" {', '.join(sorted(suffixes))}"
    )


def _is_septuplet(folder: Path) -> bool:
    return (folder / "im1.png").is_file() and (folder / f"im{SEPTUPLET}.png").is_file()


def _is_septuplets(base: Path) -> bool:
    """Judge by the first folder: there may be 91701."""
    first = _folders(base)[:1] if base.is_dir() else []
    return any(
        _is_septuplet(each) for each in [*first, *(f for g in first for f in _folders(g)[:1])]
    )


def _septuplets(base: Path) -> Iterable[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for folder in _folders(base):
        if inner := _folders(folder):
            found += [(f"{folder.name}-{each.name}", each) for each in inner]
        else:
            found.append((folder.name, folder))
    if not found:
        raise UserError(f"no septuplets in {str(base)!r}; extract Vimeo-90k there")
    return found


def _listed(root: Path, base: Path, subset: Subset) -> Iterable[tuple[str, Path]]:
    path = root / f"sep_{subset}list.txt"
    with opened(path) as file:
        lines = file.read(LIST_BYTES).decode("ascii", "replace").split()
    for line in lines:
        if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", line):
            raise UserError(f"{str(path)!r} has the line {line[:40]!r}; lines are as 00001/0001")
        if not (base / line).is_dir():
            raise UserError(f"{str(path)!r} lists {line}, which is not there; extract all of it")
    if not lines:
        raise UserError(f"{str(path)!r} lists nothing; extract it again")
    return [(line.replace("/", "-"), base / line) for line in lines]
