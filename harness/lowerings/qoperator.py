"""qoperator: onnxruntime's quantizer on the float graph in QOperator format. A control: integers, but rescaled in float."""

from dataclasses import dataclass

import onnx
from onnxruntime.quantization import QuantizationMode, QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer

from harness.lowerings.base import LOWERINGS, QOPERATOR, Artifact, Source
from harness.lowerings.float32 import build
from harness.lowerings.qdq import checked_artifact, tensor_ranges


@dataclass(frozen=True, kw_only=True)
class QOperatorLowering:
    name: str = QOPERATOR
    realises: str = "w8a8-qoperator"
    summary: str = (
        "QLinearConv by onnxruntime.quantization, which leaves transposed convolutions in float: "
        "8-bit values, float rescaling"
    )

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        """Quantize with uint8 activations per tensor and int8 weights per channel, from the calibrated ranges."""
        network, labels = source.network, source.labels(self.name, self.realises)
        quantizer = ONNXQuantizer(
            onnx.load_model_from_string(build(network, labels, taps=taps)),
            per_channel=True,
            reduce_range=False,
            mode=QuantizationMode.QLinearOps,
            static=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=tensor_ranges(self.name, source),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", "Relu"],
            extra_options={},
        )
        quantizer.quantize_model()
        return checked_artifact(self.name, network, quantizer.model.model)


LOWERINGS.register(QOperatorLowering())
