"""An integer specification as an ONNX graph, whatever multiplies: what all integer lowerings share.

Activations are kept as rows [pixels, channels]. A (transposed) convolution gathers, for every block of rows, the input
rows under its taps: one `Gather` a part does padding, im2col and the pixel shuffle of the layer before. Then come its
products, the requantization, and the parts that the next layer reads. A transposed 5x5 convolution of stride 2 is four
output phases of 25 of 36 taps. Layers are cut into blocks that stay in a cache.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper

from harness.errors import UserError
from harness.lowerings.accumulate import accumulate, spread, spread_rule
from harness.lowerings.base import INT32, Artifact, GraphBuilder, Source, feature_map
from harness.lowerings.carrier import Carrier, Parts
from harness.lowerings.gdn import inverse_gdn
from harness.lowerings.limbs import WHOLE
from harness.lowerings.outputs import PICTURE, emit_outputs, output_names, output_values
from harness.lowerings.requantize import activate, activate_u8, requantize
from harness.lowerings.rows import Block, blocks, interleave, raster
from harness.specification import I64, IntegerGdn, IntegerLayer, IntegerNet, Requantization

UINT8 = TensorProto.UINT8


def lower(name: str, carrier: Carrier, source: Source, *, taps: bool) -> Artifact:
    """The artifact of an integer lowering."""
    net = source.integer
    if net is None:
        raise UserError(
            f"lowering {name} of {source.network.name} needs an integer precision, such as w8a8"
        )
    labels = source.labels(name, net.precision) | {
        "crosscheck.specification": net.digest,
        "crosscheck.sigma_fraction_bits": str(net.sigma_fraction_bits),
        "crosscheck.mean_fraction_bits": str(net.mean_fraction_bits),
        "crosscheck.bounds": " ".join(
            f"{layer.name}:{int(layer.bounds.max())}" for layer in net.convolutions
        ),
    }
    return Artifact(
        network=net.name,
        lowering=name,
        onnx_model=_Lowered(net, carrier, taps=taps).build(labels),
        input=net.input,
        outputs=output_names(net),
        integer=True,
        specification=net.digest,
    )


def _stages(
    net: IntegerNet,
) -> Iterator[tuple[IntegerLayer, IntegerGdn | None, IntegerLayer | None]]:
    """Each convolution, the GDN behind it and the next convolution."""
    layers = list(net.layers)
    while layers:
        layer = layers.pop(0)
        assert isinstance(layer, IntegerLayer)
        gdn = layers.pop(0) if layers and isinstance(layers[0], IntegerGdn) else None
        following = layers[0] if layers else None
        assert not isinstance(gdn, IntegerLayer)
        assert not isinstance(following, IntegerGdn)
        yield layer, gdn, following


class _Lowered:
    """One graph in the making."""

    def __init__(self, net: IntegerNet, carrier: Carrier, *, taps: bool) -> None:
        self.net, self.carrier, self.taps = net, carrier, taps
        self.graph = GraphBuilder(name=f"{net.name}_{net.precision}")
        self.forms = {layer.name: carrier.form(layer) for layer in net.convolutions}
        self.observed: list[onnx.ValueInfoProto] = []
        # Pixels of the current layer's input, in those of the network's, and how many blocks they are cut into.
        self.area, self.tiles = 1, 1

    def build(self, labels: dict[str, str]) -> bytes:
        graph, net = self.graph, self.net
        rows, row_of = self._entry(net.convolutions[0])
        for layer, gdn, following in _stages(net):
            last = following is None
            sums = self._sums(layer, rows, row_of, last=last)
            if layer.transposed:
                row_of = interleave(graph, layer, row_of, together=last)
                self.area, self.tiles = self.area * layer.stride**2, self.area
            if following is None:
                results = [self._result(layer, *block) for block in sums]
                emit_outputs(graph, net, layer, results, row_of)
            elif gdn is None:
                made = [self._activation(layer, *block, following) for block in sums]
                rows = self._rows(layer.name, made, following, row_of)
            else:
                inner = [self._integers(layer, *block) for block in sums]
                self._tap(layer.name, inner, row_of)
                made = [
                    self._inverse_gdn(gdn, block.label, x, following)
                    for (block, _), x in zip(sums, inner, strict=True)
                ]
                rows = self._rows(gdn.name, made, following, row_of)
        channels = len(net.entry.bias)
        return graph.model(
            inputs=[feature_map(net.input, INT32, channels, "in_h", "in_w")],
            outputs=[*self.observed, *output_values(net)],
            metadata=labels,
        )

    def _entry(self, following: IntegerLayer) -> tuple[Parts, str]:
        """Rows of the input's parts, and the int32 map [H, W] from pixel to row (counted from 1)."""
        graph, net = self.graph, self.net
        name = f"{net.input[0]}_q"
        shape = graph.constant("shape_input", [len(net.entry.bias), -1])
        flat = graph.node("Reshape", [net.input, shape], f"{name}.flat")
        x = graph.node("Transpose", [flat], f"{name}.rows", perm=[1, 0])
        x = graph.node("Max", [x, graph.i32(-net.input_limit)], f"{name}.at_least")
        x = graph.node("Min", [x, graph.i32(net.input_limit)], f"{name}.clamped")
        if net.input_shift:
            x = graph.node("Mul", [x, graph.i32(1 << net.input_shift)], f"{name}.scaled")
        bounds = (net.input_limit << net.input_shift) + np.abs(net.entry.bias)
        x = requantize(graph, name, name, x, net.entry, bounds, floats=self.carrier.floats)
        image = graph.constant("axes_image", [0, 1])
        corner = [graph.constant("first", [0, 0]), graph.constant("second", [1, 1]), image]
        plane = graph.node("Slice", [net.input, *corner], f"{name}.plane")
        plane = graph.node("Squeeze", [plane, image], f"{name}.grid")
        row_of, _ = raster(graph, name, plane)
        parts = self.carrier.parts(graph, name, x, self.forms[following.name])
        return self._rows(name, [parts], following, row_of), row_of

    def _sums(
        self, layer: IntegerLayer, rows: Parts, row_of: str, *, last: bool
    ) -> list[tuple[Block, str]]:
        """What the layer is requantized from, block by block."""
        cut = blocks(self.graph, layer, row_of, tiles=self.tiles, together=last)
        form = self.forms[layer.name]
        return [
            (block, accumulate(self.graph, self.carrier, layer, form, block, rows)) for block in cut
        ]

    def _rules(
        self, layer: IntegerLayer, block: Block
    ) -> tuple[Requantization, Requantization | None, I64]:
        """What requantizes the sums of a block: the rule, the leaky one behind it, and bounds."""
        form, leaky = self.forms[layer.name], layer.leaky
        return (
            spread_rule(form.requantize, block),
            leaky and spread_rule(leaky, block),
            spread(form.bounds, block),
        )

    def _integers(self, layer: IntegerLayer, block: Block, sums: str) -> str:
        """int32 rows of the layer's output."""
        rules, floats = self._rules(layer, block), self.carrier.floats
        return activate(self.graph, layer.name, block.label, sums, *rules, floats=floats)

    def _bytes(self, layer: IntegerLayer, block: Block, sums: str, base: int) -> str | None:
        """uint8 rows of the same minus `base`, where that is exact in float32 and the carrier has both."""
        if self.carrier.row_type != np.uint8 or not self.carrier.floats:
            return None
        rules = self._rules(layer, block)
        return activate_u8(self.graph, layer.name, block.label, sums, *rules, base)

    def _activation(
        self, layer: IntegerLayer, block: Block, sums: str, following: IntegerLayer
    ) -> Parts:
        """The parts of the layer's output that the next layer reads."""
        form = self.forms[following.name]
        if form.parts == (WHOLE,):
            direct = self._bytes(layer, block, sums, form.base)
            if direct is not None:
                return {WHOLE: direct}
        return self.carrier.parts(self.graph, block.label, self._integers(layer, block, sums), form)

    def _inverse_gdn(self, gdn: IntegerGdn, label: str, x: str, following: IntegerLayer) -> Parts:
        graph, carrier = self.graph, self.carrier
        y = inverse_gdn(graph, carrier, gdn, self.forms[gdn.norm.name], label, x)
        return carrier.parts(graph, f"{label}.gdn", y, self.forms[following.name])

    def _result(self, layer: IntegerLayer, block: Block, sums: str) -> str:
        """Rows of the network's outputs; output phases that were computed side by side become rows."""
        graph = self.graph
        if self.net.outputs == (PICTURE,):
            rows = self._bytes(layer, block, sums, 0)
            if rows is None:
                values = self._integers(layer, block, sums)
                rows = graph.node("Cast", [values], f"{block.label}.picture", to=UINT8)
        else:
            rows = self._integers(layer, block, sums)
        if len(block.plan.phases) == 1:
            return rows
        shape = graph.constant("shape_pixels", [-1, len(layer.weight)])
        return graph.node("Reshape", [rows, shape], f"{block.label}.pixels")

    def _rows(self, name: str, made: list[Parts], following: IntegerLayer, row_of: str) -> Parts:
        """All blocks of a layer's output behind a row of padding, part by part."""
        graph, carrier, form = self.graph, self.carrier, self.forms[following.name]
        if self.taps:
            whole = [
                carrier.whole(graph, f"{name}.block{number}", parts, form)
                for number, parts in enumerate(made)
            ]
            self._tap(name, whole, row_of)
        rows = {}
        for part in made[0]:
            zero = carrier.padding(form, part)
            padding = np.full((1, following.weight.shape[1]), zero, carrier.row_type)
            blocks_of = [
                graph.constant(f"{name}.{part}.padding", padding),
                *(p[part] for p in made),
            ]
            rows[part] = graph.node("Concat", blocks_of, f"{name}.{part}.all", axis=0)
        return rows

    def _tap(self, name: str, made: list[str], row_of: str) -> None:
        """Expose int32 activations as an output, rows in raster order."""
        if not self.taps:
            return
        graph = self.graph
        rows = graph.node("Concat", made, f"{name}.integers", axis=0)
        flat = graph.node("Reshape", [row_of, graph.constant("shape_flat", [-1])], f"{name}.raster")
        ordered = graph.node("Sub", [flat, graph.i32(1)], f"{name}.raster0")
        graph.node("Gather", [rows, ordered], name, axis=0)
        self.observed.append(helper.make_tensor_value_info(name, INT32, ["pixels", None]))
