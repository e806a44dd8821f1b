"""A simulated DSP in numpy: one exact, the others wrong on purpose (negative controls)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.dsp.profile import ArithmeticProfile
from harness.errors import HarnessError, PlatformUnavailable, Unsupported
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session

if TYPE_CHECKING:
    from harness.interpreter import Program


@dataclass(frozen=True, kw_only=True)
class DspPlatform(PlatformSpec):
    """An integer interpreter; the float networks are not its nature, so it borrows them."""

    profile: ArithmeticProfile
    networks: frozenset[str] = frozenset({"h_s"})

    def open(self) -> Engine:
        try:
            import onnx  # noqa: F401
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), "pip install onnx") from error
        return DspEngine(self.profile)


class DspEngine:
    """Child side of a simulated DSP."""

    def __init__(self, profile: ArithmeticProfile) -> None:
        self._profile = profile

    def environment(self) -> Mapping[str, str]:
        return {
            "runtime": "crosscheck simulated DSP",
            "numpy": np.__version__,
            "threads": "1",
            **self._profile.describe(),
            "float_unit": "scalar float32; QuantizeLinear divides and rounds half to even",
            "integer_kernel": "numpy float64/float32 BLAS carrier",
            "float_kernel": "numpy float32 im2col",
        }

    def load(self, onnx_model: bytes) -> Session:
        from harness.dsp.elementwise import ELEMENTWISE
        from harness.dsp.float_unit import FLOAT_UNIT
        from harness.dsp.integer_unit import integer_operators, intercepts
        from harness.dsp.movement import MOVEMENT
        from harness.interpreter import compile_graph

        integer = integer_operators(self._profile)
        operators = {**ELEMENTWISE, **FLOAT_UNIT, **MOVEMENT, **integer}
        with np.errstate(all="ignore"):
            program = compile_graph(onnx_model, operators, _constant, intercepts(self._profile))
        products = "MatMulInteger" in program.operators
        if products and self._profile.rounding != "half-up" and not program.intercepted:
            raise Unsupported(
                f"rounding {self._profile.rounding!r} needs calls of crosscheck::Requantize in the"
                " graph; this one has them inlined: hand in the artifact with its functions"
            )
        return DspSession(program)


class DspSession:
    def __init__(self, program: "Program[Array]") -> None:
        self._program = program

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        # Integers wrap silently, scalars too.
        with np.errstate(all="ignore"):
            results = self._program.run(feeds)
        outputs: dict[str, Array] = {}
        for port in self._program.outputs:
            array = np.array(results[port.name], order="C")
            if array.dtype.name != port.dtype:
                raise HarnessError(
                    f"output {port.name!r} is declared {port.dtype}, not {array.dtype.name}"
                )
            outputs[port.name] = array
        return outputs


def _constant(array: Array) -> Array:
    constant = np.array(array)
    constant.flags.writeable = False
    return constant


for _name, _profile in {
    "dsp-exact32": ArithmeticProfile(),
    "dsp-acc16-wrap": ArithmeticProfile(accumulator_bits=16),
    "dsp-acc16-sat": ArithmeticProfile(accumulator_bits=16, overflow="saturate"),
    "dsp-acc24-wrap": ArithmeticProfile(accumulator_bits=24),
    "dsp-pairsat": ArithmeticProfile(pair_saturation=True),
    "dsp-half-even": ArithmeticProfile(rounding="half-even"),
    "dsp-half-away": ArithmeticProfile(rounding="half-away"),
    "dsp-floor": ArithmeticProfile(rounding="floor"),
    "dsp-double-rounding": ArithmeticProfile(rounding="double-rounding"),
    "dsp-single-rounding": ArithmeticProfile(rounding="single-rounding"),
    "dsp-int16-multiplier": ArithmeticProfile(rounding="int16-multiplier"),
    "dsp-float32-rescale": ArithmeticProfile(rounding="float32-rescale"),
}.items():
    PLATFORMS.register(DspPlatform(name=_name, profile=_profile))
