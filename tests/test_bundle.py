"""Bundles: complete, checked, the same bytes for the same content; and the programs that they carry."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import archive, one_file
from harness.bitstream import unpack
from harness.bundle import PROGRAMS, Bundle
from harness.bundling import Bundler
from harness.cells import platform_runner
from harness.compare_recordings import compare_recordings
from harness.endpoints import Run
from harness.errors import PlatformCrashed, Unsupported, UserError
from harness.kit import record as recorder_program
from harness.library import Library, pictures
from harness.lowerings.base import Artifact
from harness.one_file import programs
from harness.platforms.base import PLATFORMS
from harness.platforms.pool import Pool
from harness.recorder import record
from harness.recording import Recording
from harness.trace import TensorRecord, Trace
from tests.recordings import H_S, MODEL, PROGRAM_FILES, STREAM, X_HAT, bundle, sha256

CODEC, PICTURE = "mbt2018-mean/q3", "astronaut.c64"
ENVIRONMENT = {"platform": "ort-cpu", "runtime": "onnxruntime"}


def saved(made: Bundle, folder: Path) -> bytes:
    made.save(folder / "x.bundle", PROGRAM_FILES)
    return (folder / "x.bundle").read_bytes()


def test_load_gives_what_save_was_given(tmp_path: Path) -> None:
    data = saved(bundle(), tmp_path)
    assert Bundle.load(tmp_path / "x.bundle") == bundle()
    assert saved(Bundle.from_bytes(data), tmp_path) == data


def test_members_are_named_by_their_content_and_nothing_else(tmp_path: Path) -> None:
    members = archive.unpack(saved(bundle(), tmp_path))
    assert members[f"onnx/{sha256(MODEL)}.onnx"] == MODEL
    assert members[f"streams/{sha256(STREAM)}.xchk"] == STREAM
    assert set(PROGRAMS) < set(members)
    assert list(members) == sorted(members)


def refused(data: bytes) -> str:
    with pytest.raises(UserError) as caught:
        Bundle.from_bytes(data)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(kind="crosscheck trace"),
        lambda m: m.update(format=2),
        lambda m: m.update(more=[]),
        lambda m: m["expected"].update(format=2),
        lambda m: m["expected"]["skipped"].update({H_S.replace("h_s", "h_a"): "why"}),
        lambda m: m.update(variants=[]),
        lambda m: m["variants"].append(m["variants"][0]),
        lambda m: m["variants"][0].update(name="../../x/q3"),
        lambda m: m["variants"][0].update(specification="6" * 64),
        lambda m: m["variants"][0].update(fraction_bits="8"),
        lambda m: m["variants"][0]["arrays"].pop(),
        lambda m: m["streams"].clear(),
        lambda m: m["streams"].append(m["streams"][0]),
        lambda m: m["streams"][0].update(sha256="0" * 64),
        lambda m: m["streams"][0]["tensors"].pop(),
        lambda m: m["streams"][0].update(name="mbt2018-mean/q3/w4a4/hyperprior/x"),
        lambda m: m["expected"]["runs"][0].update(name="mbt2018-mean/q3/w4a4/hyperprior/x/h_s"),
        lambda m: m["expected"]["runs"][0]["feeds"][0].update(sha256="0" * 64),
        lambda m: m["expected"]["runs"][0].update(artifact="0" * 64),
    ],
)  # fmt: skip
def test_what_is_incomplete_or_does_not_agree_is_refused(
    change: Callable[[dict[str, object]], object], tmp_path: Path
) -> None:
    members = archive.unpack(saved(bundle(), tmp_path))
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    refused(archive.pack({**members, "manifest.json": archive.to_json(manifest)}))


def test_a_member_more_or_less_or_with_another_content_is_refused(tmp_path: Path) -> None:
    members = archive.unpack(saved(bundle(), tmp_path))
    # The one kept output that nothing takes: without its bytes it is an output by its digest alone.
    spare = f"tensors/{TensorRecord.of('x_hat', X_HAT).digest}.bin"
    for name, data in members.items():
        less = archive.pack({key: value for key, value in members.items() if key != name})
        if name == spare:
            assert len(Bundle.from_bytes(less).expected.kept) == 2
        else:
            refused(less)
        if name not in PROGRAMS:
            refused(archive.pack({**members, name: data[:-1] + b"\xff"}))
    for name in ("../evil", "onnx/x.onnx", f"onnx/{'0' * 64}.onnx", f"streams/{'0' * 64}.xchk"):
        refused(archive.pack({**members, name: b"x"}))


# Made from a codec.


@pytest.fixture(scope="module")
def kit() -> Bundle:
    """One 64 x 64 crop in floats and in integers, on ort-cpu."""
    library = Library()
    with Pool() as pool:
        bundler = Bundler(run=platform_runner(pool, "ort-cpu"), environment=ENVIRONMENT)
        for precision in ("fp32", "w8a8"):
            bundler.encode(library.build(CODEC, precision), PICTURE, pictures(None)[PICTURE]())
        return bundler.bundle()


@pytest.mark.platform
def test_every_network_is_there_with_its_feeds(kit: Bundle) -> None:
    variants = [f"{CODEC}/{precision}/hyperprior" for precision in ("fp32", "w8a8")]
    assert [run.name for run in kit.expected.runs] == [
        f"{variant}/{PICTURE}/{network}"
        for variant in variants
        for network in ("g_a", "h_a", "h_s", "g_s")
    ]
    assert [[feed.name for feed in run.feeds] for run in kit.expected.runs] == [
        ["x"], ["y"], ["z_hat"], ["y_hat"], ["x"], ["y"], ["z_symbols"], ["y_hat"],
    ]  # fmt: skip
    assert [run.integer for run in kit.expected.runs] == [False] * 6 + [True, False]
    # g_a, h_a and g_s are the same files in both precisions.
    assert len(kit.artifacts) == 5
    assert [unpack(data).header.profile for data in kit.bitstreams.values()] == ["float32", "w8a8"]
    (stream, _) = kit.streams
    assert [tensor.name for tensor in stream.tensors] == [
        "z_symbols", "scales_hat", "means_hat", "indexes", "y_symbols", "y_hat", "x_hat", "picture",
    ]  # fmt: skip


@pytest.mark.platform
def test_decoding_its_stream_expects_what_encoding_did(kit: Bundle) -> None:
    library = Library()
    with Pool() as pool:
        bundler = Bundler(run=platform_runner(pool, "ort-cpu"), environment=ENVIRONMENT)
        for precision, data in zip(("fp32", "w8a8"), kit.bitstreams.values(), strict=True):
            assert bundler.decode(library.build(CODEC, precision), PICTURE, unpack(data)) == ""
    decoder = bundler.bundle(["none"])
    assert decoder.streams == kit.streams
    assert decoder.expected.runs == tuple(
        run for run in kit.expected.runs if run.network in {"h_s", "g_s"}
    )
    # An entropy decoder's rows come along whatever is kept.
    assert set(decoder.expected.kept) == {kit.streams[1].indexes.sha256}


def test_an_expectation_is_the_specifications_and_not_a_platforms() -> None:
    library = Library()
    made = library.build(CODEC, "w8a8")
    with Pool() as pool:
        honest = platform_runner(pool, "ort-cpu")
        wrong = off_by_one(honest)
        picture = pictures(None)[PICTURE]()
        with pytest.raises(UserError, match="is not what the specification gives"):
            Bundler(run=wrong, environment={}).encode(made, PICTURE, picture)
        Bundler(run=wrong, environment={}, verify=False).encode(made, PICTURE, picture)
        twice = Bundler(run=honest, environment={})
        twice.encode(made, PICTURE, picture)
        with pytest.raises(UserError, match="two different builds"):
            twice.encode(replace(made, lowering="carrier-f64"), PICTURE, picture)


def off_by_one(honest: Run) -> Run:
    def run(network: str, artifact: Artifact, feeds: object) -> dict[str, np.ndarray]:
        outputs = dict(honest(network, artifact, feeds))  # type: ignore[arg-type]
        if artifact.integer:
            outputs["means_hat"] = outputs["means_hat"] + np.int32(1)
        return outputs

    return run  # type: ignore[return-value]


class Fake:
    """A process that answers with what it is told to."""

    def __init__(self, answer: Callable[[str], Trace]) -> None:
        self._answer = answer

    def environment(self) -> dict[str, str]:
        return {"platform": "fake", "said": "two\nlines"}

    def run(self, artifact: str, onnx_model: bytes, feeds: object) -> Trace:
        assert sha256(onnx_model) == artifact
        assert feeds
        return self._answer(artifact)


def trace_of(*records: TensorRecord) -> Trace:
    return Trace(tensors=records, environment={})


def recorded(answer: Callable[[str], Trace], *keep: str, platform: str = "ort-cpu") -> Recording:
    process = Fake(answer)
    return record(
        bundle(), PLATFORMS[platform], process, keep=keep or ["diverged"], report=lambda *_: None
    )


def test_a_recording_keeps_bytes_where_asked_and_around_a_divergence() -> None:
    same = bundle().expected.tensor(bundle().expected.runs[0].outputs[1])
    other = TensorRecord.of("means_hat", np.float32(7))
    assert same is not None
    picture = TensorRecord.of("x_hat", X_HAT)

    def kept(*keep: str) -> set[str]:
        answers = iter([trace_of(other, same), trace_of(picture)])
        return set(recorded(lambda _: next(answers), *keep).kept)

    assert kept() == kept("diverged") == {other.digest}
    assert kept("none") == set()
    assert kept("all") == {other.digest, same.digest, picture.digest}
    assert kept("indexes") == {same.digest}
    assert kept("indexes", "diverged") == {same.digest, other.digest}
    with pytest.raises(UserError, match="no tensor 'x' to keep"):
        kept("x")


def test_a_recording_names_what_really_ran() -> None:
    made = recorded(lambda _: trace_of(TensorRecord.of("indexes", np.int32(1))))
    assert made.environment == {"platform": "fake", "said": "two lines"}
    for run, wanted in zip(made.runs, bundle().expected.runs, strict=True):
        assert replace(run, outputs=wanted.outputs) == wanted


def test_what_a_platform_cannot_run_is_skipped_and_a_crash_is_not() -> None:
    def unsupported(_: str) -> Trace:
        raise Unsupported("no such operator\nhere")

    def crash(_: str) -> Trace:
        raise PlatformCrashed("gone")

    made = recorded(unsupported)
    assert (made.runs, set(made.skipped.values())) == ((), {"no such operator here"})
    assert compare_recordings(bundle().expected, made).exit_code == 3
    floatless = recorded(
        lambda _: trace_of(TensorRecord.of("indexes", np.int32(1))), platform="dsp-exact32"
    )
    assert [run.network for run in floatless.runs] == ["h_s"]
    assert "by its nature" in "".join(floatless.skipped.values())
    with pytest.raises(PlatformCrashed):
        recorded(crash)


# The programs.

BLOCKER = """
import sys
ALLOWED = set(sys.stdlib_module_names) | {"numpy", "harness", "sitecustomize", "__main__"} | set(%r)

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
        if name == "harness":
            from importlib.machinery import PathFinder
            found = PathFinder.find_spec(name, path)
            if %r not in found.origin:
                raise ModuleNotFoundError(f"blocked: {found.origin}", name=name)
        return None

