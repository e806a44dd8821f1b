"""Traces: canonical bytes, a file that equal traces share, and damage that is always one line."""

import gc
import json
import weakref
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.compare import compare
from harness.errors import HarnessError, UserError
from harness.trace import DTYPES, Shared, TensorRecord, Trace

TRACE = Trace(
    tensors=(
        TensorRecord.of("indexes", np.arange(600, dtype=np.int32).reshape(1, 6, 10, 10)),
        TensorRecord.of("x_hat", np.array([np.nan, -0.0, np.inf], np.float32)),
    ),
    environment={"runtime": "onnxruntime 1.23", "threads": "1"},
)
SETTINGS = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
traces = st.builds(
    lambda named, environment: Trace(
        tensors=tuple(TensorRecord.of(name, array) for name, array in named.items()),
        environment=environment,
    ),
    st.dictionaries(st.text(max_size=20), arrays, min_size=1, max_size=4),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)


@given(made=traces)
@SETTINGS
def test_load_gives_what_save_was_given(made: Trace, tmp_path: Path) -> None:
    made.save(tmp_path / "t.trace")
    loaded = Trace.load(tmp_path / "t.trace")
    assert loaded == made
    found = compare(made, loaded, [tensor.name for tensor in made.tensors])
    assert found.first is None
    assert found.compared_values == sum(tensor.values for tensor in made.tensors)


@given(made=traces)
@SETTINGS
def test_equal_traces_give_equal_bytes(made: Trace, tmp_path: Path) -> None:
    again = Trace(tensors=made.tensors, environment=dict(reversed(list(made.environment.items()))))
    made.save(tmp_path / "1")
    again.save(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert not list(tmp_path.glob("*.part"))


@given(array=arrays)
@SETTINGS
def test_layout_and_byte_order_do_not_matter(array: np.ndarray) -> None:
    record = TensorRecord.of("t", array)
    assert TensorRecord.of("t", np.asfortranarray(array)).data == record.data
    assert TensorRecord.of("t", array.astype(array.dtype.newbyteorder(">"))) == record
    back = record.array()
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan, -0.0, 0.0]),
        np.array(True),
        np.zeros((0, 3), np.int8),
        np.zeros((2, 0)),
        np.float16(1),
    ],
    ids=["nan", "bool", "no rows", "no columns", "scalar"],
)
def test_odd_values_survive_bit_for_bit(array: np.ndarray, tmp_path: Path) -> None:
    made = Trace(tensors=(TensorRecord.of("t", np.asarray(array)),), environment={})
    made.save(tmp_path / "t")
    assert Trace.load(tmp_path / "t")["t"].data == np.asarray(array).tobytes()


def test_a_digest_is_of_dtype_shape_and_elements() -> None:
    zeros = TensorRecord.of("a", np.zeros((2, 3), np.int32))
    assert zeros.digest == TensorRecord.of("b", np.zeros((2, 3), np.int32)).digest
    others = [
        np.zeros((3, 2), np.int32),
        np.zeros((2, 3), np.uint32),
        np.zeros((2, 3), np.float32),
        np.eye(2, 3),
    ]
    assert len({zeros.digest, *(TensorRecord.of("a", other).digest for other in others)}) == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorRecord(name="t", dtype="int32", shape=(2,), data=b"1234"),
        lambda: TensorRecord(name="t", dtype="complex64", shape=(1,), data=b"12345678"),
        lambda: TensorRecord(name="t", dtype="object", shape=(1,), data=b"12345678"),
        lambda: TensorRecord(name="t", dtype="int8", shape=(-1, -4), data=b"1234"),
        lambda: TensorRecord(name="t", dtype="int8", shape=(2**32, 2**32), data=b""),
        lambda: TensorRecord.of("t", np.array(["text"])),
        lambda: Trace(tensors=(), environment={}),
        lambda: Trace(tensors=(TRACE["x_hat"], TRACE["x_hat"]), environment={}),
        lambda: TRACE["no such tensor"],
    ],
)
def test_what_is_no_tensor_or_trace_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(HarnessError) as caught:
        make()
    assert "\n" not in str(caught.value)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        Trace.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("trace") / "t"
    TRACE.save(path)
    return path.read_bytes()


