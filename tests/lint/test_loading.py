"""Any file at all: a report, or one line that says what is wrong with it."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import UserError
from harness.lint.analyse import Options, Range, lint
from harness.lint.findings import Verdict
from harness.lint.loading import Limits, read_file
from tests.lint.graphs import bounds, judged, model
from tests.lint.random_graphs import specimen
from tests.lint.test_rules import PLANTS

SIMPLE = "g (int32[n] x) => (int32[n] y) { y = Max (x, c) }"


def simple() -> onnx.ModelProto:
    return model(SIMPLE, c=np.array([1, 2, 3], np.int32))


def refused(made: onnx.ModelProto | bytes, **options: object) -> str:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(UserError) as caught:
        lint(data, options=Options(**options))  # type: ignore[arg-type]
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def test_what_is_no_onnx_file() -> None:
    for data in (
        b"",
        b"\0" * 9,
        b"GIF89a" * 9,
        b"{}",
        json.dumps({"a": 1}).encode(),
        bytes(range(256)),
    ):
        assert "is not an ONNX file" in refused(data)


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(UserError, match="more than 1 MiB"):
        read_file(path, 2**20)
    assert len(read_file(path, 2**20 + 1)) == 2**20 + 1
    with pytest.raises(UserError, match="cannot read"):
        read_file(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="cannot read"):
        read_file(tmp_path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(UserError, match="more than 1 MiB"):
        read_file(Path("/dev/zero"), 2**20)


def test_weights_outside_the_file_are_refused_in_one_line() -> None:
    made = simple()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros(999, np.int32), "c"))
        onnx.save(made, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
        assert "keeps tensor 'c' in another file" in refused(path.read_bytes())


def test_external_weights_are_found_wherever_they_hide() -> None:
    inner = helper.make_tensor("hidden", TensorProto.INT32, [1], [1])
    inner.data_location = TensorProto.EXTERNAL
    made = model("g (int32[n] x) => (int32[n] y) { y = Identity (x) }")
    branch = helper.make_graph([helper.make_node("Constant", [], ["v"], value=inner)], "b", [], [])
    made.graph.node.append(
        helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch)
    )
    assert "keeps tensor 'hidden' in another file" in refused(made)


def test_damaged_tensors() -> None:
    short = simple()
    short.graph.initializer[0].raw_data = b"123"
    assert "tensor 'c' is damaged" in refused(short)
    huge = simple()
    huge.graph.initializer[0].dims[0] = 10**12
    assert "tensor 'c' is damaged" in refused(huge)


def test_nodes_that_are_no_valid_onnx() -> None:
    missing = simple()
    missing.graph.node[0].input[1] = "nowhere"
    assert "reads 'nowhere', which nothing computes" in refused(missing)
    nothing = simple()
    nothing.graph.output[0].name = "nowhere"
    assert "the graph's output reads 'nowhere'" in refused(nothing)
    wrong = model("g (int32[2, 3] x) => (int32[3, 2] y) { y = Transpose <perm = [0, 0]> (x) }")
    assert "is malformed" in refused(wrong)
    shapes = model("g (int32[2] x, int32[3] z) => (int32[3] y) { y = Add (x, z) }")
    assert "do not broadcast" in refused(shapes)
    bare = model("g (int32[2] x) => (int32[3] y) { y = Div (x) }")
    assert "lacks its input 1" in refused(bare)
    kind = model("g (int32[2] x) => (int32[2] y) { y = Cast <to = 1> (x) }")
    kind.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("to", "six"))
    assert "should be an integer" in refused(kind)


def test_names_that_are_no_text() -> None:
    data = simple().SerializeToString()
    broken = data.replace(b"Max", b"M\xff\xfe")
    assert "not UTF-8" in refused(broken)


def test_functions_that_never_end() -> None:
    endless = """g (int32[n] x) => (int32[n] y) { y = crosscheck.F (x) }
    <domain: "crosscheck", opset_import: ["" : 19, "crosscheck" : 1]>
    F (a) => (b) { b = crosscheck.F (a) }"""
    assert "call each other more than" in refused(model(endless))


def test_functions_that_multiply() -> None:
    """Two calls each, thirty deep: a billion nodes from a file of two kilobytes."""
    text = "g (int32[n] x) => (int32[n] y) { y = crosscheck.F0 (x) }"
    for i in range(30):
        text += f"""
    <domain: "crosscheck", opset_import: ["" : 19, "crosscheck" : 1]>
    F{i} (a) => (c) {{ b = crosscheck.F{i + 1} (a) c = crosscheck.F{i + 1} (b) }}"""
    text += """
    <domain: "crosscheck", opset_import: ["" : 19]>
    F30 (a) => (c) { c = Max (a, a) }"""
    assert "more than 1,000 nodes" in refused(model(text), limits=Limits(nodes=1000))


@pytest.mark.parametrize(
    "text",
    [
        "g () => (float[n] y) { s = Constant <value = int64[3] {1000000, 1000000, 1000000}> () y = ConstantOfShape (s) }",
        "g (float[1] x) => (float[n] y) { s = Constant <value = int64[2] {1000000000, 1000000000}> () y = Expand (x, s) }",
        "g (float[1] x) => (float[n] y) { s = Constant <value = int64[1] {4611686018427387904}> () y = Tile (x, s) }",
        "g () => (int64[n] y) { a = Constant <value_int = 0> () b = Constant <value_int = 4611686018427387904> () c = Constant <value_int = 1> () y = Range (a, b, c) }",
        "g (float[1, 1, h, w] x) => (float[1, 1, p, q] y) { w = Constant <value = float[1, 1, 1, 1] {1}> () y = ConvTranspose <strides = [1000000000, 1000000000]> (x, w) }",
        "g (int32[2] x) => (int32[n] y) { p = Constant <value = int64[2] {1000000000000, 7}> () y = Pad (x, p) }",
    ],
)  # fmt: skip
def test_a_small_file_cannot_ask_for_much(text: str) -> None:
    assert lint(model(text).SerializeToString()).nodes


def test_any_operator_of_any_domain_is_judged() -> None:
    text = "g (float[n] x) => (float[n] y, float[n] z) { a = com.microsoft.QLinearAdd (x, x) y = Relu (a) z = other.Thing (x) }"
    made = model(text)
    made.opset_import.extend(
        [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("other", 3)]
    )
    report = lint(made.SerializeToString())
    assert {(f.rule, f.operator) for f in report.findings if f.level.value == "inexact"} == {
        ("float-rescale", "com.microsoft::QLinearAdd"), ("unknown-operator", "other::Thing"),
    }  # fmt: skip


def test_every_opset_that_onnx_knows_is_read() -> None:
    """Axes, pads and limits were attributes once."""
    old = {
        9: "g (int32[2, 3] x) => (int32[2] y) { a = Unsqueeze <axes = [0]> (x) b = Squeeze <axes = [0]> (a) y = ReduceMax <axes = [1], keepdims = 0> (b) }",
        8: "g (int32[2, 3] x) => (int32[2, 1] y) { y = Slice <axes = [1], starts = [1], ends = [2]> (x) }",
        6: "g (float[2, 3] x) => (float[2, 3] y) { y = Clip <min = 0.0, max = 6.0> (x) }",
        4: "g (int32[2, 3] x) => (int32[3, 2] y) { y = Reshape <shape = [3, 2]> (x) }",
    }  # fmt: skip
    for opset, text in old.items():
        analysis = judged(text, opset=opset)
        assert analysis.report.verdict is not Verdict.ORDER_DEPENDENT, opset
    assert bounds(judged(old[6], opset=6), "y") == (0, 6)


def test_a_newer_opset_than_this_onnx_knows_is_read_too() -> None:
    made = simple()
    made.opset_import[0].version = 99
    made.ir_version = 99
    assert lint(made.SerializeToString()).verdict is Verdict.EXACT


def test_strings_and_sparse_tensors_are_passed_through() -> None:
    made = model(
        "g (string[n] x, float[2, 2] f) => (string[n] y, float[2, 2] z) { y = Identity (x) z = Max (f, s) }"
    )
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [3.0])
    indices = helper.make_tensor("s_indices", TensorProto.INT64, [1], [2])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 2]))
    analysis = judged(made)
    assert bounds(analysis, "z")[0] == 0


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"z": Range(low=0, high=1)}, "no input 'z'"),
        ({"x": Range(low=2, high=1)}, "lies above"),
        ({"x": Range(low=0, high=2.0**31)}, "int32 holds"),
        ({"x": Range(low=0, high=1, step=3)}, "power of two"),
        ({"x": Range(low=float("nan"), high=1)}, "lies above"),
    ],
)
def test_ranges_that_make_no_sense(ranges: dict[str, Range], message: str) -> None:
    assert message in refused(simple(), ranges=ranges)


def test_runtimes_and_providers_that_nobody_knows() -> None:
    assert "no runtime 'abacus'; known: coreml" in refused(simple(), runtimes=("abacus",))
    assert "no provider 'abacus'; known: cuda, webgpu" in refused(simple(), providers=("abacus",))


def test_an_initializer_that_could_be_fed_is_said_to_keep_its_value() -> None:
    made = simple()
    made.graph.input.append(helper.make_tensor_value_info("c", TensorProto.INT32, [3]))
    report = lint(made.SerializeToString())
    assert report.assumptions == ("initializers that are listed as inputs too keep their values",)
    assert [port.name for port in report.inputs] == ["x"]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at, what = int(rng.integers(len(changed))), int(rng.integers(4))
        if what < 2:
            changed[at] = int(rng.integers(256))
        elif what == 2:
            changed[at:at] = (
                rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8).tobytes()
            )
        else:
            del changed[at : at + int(rng.integers(1, 9))]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_is_one_line_or_a_report(seed: int) -> None:
    """Bytes changed, added and removed in files of every rule: no traceback, whatever comes."""
    rng = np.random.default_rng(seed)
    files = [
        model(p.hazard, opset=p.opset, **p.constants).SerializeToString() for p in PLANTS.values()
    ]
    files += [specimen(i).model.SerializeToString() for i in range(20)]
    read, complaints = 0, []
    for _ in range(250):
        data = mutated(files[int(rng.integers(len(files)))], rng)
        try:
            read += lint(data).nodes >= 0
        except UserError as error:
            complaints.append(str(error))
    assert read
    assert complaints
    assert [line for line in complaints if "\n" in line] == []
