"""10^5 damaged and hostile traces, bundles and goldens: each is refused in one line, or is a valid value; none passes wrongly.

Seeded: input N of a kind is the same everywhere, and a failure names it (`mutant("trace", N)` makes it again).
"""

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest

from harness import archive
from harness.bundle import Bundle
from harness.compare_recordings import compare_recordings
from harness.errors import UserError
from harness.goldens import Golden, differences, goldens_of
from harness.recording import Recording
from tests.recordings import PROGRAM_FILES, X_HAT, bundle, recording

HOSTILE: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.0, 1.5, 1e300, "", "x", "0" * 64, "a" * 64, "..", "../../etc/passwd",
    "/etc/passwd", "a/../b", "C:\\x", "a\nb", "\x00", "\x1b[2J", "é", "\ud800", "x" * 5000, "object", "int64", "float32",
    [], {}, [[]], [0], [2**40] * 4, [-1], [True], [1] * 70, {"a": 1}, {"": ""}, {"__proto__": "x"},
)  # fmt: skip
SOURCES: dict[str, tuple[bytes, ...]] = {
    "trace": (
        recording().to_bytes(),
        recording(keep=False, platform="torch").to_bytes(),
        recording(x_hat=X_HAT + 1).to_bytes(),
    ),
    "golden": tuple(
        golden.to_text().encode()
        for made in (recording(), recording(platform="torch", x_hat=X_HAT + 1))
        for golden in goldens_of(made)
    ),
}


def raw(random: Random, source: bytes, other: bytes) -> bytes:
    """Bytes changed without regard for their meaning."""
    data = bytearray(source)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        at, size = random.randrange(len(data) + 1), random.choice((1, 2, 4, 16, 256))
        match random.randrange(7):
            case 0 | 1 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = random.randbytes(size)
            case 5:
                start = random.randrange(len(other))
                data[at : at + size] = other[start : start + size]
            case _:
                data[at : at + size] = random.choice((b"\x00", b"\xff")) * size
    return bytes(data)


def planted(random: Random, source: bytes) -> bytes:
    """A well-formed archive, whose CRCs hold, with something else in its manifest or its members."""
    members = archive.unpack(source)
    manifest = json.loads(members["manifest.json"])
    for _ in range(random.choice((1, 1, 2, 4))):
        _plant(random, manifest)
    if random.random() < 0.2:
        _shuffle(random, members)
    try:
        text = archive.to_json(manifest)
    except ValueError:
        text = json.dumps(manifest).encode()
    return archive.pack({**members, "manifest.json": text})


def _plant(random: Random, manifest: object) -> None:
    places: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        keys = (
            node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        )
        for key in keys:
            places.append((node, key))
            walk(node[key])  # type: ignore[index]

    walk(manifest)
    if not places:
        return
    node, key = random.choice(places)
    other, other_key = random.choice(places)
    match random.randrange(6):
        case 0 | 1:
            node[key] = deepcopy(random.choice(HOSTILE))  # type: ignore[index]
        case 2:
            del node[key]  # type: ignore[attr-defined]
        case 3:
            node[key] = json.loads(json.dumps(other[other_key]))  # type: ignore[index]
        case 4 if isinstance(node, list):
            node.append(node[key])  # type: ignore[index]
        case _ if isinstance(node[key], str):  # type: ignore[index]
            text = node[key]  # type: ignore[index]
            at = random.randrange(len(text) + 1)
            node[key] = text[:at] + random.choice("0a/. \n\x1b") + text[at + 1 :]  # type: ignore[index]


def _shuffle(random: Random, members: dict[str, bytes]) -> None:
    name, other = random.choice(list(members)), random.choice(list(members))
    match random.randrange(4):
        case 0:
            members.pop(name)
        case 1:
            members[name] = members[other]
        case 2:
            members[random.choice(("../x", "/x", "x.pkl", name + " ", name.upper()))] = members[
                name
            ]
        case _:
            members[name] = raw(random, members[name] + b"\0", members[other] + b"\0")


def mutant(kind: str, number: int) -> bytes:
    """Input `number` of a kind: trace, bundle or golden."""
    random = Random(f"{kind} {number}")
    sources = SOURCES[kind]
    source = random.choice(sources)
    if kind == "golden" or random.random() < 0.5:
        return raw(random, source, random.choice(sources))
    return planted(random, source)


