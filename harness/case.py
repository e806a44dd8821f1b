"""The name of a case: `codec/qN/precision/scope/lowering/encoder+decoder/input`, the same everywhere."""

import fnmatch
import hashlib
import re
from dataclasses import dataclass

import numpy as np

from harness.errors import UserError

_PART = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, order=True)
class Case:
    """One cell of a suite. `str(case)` names it in reports, filters, pytest ids, seeds and file names.

    >>> str(Case(codec="mbt2018-mean", quality=3, precision="w8a8", scope="hyperprior", lowering="mmi-u8u8",
    ...          encoder="ort-cpu", decoder="torch", input="astronaut"))
    'mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch/astronaut'
    """

    codec: str
    quality: int
    precision: str
    scope: str
    lowering: str
    encoder: str
    decoder: str
    input: str

    def __post_init__(self) -> None:
        for part in (
            self.codec,
            self.precision,
            self.scope,
            self.lowering,
            self.encoder,
            self.decoder,
            self.input,
        ):
            if not _PART.fullmatch(part):
                raise UserError(
                    f"{part!r} cannot be part of a case name: use letters, digits, '.', '_' and '-'"
                )

    def __str__(self) -> str:
        return (
            f"{self.codec}/q{self.quality}/{self.precision}/{self.scope}/{self.lowering}"
            f"/{self.encoder}+{self.decoder}/{self.input}"
        )

    @property
    def variant(self) -> str:
        """What is compared, wherever it runs and of whatever picture: `codec/qN/precision/scope/lowering`."""
        return str(self).rsplit("/", 2)[0]

    def matches(self, pattern: str) -> bool:
        """Whether a shell-style pattern (`*` also crosses `/`) matches the whole name."""
        return fnmatch.fnmatchcase(str(self), pattern)


def rng(name: str) -> np.random.Generator:
    """A generator seeded by `name` alone, so that a case repeats alone as it ran in its suite."""
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    )


def cropped_name(name: str, size: int) -> str:
    """The name of the middle of a picture, at most `size` pixels wide and high."""
    return f"{name}.c{size}"


def crop_of(name: str) -> tuple[str, int]:
    """What `cropped_name` was given; 0 for a whole picture.

    >>> crop_of("kodim01.c256"), crop_of("kodim01")
    (('kodim01', 256), ('kodim01', 0))
    """
    match = re.fullmatch(r"(.+)\.c([1-9][0-9]{0,4})", name)
    return (match[1], int(match[2])) if match else (name, 0)


def input_name(stem: str) -> str:
    """A file's stem as a legal part of a case name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem) or "_"
