"""Emulated processors: how one is prepared and started, with an emulator that emulates nothing; then the real ones."""

import hashlib
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import HarnessError, PlatformUnavailable
from harness.platforms import unpacked
from harness.platforms.base import PLATFORMS
from harness.platforms.cpu_features import NAMES, cpu_features
from harness.platforms.emulated import Emulated
from harness.platforms.hosts import FOLDER_VARIABLE, LOCAL, package_path
from harness.platforms.machine import machine
from harness.platforms.pool import Child
from harness.platforms.unpacked import Unpacked
from harness.trace import DTYPES, TensorRecord, Trace

REGISTERED = [item.name for item in PLATFORMS if isinstance(item.host, Emulated)]
HERE = platform.machine()
QEMU = f"usr/bin/qemu-{HERE}"
# Drops its options and runs the program.
NO_EMULATOR = '#!/bin/sh\nshift 2\n[ "$1" = -L ] && shift 2\nexec "$@"\n'


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A processor of this very kind, whose packages come from nowhere; `fake.asked` are the requests for them."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "private"))
    asked = []

    def unpack(packages, into, architecture):
        asked.append((packages, architecture))
        for name in (QEMU, "usr/share/doc/unwanted"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text(NO_EMULATOR)
            (into / name).chmod(0o755)
        (into / "usr/bin/alias").symlink_to("nowhere")
        return {"qemu-user": "1:99.5+ds-1", "another": "7"}

    monkeypatch.setattr(unpacked, "unpack", unpack)
    host = Emulated(
        name="fake",
        machine=HERE,
        cpu="Imaginary",
        emulator=Unpacked(name="qemu", packages=("qemu-user",), keep=(QEMU,)),
        kernels={"integer_kernel": "imaginary"},
    )
    return host, asked


def test_the_five_are_there() -> None:
    assert REGISTERED == [
        "dsp-s390x",
        "ort-a72",
        "ort-aarch64-max",
        "ort-haswell",
        "ort-sandybridge",
    ]


@pytest.mark.parametrize("name", REGISTERED)
def test_unprepared_platforms_are_unavailable_with_the_command_that_prepares_them(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    if PLATFORMS[name].host.system is None and PLATFORMS[name].host.machine != HERE:
        pytest.skip(f"it runs this machine's own programs, which are of {HERE}")
    with pytest.raises(PlatformUnavailable, match=f"crosscheck platforms --prepare {name}"):
        Child(PLATFORMS[name], 30.0).environment()
    assert list(tmp_path.iterdir()) == []


def test_preparing_brings_the_emulator_once(fake, tmp_path):
    host, asked = fake
    with pytest.raises(PlatformUnavailable, match="'fake' is not prepared"):
        host.command("ort-cpu")
    said = []
    host.prepare(said.append)
    assert [line.split(":")[0] for line in said] == ["qemu", "fake"]
    assert asked == [(("qemu-user",), None)]
    command = host.command("ort-cpu")
    qemu = tmp_path / "private/qemu" / QEMU
    assert command == (
        *(str(qemu), "-cpu", "Imaginary", sys.executable, "-P", "-m"),
        *("harness.platforms.worker", "ort-cpu"),
    )
    # Only what was to be kept is there, and nothing half done.
    assert [path for path in (tmp_path / "private/qemu/usr").rglob("*") if not path.is_dir()] == [
        qemu
    ]
    left = sorted(path.name for path in (tmp_path / "private").iterdir())
    assert left == ["emulated-fake.json", "package", "qemu"]
    said.clear()
    host.prepare(said.append)
    assert said == ["qemu: there already", "fake: there already"]
    assert len(asked) == 1


def test_another_request_is_brought_anew(fake):
    host, asked = fake
    host.prepare(lambda _: None)
    newer = replace(host, emulator=replace(host.emulator, packages=("qemu-user", "another")))
    with pytest.raises(PlatformUnavailable):
        newer.command("ort-cpu")
    newer.prepare(lambda _: None)
    assert newer.command("ort-cpu")
    assert len(asked) == 2
    other = replace(host, emulator=newer.emulator, cpu="Another")
    with pytest.raises(PlatformUnavailable):
        other.command("ort-cpu")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"asked": 1}'])
@pytest.mark.parametrize("stamp", ["qemu/contents.json", "emulated-fake.json"])
def test_a_damaged_stamp_is_none(stamp, damage, fake, tmp_path):
    host, _ = fake
    host.prepare(lambda _: None)
    (tmp_path / "private" / stamp).write_text(damage)
    with pytest.raises(PlatformUnavailable):
        host.command("ort-cpu")
    host.prepare(lambda _: None)
    assert host.command("ort-cpu")


def test_an_interrupted_preparation_leaves_nothing(fake, tmp_path, monkeypatch):
    host, _ = fake

    def unpack(_packages, into, _architecture):
        (into / "usr").mkdir(parents=True)
        raise HarnessError("the network went away")

    monkeypatch.setattr(unpacked, "unpack", unpack)
    with pytest.raises(HarnessError, match="the network went away"):
        host.prepare(lambda _: None)
    assert list((tmp_path / "private").iterdir()) == []
    with pytest.raises(PlatformUnavailable):
        host.command("ort-cpu")


def test_an_emulator_that_cannot_run_python_is_an_error_not_a_platform(fake, tmp_path):
    host, _ = fake
    host.emulator.prepare(lambda _: None)
    (tmp_path / "private/qemu" / QEMU).write_text("#!/bin/sh\necho no such CPU >&2\nexit 1\n")
    with pytest.raises(HarnessError, match="no such CPU"):
        host.prepare(lambda _: None)
    with pytest.raises(PlatformUnavailable):
        host.command("ort-cpu")


def test_a_folder_that_cannot_be_made_is_one_line(fake, tmp_path):
    host, _ = fake
    (tmp_path / "private").write_text("a file")
    with pytest.raises(HarnessError, match="private/qemu: File exists"):
        host.prepare(lambda _: None)


def test_programs_of_this_machine_do_not_run_on_another_architecture(fake):
    host, asked = fake
    foreign = replace(host, machine="pdp11")
    with pytest.raises(PlatformUnavailable, match=f"which are of {HERE}; use a machine of pdp11"):
        foreign.command("ort-cpu")
    with pytest.raises(HarnessError, match=f"which are of {HERE}"):
        foreign.prepare(lambda _: None)
    assert asked == []


@pytest.mark.platform
def test_a_trace_says_which_processor_was_emulated(fake, small_net, activations):
    host, _ = fake
    host.prepare(lambda _: None)
    child = Child(replace(PLATFORMS["ort-cpu"], host=host), 120.0)
    try:
        environment = child.environment()
        trace = run(child, small_net(127).artifact(), x=activations)
    finally:
        child.end()
    assert environment["emulator"] == "QEMU 99.5 user mode"
    assert environment["cpu"] == f"{HERE} Imaginary (emulated)"
    assert environment["cpu_flags"] == cpu_features()
    assert environment["integer_kernel"] == "imaginary"
    assert differing(trace, small_net(127).reference(activations)) == []


@pytest.mark.usefixtures("fake")
def test_a_wheel_that_cannot_be_had_leaves_no_folder(tmp_path, monkeypatch):
    commands = []

    def fail(command, **_):
        commands.append(command)
        raise HarnessError("no matching distribution")

    monkeypatch.setattr(unpacked, "run_or_fail", fail)
    system = Unpacked(
        name="system", packages=("python3",), architecture="arm64", wheels=("wheel==1",)
    )
    with pytest.raises(HarnessError, match="no matching distribution"):
        system.prepare(lambda _: None)
    assert system.versions() == {}
    assert list((tmp_path / "private").iterdir()) == []
    (command,) = commands
    assert "manylinux_2_28_aarch64" in command
    assert command[-1] == "wheel==1"


@pytest.mark.skipif(HERE != "x86_64", reason="compares two sources that x86-64 has")
def test_features_asked_of_the_processor_are_those_the_kernel_lists() -> None:
    listed = set(machine()["cpu_flags"].split())
    assert set(cpu_features().split()) == listed & set(NAMES.values())
    assert cpu_features()


# The real ones, where they are prepared.


def run(child: Child, model: bytes, **feeds) -> Trace:
    records = [TensorRecord.of(name, array) for name, array in feeds.items()]
    return child.run(hashlib.sha256(model).hexdigest(), model, records)


def differing(trace, expected):
    return [name for name, want in expected.items() if trace[name].data != want.tobytes()]


def prepared(name: str) -> Emulated:
    host = PLATFORMS[name].host
    try:
        host.command(name)
    except PlatformUnavailable as error:
        pytest.skip(str(error))
    return host


def product(a, b) -> bytes:
    """`MatMulInteger` of activations that are fed and weights that are not."""
    kind = helper.np_dtype_to_tensor_dtype(a.dtype)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", kind, a.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [a.shape[0], b.shape[1]])],
        [numpy_helper.from_array(b, "b")],
    )
    opsets = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


