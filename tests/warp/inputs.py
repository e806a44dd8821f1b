"""Pictures and motions that reach every edge of the warp's specification."""

from fractions import Fraction

import numpy as np

from harness.warp.specification import MOTION_HIGH, MOTION_LOW, PICTURE_MAX, WarpSpecification

I32 = np.ndarray
SPECIFICATIONS = [
    WarpSpecification(flow_fraction_bits=flow, scale_fraction_bits=scale)
    for flow, scale in ((9, 7), (16, 14), (18, 15))
]


def called(specification: WarpSpecification) -> str:
    return f"f{specification.flow_fraction_bits}s{specification.scale_fraction_bits}"


def pictures(height: int, width: int) -> dict[str, I32]:
    rng = np.random.default_rng([height, width])
    shape = (1, 3, height, width)
    checks = np.indices(shape).sum(axis=0) % 2
    return {
        "random": rng.integers(0, PICTURE_MAX + 1, shape).astype(np.int32),
        "brightest": np.full(shape, PICTURE_MAX, np.int32),
        "checks": (checks * PICTURE_MAX).astype(np.int32),
        "beyond": rng.integers(-(2**31), 2**31, shape).astype(np.int32),
    }


def motions(specification: WarpSpecification, height: int, width: int) -> dict[str, I32]:
    """By name, int32 [1, 3, height, width]."""
    rng = np.random.default_rng([height, width, specification.flow_fraction_bits])
    shape = (1, 3, height, width)
    flow_one, scale_one = (
        2**bits for bits in (specification.flow_fraction_bits, specification.scale_fraction_bits)
    )

    def drawn(values: list[int]) -> np.ndarray:
        return rng.choice(np.array(values), shape[2:])

    def ties(factor: Fraction) -> list[int]:
        """Motion whose product with `factor` lies half way between two integers."""
        if factor.denominator == 1:
            return [0]  # none does
        whole, values = factor.denominator, np.arange(MOTION_LOW, MOTION_HIGH + 1)
        found = values[2 * factor.numerator * values % (2 * whole) == whole]
        assert found.min() < 0 < found.max()
        return [int(v) for v in found]

    def near(units: list[Fraction]) -> list[int]:
        """Motion next to these, on both sides."""
        return [int(u) + d for u in units for d in (-1, 0, 1)]

    flow_x, flow_y = (Fraction(n * 16, flow_one) for n in (width, height))
    scale = Fraction(3 * 64, scale_one)
    to_border = [
        near([s * Fraction(n - k, n) * 2 * flow_one for k in (0, 1, 2) for s in (-1, 1)])
        for n in (width, height)
    ]
    levels = near([(Fraction(level) - Fraction(5, 2)) / 3 * scale_one for level in range(-1, 8)])
    fields = {
        "none": np.zeros(shape),
        "lowest": np.full(shape, MOTION_LOW),
        "highest": np.full(shape, MOTION_HIGH),
        "beyond": rng.choice([-(2**31), 2**31 - 1], shape),
        "ties": np.stack([drawn(ties(f)) for f in (flow_x, flow_y, scale)])[None],
        "borders": np.stack([drawn(to_border[0]), drawn(to_border[1]), drawn(levels)])[None],
        "wild": rng.integers(MOTION_LOW, MOTION_HIGH + 1, shape),
        "small": rng.integers(-flow_one // 16, flow_one // 16, shape),
    }
    return {name: field.astype(np.int32) for name, field in fields.items()}