sys.meta_path.insert(0, Blocker())
"""


def with_blocker(folder: Path, *path: str, allowed: tuple[str, ...], source: str) -> dict[str, str]:
    """Variables of a Python (and of its children) that can import nothing else, and `harness` from `source` alone."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKER % (allowed, source))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *path])}


def python(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=variables,
        # Elsewhere: `python -m` looks in the working folder first.
        cwd=variables["PYTHONPATH"].split(os.pathsep)[0],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def unpacked(kit: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    kit.save(folder / "x.bundle", programs())
    with zipfile.ZipFile(folder / "x.bundle") as made:
        made.extractall(folder, PROGRAMS)
    return folder


@pytest.mark.platform
def test_the_recorder_needs_numpy_and_its_runtime_alone(unpacked: Path) -> None:
    pyz, file, out = (str(unpacked / name) for name in ("record.pyz", "x.bundle", "y.trace"))
    variables = with_blocker(unpacked / "b", allowed=("onnxruntime",), source="record.pyz")
    done = python(variables, pyz, file, "--platform", "ort-cpu", "-o", out, "--keep", "indexes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "11 identical, 0 DIVERGED" in done.stdout
    made = Recording.load(Path(out))
    assert made.environment["platform"] == "ort-cpu"
    assert len(made.kept) == 1
    variables = with_blocker(unpacked / "c", pyz, allowed=(), source="record.pyz")
    done = python(variables, "-m", "harness.kit.compare", file, out)
    assert (done.returncode, done.stderr) == (0, "")
    # The blocker blocks: without its runtime the platform is not there.
    done = python(variables, pyz, file, "--platform", "ort-cpu", "-o", out)
    assert done.returncode == 3
    assert "blocked: onnxruntime" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.platform
def test_the_recorder_lists_platforms(unpacked: Path) -> None:
    variables = with_blocker(unpacked / "d", allowed=("onnxruntime",), source="record.pyz")
    done = python(variables, str(unpacked / "record.pyz"), "--list")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(lines) == PLATFORMS.names()
    assert lines["ort-cpu"].startswith("onnxruntime ")
    assert lines["torch"].startswith("unavailable: blocked: torch")
    # What helps is pip in this very Python: there is no package here to prepare anything.
    assert "-m pip install numpy==" in lines["tract"]
    assert not any("crosscheck platforms" in line for line in lines.values())


def test_the_recorder_refuses_in_one_line(unpacked: Path) -> None:
    pyz, file = str(unpacked / "record.pyz"), str(unpacked / "x.bundle")
    (unpacked / "bad").write_bytes(b"PK")
    variables = with_blocker(unpacked / "e", allowed=("onnxruntime",), source="record.pyz")
    for arguments, word in (
        ((file, "--platform", "nobody", "-o", "y"), "no platform named 'nobody'"),
        ((str(unpacked / "bad"), "--platform", "ort-cpu", "-o", "y"), "cannot read bundle"),
        ((file, "--platform", "ort-cpu", "-o", "y", "--keep", "x"), "no tensor 'x' to keep"),
    ):
        done = python(variables, pyz, *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("record: ")
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert python(variables, pyz).returncode == 2


def test_comparing_needs_numpy_alone(tmp_path: Path) -> None:
    bundle().save(tmp_path / "x.bundle", PROGRAM_FILES)
    bundle().expected.save(tmp_path / "y.trace")
    root = one_file.ROOT.parent
    variables = with_blocker(tmp_path / "b", str(root), allowed=(), source=str(root))
    arguments = ("-m", "harness.kit.compare", str(tmp_path / "x.bundle"), str(tmp_path / "y.trace"))
    assert python(variables, *arguments).returncode == 0
    done = python(variables, *arguments, "--json")
    assert json.loads(done.stdout)["identical"] == 3
    assert python(variables, *arguments, "--run", "nothing").returncode == 3
    done = python(variables, *arguments[:3], str(tmp_path / "none"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_the_recorder_is_the_packages_own_modules_and_all_they_import() -> None:
    members = archive.unpack(one_file.recorder())
    main = members.pop("__main__.py")
    ast.parse(main)
    for name, data in members.items():
        assert (one_file.ROOT.parent / name).read_bytes() == data
    platforms = {path.name for path in (one_file.ROOT / "platforms").glob("*.py")}
    assert {f"harness/platforms/{name}" for name in platforms} < set(members)
    heavy = {"harness/build.py", "harness/endpoints.py", "harness/coder.py", "harness/images.py"}
    assert not heavy & set(members)
    assert one_file.recorder() == one_file.recorder()


@pytest.mark.platform
def test_the_example_decodes_every_stream_and_notices_damage(unpacked: Path, kit: Bundle) -> None:
    variables = with_blocker(unpacked / "f", allowed=(), source="nowhere")
    example = str(unpacked / "decode_example.py")
    done = python(variables, example, str(unpacked / "x.bundle"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("z and y symbols as expected") == 2
    kit.expected.save(unpacked / "e.trace")
    assert python(variables, example, str(unpacked / "e.trace")).returncode == 0
    members = archive.unpack((unpacked / "x.bundle").read_bytes())
    for folder in ("tensors", "streams"):
        name = next(name for name in members if name.startswith(folder))
        data = bytearray(members[name])
        data[-1] ^= 1
        damaged = unpacked / f"{folder}.bundle"
        damaged.write_bytes(archive.pack({**members, name: bytes(data)}))
        assert python(variables, example, str(damaged)).returncode == 1
    lines = Path(example).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 130


def test_a_machine_that_starts_no_process_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle().save(tmp_path / "x.bundle", PROGRAM_FILES)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    arguments = [str(tmp_path / "x.bundle"), "--platform", "ort-cpu", "-o", str(tmp_path / "y")]
    assert recorder_program.main(arguments) == 3
    assert capsys.readouterr().err.startswith("record: cannot start a process of ")
    assert not (tmp_path / "y").exists()
