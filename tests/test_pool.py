"""Children that die, hang, babble and refuse: each ends in the right error, and the next request starts anew."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformTimedOut,
    PlatformUnavailable,
    Unsupported,
    UserError,
)
from harness.platforms import wire
from harness.platforms.base import PLATFORMS, PlatformSpec
from harness.platforms.pool import Child, Pool
from harness.trace import DTYPES, TensorRecord

FEED = TensorRecord.of("x", np.arange(6, dtype=np.float32).reshape(1, 6))
PYTHON = sys.executable
# Speaks the protocol with the standard library alone, so that it starts at once.
SPEAK = """#!{python}
import json, os, struct, sys, time
HERE = {here!r}
starts = open(HERE + "/starts", "a+")
starts.write("x"); starts.flush(); starts.seek(0)
START = len(starts.read())
out, inp = sys.stdout.buffer, sys.stdin.buffer

def say(head, data=b""):
    text = json.dumps({{"blob": 0, "tensors": [], **head}}).encode()
    out.write(struct.pack("<I", len(text)) + text + data)
    out.flush()

def hear():
    first = inp.read(4)
    if len(first) < 4:
        sys.exit(0)
    head = json.loads(inp.read(struct.unpack("<I", first)[0]))
    blob = inp.read(head["blob"])
    tensors = [(t, inp.read(t["bytes"])) for t in head["tensors"]]
    return head["artifact"], blob, tensors

def hello(**more):
    say({{"environment": {{"start": str(START), **more}}, "seconds": 0.0}})

def echo(tensors):
    say({{"seconds": 0.25, "tensors": [t for t, _ in tensors]}}, b"".join(d for _, d in tensors))

{body}
"""
GOOD = "hello()\nwhile True:\n    echo(hear()[2])\n"

Script = Callable[..., Child]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A child whose process runs the given lines instead of our worker."""
    children: list[Child] = []

    def make(body: str, *, timeout: float = 30.0, **variables: str) -> Child:
        path = tmp_path / "worker"
        path.write_text(SPEAK.format(python=PYTHON, here=str(tmp_path), body=body))
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        children.append(Child(PlatformSpec(name="scripted", variables=variables), timeout))
        return children[-1]

    yield make
    for child in children:
        child.close()


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text())


def test_a_good_child_answers_again_and_again(script: Script, tmp_path: Path) -> None:
    child = script(GOOD)
    assert child.environment() == {"platform": "scripted", "start": "1"}
    for _ in range(3):
        trace = child.run("a", b"model", [FEED])
        assert trace.tensors == (FEED,)
        assert trace.environment["platform"] == "scripted"
    assert starts(tmp_path) == 1
    assert child.seconds >= 0.75


def test_variables_reach_the_process_and_are_recorded(script: Script) -> None:
    child = script(
        "hello(cap=os.environ['CAP'], threads=os.environ['OMP_NUM_THREADS'])", CAP="sse41"
    )
    record = child.environment()
    assert record["cap"] == record["variable CAP"] == "sse41"
    assert record["threads"] == "1"


def test_a_model_is_sent_once_and_again_when_it_was_forgotten(script: Script) -> None:
    child = script(
        """hello()
sizes = []
for turn in range(4):
    artifact, blob, tensors = hear()
    sizes.append(len(blob))
    if turn == 2:
        say({"error": "send artifact", "seconds": 0.0})
        continue
    say({"seconds": 0.0, "tensors": [{"name": "sizes", "dtype": "uint8", "shape": [len(sizes)],
         "bytes": len(sizes)}]}, bytes(sizes))
"""
    )
    replies = [child.run("a", b"12345", []).array("sizes").tolist() for _ in range(3)]
    assert replies == [[5], [5, 0], [5, 0, 0, 5]]


@pytest.mark.parametrize(
    ("word", "error"),
    [("fell back", FellBack), ("unsupported", Unsupported), ("crashed", PlatformCrashed)],
)
def test_an_error_that_a_child_reports_is_that_error(
    word: str, error: type[HarnessError], script: Script, tmp_path: Path
) -> None:
    child = script(
        f"hello()\nhear()\nsay({{'error': {word!r}, 'message': 'because'}})\n"
        "while True:\n    echo(hear()[2])\n"
    )
    with pytest.raises(error, match="scripted: because"):
        child.run("a", b"model", [FEED])
    assert child.run("a", b"model", [FEED]).tensors == (FEED,)
    assert starts(tmp_path) == 1


