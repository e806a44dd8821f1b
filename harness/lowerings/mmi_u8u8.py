"""mmi-u8u8: the integer specification as u8 x u8 MatMulInteger, which no CPU saturates: exact everywhere.

Activations are kept as rows [pixels, channels] of uint8. A (transposed) convolution gathers, for every output phase,
the input rows under its taps (one `Gather` does padding, im2col and the pixel shuffle of the layer before) and
multiplies them with that phase's weights. A transposed 5x5 convolution of stride 2 so costs 25 of 36 taps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from harness.errors import UserError
from harness.lowerings.base import (
    DOMAIN,
    INT32,
    INTEGER,
    LOWERINGS,
    Artifact,
    GraphBuilder,
    Source,
    feature_map,
)
from harness.lowerings.requantize import requantize_function
from harness.lowerings.rows import Phase, interleave, phases, pixel_numbers, rows_under
from harness.specification import (
    I32,
    MEDIAN_FRACTION_BITS,
    SIGMA_MAX,
    SYMBOL_LIMIT,
    IntegerLayer,
    IntegerNet,
    Requantization,
)

# A direct convolution is computed in this many blocks of rows, so that patches and accumulators stay in cache.
TILES = 4


@dataclass(frozen=True, kw_only=True)
class MatMulIntegerU8U8:
    name: str = INTEGER
    summary: str = "uint8 x uint8 MatMulInteger and int32 arithmetic; exact on any conforming runtime, with or without VNNI"

    def lower(self, source: Source, *, taps: bool = False) -> Artifact:
        net = source.integer
        if net is None:
            raise UserError(
                f"lowering {self.name} of {source.network.name} needs an integer precision, such as w8a8"
            )
        for layer in net.layers:
            if layer.input_high - layer.input_low > 255 or np.abs(layer.weight).max() > 127:  # noqa: PLR2004
                raise UserError(
                    f"lowering {self.name} carries at most 8 bits; {layer.name} of {net.precision} has more"
                )
        return Artifact(
            network=net.name,
            lowering=self.name,
            onnx_model=_Lowered(net, taps=taps).build(),
            input="z_symbols",
            outputs=(*net.outputs, "indexes"),
            integer=True,
            specification=net.digest,
        )


class _Lowered:
    """One graph in the making."""

    def __init__(self, net: IntegerNet, *, taps: bool) -> None:
        self.net = net
        self.taps = taps
        self.graph = GraphBuilder(
            name=f"{net.name}_{net.precision}", functions=[requantize_function()]
        )
        self.observed: list[str] = []

    def build(self) -> bytes:
        graph, net = self.graph, self.net
        rows, row_of = self._entry()
        low = int(net.entry.low[0])
        for layer in net.layers:
            accumulators = self._convolution(layer, rows, row_of, zero_point=-low)
            blocks = [self._activation(layer, label, acc) for label, acc in accumulators.items()]
            row_of = interleave(graph, layer, row_of) if layer.transposed else row_of
            low = int((layer.leaky or layer.requantize).low[0])
            if layer is net.layers[-1]:
                values = graph.node("Concat", blocks, f"{layer.name}.values", axis=0)
                break
            if self.taps:
                values = graph.node("Concat", blocks, f"{layer.name}.values", axis=0)
                self._tap(layer.name, values, row_of)
            narrow = [self._to_u8(block, low) for block in blocks]
            rows = graph.node("Concat", narrow, f"{layer.name}.u8", axis=0)
        outputs = self._outputs(values, row_of)
        n, m = len(net.entry.bias), net.latent_channels
        observed = [
            helper.make_tensor_value_info(name, INT32, ["pixels", None]) for name in self.observed
        ]
        return graph.model(
            inputs=[feature_map("z_symbols", INT32, n, "z_h", "z_w")],
            outputs=[*observed, *(feature_map(name, INT32, m, "y_h", "y_w") for name in outputs)],
            metadata={
                "crosscheck.network": net.name,
                "crosscheck.lowering": INTEGER,
                "crosscheck.precision": net.precision,
                "crosscheck.specification": net.digest,
                "crosscheck.sigma_fraction_bits": str(net.sigma_fraction_bits),
                "crosscheck.mean_fraction_bits": str(net.mean_fraction_bits),
                "crosscheck.bounds": " ".join(
                    f"{layer.name}:{int(layer.bounds.max())}" for layer in net.layers
                ),
            },
        )

    def _i32(self, name: str, values: NDArray[np.generic] | int) -> str:
        return self.graph.constant(name, np.asarray(values, np.int32))

    def _requantize(self, name: str, label: str, x: str, rule: Requantization) -> str:
        constants = {
            "bias": rule.bias,
            "multiplier": rule.multiplier,
            "divisor": np.int64(1) << rule.shift,
            "low": _scalar_if_uniform(rule.low),
            "high": _scalar_if_uniform(rule.high),
        }
        inputs = [self._i32(f"{name}.{key}", value) for key, value in constants.items()]
        return self.graph.node("Requantize", [x, *inputs], f"{label}.requantized", domain=DOMAIN)

    def _activation(self, layer: IntegerLayer, label: str, accumulator: str) -> str:
        """Requantize one block of accumulators; a leaky rectifier is the larger of two requantizations."""
        values = self._requantize(layer.name, label, accumulator, layer.requantize)
        if layer.leaky is None:
            return values
        negative = self._requantize(f"{layer.name}.leaky", f"{label}.leaky", values, layer.leaky)
        return self.graph.node("Max", [values, negative], f"{label}.rectified")

    def _to_u8(self, values: str, low: int) -> str:
        graph = self.graph
        if low:
            values = graph.node("Sub", [values, self._i32(f"low_{low}", low)], f"{values}.offset")
        return graph.node("Cast", [values], f"{values}.u8", to=TensorProto.UINT8)

    def _entry(self) -> tuple[str, str]:
        """Z symbols to u8 rows [pixels, N], and the int32 map [H, W] from pixel to row (counted from 1)."""
        graph, net = self.graph, self.net
        shape = graph.node("Shape", ["z_symbols"], "z.size", start=2)
        flat = graph.node(
            "Reshape",
            ["z_symbols", graph.constant("z.flat_shape", [len(net.entry.bias), -1])],
            "z.flat",
        )
        rows = graph.node("Transpose", [flat], "z.rows", perm=[1, 0])
        rows = graph.node("Max", [rows, self._i32("z.symbol_min", -SYMBOL_LIMIT)], "z.at_least")
        rows = graph.node("Min", [rows, self._i32("z.symbol_max", SYMBOL_LIMIT)], "z.clamped")
        rows = graph.node("Mul", [rows, self._i32("z.unit", 2**MEDIAN_FRACTION_BITS)], "z.scaled")
        rows = self._requantize("z_q", "z_q", rows, net.entry)
        count = pixel_numbers(graph, "z", shape)
        row_of = graph.node("Reshape", [count, shape], "z.row_of")
        self._tap("z_q", rows, row_of)
        return self._to_u8(rows, int(net.entry.low[0])), row_of

    def _convolution(
        self, layer: IntegerLayer, rows: str, row_of: str, *, zero_point: int
    ) -> dict[str, str]:
        """Accumulators int32 [pixels of the block, out], block by block: output phases, or tiles of rows."""
        graph, name = self.graph, layer.name
        channels = layer.weight.shape[1]
        padding_row = graph.constant(f"{name}.pad", np.full((1, channels), zero_point, np.uint8))
        padded = graph.node("Concat", [padding_row, rows], f"{name}.rows", axis=0)
        zeros = [
            graph.constant(f"zero_point_{value}", np.asarray(value, np.uint8))
            for value in (zero_point, 128)
        ]
        accumulators = {}
        for label, phase, index in self._blocks(layer, row_of):
            patches = graph.node("Gather", [padded, index], f"{label}.gather", axis=0)
            width = len(phase.taps) * channels
            shape = graph.constant(f"shape_{width}", [-1, width])
            patches = graph.node("Reshape", [patches, shape], f"{label}.patches")
            kernel = np.concatenate([layer.weight[:, :, u, v].T for u, v in phase.taps])
            key = f"{name}.weight_{phase.taps[0][0]}_{phase.taps[0][1]}"
            weight = graph.constant(key, (kernel + 128).astype(np.uint8))
            accumulators[label] = graph.node(
                "MatMulInteger", [patches, weight, *zeros], f"{label}.acc"
            )
        return accumulators

    def _blocks(self, layer: IntegerLayer, row_of: str) -> Iterator[tuple[str, Phase, str]]:
        """Name, taps and int32 index [pixels, taps] of every block of a layer."""
        graph, name, plan = self.graph, layer.name, phases(layer)
        offsets = sorted({offset for phase in plan for offset in phase.offsets})
        taps = rows_under(graph, name, row_of, offsets)
        if len(plan) == 1:
            index = graph.node("Transpose", [taps], f"{name}.index", perm=[1, 0])
            tiles = [f"{name}.tile{number}" for number in range(TILES)]
            names = [f"{tile}.index" for tile in tiles]
            graph.nodes.append(
                helper.make_node(
                    "Split", [index], names, f"{name}.tiles", axis=0, num_outputs=TILES
                )
            )
            yield from zip(tiles, plan * TILES, names, strict=True)
            return
        for number, phase in enumerate(plan):
            label = f"{name}.phase{number}"
            chosen = self._i32(f"{label}.taps", np.array([offsets.index(o) for o in phase.offsets]))
            index = graph.node("Gather", [taps, chosen], f"{label}.rows_under", axis=0)
            yield label, phase, graph.node("Transpose", [index], f"{label}.index", perm=[1, 0])

    def _tap(self, name: str, values: str, row_of: str) -> None:
        """Expose an activation as an output, rows in raster order."""
        if self.taps:
            flat = self.graph.node(
                "Reshape", [row_of, self.graph.constant("shape_flat", [-1])], f"{name}.raster"
            )
            ordered = self.graph.node("Sub", [flat, self._i32("one_i32", 1)], f"{name}.raster0")
            self.observed.append(self.graph.node("Gather", [values, ordered], name, axis=0))

    def _outputs(self, values: str, row_of: str) -> tuple[str, ...]:
        """The last layer's rows [pixels, channels] as [1, M, H, W] outputs; sigma also becomes the CDF index."""
        graph, net = self.graph, self.net
        if len(phases(net.layers[-1])) > 1:
            raise UserError(
                f"{net.name} ends in a transposed convolution, which lowering {INTEGER} does not unweave"
            )
        size = graph.node("Shape", [row_of], "y.size")
        shape = graph.node(
            "Concat",
            [graph.constant("one_image", [1]), size, graph.constant("all_channels", [-1])],
            "y.shape",
            axis=0,
        )
        pixels = graph.node("Reshape", [values, shape], "y.pixels")
        if len(net.outputs) == 1:
            graph.node("Transpose", [pixels], net.outputs[0], perm=[0, 3, 1, 2])
        else:
            planes = graph.node("Transpose", [pixels], "y.planes", perm=[0, 3, 1, 2])
            graph.nodes.append(
                helper.make_node(
                    "Split",
                    [planes],
                    list(net.outputs),
                    name="y.split",
                    axis=1,
                    num_outputs=len(net.outputs),
                )
            )
        # One entry per sigma of 16 bits; GatherElements copies bytes, Gather would move 1-element slices.
        levels = np.arange(SIGMA_MAX + 1, dtype=np.int64)
        table = (levels[:, None] > net.thresholds[None, :]).sum(axis=1).astype(np.uint8)
        flat = graph.node(
            "Reshape", ["scales_hat", graph.constant("shape_flat", [-1])], "sigma.flat"
        )
        found = graph.node(
            "GatherElements", [graph.constant("index_table", table), flat], "indexes.flat", axis=0
        )
        plane_shape = graph.node("Shape", ["scales_hat"], "indexes.shape")
        graph.node(
            "Cast", [graph.node("Reshape", [found, plane_shape], "indexes.u8")], "indexes", to=INT32
        )
        return (*net.outputs, "indexes")


def _scalar_if_uniform(values: I32) -> NDArray[np.generic]:
    """One number for all channels where they agree: optimisers drop an addition of a scalar 0."""
    return values[0] if (values == values[0]).all() else values


LOWERINGS.register(MatMulIntegerU8U8())
