"""Which operators an execution provider has kernels for: what it would leave to the CPU, and what has no kernel at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import UserError
from harness.lint.kinds import OTHER, Kind
from harness.lint.site import Site
from harness.lint.values import Value

_FLOATS = "float16 float32 float64"
_WITH_BF16 = f"bfloat16 {_FLOATS}"
_WIDE = "int32 int64 uint32 uint64"
_INTEGERS = f"int8 int16 uint8 uint16 {_WIDE}"
_ANY = f"bool {_WITH_BF16} {_INTEGERS}"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """`kernels`: operator to the types its data may have. Operators that are not there have no kernel."""

    name: str
    source: str
    kernels: Mapping[str, frozenset[str]]


def _table(*groups: tuple[str, str]) -> Mapping[str, frozenset[str]]:
    return {
        operator: frozenset(types.split())
        for types, operators in groups
        for operator in operators.split()
    }


CUDA = Provider(
    name="cuda",
    source="documented, not run: onnxruntime docs/OperatorKernels.md (CUDAExecutionProvider, newest opsets)",
    kernels=_table(
        (
            _ANY,
            "Cast Compress Concat ConstantOfShape Expand Flatten Gather GatherElements Identity If Loop Reshape"
            " ReverseSequence Scan ScatterElements ScatterND Shape Size Slice Split Squeeze TensorScatter Transpose Trilu"
            " Unsqueeze Constant Dropout",
        ),
        (f"{_WITH_BF16} {_INTEGERS}", "Abs Add Div Mul Sign Sub"),
        (f"{_WITH_BF16} int8 int16 int32 int64", "Neg"),
        (f"{_WITH_BF16} {_WIDE}", "Max Min Mod"),
        (f"{_FLOATS} {_INTEGERS}", "Shrink"),
        (f"{_FLOATS} {_WIDE}", "CumSum Greater GreaterOrEqual Less LessOrEqual"),
        (f"bool {_FLOATS} {_WIDE}", "Equal"),
        (f"bool {_WITH_BF16} int64", "GatherND"),
        (f"{_WITH_BF16} int32 int64", "Pow ReduceSum Tile"),
        (f"{_FLOATS} int32 int64 uint8", "Where"),
        (f"{_FLOATS} int32 int64", "ReduceMax TopK"),
        (f"{_FLOATS} int8 int32 int64 uint8", "ReduceMin"),
        (f"{_FLOATS} int8 int64 uint8 uint64", "Clip"),
        (f"{_FLOATS} int8 uint8", "MaxPool"),
        (f"{_FLOATS} int32", "ReduceL1 ReduceL2 ReduceMean ReduceProd"),
        (f"{_FLOATS} int32 uint8", "Resize Upsample"),
        ("float32 float64 int16 int32 int64", "Range"),
        ("float32 float64 int32 int64 uint64", "EyeLike"),
        ("bool float16 float32 int32 int64 uint8", "NonZero"),
        ("int32 int64", "OneHot"),
        ("bool", "And Not Or Xor"),
        (f"bool {_FLOATS}", "Pad"),
        ("int8", "MatMulInteger"),
        ("int4 int8 uint4 uint8 float8e4m3fn float8e5m2", "DequantizeLinear QuantizeLinear"),
        (
            _WITH_BF16,
            "AveragePool Conv Erf Exp Gelu Gemm HardSigmoid HardSwish IsInf IsNaN LayerNormalization MatMul"
            " RMSNormalization Relu Sigmoid Softmax Sqrt Sum Tanh",
        ),
        (
            _FLOATS,
            "ArgMax ArgMin BatchNormalization Ceil ConvTranspose Cos DepthToSpace Einsum Elu Floor GRU GlobalAveragePool"
            " GlobalMaxPool InstanceNormalization LRN LSTM LeakyRelu Log LogSoftmax PRelu RNN Reciprocal ReduceLogSum"
            " ReduceLogSumExp ReduceSumSquare Round Selu Sin Softplus Softsign SpaceToDepth ThresholdedRelu"
            " RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
        ),
        ("bfloat16 float16 float32", "Attention RotaryEmbedding"),
        ("float32 float64", "RoiAlign"),
        ("float32", "GridSample"),
    ),
)
WEBGPU = Provider(
    name="webgpu",
    # float16 and the operators in the last group of floats were not tried: they stand as documented.
    source="measured: onnxruntime-node 1.30.0 on SwiftShader, what runs without the CPU; js/web/docs/webgpu-operators.md",
    kernels=_table(
        (
            "bool float16 float32 int8 int32 int64 uint8 uint32",
            "Concat Constant Expand Flatten Gather GatherElements Identity Reshape Slice Split Squeeze Transpose Unsqueeze",
        ),
        ("bool float16 float32 int32 uint32 uint8", "Cast"),
        ("bool float16 float32 int32 uint32", "Range Where"),
        (
            "float16 float32 int32 uint32",
            "Add Clip CumSum Div Equal GatherND Greater GreaterOrEqual Less LessOrEqual Max Min Mul Pad ReduceMax ReduceMean"
            " ReduceMin ReduceProd ReduceSum ScatterND Sub Tile",
        ),
        ("float16 float32 int32", "Pow"),
        ("int8 int32 uint8", "DequantizeLinear"),
        ("bool", "And Not"),
        ("float16 float32", "Abs Ceil Erf Floor HardSwish MatMul Neg Relu Softplus Sqrt"),
        (
            "float16 float32",
            "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Conv ConvTranspose Cos Cosh"
            " DepthToSpace Einsum Elu Exp Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid"
            " InstanceNormalization LayerNormalization LeakyRelu Log MaxPool Reciprocal ReduceL1 ReduceL2"
            " ReduceLogSum ReduceLogSumExp ReduceSumSquare Resize"
            " Sigmoid Sin Sinh Softmax Tan Tanh ThresholdedRelu",
        ),
        (_ANY, "Shape"),
    ),
)  # fmt: skip
CPU = Provider(
    name="cpu",
    source="measured: kernels registered by onnxruntime 1.31.1 (get_all_opkernel_def), newest opsets",
    kernels=_table(
        (f"float32 float64 {_INTEGERS}", "Abs Add Div Greater GreaterOrEqual Less LessOrEqual Mul Sub"),
        ("float32 float64 int8 int16 int32 int64", "Neg"),
        (f"float16 float32 float64 int8 uint8 {_WIDE}", "Clip Max Min"),
        (f"float16 float32 float64 {_INTEGERS}", "Mod"),
        ("float32 float64 int8 int32", "Relu"),
        (f"float32 float64 {_WIDE}", "CumProd MatMul"),
        ("float32 float64", "BatchNormalization Ceil Floor Gemm Reciprocal Sqrt Sum Exp Log Sigmoid Softmax Tanh"),
        ("float16 float32 float64", "Round"),
        ("float32", "AveragePool Conv ConvTranspose GlobalAveragePool GlobalMaxPool LeakyRelu PRelu"),
        ("uint8 uint32 uint64", "BitShift"),
        ("float32 float64 int8 uint8", "DepthToSpace MaxPool SpaceToDepth"),
        (f"bool float32 float64 int8 uint8 {_WIDE}", "Pad"),
        ("float32 float64 int8 int32 int64 uint8 uint32", "Where"),
        (f"bool float32 float64 {_INTEGERS}", "Equal Tile"),
        ("bool float32 float64 int8 int32 int64 uint8", "ReduceMax ReduceMin"),
        ("float32 float64 int32 int64", "CumSum Einsum Pow ReduceL1 ReduceMean ReduceProd ReduceSum ReduceSumSquare"),
        ("float32 float64 int8 int32 int64 uint8", "ArgMax ArgMin"),
        ("float32 float64 int8 int16 int32 int64 uint8", "TopK"),
        ("float32 float64 int16 int32 int64", "Range"),
        ("float32 int8 int32 uint8", "Resize Upsample"),
        ("bool float32 float64 int32 int64", "Trilu"),
        ("bool float32 int32 int64 uint8", "NonZero"),
        ("int8 uint8", "ConvInteger MatMulInteger QLinearConv QLinearMatMul"),
    ),
)  # fmt: skip
# Whoever may be named with --provider; the CPU's table serves the rule about missing kernels.
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in (CUDA, WEBGPU)}


def provider_named(name: str) -> Provider:
    if name not in PROVIDERS:
        raise UserError(f"no provider {name!r}; known: {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def _data(site: Site, results: list[Value]) -> list[Kind]:
    """The types that decide which kernel runs."""
    match site.operator:
        case "QuantizeLinear":
            return [value.kind for value in results[:1]]
        case "Where":
            return [site.operand(1).kind]
        case "Cast" | "CastLike":
            return [site.operand(0).kind, *(value.kind for value in results)]
        case "MatMulInteger" | "ConvInteger":
            return [site.operand(0).kind, site.operand(1).kind]
        case "Constant" | "ConstantOfShape":
            return [value.kind for value in results]
    return [value.kind for value in site.given()[:1]]


# What does the same with operators that every provider has, where there is no kernel.
INSTEAD = {
    "BitShift": "Div by a power of two, of numbers that are not negative",
    "BitwiseAnd": "x - Floor(x / m) * m in float32, below 2^24, for the low bits",
    "Mod": "x - Floor(x / m) * m in float32, below 2^24",
    "Round": "Floor(x + 0.5), where ties may go up",
    "Sign": "Clip(x, -1, 1), of integers",
}


def lacks(provider: Provider, site: Site, results: list[Value]) -> str | None:
    """Why `provider` has no kernel for a node, in a few words; None if it has one."""
    if "::" in site.operator:
        return None
    types = [kind.name for kind in _data(site, results) if kind is not OTHER]
    known = provider.kernels.get(site.operator)
    if known is None:
        other = INSTEAD.get(site.operator)
        return f"{provider.name} has no {site.operator}{f'; {other} will do' if other else ''}"
    missing = sorted({name for name in types if name not in known})
    if not missing:
        return None
    return f"{provider.name} has no {site.operator} of {', '.join(missing)} (it has {', '.join(sorted(known))})"


def without_kernel(site: Site, results: list[Value]) -> str | None:
    """Why onnxruntime's CPU provider cannot run a node; None if it can, or if the table does not say."""
    if site.operator not in CPU.kernels:
        return None
    if site.operator in {"QLinearConv", "QLinearMatMul"}:
        pair = site.operand(0).kind.name, site.operand(3).kind.name
        return f"cpu has no {site.operator} of int8 by uint8" if pair == ("int8", "uint8") else None
    return lacks(CPU, site, results)
