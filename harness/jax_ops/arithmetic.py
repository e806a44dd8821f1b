"""Elementwise ONNX operators in JAX."""

from collections.abc import Callable, Mapping
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import lax

from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare


def _plain(function: Callable[..., jax.Array]) -> Prepare[jax.Array]:
    return lambda _: function


def _divide(a: jax.Array, b: jax.Array) -> jax.Array:
    """XLA's division of integers truncates, as ONNX's does."""
    return lax.div(*jnp.broadcast_arrays(a, b))


def _variadic(function: Callable[[jax.Array, jax.Array], jax.Array]) -> Prepare[jax.Array]:
    return _plain(lambda *values: reduce(function, values))


def _clip(node: Node[jax.Array]) -> Kernel[jax.Array]:
    low = node.number("min", -np.inf) if "min" in node.attributes else None
    high = node.number("max", np.inf) if "max" in node.attributes else None

    def kernel(
        x: jax.Array, least: jax.Array | None = None, most: jax.Array | None = None
    ) -> jax.Array:
        least = least if low is None else jnp.asarray(low, x.dtype)
        most = most if high is None else jnp.asarray(high, x.dtype)
        x = x if least is None else jnp.maximum(x, least)
        return x if most is None else jnp.minimum(x, most)

    return kernel


def _bit_shift(node: Node[jax.Array]) -> Kernel[jax.Array]:
    left = node.text("direction", "") == "LEFT"
    return lambda x, by: jnp.left_shift(x, by) if left else jnp.right_shift(x, by)


def _leaky_relu(node: Node[jax.Array]) -> Kernel[jax.Array]:
    alpha = node.number("alpha", 0.01)
    return lambda x: jnp.where(x < 0, x * jnp.asarray(alpha, x.dtype), x)


def _cast(node: Node[jax.Array]) -> Kernel[jax.Array]:
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0)))
    return lambda x: x.astype(dtype)


ARITHMETIC: Mapping[str, Prepare[jax.Array]] = {
    "Abs": _plain(jnp.abs),
    "Add": _plain(jnp.add),
    "BitShift": _bit_shift,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _plain(_divide),
    "Floor": _plain(jnp.floor),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Less": _plain(jnp.less),
    "Max": _variadic(jnp.maximum),
    "Min": _variadic(jnp.minimum),
    "Mod": lambda node: jnp.fmod if node.integer("fmod", 0) else jnp.mod,
    "Mul": _plain(jnp.multiply),
    "Relu": _plain(lambda x: jnp.maximum(x, jnp.zeros((), x.dtype))),
    "Sqrt": _plain(jnp.sqrt),
    "Sub": _plain(jnp.subtract),
    "Where": _plain(jnp.where),
}
