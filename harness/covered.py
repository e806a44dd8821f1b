"""Which known deviations of runtimes apply to a platform, and which divergences none of them covers.

Pure functions of what the linter said and of what platforms report of themselves; knows no ONNX and runs nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# As of `harness.lint.findings.Verdict`: what such a graph gives is up to the runtime.
ORDER_DEPENDENT = "order-dependent"
# The first word of an environment's `runtime`, and the linter's name for it where that is another one.
_RUNTIMES = {"onnx": "onnx-reference", "onnxruntime-node": "onnxruntime"}
_SIMULATED = "crosscheck simulated DSP"
# What a simulated machine that makes no mistake says of itself. Single rounding is half up in another form.
_SOUND = {
    "accumulator": ("int32, wrap",),
    "pair_saturation": ("none",),
    "rounding": ("half-up", "single-rounding"),
}

Environment = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the linter says of the networks that decide one variant: its verdict, and who deviates by which rule."""

    verdict: str
    deviations: Mapping[str, tuple[str, ...]]  # rule -> runtimes


@dataclass(frozen=True, kw_only=True)
class End:
    """How the cell of one variant (codec/qN/precision/scope/lowering) ended between two platforms."""

    case: str
    variant: str
    encoder: str
    decoder: str
    diverged: bool


def runtime_of(environment: Environment) -> str:
    """The linter's name for the runtime of a platform; empty for one that is not there.

    >>> runtime_of({"runtime": "onnxruntime 1.31.1", "provider": "CPUExecutionProvider"})
    'onnxruntime'
    """
    first = next(iter(environment.get("runtime", "").split()), "")
    if first.startswith("onnxruntime") and environment.get("provider") == "webgpu":
        return "onnxruntime-webgpu"
    if environment.get("provider") == "CUDAExecutionProvider" or (
        first == "torch" and environment.get("device", "cpu") != "cpu"
    ):
        return f"{first}-cuda"
    return _RUNTIMES.get(first, first)


def _no_vnni(environment: Environment) -> bool:
    """x86 that adds two 8-bit products in 16 bits."""
    if environment.get("runtime", "").startswith("torch"):
        kernel = environment.get("integer_kernel", "")
        return "int8 convolution" in kernel and not kernel.endswith("native")
    flags = environment.get("cpu_flags", "").split()
    vnni = any(flag.endswith("vnni") for flag in flags)
    return environment.get("machine") == "x86_64" and "avx2" in flags and not vnni


# Rules that hold for some machines or options of a runtime only; where a platform does not say, they hold.
ONLY_WHERE: Mapping[str, Callable[[Environment], bool]] = {
    "pair-saturation": _no_vnni,
    "neon-pair-wrap": lambda e: (
        e.get("machine") == "aarch64" and "asimddp" not in e.get("cpu_flags", "").split()
    ),
    "ort-int64-minmax": lambda e: e.get("machine") == "x86_64",
    "openvino-bf16": lambda e: e.get("inference_precision", "bf16") == "bf16",
    "openvino-offset-inside": lambda e: "LP_TRANSFORMS_MODE=NO" not in e.get("options", ""),
    "wasm-relaxed-simd": lambda e: e.get("wasm_simd", "relaxed") == "relaxed",
    "winograd": lambda e: (
        e.get("winograd", "on") != "off"
        and (runtime_of(e) != "openvino" or e.get("machine") == "aarch64")
    ),
}


def rules_for(judgement: Judgement, environment: Environment) -> tuple[str, ...]:
    """The rules by which a platform is known to deviate on this variant, by name."""
    runtime = runtime_of(environment)
    return tuple(
        rule
        for rule, runtimes in sorted(judgement.deviations.items())
        if runtime in runtimes and (rule not in ONLY_WHERE or ONLY_WHERE[rule](environment))
    )


def mistake(environment: Environment) -> str:
    """The mistake that a simulated machine makes on purpose; empty for every other platform."""
    if environment.get("runtime") != _SIMULATED:
        return ""
    return ", ".join(
        f"{key} {environment[key]}"
        for key, sound in _SOUND.items()
        if environment.get(key, sound[0]) not in sound
    )


def uncovered(
    ends: Iterable[End],
    judgements: Mapping[str, Judgement],
    environments: Mapping[str, Environment],
) -> list[str]:
    """A line for each cell that diverged although the linter calls it exact and knows of no deviation.

    A variant without a judgement is a line too: nothing passes because nobody looked.
    """
    found = []
    for end in ends:
        judgement = judgements.get(end.variant)
        if judgement is None:
            found.append(f"{end.case}: the linter was not asked about {end.variant}")
            continue
        if not end.diverged or judgement.verdict == ORDER_DEPENDENT:
            continue
        both = [environments.get(name, {}) for name in dict.fromkeys((end.encoder, end.decoder))]
        if not any(rules_for(judgement, each) or mistake(each) for each in both):
            named = " or ".join(dict.fromkeys(filter(None, map(runtime_of, both))))
            found.append(
                f"{end.case}: diverged, though the linter calls it {judgement.verdict}, and no rule of its"
                f" table of deviations covers {named or 'its platforms'} there"
            )
    return found
