"""Goldens: text that says what changed; missing, unused and stale ones are red; floats belong to their environment."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import fixtures, golden_suite
from harness.bundling import Bundler
from harness.cells import platform_runner
from harness.digest import TensorDigest
from harness.errors import UserError
from harness.goldens import Difference, Golden, differences, goldens_of
from harness.library import Library
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.recorder import record
from harness.recording import Recording
from tests.recordings import INDEXES, SPECIFICATION, TABLES, VARIANT, X_HAT, Z, digest_of, recording

GOLDEN = goldens_of(recording())[0]
DECLARED = """
[[goldens]]
codec = "mbt2018-mean/q3"
precisions = ["w8a8"]
inputs = ["astronaut.c128"]
platforms = ["ort-cpu", "torch"]
"""


def test_a_golden_is_text_one_line_a_tensor() -> None:
    lines = GOLDEN.to_text().split("\n")
    assert lines[:5] == [
        "# crosscheck golden 1",
        f"# case {VARIANT}/mmi-u8u8/ort-cpu/astronaut.c128",
        f"# specification {SPECIFICATION}",
        f"# tables {TABLES}",
        "# integer h_s",
    ]
    assert "# environment runtime: onnxruntime 1.23" in lines
    assert [line.split(" ")[0] for line in lines if line and not line.startswith("#")] == [
        "h_s.in.z_symbols", "h_s.out.means_hat", "h_s.out.indexes", "g_s.in.y_hat", "g_s.out.x_hat",
    ]  # fmt: skip
    assert f"h_s.in.z_symbols int32 1x2x2x2 {digest_of('z', Z).sha256}" in lines
    assert lines[-1] == ""
    assert Golden.from_text(GOLDEN.to_text()) == GOLDEN


def test_odd_values_survive() -> None:
    odd = replace(
        GOLDEN,
        integer=(),
        environment={"a": "x: y ", "b b": "-"},
        tensors=(digest_of("h_s.in.s", np.int8(1)), digest_of("h_s.out.e", np.zeros((0, 3)))),
    )
    assert Golden.from_text(odd.to_text()) == odd
    empty = replace(recording(), environment={"platform": "p", "nothing": ""})
    assert Golden.from_text(goldens_of(empty)[0].to_text()).environment["nothing"] == "-"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:0],
        lambda t: t.replace("golden 1", "golden 2"),
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t + "\n",
        lambda t: t + "note\n",
        lambda t: t.replace("# tables", "#  tables"),
        lambda t: t.replace("# integer h_s", "# integer h_a"),
        lambda t: t.replace("/mmi-u8u8/", "/../"),
        lambda t: t.replace("# case mbt2018-mean", "# case ../../x"),
        lambda t: t.replace("int32 1x2x2x2", "int32 [1,2,2,2]"),
        lambda t: t.replace("int32 1x2x2x2", "int32 1x2x2x99999999999999"),
        lambda t: t.replace("int32 1x2x2x2", "object 1x2x2x2"),
        lambda t: t.replace("h_s.in.z_symbols", "z_symbols"),
        lambda t: t.replace("h_s.in.z_symbols", "h_s.out.indexes"),
        lambda t: t.replace(SPECIFICATION, "5"),
        lambda t: t.replace("onnxruntime", "\x1b[31m"),
        lambda t: t * 20_000,
    ],
)  # fmt: skip
def test_another_text_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(UserError) as caught:
        Golden.from_text(change(GOLDEN.to_text()))
    assert str(caught.value).isprintable()


def stale(golden: Golden, made: Recording) -> list[Difference]:
    return differences(golden, goldens_of(made)[0])


OTHER = INDEXES + 1


def test_integers_are_gated_whoever_ran_them_and_floats_in_their_environment() -> None:
    assert stale(GOLDEN, recording()) == []
    assert stale(GOLDEN, recording(platform="torch")) == []
    (found,) = stale(GOLDEN, recording(platform="torch", indexes=OTHER))
    assert found.stale
    want, got = digest_of("i", INDEXES).sha256[:8], digest_of("i", OTHER).sha256[:8]
    assert found.text == (
        f"h_s.out.indexes: int32[1, 3, 2, 2] {want} -> int32[1, 3, 2, 2] {got} (1 of 3 lines differ)"
    )
    (found,) = stale(GOLDEN, recording(platform="torch", x_hat=X_HAT + 1))
    assert not found.stale
    (found,) = stale(GOLDEN, recording(x_hat=X_HAT + 1))
    assert found.stale
    assert found.text.startswith("g_s.out.x_hat: ")


def test_what_h_s_takes_is_the_streams_own_in_every_precision() -> None:
    floats = replace(GOLDEN, integer=())
    fed = replace(
        floats,
        platform="torch",
        environment={},
        tensors=(digest_of("h_s.in.z_symbols", Z + 1), *floats.tensors[1:]),
    )
    assert [each.stale for each in differences(floats, fed)] == [True]
    other = replace(fed, tensors=(floats.tensors[0], *other_digests(floats.tensors[1:])))
    assert [each.stale for each in differences(floats, other)] == [False]


def other_digests(tensors: tuple[TensorDigest, ...]) -> Iterator[TensorDigest]:
    return (replace(tensor, sha256="0" * 64) for tensor in tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"specification": "6" * 64},
        {"tables": "6" * 64},
        {"integer": ("h_s", "g_s")},
        {"tensors": GOLDEN.tensors[:3]},
        {"tensors": (GOLDEN.tensors[0], *GOLDEN.tensors[2:])},
    ],
)
def test_another_specification_or_a_lost_line_is_stale(change: dict[str, object]) -> None:
    for pair in ((GOLDEN, replace(GOLDEN, **change)), (replace(GOLDEN, **change), GOLDEN)):  # type: ignore[arg-type]
        assert [each.stale for each in differences(*pair)] == [True]


# On disk.


def placed(folder: Path, golden: Golden) -> Path:
    path = golden_suite.golden_path(folder, golden)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(golden.to_text().encode())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both goldens that are declared, and their stream."""
    (tmp_path / "goldens.toml").write_text(DECLARED)
    for platform in ("ort-cpu", "torch"):
        placed(tmp_path, replace(GOLDEN, platform=platform))
    (wanted,) = golden_suite.declared(tmp_path)
    wanted.stream(tmp_path).parent.mkdir(parents=True)
    wanted.stream(tmp_path).write_bytes(b"a stream")
    return tmp_path


