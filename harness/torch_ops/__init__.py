"""ONNX operators in torch, on any device: the tables that the torch platforms walk a graph with."""

from harness.torch_ops.arithmetic import ARITHMETIC
from harness.torch_ops.layers import LAYERS
from harness.torch_ops.movement import MOVEMENT
from harness.torch_ops.sampling import SAMPLING

OPERATORS = {**ARITHMETIC, **LAYERS, **MOVEMENT, **SAMPLING}