def test_every_cut_file_is_refused(saved: bytes, tmp_path: Path) -> None:
    for size in range(0, len(saved), 7):
        (tmp_path / "t").write_bytes(saved[:size])
        refused(tmp_path / "t")


def test_a_flipped_bit_changes_nothing_or_is_refused(saved: bytes, tmp_path: Path) -> None:
    """Wherever it lies: zip's own fields, the manifest, a tensor."""
    for position in range(len(saved)):
        for bit in (0, 3, 7):
            damaged = bytearray(saved)
            damaged[position] ^= 1 << bit
            (tmp_path / "t").write_bytes(damaged)
            assert harmless_or_refused(tmp_path / "t")


def harmless_or_refused(path: Path) -> bool:
    try:
        return Trace.load(path).tensors == TRACE.tensors
    except UserError as error:
        return "\n" not in str(error)


def rewritten(path: Path, change: Callable[[dict[str, object]], object], **extra: bytes) -> Path:
    """A well-formed zip whose manifest is `change`d."""
    TRACE.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(contents.pop("manifest.json"))
    change(manifest)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, data in {**contents, **extra}.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("environment"),
        lambda m: m.update(environment=[1, 2]),
        lambda m: m.pop("format"),
        lambda m: m.update(format=2),
        lambda m: m.update(tensors=[]),
        lambda m: m.update(tensors=m["tensors"][:1] * 2),
        lambda m: m["tensors"][0].update(sha256="0" * 64),
        lambda m: m["tensors"][0].update(dtype="int64"),
        lambda m: m["tensors"][0].update(dtype="float32"),
        lambda m: m["tensors"][0].update(shape=[600]),
        lambda m: m["tensors"][0].update(shape=[-1, -600]),
        lambda m: m["tensors"][0].update(shape=[2**40, 2**40]),
        lambda m: m["tensors"][0].update(shape="many"),
        lambda m: m["tensors"][0].update(name=m["tensors"][1]["name"]),
        lambda m: m["tensors"].append(m["tensors"][0]),
        lambda m: m.clear(),
    ],
)  # fmt: skip
def test_a_manifest_that_save_never_wrote_is_refused(
    change: Callable[[dict[str, object]], object], tmp_path: Path
) -> None:
    refused(rewritten(tmp_path / "t", change))


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b'"text"', b"null", b"[" * 100_000, b"\xff"]
)
def test_a_manifest_that_is_no_object_is_refused(manifest: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t", "w") as archive:
        archive.writestr("manifest.json", manifest)
    refused(tmp_path / "t")


def test_a_file_that_is_not_there_or_not_a_zip_is_refused(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refused(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    refused(tmp_path / "text")
    refused(tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.trace.MAX_TRACE_BYTES", 10_000)
    refused(rewritten(tmp_path / "t", lambda _: None, bomb=bytes(20_000)))


def test_equal_tensors_are_one_object_and_no_longer_than_somebody_holds_it() -> None:
    shared = Shared()
    changed = TensorRecord.of("x_hat", np.array([np.nan, 0.0, np.inf], np.float32))
    renamed = replace(TRACE.tensors[0], name="y_symbols")

    def copy(*tensors: TensorRecord) -> Trace:
        return Trace(
            tensors=tuple(replace(t, data=bytes(bytearray(t.data))) for t in tensors),
            environment={"runtime": "another"},
        )

    first, second = shared(TRACE), shared(copy(*TRACE.tensors))
    assert first == TRACE
    assert second.environment == {"runtime": "another"}
    assert all(a is b for a, b in zip(first.tensors, second.tensors, strict=True))
    other = shared(copy(changed, renamed))
    assert other.tensors == (changed, renamed)
    alone = weakref.ref(other.tensors[0])
    del other
    gc.collect()
    assert alone() is None
