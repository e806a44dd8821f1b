"""Processors that this machine has not: ONNX Runtime and the simulated DSP on emulated ones."""

from harness.dsp.profile import ArithmeticProfile
from harness.platforms.base import PLATFORMS
from harness.platforms.dsp import DspPlatform
from harness.platforms.emulated import Emulated
from harness.platforms.ort import OrtPlatform
from harness.platforms.unpacked import Unpacked

ARM64 = Unpacked(
    name="debian-arm64",
    architecture="arm64",
    packages=("python3-numpy",),
    wheels=("onnxruntime==1.31.1",),
)
# Big-endian: no runtime of ours is built for it, but numpy and onnx are, so it runs the simulated DSP.
S390X = Unpacked(
    name="debian-s390x", architecture="s390x", packages=("python3-numpy", "python3-onnx")
)


def _mlas(processor: str) -> dict[str, str]:
    """MLAS chooses its kernels by the processor: the trace says for which."""
    return {"integer_kernel": f"MLAS on {processor}", "float_kernel": f"MLAS on {processor}"}


# AVX2 without VNNI: the 16-bit pair sums of u8 x s8 saturate.
HASWELL = Emulated(name="haswell", machine="x86_64", cpu="Haswell", kernels=_mlas("Haswell"))
# Neither AVX2 nor FMA.
SANDYBRIDGE = Emulated(
    name="sandybridge", machine="x86_64", cpu="SandyBridge", kernels=_mlas("SandyBridge")
)
# NEON without dot products: the 16-bit pair sums of s8 x s8 wrap where all four factors are -128.
A72 = Emulated(
    name="a72", machine="aarch64", cpu="cortex-a72", system=ARM64, kernels=_mlas("Cortex-A72")
)
# Everything that QEMU knows: dot products, 8-bit matrix products, SVE2.
AARCH64_MAX = Emulated(
    name="aarch64-max", machine="aarch64", cpu="max", system=ARM64, kernels=_mlas("aarch64 max")
)

for _host in (HASWELL, SANDYBRIDGE, A72, AARCH64_MAX):
    PLATFORMS.register(
        OrtPlatform(name=f"ort-{_host.name}", provider="CPUExecutionProvider", host=_host)
    )
PLATFORMS.register(
    DspPlatform(
        name="dsp-s390x",
        profile=ArithmeticProfile(),
        host=Emulated(name="s390x", machine="s390x", cpu="max", system=S390X),
    )
)