FLAGS = {
    "ort-haswell": ({"avx2", "fma"}, {"avx512f", "avx512_vnni", "avx_vnni"}),
    "ort-sandybridge": ({"avx"}, {"avx2", "fma", "avx512f", "avx512_vnni"}),
    "ort-a72": ({"asimd"}, {"asimddp", "i8mm"}),
    "ort-aarch64-max": ({"asimddp", "i8mm", "sve2"}, set()),
    "dsp-s390x": ({"vx"}, {"avx2", "asimd"}),
}
MACHINES = {"ort-a72": "aarch64", "ort-aarch64-max": "aarch64", "dsp-s390x": "s390x"}
# Two pairs of u8 x s8 products: 255 * 127 * 2 does not fit 16 bits.
SATURATING = np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)
# The shortest: products 0 and 8 are added in 16 bits, and 2 * 128 * 128 does not fit.
WRAPPING = np.zeros((1, 9), np.int8), np.full((9, 1), -128, np.int8)
WRAPPING[0][0, [0, 8]] = -128
KNOWN_WRONG = {
    ("ort-haswell", "saturating"): 65534,
    ("ort-a72", "wrapping"): -32768,
}


@pytest.mark.slow
@pytest.mark.platform
@pytest.mark.parametrize("name", REGISTERED)
def test_a_real_one_runs_the_portable_form_exactly_and_shows_what_it_is_known_for(
    name, small_net, activations
):
    prepared(name)
    child = Child(PLATFORMS[name], 300.0)
    net = small_net(127)
    try:
        environment = child.environment()
        trace = run(child, net.artifact(), x=activations)
        sums = {
            kind: int(run(child, product(a, b), a=a).array("y")[0, 0])
            for kind, (a, b) in {"saturating": SATURATING, "wrapping": WRAPPING}.items()
        }
    finally:
        child.end()
    present, absent = FLAGS[name]
    flags = set(environment["cpu_flags"].split())
    assert present <= flags
    assert not absent & flags
    assert environment["machine"] == MACHINES.get(name, "x86_64")
    assert environment["cpu"].endswith("(emulated)")
    assert environment["emulator"].startswith("QEMU ")
    # u8 x u8 products and int32: the form that is exact everywhere.
    assert differing(trace, net.reference(activations)) == []
    exact = {"saturating": 4 * 255 * 127, "wrapping": 32768}
    assert sums == {kind: KNOWN_WRONG.get((name, kind), exact[kind]) for kind in exact}