def check_line(error: Exception) -> None:
    """A refusal is one line, short, and clean enough for a terminal."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) < 1000


def outcome_of_trace(data: bytes) -> str:
    try:
        made = Recording.from_bytes(data)
    except UserError as error:
        check_line(error)
        return "refused"
    assert Recording.from_bytes(made.to_bytes()) == made
    return outcome_of_recording(made)


def outcome_of_recording(made: Recording) -> str:
    """Compare with the original; whatever is called identical must be so by its own digests and bytes."""
    original = recording()
    for output in (output for run in made.runs for output in run.outputs):
        data = made.kept.get(output.sha256)
        if data is not None:
            head = f"{output.dtype}{list(output.shape)}".encode()
            assert hashlib.sha256(head + b"\0" + data).hexdigest() == output.sha256
    try:
        found = compare_recordings(original, made)
    except UserError as error:
        check_line(error)
        return "incomparable"
    compared = {run.name: run for run in made.runs}
    wanted = {run.name: run for run in original.runs if run.name not in found.not_compared}
    same = compared.keys() == wanted.keys() and all(
        set(run.outputs) == set(wanted[name].outputs) and run.feeds == wanted[name].feeds
        for name, run in compared.items()
    )
    assert (found.exit_code == 0) == (same and bool(wanted))
    return {0: "identical", 1: "diverged", 3: "nothing"}[found.exit_code]


def outcome_of_bundle(data: bytes) -> str:
    try:
        made = Bundle.from_bytes(data)
    except UserError as error:
        check_line(error)
        return "refused"
    for run in made.expected.runs:
        assert hashlib.sha256(made.artifacts[run.artifact]).hexdigest() == run.artifact
        assert [feed.digest for feed in made.feeds(run)] == [feed.sha256 for feed in run.feeds]
    return outcome_of_recording(made.expected)


def outcome_of_golden(data: bytes) -> str:
    (original,) = goldens_of(recording())
    try:
        made = Golden.from_text(data.decode())
    except UnicodeDecodeError:
        return "refused"
    except UserError as error:
        check_line(error)
        return "refused"
    assert made.to_text().encode() == data
    assert ".." not in made.name.split("/")
    stale = [each for each in differences(original, made) if each.stale]
    integers = [tensor for tensor in original.tensors if tensor.name.startswith("h_s")]
    same = [tensor for tensor in made.tensors if tensor.name.startswith("h_s")] == integers
    assert stale or same
    return "stale" if stale else "valid"


@pytest.fixture(scope="module", autouse=True)
def bundle_source(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.bundle"
    made = bundle()
    made.save(path, PROGRAM_FILES)
    other = replace(made, streams=(), bitstreams={})
    other.save(path.with_suffix(".other"), PROGRAM_FILES)
    SOURCES["bundle"] = (path.read_bytes(), path.with_suffix(".other").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "inputs", "outcome", "seen"),
    [
        ("trace", 60_000, outcome_of_trace, {"refused", "identical", "diverged", "incomparable"}),
        ("bundle", 20_000, outcome_of_bundle, {"refused", "identical"}),
        ("golden", 20_000, outcome_of_golden, {"refused", "stale", "valid"}),
    ],
)
def test_no_damage_and_no_malice_is_believed(
    kind: str, inputs: int, outcome: Callable[[bytes], str], seen: set[str]
) -> None:
    counts: dict[str, int] = {}
    for number in range(inputs):
        try:
            ended = outcome(mutant(kind, number))
        except BaseException as error:
            raise AssertionError(f"mutant({kind!r}, {number}): {error!r}") from error
        counts[ended] = counts.get(ended, 0) + 1
    # A fuzzer whose inputs all end in one place has tested one place.
    assert seen <= set(counts), counts
    assert sum(counts.values()) == inputs


@pytest.mark.parametrize(
    ("broken", "replacement"),
    [
        ("harness.recording.Recording.__post_init__", lambda _: None),
        ("harness.digest.TensorDigest.__post_init__", lambda _: None),
        ("harness.compare_recordings._problem", lambda *_: ""),
        ("harness.compare_recordings._check_comparable", lambda *_: None),
    ],
)
def test_the_fuzzer_catches_a_reader_that_believes(
    broken: str, replacement: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [mutant("trace", number) for number in range(3000)]
    monkeypatch.setattr(broken, replacement)
    wrong = 0
    for data in inputs:
        try:
            outcome_of_trace(data)
        except Exception:  # noqa: BLE001 - whatever a broken reader does is a catch
            wrong += 1
    assert wrong