def problems(folder: Path) -> list[str]:
    there = list(golden_suite.on_disk(folder).values())
    return golden_suite.missing_or_unused(folder, golden_suite.declared(folder), there)


def test_what_is_declared_and_there_has_no_problem(folder: Path) -> None:
    assert problems(folder) == []


def test_a_missing_and_an_unused_golden_are_problems(folder: Path) -> None:
    placed(folder, replace(GOLDEN, platform="jax"))
    placed(folder, replace(GOLDEN, input="chelsea"))
    golden_suite.golden_path(folder, replace(GOLDEN, platform="torch")).unlink()
    assert problems(folder) == [
        f"missing golden {VARIANT}/*/torch/astronaut.c128",
        f"unused golden {VARIANT}/mmi-u8u8/jax/astronaut.c128",
        f"unused golden {VARIANT}/mmi-u8u8/ort-cpu/chelsea",
    ]


def test_a_missing_and_an_unused_stream_are_problems(folder: Path) -> None:
    (stream,) = (folder / "streams").rglob("*.xchk")
    stream.rename(stream.with_name("other.xchk"))
    assert problems(folder) == [
        f"missing stream streams/{VARIANT}/astronaut.c128.xchk",
        f"unused stream streams/{VARIANT}/other.xchk",
    ]


