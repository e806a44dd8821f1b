"""The rules: what each hazard is called, how bad it is, why, and what to do about it.

Hazards of the ONNX text itself stand here; what named runtimes are known to do wrong is in `deviations`, whose rules
join the same registry.
"""

from dataclasses import dataclass

from harness.lint.findings import Level


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`source` says where a claim about a named runtime was measured or read."""

    name: str
    level: Level
    title: str
    why: str
    remedy: str
    runtimes: tuple[str, ...] = ()
    source: str = ""


RULES: dict[str, Rule] = {}


def register(rule: Rule) -> Rule:
    if rule.name in RULES:
        raise ValueError(f"rule {rule.name!r} is registered twice")
    RULES[rule.name] = rule
    return rule


def _rule(level: Level, name: str, title: str, why: str, remedy: str) -> Rule:
    return register(Rule(name=name, level=level, title=title, why=why, remedy=remedy))


FLOAT_REDUCTION = _rule(
    Level.INEXACT,
    "float-reduction",
    "float sum in an order of the runtime's choice",
    "Float addition is not associative: blocking, vector width, FMA, TF32, bf16, Winograd and FFT all change the last bits.",
    "Make the operands integers (MatMulInteger, or integer-valued floats whose sums are proven below 2^24).",
)
FLOAT_ROUNDING = _rule(
    Level.INEXACT,
    "float-rounding",
    "fusable float arithmetic that rounds",
    "ONNX does not demand correct rounding, and a runtime may fuse Mul and Add into one FMA, or divide by a reciprocal.",
    "Keep every result representable: powers of two and small integers; or compute in integers.",
)
TRANSCENDENTAL = _rule(
    Level.INEXACT,
    "transcendental",
    "transcendental function",
    "No two math libraries agree on the last bit, often not even two code paths of one library.",
    "Replace it by a table of integers (GatherElements), or by comparisons with integer thresholds.",
)
FLOAT_RESCALE = _rule(
    Level.INEXACT,
    "float-rescale",
    "quantized values rescaled in float",
    "The scale is no power of two, so the rescaled value is rounded before it is rounded: runtimes differ on near-ties, by a whole step.",
    "Requantize with integers (multiplier and shift), or choose scales that are powers of two.",
)
INTERPOLATION = _rule(
    Level.INEXACT,
    "interpolation",
    "sampling at float coordinates",
    "Coordinates and weights are computed in float; implementations order and round these steps differently.",
    "Upsample by whole factors with nearest and asymmetric coordinates, or with Reshape, Transpose and Gather.",
)
ACCUMULATOR = _rule(
    Level.INEXACT,
    "accumulator-overflow",
    "accumulator whose worst case exceeds its carrier",
    "Beyond the carrier an integer wraps here and saturates there, and a float rounds in the order of its sums.",
    "Lower the worst case (fewer bits, clipped weights or activations, split products) or take a wider carrier.",
)
OVERFLOW = _rule(
    Level.INEXACT,
    "integer-overflow",
    "integer arithmetic that may leave its type",
    "ONNX does not say what happens: some runtimes wrap, others saturate.",
    "Clamp before, take a wider type, or state a tighter input with --range name=lo:hi.",
)
CAST_RANGE = _rule(
    Level.INEXACT,
    "cast-out-of-range",
    "float cast to an integer type that cannot hold it",
    "ONNX leaves it undefined: x86 gives the lowest integer, ARM saturates, others wrap.",
    "Clip before the Cast.",
)
UNDEFINED = _rule(
    Level.INEXACT,
    "undefined-arithmetic",
    "arithmetic that ONNX does not define",
    "Division by zero, a shift by the width or more, or a rounding that no text fixes: each runtime has its own.",
    "Keep the operand in the range where the result is defined (Max with 1, Min with the width less 1).",
)
RANDOM = _rule(
    Level.INEXACT,
    "random",
    "random numbers",
    "The generator is up to the runtime, even with a seed.",
    "Feed the numbers as an input.",
)
UNKNOWN = _rule(
    Level.INEXACT,
    "unknown-operator",
    "operator that cannot be judged",
    "It is no ONNX operator that the linter models, nor a function of this file.",
    "Express it in ONNX operators, or as a model-local function.",
)
CARRIER = _rule(
    Level.CONDITION,
    "float-carrier",
    "exact as long as floats are IEEE",
    "Proven: every result and partial sum is representable, so neither order nor FMA matters. It holds only if the runtime computes in the declared type.",
    "Forbid TF32, bf16 and fp16 inference, Winograd and fast-math; MatMul is a safer carrier than Conv.",
)
MONOTONE = _rule(
    Level.CONDITION,
    "rounded-then-clamped",
    "float values that are rounded before a clamp takes them",
    "Beyond the carrier results are rounded, but only where a later clamp discards them: exact if float rounding is monotone, as IEEE's is in every mode.",
    "Forbid TF32, bf16 and fp16 inference and fast-math; or clamp before, where the numbers still fit.",
)
UNSIGNED_WRAP = _rule(
    Level.CONDITION,
    "unsigned-wrap",
    "unsigned arithmetic that must wrap",
    "ONNX does not say what an unsigned overflow gives; it wraps modulo 2^n wherever it compiles to C, CUDA or WGSL, not where it is computed in float or saturated.",
    "Compute in a type that holds the result, and take low bits with Mod.",
)
CAST_WRAPS = _rule(
    Level.CONDITION,
    "cast-wraps",
    "integer cast that must wrap",
    "ONNX (Cast, since 13) discards the higher bits; runtimes that saturate exist.",
    "Clip before the Cast, or take the low bits with Mod or BitwiseAnd.",
)
FRACTIONAL_CAST = _rule(
    Level.CONDITION,
    "fractional-cast",
    "cast of a float that may have a fraction",
    "ONNX does not say how the fraction goes; the runtimes that we know truncate towards zero.",
    "Put Floor, Ceil or Round before the Cast.",
)
INDEX_RANGE = _rule(
    Level.CONDITION,
    "index-out-of-range",
    "index that may lie outside its tensor",
    "ONNX calls it an error; some runtimes clamp, others read what lies there.",
    "Clip the index to the table, or state a tighter input with --range name=lo:hi.",
)
DUPLICATES = _rule(
    Level.CONDITION,
    "scatter-duplicates",
    "scattered writes that may meet",
    "Where two updates have one target, the last one wins, and which one is last is up to the runtime.",
    "Make the indices provably distinct (constants), or use a reduction of integers.",
)
SIGNED_ZERO = _rule(
    Level.CONDITION,
    "signed-zero",
    "float result whose zeros may be +0 or -0",
    "Equal as numbers, but not as bytes: a sum of -0 and the choice of Max between zeros are up to the runtime.",
    "Cast the result to an integer type (an added 0.0 would be optimised away).",
)
FALLBACK = _rule(
    Level.NOTE,
    "provider-fallback",
    "operator that the provider leaves to the CPU",
    "The graph then runs on two devices, silently: what was asked for is not what is measured.",
    "Use a lowering made for this provider, and set session.disable_cpu_ep_fallback=1 so that it fails aloud.",
)
RARE_TYPE = _rule(
    Level.NOTE,
    "rare-type",
    "arithmetic in a type that few runtimes implement",
    "Legal ONNX, but converters and GPU, NPU and web back ends often lack it or emulate it.",
    "int32, float32 and uint8 are what everyone implements.",
)
MISSING_KERNEL = register(
    Rule(
        name="missing-kernel",
        level=Level.NOTE,
        title="legal ONNX that onnxruntime's CPU provider has no kernel for",
        why="The session is refused, or the node goes to another provider.",
        remedy="Cast to a type that has a kernel, or move data with Reshape, Transpose and Gather.",
        runtimes=("onnxruntime",),
        source="measured: onnxruntime 1.31.1, registered kernels",
    )
)
