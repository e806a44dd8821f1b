"""Which goldens there must be, the streams they are made from, and what is wrong with those on disk.

`goldens.toml` declares them; FOLDER/VARIANT/LOWERING/PLATFORM/INPUT.txt are the goldens, FOLDER/streams/VARIANT/INPUT.xchk
the streams: a decoder's input must not depend on the floats of the encoder that happens to run here. Reads, and writes only
what `accept` in the command line hands it.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness import endpoints
from harness.archive import read_bytes
from harness.bitstream import Bitstream, pack, unpack
from harness.build import HYPERPRIOR, Build
from harness.bundle import Bundle
from harness.bundling import Bundler
from harness.errors import StreamError, UserError
from harness.files import write_file
from harness.goldens import Difference, Golden, differences, goldens_of
from harness.recording import Recording, check_run_name

DECLARATION, STREAMS = "goldens.toml", "streams"
MAX_DECLARATION_BYTES = 2**20
U8 = NDArray[np.uint8]


class Builds(Protocol):
    """How to build a codec (by `family/qN`) at a precision, in a lowering and a scope."""

    def __call__(
        self, name: str, precision: str, lowering: str | None = None, *, scope: str = ...
    ) -> Build: ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One variant and picture, and the platforms that there must be a golden of."""

    codec: str
    precision: str
    scope: str
    input: str
    platforms: tuple[str, ...]

    def __post_init__(self) -> None:
        check_run_name(f"{self.variant}/{self.input}/network")

    @property
    def variant(self) -> str:
        return f"{self.codec}/{self.precision}/{self.scope}"

    @property
    def subject(self) -> tuple[str, str]:
        return self.variant, self.input

    def matches(self, pattern: str) -> bool:
        """Whether a shell-style pattern matches codec/qN/precision/scope/input."""
        return fnmatchcase(f"{self.variant}/{self.input}", pattern)

    def stream(self, folder: Path) -> Path:
        return folder / STREAMS / self.variant / f"{self.input}.xchk"


def declared(folder: Path, pattern: str = "*") -> list[Wanted]:
    """What `goldens.toml` declares; a UserError where it cannot be read or declares nothing that matches."""
    path = folder / DECLARATION
    try:
        if path.stat().st_size > MAX_DECLARATION_BYTES:
            raise UserError(f"{path} takes more than {MAX_DECLARATION_BYTES} bytes")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    blocks = table.get("goldens")
    if not isinstance(blocks, list) or set(table) != {"goldens"}:
        raise UserError(f"{path}: it needs [[goldens]] and nothing else")
    every = [wanted for block in blocks for wanted in _block(path, block)]
    names = [wanted.subject for wanted in every]
    if len(set(names)) != len(names):
        raise UserError(f"{path}: a variant and picture are declared twice")
    found = [wanted for wanted in every if wanted.matches(pattern)]
    if not found:
        raise UserError(
            f"no golden of {path} matches {pattern!r}; names are codec/qN/precision/scope/input"
        )
    return found


def _block(path: Path, block: object) -> Iterator[Wanted]:
    lists = ("precisions", "inputs", "platforms")
    if not isinstance(block, dict) or not {"codec", *lists} <= set(block) <= {
        "codec",
        "scope",
        *lists,
    }:
        raise UserError(f"{path}: [[goldens]] has codec, scope, precisions, inputs and platforms")
    texts = [block["codec"], block.get("scope", HYPERPRIOR)]
    for name in lists:
        if not isinstance(block[name], list) or not block[name]:
            raise UserError(f"{path}: {name} must be a list of names")
        texts += block[name]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: names are texts")
    for precision in block["precisions"]:
        for picture in block["inputs"]:
            yield Wanted(
                codec=block["codec"],
                precision=precision,
                scope=block.get("scope", HYPERPRIOR),
                input=picture,
                platforms=tuple(block["platforms"]),
            )