def test_a_golden_that_lies_elsewhere_than_its_name_is_refused(folder: Path) -> None:
    path = placed(folder, replace(GOLDEN, platform="torch"))
    path.rename(path.with_name("x.txt"))
    with pytest.raises(UserError, match="is of mbt2018-mean/q3"):
        golden_suite.on_disk(folder)
    path.with_name("x.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot read golden"):
        golden_suite.on_disk(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = ",
        "goldens = 1",
        "[[goldens]]\ncodec = 'x/q1'",
        DECLARED + "more = 1",
        DECLARED + DECLARED,
        DECLARED.replace('["w8a8"]', '"w8a8"'),
        DECLARED.replace('["w8a8"]', "[]"),
        DECLARED.replace('["w8a8"]', "[8]"),
        DECLARED.replace("astronaut.c128", "../x"),
        DECLARED.replace("mbt2018-mean/q3", "mbt2018-mean"),
    ],
)
def test_a_declaration_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "goldens.toml").write_text(text)
    with pytest.raises(UserError):
        golden_suite.declared(tmp_path)


def test_a_pattern_that_matches_nothing_is_refused(folder: Path) -> None:
    assert len(golden_suite.declared(folder, "mbt2018-mean/*")) == 1
    with pytest.raises(UserError, match=r"no golden of .* matches 'x'"):
        golden_suite.declared(folder, "x")
    with pytest.raises(UserError, match="cannot read"):
        golden_suite.declared(folder / "none")


# Those that ship.


def test_the_shipped_goldens_are_all_there_and_none_is_spare() -> None:
    place = fixtures.root() / "goldens"
    assert problems(place) == []
    assert len(golden_suite.on_disk(place)) >= 6


@pytest.fixture(scope="module")
def recorded() -> Recording:
    """Every shipped golden's stream, decoded here."""
    place = fixtures.root() / "goldens"
    with Pool() as pool:
        child = pool.child("ort-cpu")
        bundler = Bundler(
            run=platform_runner(pool, "ort-cpu"), environment=child.environment(), verify=False
        )
        every = golden_suite.declared(place)
        kit, broken = golden_suite.bundle_of(place, every, Library().build, bundler, None)
        assert broken == []
        assert kit is not None
        return record(kit, PLATFORMS["ort-cpu"], child, keep=["none"], report=lambda *_: None)


@pytest.mark.platform
def test_what_this_machine_computes_is_what_was_accepted(recorded: Recording) -> None:
    there = list(golden_suite.on_disk(fixtures.root() / "goldens").values())
    now = goldens_of(recorded)
    assert {golden.subject for golden in there} == {golden.subject for golden in now}
    integers = [g for g in now if g.integer]
    assert {g.variant.split("/")[2] for g in integers} == {"w8a8", "w16a16"}
    found = golden_suite.check(there, recorded)
    assert [each for each in found if each.stale] == []


@pytest.mark.platform
def test_one_changed_digest_of_a_shipped_golden_is_stale(recorded: Recording) -> None:
    there = list(golden_suite.on_disk(fixtures.root() / "goldens").values())
    for number, golden in enumerate(there):
        for line, tensor in enumerate(golden.tensors):
            if tensor.name.split(".")[0] not in golden.integer:
                continue
            tensors = list(golden.tensors)
            tensors[line] = replace(tensor, sha256="0" * 64)
            changed = [
                *there[:number],
                replace(golden, tensors=tuple(tensors)),
                *there[number + 1 :],
            ]
            found = [each for each in golden_suite.check(changed, recorded) if each.stale]
            assert [each.golden for each in found] == [golden.name]
            assert tensor.name in found[0].text


@pytest.mark.platform
def test_a_stream_that_does_not_decode_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "goldens.toml").write_text(DECLARED)
    (wanted,) = golden_suite.declared(tmp_path)
    ours = wanted.stream(fixtures.root() / "goldens").read_bytes()
    theirs = replace(wanted, precision="w16a16").stream(fixtures.root() / "goldens").read_bytes()
    wanted.stream(tmp_path).parent.mkdir(parents=True)
    library = Library()
    with Pool() as pool:
        for data, word in (
            (ours[:-1], "truncated"),
            (theirs, "was made with"),
            (b"", "truncated"),
            (None, "cannot read"),
        ):
            if data is None:
                wanted.stream(tmp_path).unlink()
            else:
                wanted.stream(tmp_path).write_bytes(data)
            bundler = Bundler(run=platform_runner(pool, "ort-cpu"), environment={})
            kit, (problem,) = golden_suite.bundle_of(
                tmp_path, [wanted], library.build, bundler, None
            )
            assert kit is None
            assert word in problem
