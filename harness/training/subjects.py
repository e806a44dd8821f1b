"""Which kind of codec a recipe trains."""

from pathlib import Path

from harness.codecs import ssf2020
from harness.codecs.base import FAMILIES
from harness.training.clips import Clips
from harness.training.loop import Subject
from harness.training.stills import Stills


def subject_of(family: str, data: Path) -> Subject:
    """What a family is trained on, from a folder of photographs; UserError if there is no such family."""
    return Clips(data) if family == ssf2020.NAME else Stills(FAMILIES[family], data)
