"""ONNX operators in JAX, to be traced into one function: the tables that the JAX platform walks a graph with."""

from harness.jax_ops.arithmetic import ARITHMETIC
from harness.jax_ops.layers import LAYERS
from harness.jax_ops.movement import MOVEMENT
from harness.jax_ops.tracing import traced

OPERATORS = traced({**ARITHMETIC, **LAYERS, **MOVEMENT})
