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


@dataclass(frozen=True, kw_only=True)
class QdqLowering:
    name: str = QDQ
    summary: str = (
        "QuantizeLinear/DequantizeLinear by onnxruntime.quantization: 8-bit values, float rescaling"
    )

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        """Quantize with uint8 activations per tensor and int8 weights per channel, from the calibrated ranges."""
        network, ranges = source.network, source.ranges
        if ranges is None:
            raise UserError(f"lowering qdq of {network.name} needs calibrated ranges")
        model = onnx.load_model_from_string(build(network, taps=taps))
        names = {network.input, *(layer.name for layer in network.layers)}
        last = network.layers[-1].name
        spans = {
            name: (np.float32(ranges[name].low.min()), np.float32(ranges[name].high.max()))
            for name in names
        }
        spans |= dict.fromkeys(network.outputs, spans[last])
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", "ConvTranspose", "Relu", "LeakyRelu"],
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        quantized = quantizer.model.model
        onnx.checker.check_model(quantized, full_check=True)
        onnx_model = quantized.SerializeToString(deterministic=True)
        return Artifact(
            network=network.name,
            lowering=self.name,
            onnx_model=onnx_model,
            input=network.input,
            outputs=network.outputs,
            integer=False,
            specification=hashlib.sha256(onnx_model).hexdigest(),
        )


LOWERINGS.register(QdqLowering())
