"""SARIF 2.1.0, as far as this project writes it: the envelope, addresses and fingerprints. Knows nothing of findings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
VERSION = "2.1.0"


def document(runs: Sequence[Mapping[str, object]]) -> str:
    """The file with these runs, as text."""
    content = {"$schema": SCHEMA, "version": VERSION, "runs": list(runs)}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def uri(path: str) -> str:
    r"""A file name as a relative address.

    >>> uri("models\\a b.onnx")
    'models/a%20b.onnx'
    """
    return quote(path.replace("\\", "/"))


def rule_name(identifier: str) -> str:
    """What viewers show for a rule.

    >>> rule_name("timed-out")
    'TimedOut'
    """
    return "".join(part.capitalize() for part in identifier.split("-"))


def fingerprint(*identity: str) -> str:
    """What stays the same of a result from one run to the next."""
    return hashlib.sha256("\0".join(identity).encode("utf-8", "backslashreplace")).hexdigest()[:32]