@pytest.mark.slow
@pytest.mark.platform
def test_files_written_on_a_big_endian_machine_are_the_same(tmp_path):
    host = prepared("dsp-s390x")
    there, here = tmp_path / "there", tmp_path / "here"
    program = str(Path(__file__).with_name("every_format.py"))
    for folder, python, packages in (
        (there, [*host.emulate, host.python], package_path(host)),
        (here, [sys.executable], package_path(LOCAL)),
    ):
        folder.mkdir()
        subprocess.run(
            [*python, program, str(folder)], check=True, env={"PYTHONPATH": packages}, timeout=300
        )
    assert Trace.load(there / "every.trace").tensors == Trace.load(here / "every.trace").tensors
    for name in ("digests.txt", "bitstream"):
        assert (there / name).read_bytes() == (here / name).read_bytes()
    # Neither machine is believed: the digest of a plain array, from its bytes.
    digests = dict(
        reversed(line.split(" ", 1)) for line in (there / "digests.txt").read_text().splitlines()
    )
    pattern = bytes(range(1, 241))
    for dtype in DTYPES[1:]:
        count = len(pattern) // np.dtype(dtype).itemsize
        wanted = hashlib.sha256(f"{dtype}[{count}]".encode() + b"\0" + pattern).hexdigest()
        assert digests[dtype] == wanted
