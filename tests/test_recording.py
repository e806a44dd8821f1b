"""Recordings: compact, one text for one content, compared by name, dtype, shape and bytes; nothing else is believed."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import archive
from harness.bundle import expectation_or_recording
from harness.compare_recordings import compare_recordings, to_json, to_lines
from harness.digest import TensorDigest
from harness.errors import UserError
from harness.recording import Recording, select
from tests.recordings import (
    G_S,
    H_S,
    INDEXES,
    MEANS,
    X_HAT,
    Z,
    digest_of,
    record_of,
    recording,
    run_of,
)

SAVED = recording().to_bytes()
OTHER = INDEXES.copy()
OTHER[0, 1, 0, 1], OTHER[0, 2, 1, 1] = 99, -7


def refused(data: bytes) -> str:
    with pytest.raises(UserError) as caught:
        Recording.from_bytes(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_load_gives_what_save_was_given(tmp_path: Path) -> None:
    for made in (recording(), recording(keep=False)):
        made.save(tmp_path / "t.trace")
        assert Recording.load(tmp_path / "t.trace") == made
        assert (tmp_path / "t.trace").read_bytes() == made.to_bytes()


def test_equal_recordings_give_equal_bytes() -> None:
    made = recording()
    again = replace(
        made,
        environment=dict(reversed(made.environment.items())),
        kept=dict(reversed(made.kept.items())),
    )
    assert again.to_bytes() == SAVED


def test_digests_alone_are_compact() -> None:
    big = recording(keep=False, x_hat=np.zeros((1, 3, 512, 512), np.float32))
    assert len(big.to_bytes()) < 4096


def test_a_kept_tensor_comes_back_bit_for_bit() -> None:
    loaded = Recording.from_bytes(SAVED)
    assert loaded.tensor(digest_of("indexes", INDEXES)) == record_of("indexes", INDEXES)
    assert recording(keep=False).tensor(digest_of("indexes", INDEXES)) is None


def test_keep_selects_by_name() -> None:
    names = ["y", "indexes"]
    assert select(names, ["all"]) == {"y", "indexes"}
    assert select(names, ["none"]) == frozenset()
    assert select(names, ["y"]) == {"y"}
    with pytest.raises(UserError, match="no tensor 'x' to keep; there are all, none, indexes, y"):
        select(names, ["x"])


def changed(change: Callable[[dict[str, object]], object], **extra: bytes) -> bytes:
    """A well-formed archive whose manifest is `change`d."""
    members = archive.unpack(SAVED)
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = archive.to_json(manifest)
    return archive.pack({**members, **extra})


def first(m: dict[str, object]) -> dict[str, object]:
    return m["runs"][0]["outputs"][0]  # type: ignore[index, no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.clear(),
        lambda m: m.update(kind="crosscheck bundle"),
        lambda m: m.update(format=2),
        lambda m: m.update(format=True),
        lambda m: m.update(format=1.0),
        lambda m: m.update(more=1),
        lambda m: m.pop("environment"),
        lambda m: m.update(environment=[]),
        lambda m: m.update(environment={"a": 1}),
        lambda m: m.update(environment={"a": "x" * 5000}),
        lambda m: m.update(environment={"a": "\x1b[31mred"}),
        lambda m: m.update(runs=[]),
        lambda m: m.update(runs={}),
        lambda m: m["runs"].append(m["runs"][0]),
        lambda m: m["skipped"].update({m["runs"][0]["name"]: "why"}),
        lambda m: m["skipped"].update({"../../etc/passwd": "why"}),
        lambda m: m["runs"][0].update(name="../../../../etc/passwd"),
        lambda m: m["runs"][0].update(name="mbt2018-mean/q3/w8a8/../x/h_s"),
        lambda m: m["runs"][0].update(name="mbt2018-mean/q3/w8a8/hyperprior/x"),
        lambda m: m["runs"][0].update(name="/etc/q3/w8a8/hyperprior/x/h_s"),
        lambda m: m["runs"][0].update(name="a\\b/q3/w8a8/hyperprior/x/h_s"),
        lambda m: m["runs"][0].update(specification="5" * 63),
        lambda m: m["runs"][0].update(artifact="G" * 64),
        lambda m: m["runs"][0].update(lowering=".."),
        lambda m: m["runs"][0].update(integer=1),
        lambda m: m["runs"][0].update(outputs=[]),
        lambda m: m["runs"][0].update(feeds=m["runs"][0]["feeds"] * 2),
        lambda m: first(m).update(name="two words"),
        lambda m: first(m).update(name=""),
        lambda m: first(m).update(dtype="object"),
        lambda m: first(m).update(dtype="int64"),
        lambda m: first(m).update(shape=[2**40, 2**40]),
        lambda m: first(m).update(shape=[0, 2**30, 2**30]),
        lambda m: first(m).update(shape=[-1, -12]),
        lambda m: first(m).update(shape=[1] * 9),
        lambda m: first(m).update(shape=[12]),
        lambda m: first(m).update(shape=[12.0]),
        lambda m: first(m).update(shape="many"),
        lambda m: first(m).update(sha256="0" * 64),
    ],
)  # fmt: skip
def test_a_manifest_that_save_never_wrote_is_refused(
    change: Callable[[dict[str, object]], object],
) -> None:
    refused(changed(change))


def test_another_member_is_refused() -> None:
    digest = "0" * 64
    for name in (
        "../evil",
        "/etc/passwd",
        "tensors/x.bin",
        "tensors/../0.bin",
        "code.pkl",
        "tensors/\x1b[31m.bin",
        f"tensors/{digest}.bin",
        f"tensors\\{digest}.bin",
    ):
        refused(changed(lambda _: None, **{name: pickle.dumps("x")}))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": NaN}',
        b'{"format": 1e999}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"\xff",
        b'{"a": ' + b"9" * 10_000 + b"}",
        b" " + archive.unpack(SAVED)["manifest.json"],
        archive.unpack(SAVED)["manifest.json"].replace(b'"kind"', b'"kind": "x",\n "kind"'),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(text: bytes) -> None:
    refused(archive.pack({**archive.unpack(SAVED), "manifest.json": text}))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for data in (
        b"",
        b"PK",
        pickle.dumps({"a": 1}),
        SAVED[:-1],
        SAVED[: len(SAVED) // 2],
        b"\0" * 99,
    ):
        refused(data)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            Recording.load(path)


def zipped(path: Path, compression: int, repeat: int = 1) -> bytes:
    members = archive.unpack(SAVED)
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, data in members.items():
            for _ in range(repeat):
                made.writestr(name, data)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_compressed_members_and_repeated_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    assert Recording.from_bytes(zipped(path, zipfile.ZIP_STORED)) == recording()
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "compressed" in refused(zipped(path, method))
    assert "one name" in refused(zipped(path, zipfile.ZIP_STORED, repeat=2))


def test_a_bomb_and_a_claim_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.json", b" " * 50_000_000)
    assert "compressed" in refused((tmp_path / "bomb").read_bytes())
    recording().save(tmp_path / "t")
    monkeypatch.setattr("harness.archive.MAX_FILE_BYTES", 100)
    with pytest.raises(UserError, match="more than 100 bytes"):
        Recording.load(tmp_path / "t")
    with pytest.raises(UserError, match="over 100"):
        recording().save(tmp_path / "t")
    monkeypatch.setattr("harness.archive.MAX_MANIFEST_BYTES", 100)
    assert "manifest takes more" in refused(SAVED)


# What a comparison says.


def test_equal_recordings_are_identical_and_counted() -> None:
    for keep in (True, False):
        found = compare_recordings(recording(), recording(keep=keep, platform="torch"))
        assert (found.exit_code, found.diverged, len(found.tensors)) == (0, 0, 3)
        assert found.compared_values == INDEXES.size + MEANS.size + X_HAT.size
        assert found.environment == {"platform": ("ort-cpu", "torch")}


def test_a_difference_is_shown_with_its_first_element_where_both_have_bytes() -> None:
    found = compare_recordings(recording(), recording(indexes=OTHER))
    assert found.exit_code == 1
    assert [tensor.tensor for tensor in found.tensors if not tensor.identical] == ["indexes"]
    assert (
        "  indexes[0, 1, 0, 1]: expected 5, got 99 (2 of 12 differ; 1 earlier tensors identical)"
        in to_lines(found)
    )


def test_a_difference_of_digests_alone_says_who_kept_no_bytes() -> None:
    found = compare_recordings(recording(), recording(indexes=OTHER, keep=False, platform="torch"))
    (problem,) = [tensor.problem for tensor in found.tensors if tensor.problem]
    want, got = digest_of("indexes", INDEXES).sha256, digest_of("indexes", OTHER).sha256
    assert problem == (
        f"indexes: expected digest {want[:16]}, got {got[:16]} (1 earlier tensors identical;"
        " torch kept no bytes: record it with --keep indexes to see which elements)"
    )
    assert found.exit_code == 1


@pytest.mark.parametrize(
    "other", [INDEXES.astype(np.int64), INDEXES.reshape(1, 3, 4, 1), INDEXES.view(np.uint32)]
)
def test_another_dtype_or_shape_diverges(other: np.ndarray) -> None:
    assert compare_recordings(recording(), recording(indexes=other)).exit_code == 1


def test_signed_zero_diverges_and_nan_equals_itself() -> None:
    zero, minus = (np.full_like(X_HAT, value) for value in (0.0, -0.0))
    nan = np.full_like(X_HAT, np.nan)
    assert compare_recordings(recording(x_hat=zero), recording(x_hat=minus)).diverged == 1
    assert compare_recordings(recording(x_hat=nan), recording(x_hat=nan)).exit_code == 0


def test_a_run_or_a_tensor_on_one_side_only_diverges() -> None:
    whole = recording(keep=False)
    part = replace(whole, runs=whole.runs[:1])
    fewer = replace(whole, runs=(run_of(H_S, means_hat=MEANS), whole.runs[1]))
    for left, right, word in (
        (whole, part, "no such run"),
        (part, whole, "no such run"),
        (whole, fewer, "no such tensor"),
        (fewer, whole, "no such tensor"),
    ):
        found = compare_recordings(left, right)
        assert found.exit_code == 1
        assert word in "".join(to_lines(found))


def test_what_a_platform_cannot_run_is_told_and_not_compared() -> None:
    whole = recording(keep=False)
    part = replace(whole, runs=whole.runs[:1], skipped={G_S: "no float here"})
    found = compare_recordings(whole, part)
    assert found.exit_code == 0
    assert f"not compared {G_S}: ort-cpu: no float here" in to_lines(found)
    assert "1 runs not compared" in to_lines(found)[-1]
    assert compare_recordings(whole, part, "*/g_s").exit_code == 3


def test_nothing_to_compare_is_its_own_code() -> None:
    found = compare_recordings(recording(), recording(), "*/w4a4/*")
    assert found.exit_code == 3
    assert "nothing to compare" in to_lines(found)[-1]
    empty = recording(keep=False, indexes=np.zeros((0, 3), np.int32), x_hat=np.zeros((0,), np.int8))
    assert compare_recordings(empty, empty, "*/g_s").exit_code == 3


@pytest.mark.parametrize(
    "change",
    [
        {"specification": "6" * 64},
        {"tables": "6" * 64},
        {"feeds": (digest_of("z_symbols", Z + 1),)},
        {"integer": False},
    ],
)
def test_another_specification_or_feed_is_an_error_and_not_a_verdict(
    change: dict[str, object],
) -> None:
    made = recording(keep=False)
    other = replace(made, runs=(replace(made.runs[0], **change), made.runs[1]))  # type: ignore[arg-type]
    for left, right in ((made, other), (other, made)):
        with pytest.raises(UserError, match="one bundle"):
            compare_recordings(left, right)


def test_two_files_of_one_specification_are_compared_and_told() -> None:
    made = recording(keep=False)
    other = replace(made, runs=(replace(made.runs[0], artifact="a" * 64), made.runs[1]))
    found = compare_recordings(made, other)
    assert (found.exit_code, found.artifacts) == (0, (H_S,))
    assert any(H_S in line and "other artifact" in line for line in to_lines(found))


def test_json_has_what_the_lines_have() -> None:
    found = to_json(compare_recordings(recording(), recording(indexes=OTHER, platform="torch")))
    json.dumps(found)
    assert (found["identical"], found["diverged"], found["exit_code"]) == (2, 1, 1)
    assert found["environment"] == {"platform": ["ort-cpu", "torch"]}


def test_a_file_says_which_of_both_it_is(tmp_path: Path) -> None:
    recording().save(tmp_path / "t")
    assert expectation_or_recording(tmp_path / "t") == recording()
    for data in (b"", pickle.dumps(1), SAVED[:-9]):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(UserError, match="as a trace or a bundle"):
            expectation_or_recording(tmp_path / "x")


def test_a_digest_refuses_what_is_no_tensor() -> None:
    with pytest.raises(UserError, match="does not match its digest"):
        digest_of("a", Z).record((Z + 1).tobytes())
    with pytest.raises(UserError, match="takes 32 bytes"):
        digest_of("a", Z).record(b"1")
    with pytest.raises(UserError):
        TensorDigest(name="a", dtype="complex64", shape=(), sha256="0" * 64)
