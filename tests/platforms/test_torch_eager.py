"""torch platforms: the same integers everywhere, an honest environment, no silent fallback."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from harness.errors import FellBack, HarnessError, PlatformUnavailable
from harness.platforms.base import PLATFORMS

HERE = ["torch", "torch-nomkldnn"]
CAPPED = {"torch-avx2": "AVX2", "torch-sse41": "SSE41"}
CHILD = """
import pickle, sys
from harness.platforms.base import PLATFORMS
name, model, feeds = pickle.load(sys.stdin.buffer)
engine = PLATFORMS[name].open()
outputs = engine.load(model).run(feeds)
pickle.dump((dict(engine.environment()), outputs), sys.stdout.buffer)
"""


def identity(declared=TensorProto.INT32):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [None])],
        [helper.make_tensor_value_info("y", declared, [None])],
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize("name", HERE)
def test_integer_network_equals_its_reference_and_onnx_runtime(name, small_net, activations):
    net = small_net(127)
    expected = net.reference(activations)
    got = PLATFORMS[name].open().load(net.artifact()).run({"x": activations})
    ort = PLATFORMS["ort-cpu"].open().load(net.artifact()).run({"x": activations})
    assert list(got) == list(expected)
    for tensor, want in expected.items():
        assert got[tensor].dtype == want.dtype
        assert got[tensor].tobytes() == want.tobytes() == ort[tensor].tobytes()


@pytest.mark.parametrize("name", CAPPED)
def test_capped_kernels_run_in_a_child_and_give_the_same_integers(name, small_net, activations):
    net = small_net(127)
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {**os.environ, **PLATFORMS[name].variables, **path}
    request = pickle.dumps((name, net.artifact(), {"x": activations}))
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, input=request, env=environment, capture_output=True, check=True)
    reported, outputs = pickle.loads(done.stdout)
    assert reported["ONEDNN_MAX_CPU_ISA"] == CAPPED[name]
    assert reported["float_kernel"] == f"torch oneDNN {CAPPED[name]}"
    for tensor, want in net.reference(activations).items():
        assert outputs[tensor].tobytes() == want.tobytes()


@pytest.mark.parametrize("name", CAPPED)
def test_a_cap_that_the_process_was_not_started_with_is_a_fallback(name, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    with pytest.raises(FellBack, match="ONEDNN_MAX_CPU_ISA"):
        PLATFORMS[name].open().load(identity())


def test_float_kernels_have_names_of_their_own_and_integers_share_one(monkeypatch):
    environments = []
    for name in [*HERE, *CAPPED]:
        platform = PLATFORMS[name]
        for variable in ("ONEDNN_MAX_CPU_ISA",):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in platform.variables.items():
            monkeypatch.setenv(variable, value)
        environments.append(platform.open().environment())
    assert len({e["float_kernel"] for e in environments}) == len(environments)
    assert {e["integer_kernel"] for e in environments} == {"torch int32 matmul"}
    assert environments[0]["runtime"] == f"torch {torch.__version__.split('+')[0]}"
    assert environments[0]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert [e["mkldnn"] for e in environments] == ["on", "off", "on", "on"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a CUDA device")
def test_cuda_is_unavailable_with_a_remedy():
    with pytest.raises(PlatformUnavailable, match="NVIDIA") as caught:
        PLATFORMS["torch-cuda"].open()
    assert caught.value.remedy


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_gives_the_same_integers(small_net, activations):
    net = small_net(127)
    engine = PLATFORMS["torch-cuda"].open()
    outputs = engine.load(net.artifact()).run({"x": activations})
    for tensor, want in net.reference(activations).items():
        assert outputs[tensor].tobytes() == want.tobytes()
    assert "float64" in engine.environment()["integer_kernel"]
    assert not torch.backends.cuda.matmul.allow_tf32


def test_mkldnn_is_left_as_it_was():
    before = torch._C._get_mkldnn_enabled()
    PLATFORMS["torch-nomkldnn"].open().load(identity()).run({"x": np.arange(3, dtype=np.int32)})
    assert torch._C._get_mkldnn_enabled() == before
    assert not torch.is_inference_mode_enabled()


def test_outputs_do_not_share_memory_with_the_feeds():
    x = np.arange(3, dtype=np.int32)
    y = PLATFORMS["torch"].open().load(identity()).run({"x": x})["y"]
    x[:] = 9
    assert y.tolist() == [0, 1, 2]


@pytest.mark.parametrize("x", [np.arange(6, dtype=">i4"), np.arange(12, dtype=np.int32)[::-2]])
def test_feeds_of_any_layout_and_byte_order(x):
    y = PLATFORMS["torch"].open().load(identity()).run({"x": x})["y"]
    assert (y.dtype, y.tolist()) == (np.int32, x.tolist())


def test_an_output_of_another_type_than_declared_is_an_error():
    session = PLATFORMS["torch"].open().load(identity(TensorProto.INT64))
    with pytest.raises(HarnessError, match="declared int64"):
        session.run({"x": np.arange(3, dtype=np.int32)})