@pytest.mark.parametrize(
    ("death", "says"),
    [
        ("print('out of memory', file=sys.stderr); sys.exit(7)", "ended with 7: out of memory"),
        ("os._exit(3)", "ended with 3: it said nothing"),
        ("os.abort()", "ended with -6"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
        ("out.write(b'\\x10\\0\\0\\0{\"half'); out.flush(); os._exit(1)", "ended with 1"),
    ],
)
@pytest.mark.parametrize("when", ["at its start", "at a request"])
def test_a_child_that_dies_has_crashed_and_the_next_one_starts(
    when: str, death: str, says: str, script: Script, tmp_path: Path
) -> None:
    first = f"if START == 1:\n    {death}\n" if when == "at its start" else ""
    then = f"    if START == 1:\n        {death}\n" if when == "at a request" else ""
    child = script(f"{first}hello()\nwhile True:\n    got = hear()[2]\n{then}    echo(got)\n")
    with pytest.raises(PlatformCrashed, match=says) as caught:
        child.run("a", b"model", [FEED])
    assert "scripted" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert child.run("a", b"model", [FEED]).tensors == (FEED,)
    assert starts(tmp_path) == 2


@pytest.mark.parametrize(
    "body",
    ["time.sleep(60)", "hello(); time.sleep(60)", "hello(); hear(); time.sleep(60)"],
    ids=["at its start", "deaf", "at a request"],
)
def test_a_child_that_hangs_is_stopped(body: str, script: Script, tmp_path: Path) -> None:
    # Larger than a pipe holds: to a deaf child, sending it blocks.
    large = TensorRecord.of("x", np.zeros(1 << 20, np.uint8))
    child = script(f"if START == 1:\n    {body}\n{GOOD}", timeout=1.5)
    began = time.monotonic()
    with pytest.raises(PlatformTimedOut, match=r"scripted gave no answer for 1\.5 s"):
        child.run("a", b"model", [large])
    assert time.monotonic() - began < 20
    assert child.run("a", b"model", [FEED]).tensors == (FEED,)
    assert starts(tmp_path) == 2


BABBLE = {
    "a length beyond reason": "out.write(b'\\xff' * 64); out.flush()",
    "no json": "out.write(b'\\4\\0\\0\\0{{{{'); out.flush()",
    "no utf-8": "out.write(b'\\4\\0\\0\\0\\xff\\xfe\\0\\0'); out.flush()",
    "no object": "out.write(b'\\2\\0\\0\\0[]'); out.flush()",
    "no tensors": "out.write(b'\\x0b\\0\\0\\0{\"blob\": 0}'); out.flush()",
    "a tensor of no dtype": (
        "say({'seconds': 0.0, 'tensors': [{'name': 'x', 'dtype': 'evil', 'shape': [1],"
        " 'bytes': 1}]}, b'x')"
    ),
    "a tensor of another size": (
        "say({'seconds': 0.0, 'tensors': [{'name': 'x', 'dtype': 'int8', 'shape': [9],"
        " 'bytes': 1}]}, b'x')"
    ),
    "no number of bytes": (
        "say({'seconds': 0.0, 'tensors': [{'name': 'x', 'dtype': 'int8', 'shape': [1],"
        " 'bytes': 'one'}]}, b'x')"
    ),
    "an impossible size": "say({'blob': 2**70})",
    "no time": "say({'seconds': 'soon'})",
}


@pytest.mark.parametrize("body", BABBLE.values(), ids=BABBLE)
def test_a_child_that_babbles_has_crashed_and_is_stopped(
    body: str, script: Script, tmp_path: Path
) -> None:
    child = script(
        f"hello()\nif START == 1:\n    hear()\n    {body}\n    time.sleep(60)\n"
        "while True:\n    echo(hear()[2])\n"
    )
    with pytest.raises(PlatformCrashed, match="scripted was stopped: ") as caught:
        child.run("a", b"model", [FEED])
    assert "\n" not in str(caught.value)
    assert child.run("a", b"model", [FEED]).tensors == (FEED,)
    assert starts(tmp_path) == 2


@pytest.mark.parametrize("body", ["say({})", "say({'environment': 3})"])
def test_a_child_without_an_environment_has_crashed(body: str, script: Script) -> None:
    with pytest.raises(PlatformCrashed, match="did not say what runs there"):
        script(body + "\ntime.sleep(60)").environment()


def test_an_unavailable_platform_is_asked_once(script: Script, tmp_path: Path) -> None:
    child = script("say({'error': 'unavailable', 'message': 'no GPU', 'remedy': 'buy one'})")
    for ask in (child.environment, lambda: child.run("a", b"", []), child.environment):
        with pytest.raises(PlatformUnavailable) as caught:
            ask()
        assert (caught.value.reason, caught.value.remedy) == ("no GPU", "buy one")
    assert starts(tmp_path) == 1


def test_threads_share_a_child(script: Script, tmp_path: Path) -> None:
    child = script(GOOD)
    wrong: list[int] = []

    def ask(number: int) -> None:
        feed = TensorRecord.of("n", np.full(3000, number, np.int32))
        wrong.extend(number for _ in range(5) if child.run("a", b"m", [feed]).tensors != (feed,))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert starts(tmp_path) == 1


def test_a_pool_leaves_no_process(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script("hello(pid=str(os.getpid()))\nhear()")
    monkeypatch.setattr(PLATFORMS, "_items", {"scripted": PlatformSpec(name="scripted")})
    monkeypatch.setattr(PLATFORMS, "_loaded", True)
    with Pool() as pool:
        pid = int(pool.child("scripted").environment()["pid"])
        assert pool.child("scripted") is pool.child("scripted")
        os.kill(pid, 0)
        with pytest.raises(UserError, match="known: scripted"):
            pool.child("other")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Platforms a, b and c, whose processes all run the given lines."""

    def make(body: str) -> None:
        path = tmp_path / "worker"
        path.write_text(SPEAK.format(python=PYTHON, here=str(tmp_path), body=body))
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        platforms = {name: PlatformSpec(name=name) for name in "abc"}
        monkeypatch.setattr(PLATFORMS, "_items", platforms)
        monkeypatch.setattr(PLATFORMS, "_loaded", True)

    return make


def test_who_was_asked_least_recently_is_closed_and_starts_again(
    scripted: Callable[[str], None], tmp_path: Path
) -> None:
    scripted(GOOD)
    with Pool(30, warm=2) as pool:

        def ask(name: str) -> tuple[int, str]:
            assert pool.child(name).run("x", b"model", [FEED]).tensors == (FEED,)
            return starts(tmp_path), "".join(n for n in "abc" if pool.child(n).warm)

        asked = [ask(name) for name in "abcbab"]
        assert asked == [(1, "a"), (2, "ab"), (3, "bc"), (3, "bc"), (4, "ab"), (4, "ab")]
        assert pool.seconds >= 0.25 * len(asked)
        # Who is only asked what runs there takes a place too.
        pool.child("c").environment()
        assert [name for name in "abc" if pool.child(name).warm] == ["b", "c"]


def test_a_busy_child_is_not_closed(scripted: Callable[[str], None], tmp_path: Path) -> None:
    wait = (
        f"while START == 1 and not os.path.exists({str(tmp_path / 'go')!r}):\n    time.sleep(0.01)"
    )
    heard = f"    tensors = hear()[2]\n    open({str(tmp_path / 'heard')!r}, 'w')\n"
    scripted(f"hello()\nwhile True:\n{heard}{indented(wait)}\n    echo(tensors)\n")
    with Pool(30, warm=1) as pool:
        pool.child("a").environment()
        got: list[object] = []
        busy = threading.Thread(
            target=lambda: got.append(pool.child("a").run("x", b"model", [FEED]).tensors)
        )
        busy.start()
        while not (tmp_path / "heard").exists():
            time.sleep(0.01)
        assert pool.child("b").run("x", b"model", [FEED]).tensors == (FEED,)
        assert pool.child("a").warm
        (tmp_path / "go").touch()
        busy.join(30)
        assert got == [(FEED,)]
        pool.child("c").environment()
        assert [name for name in "abc" if pool.child(name).warm] == ["c"]


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


NOISY = """#!{python}
import os, sys
from harness.platforms import worker
from harness.platforms.base import PLATFORMS, PlatformSpec

class Noisy(PlatformSpec):
    def open(self):
        print("banner on stdout", flush=True)
        return self
    def environment(self):
        os.write(1, b"raw noise")
        os.system("echo noise of a child")
        return {{"runtime": "noisy"}}
    def load(self, onnx_model):
        print("loading", flush=True)
        return self
    def run(self, feeds):
        print("running", flush=True)
        if "fail" in feeds:
            raise ValueError("first line\\nsecond line")
        return feeds

PLATFORMS.register(Noisy(name="noisy"))
sys.argv = ["worker", "noisy"]
worker.main()
"""


@pytest.mark.platform
def test_noise_on_stdout_does_not_reach_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "worker"
    path.write_text(NOISY.format(python=PYTHON))
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    child = Child(PlatformSpec(name="noisy"), 60)
    try:
        assert child.environment()["runtime"] == "noisy"
        assert child.run("a", b"model", [FEED]).tensors == (FEED,)
        # A runtime that raises is a crash of one line; its process lives on.
        with pytest.raises(PlatformCrashed, match=r"noisy: ValueError: first line$"):
            child.run("a", b"model", [TensorRecord.of("fail", np.zeros(1, np.int8))])
        assert child.run("a", b"model", [FEED]).tensors == (FEED,)
    finally:
        child.close()


@pytest.mark.platform
def test_a_worker_that_has_no_model_asks_for_it_and_a_bad_model_is_a_crash() -> None:
    with Pool(60) as pool:
        child = pool.child("ort-cpu")
        with pytest.raises(PlatformCrashed, match="ort-cpu: ") as caught:
            child.run("bad", b"not an ONNX file", [FEED])
        assert "\n" not in str(caught.value)
        # It was never loaded, whatever the parent remembers.
        child._sent.add("bad")
        with pytest.raises(PlatformCrashed):
            child.run("bad", b"not an ONNX file", [FEED])
        assert child.environment()["runtime"].startswith("onnxruntime")


@st.composite
def tensors(draw: st.DrawFn) -> TensorRecord:
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    return TensorRecord(name=draw(st.text(max_size=8)), dtype=dtype, shape=shape, data=data)


# Drawing is slow on a busy machine, and that is no fault of what is tested.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    head=st.dictionaries(
        st.text(max_size=5).filter(lambda k: k not in {"blob", "tensors"}),
        st.none() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False),
        max_size=4,
    ),
    blob=st.binary(max_size=50),
    records=st.lists(tensors(), max_size=4),
)
def test_what_is_sent_is_received(
    head: dict[str, object], blob: bytes, records: list[TensorRecord]
) -> None:
    stream = io.BytesIO()
    wire.send(stream, head, blob, records)
    wire.send(stream, {"second": 1})
    stream.seek(0)
    assert wire.receive(stream) == (head, blob, tuple(records))
    assert wire.receive(stream) == ({"second": 1}, b"", ())
    with pytest.raises(EOFError):
        wire.receive(stream)


@pytest.mark.parametrize(
    "array",
    [np.arange(12, dtype=">i4").reshape(3, 4).T, np.float64(3)[()] * np.ones(()), np.zeros((0, 3))],
    ids=["big endian and transposed", "scalar", "empty"],
)
def test_any_layout_is_received_canonically(array: np.ndarray) -> None:
    stream = io.BytesIO()
    wire.send(stream, {}, b"", [TensorRecord.of("t", array)])
    stream.seek(0)
    (got,) = wire.receive(stream)[2]
    assert got.array().shape == array.shape
    assert got.array().tolist() == array.tolist()


def test_every_cut_message_is_an_end() -> None:
    stream = io.BytesIO()
    wire.send(stream, {"a": 1}, b"blob", [FEED])
    data = stream.getvalue()
    for length in range(len(data)):
        with pytest.raises(EOFError):
            wire.receive(io.BytesIO(data[:length]))


@given(noise=st.binary(max_size=60), framed=st.booleans())
def test_noise_is_an_end_or_an_error_of_ours(noise: bytes, *, framed: bool) -> None:
    data = len(noise).to_bytes(4, "little") + noise if framed else noise
    with pytest.raises((EOFError, HarnessError)):
        wire.receive(io.BytesIO(data))