def on_disk(folder: Path) -> dict[str, Golden]:
    """Every golden below a folder, by its name; one that lies elsewhere than its name says is a UserError."""
    found: dict[str, Golden] = {}
    for path in sorted(folder.rglob("*.txt")):
        golden = Golden.load(path)
        if path != golden_path(folder, golden):
            raise UserError(f"golden {path} is of {golden.name}: rename it, or accept it again")
        found[golden.name] = golden
    return found


def golden_path(folder: Path, golden: Golden) -> Path:
    return folder / f"{golden.name}.txt"


def missing_or_unused(folder: Path, every: Sequence[Wanted], there: Sequence[Golden]) -> list[str]:
    """What is declared and not there, and what is there and not declared: streams and goldens."""
    have = {(*golden.subject, golden.platform) for golden in there}
    wanted = {(*each.subject, platform) for each in every for platform in each.platforms}
    streams = {each.stream(folder) for each in every}
    lost = [f"{v}/*/{p}/{i}" for v, i, p in sorted(wanted - have)]
    unused = [g.name for g in there if (*g.subject, g.platform) not in wanted]
    spare = sorted(set((folder / STREAMS).rglob("*.xchk")) - streams)
    return [
        *(f"missing golden {name}" for name in lost),
        *(
            f"missing stream {path.relative_to(folder)}"
            for path in sorted(streams)
            if not path.is_file()
        ),
        *(f"unused golden {name}" for name in unused),
        *(f"unused stream {path.relative_to(folder)}" for path in spare),
    ]


def read_stream(folder: Path, wanted: Wanted) -> Bitstream:
    """The stream of a golden; a StreamError where it is damaged, a UserError where it is not there."""
    path = wanted.stream(folder)
    try:
        return unpack(read_bytes(path))
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def current(folder: Path, every: Sequence[Wanted], there: Iterable[Golden]) -> list[Golden]:
    """The goldens that are of the same specification as the stream they decode; older ones have no say any more."""
    streams = {wanted.subject: read_stream(folder, wanted).header for wanted in every}
    return [
        golden
        for golden in there
        if golden.subject in streams
        and bytes.fromhex(golden.specification) == streams[golden.subject].specification
    ]


def renew_stream(
    folder: Path, wanted: Wanted, made: Build, read: Callable[[], U8], run: endpoints.Run
) -> bool:
    """Encode the picture where its stream is missing, damaged or of another specification; whether it was."""
    path = wanted.stream(folder)
    try:
        header = read_stream(folder, wanted).header
        ours = bytes.fromhex(made.specification), bytes.fromhex(made.codec.tables_digest)
        if (header.specification, header.tables) == ours:
            return False
    except (StreamError, UserError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, pack(endpoints.encode(made, read(), run).bitstream))
    return True


def bundle_of(
    folder: Path, every: Sequence[Wanted], builds: Builds, bundler: Bundler, lowering: str | None
) -> tuple[Bundle | None, list[str]]:
    """What decoding the streams takes, and which streams do not decode. None if none does.

    `lowering` is taken for the precisions that it can realise, the default one for the others.
    """
    problems = []
    for wanted in every:
        try:
            stream = read_stream(folder, wanted)
            made = builds(
                wanted.codec,
                wanted.precision,
                lowering if wanted.precision != "fp32" else None,
                scope=wanted.scope,
            )
            said = bundler.decode(made, wanted.input, stream)
            if said and made.integer is not None:
                problems.append(f"{wanted.variant}/{wanted.input}: {said}")
        except (StreamError, UserError) as error:
            problems.append(f"{wanted.variant}/{wanted.input}: {error}")
    return (bundler.bundle(["none"]) if bundler.runs else None), problems


def check(there: Sequence[Golden], recording: Recording) -> list[Difference]:
    """How goldens of any platform differ from a recording of their streams."""
    found = []
    for now in goldens_of(recording):
        for golden in there:
            if golden.subject == now.subject:
                found += differences(golden, now)
    return found
