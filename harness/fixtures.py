"""Where the shipped codecs, images, suites and goldens are, from a checkout or from a wheel."""

from pathlib import Path


def root() -> Path:
    """The fixtures folder: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    packaged = package / "_fixtures"
    return packaged if packaged.is_dir() else package.parent / "fixtures"
