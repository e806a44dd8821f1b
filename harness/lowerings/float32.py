"""float32: the network as trained. A control: its bits depend on who runs it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from harness.lowerings.base import (
    FLOAT,
    FLOAT32,
    LOWERINGS,
    Artifact,
    GraphBuilder,
    Source,
    feature_map,
)
from harness.network import Abs, Convolution, Gdn, Layer, LeakyRelu, Network, QRelu, Relu


@dataclass(frozen=True, kw_only=True)
class Float32Lowering:
    name: str = FLOAT
    realises: str = "fp32"
    summary: str = (
        "float32 operators, as trained; order of summation is up to the runtime, so never exact"
    )

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        network = source.network
        digest = hashlib.sha256(f"float32 {network.name}".encode())
        network.digest_into(digest)
        labels = source.labels(self.name, self.realises)
        labels["crosscheck.specification"] = digest.hexdigest()
        return Artifact(
            network=network.name,
            lowering=self.name,
            onnx_model=build(network, labels, taps=taps),
            input=network.input,
            outputs=network.outputs,
            integer=False,
            specification=digest.hexdigest(),
        )


def build(network: Network, labels: Mapping[str, str], *, taps: bool) -> bytes:
    """The ONNX file of a float network; tensors carry the names of their layers, metadata the `labels`."""
    graph = GraphBuilder(name=network.name)
    value, channels = network.input, network.in_channels
    observed = []
    for position, layer in enumerate(network.layers):
        last = position == len(network.layers) - 1
        name = network.outputs[0] if last and len(network.outputs) == 1 else layer.name
        if isinstance(layer, Convolution):
            channels = len(layer.bias)
        value = _layer(graph, layer, value, name)
        if taps and not last:
            observed.append(
                feature_map(value, FLOAT32, channels, f"{layer.name}.h", f"{layer.name}.w")
            )
    if len(network.outputs) > 1:
        graph.nodes.append(_split(value, network.outputs))
    share = network.out_channels // len(network.outputs)
    outputs = [feature_map(name, FLOAT32, share, "out_h", "out_w") for name in network.outputs]
    return graph.model(
        inputs=[feature_map(network.input, FLOAT32, network.in_channels, "in_h", "in_w")],
        outputs=[*observed, *outputs],
        metadata=labels,
    )


def _split(value: str, outputs: tuple[str, ...]) -> onnx.NodeProto:
    return onnx.helper.make_node(
        "Split", [value], list(outputs), name="split", axis=1, num_outputs=len(outputs)
    )


def _layer(graph: GraphBuilder, layer: Layer, x: str, output: str) -> str:
    match layer:
        case Convolution():
            k, p = layer.weight.shape[2], layer.padding
            # ONNX, like torch, stores a transposed kernel as [in, out, k, k].
            kernel = layer.weight.swapaxes(0, 1) if layer.transposed else layer.weight
            inputs = [
                x,
                graph.constant(f"{layer.name}.weight", kernel),
                graph.constant(f"{layer.name}.bias", layer.bias),
            ]
            shape: dict[str, Sequence[int]] = {
                "kernel_shape": [k, k],
                "strides": [layer.stride] * 2,
                "pads": [p] * 4,
            }
            if layer.transposed:
                shape["output_padding"] = [layer.output_padding] * 2
            return graph.node(
                "ConvTranspose" if layer.transposed else "Conv", inputs, output, domain="", **shape
            )
        case Relu():
            return graph.node("Relu", [x], output)
        case QRelu():
            ends = (("lowest", 0.0), ("highest", layer.highest))
            limits = [
                graph.constant(f"{layer.name}.{n}", np.asarray(v, np.float32)) for n, v in ends
            ]
            return graph.node("Clip", [x, *limits], output)
        case LeakyRelu():
            return graph.node("LeakyRelu", [x], output, alpha=layer.slope)
        case Abs():
            return graph.node("Abs", [x], output)
        case Gdn():
            gamma = graph.constant(
                f"{layer.name}.gamma", layer.gamma[:, :, None, None].astype(np.float32)
            )
            square = graph.node("Mul", [x, x], f"{layer.name}.square")
            norm = graph.node(
                "Conv",
                [square, gamma, graph.constant(f"{layer.name}.beta", layer.beta)],
                f"{layer.name}.norm",
                kernel_shape=[1, 1],
            )
            root = graph.node("Sqrt", [norm], f"{layer.name}.root")
            return graph.node("Mul" if layer.inverse else "Div", [x, root], output)


LOWERINGS.register(Float32Lowering())
