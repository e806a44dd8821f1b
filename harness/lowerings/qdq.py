"""qdq: onnxruntime's quantizer on the float graph. A control: "quantized", but rescaled in float."""

import hashlib
from dataclasses import dataclass

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from harness.errors import UserError
from harness.lowerings.base import LOWERINGS, QDQ, Artifact, Source
from harness.lowerings.float32 import build
from harness.network import Network


@dataclass(frozen=True, kw_only=True)
class QdqLowering:
    name: str = QDQ
    realises: str = "w8a8-qdq"
    summary: str = (
        "QuantizeLinear/DequantizeLinear by onnxruntime.quantization: 8-bit values, float rescaling"
    )

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        """Quantize with uint8 activations per tensor and int8 weights per channel, from the calibrated ranges."""
        network = source.network
        labels = source.labels(self.name, self.realises)
        model = onnx.load_model_from_string(build(network, labels, taps=taps))
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=tensor_ranges(self.name, source),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", "ConvTranspose", "Relu", "LeakyRelu"],
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        return checked_artifact(self.name, network, quantizer.model.model)


def tensor_ranges(lowering: str, source: Source) -> TensorsData:
    """The calibrated ranges as onnxruntime's quantizer wants them, per tensor."""
    network, ranges = source.network, source.ranges
    if ranges is None:
        raise UserError(f"lowering {lowering} of {network.name} needs calibrated ranges")
    names = {network.input, *(layer.name for layer in network.layers)}
    spans = {
        name: (np.float32(ranges[name].low.min()), np.float32(ranges[name].high.max()))
        for name in names
    }
    spans |= dict.fromkeys(network.outputs, spans[network.layers[-1].name])
    return TensorsData(CalibrationMethod.MinMax, spans)


def checked_artifact(lowering: str, network: Network, quantized: onnx.ModelProto) -> Artifact:
    """The artifact of a control: the quantized file itself is what both ends must share."""
    onnx.checker.check_model(quantized, full_check=True)
    onnx_model = quantized.SerializeToString(deterministic=True)
    return Artifact(
        network=network.name,
        lowering=lowering,
        onnx_model=onnx_model,
        input=network.input,
        outputs=network.outputs,
        integer=False,
        specification=hashlib.sha256(onnx_model).hexdigest(),
    )


LOWERINGS.register(QdqLowering())
