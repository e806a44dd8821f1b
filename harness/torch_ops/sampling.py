"""ONNX operators that resample pictures, in torch; only what its own interpolation means by them too."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from harness.errors import Unsupported
from harness.graph_node import Node
from harness.interpreter import Kernel, Prepare

LINEAR = {"linear", "bilinear"}


def _average_pool(node: Node[Tensor]) -> Kernel[Tensor]:
    kernel_shape = node.integers("kernel_shape", ())
    strides = node.integers("strides", (1,) * len(kernel_shape))
    plain = {
        "auto_pad": node.text("auto_pad", "NOTSET") == "NOTSET",
        "ceil_mode": not node.integer("ceil_mode", 0),
        "dilations": set(node.integers("dilations", (1,))) == {1},
        "pads": not any(node.integers("pads", ())),
        "kernel_shape": len(kernel_shape) == 2,  # noqa: PLR2004 - in the plane
    }
    _refuse(node, plain)
    return lambda x: functional.avg_pool2d(x, kernel_shape, strides)


def _resize(node: Node[Tensor]) -> Kernel[Tensor]:
    """Enlarges the plane by constant scales."""
    scales = node.constants.get(2)
    factors = [] if scales is None else [float(v) for v in scales]
    transformation = node.text("coordinate_transformation_mode", "half_pixel")
    plain = {
        "antialias": not node.integer("antialias", 0),
        "axes": not node.integers("axes", ()),
        "coordinate_transformation_mode": transformation == "half_pixel",
        "mode": node.text("mode", "nearest") == "linear",
        # torch takes another way to the coordinates where a size is not a whole multiple.
        "scales": factors[:2] == [1, 1]
        and len(factors) == 4  # noqa: PLR2004 - images, channels, rows, columns
        and all(v >= 1 and v.is_integer() for v in factors),
    }
    _refuse(node, plain)
    return lambda x, *_: functional.interpolate(
        x, scale_factor=factors[2:], mode="bilinear", align_corners=False
    )


def _grid_sample(node: Node[Tensor]) -> Kernel[Tensor]:
    """Of pictures and of volumes, which torch calls bilinear alike."""
    _refuse(node, {"mode": node.text("mode", "linear") in LINEAR})
    padding, corners = node.text("padding_mode", "zeros"), bool(node.integer("align_corners", 0))
    return lambda x, grid: functional.grid_sample(x, grid, "bilinear", padding, corners)


def _refuse(node: Node[Tensor], implemented: Mapping[str, bool]) -> None:
    for name, fine in implemented.items():
        if not fine:
            raise Unsupported(f"{node.label}: this {name} is not implemented")


SAMPLING: Mapping[str, Prepare[Tensor]] = {
    "AveragePool": _average_pool,
    "GridSample": _grid_sample,
    "Resize": _resize,
}
